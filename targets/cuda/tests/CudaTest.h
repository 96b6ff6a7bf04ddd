//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Whole models on the driver that has no GPU: what tests of them share.
//
#pragma once

#include "targets/cuda/ImageContract.h"
#include "targets/cuda/tests/FakeDriver.h"

#include "runtime/llm/StepDrawing.h"
#include "tests/unit/session/SessionSupport.h"

namespace mlc::cuda {

using namespace mlc::test;

/// The same model for a GPU of architecture `arch`.
inline TinyModel onGpu(const TinyOptions &options, const char *arch = "sm_90a") {
  TinyModel model = makeTinyModel(options);
  model.metadata.target->isa_family = kCudaFamily;
  model.metadata.required_features.push_back("cuda");
  auto segment = std::make_unique<fb::SegmentT>();
  segment->kind = fb::SegmentKind::images;
  segment->size = 64;
  auto image = std::make_unique<fb::ImageT>();
  image->module_ = "Kernels";
  image->contract = kImageContract;
  image->arch = arch;
  image->segment = uint32_t(model.metadata.segments.size());
  image->size = 64;
  model.metadata.images.push_back(std::move(image));
  model.metadata.segments.push_back(std::move(segment));
  std::vector<uint8_t> bytes(64);
  memcpy(bytes.data(), "\177ELF", 4);
  model.weights.insert(model.weights.end(), bytes.begin(), bytes.end());
  return model;
}

struct CudaTest : testing::Test {
  CudaTest() { fake::reset(); }
  ~CudaTest() override {
    EXPECT_EQ(fake::mistakes(), std::vector<std::string>());
    EXPECT_EQ(fake::liveBytes(), 0u);
    EXPECT_EQ(fake::liveHandles(), 0u);
  }
  static Result<Model *> open(const AlignedBytes &bytes) { return Model::fromMemory(bytes.span()); }
};

inline unsigned calls(const std::string &prefix) {
  unsigned count = 0;
  for (const std::string &record : fake::record())
    count += record.rfind(prefix, 0) == 0;
  return count;
}

inline std::vector<int32_t> someTokens(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  return randomTokens(random, count, TinyOptions().vocab);
}

} // namespace mlc::cuda
