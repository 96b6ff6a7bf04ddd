//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// XNNPACK's kernels, loaded as the runtime loads them, against f64; operands end with their last element, so that a
// sanitizer sees a step beyond.
//
#include "targets/xnnpack/Library.h"
#include "targets/xnnpack/tests/Cases.h"

using namespace mlc;
using namespace mlc::test;

namespace {

/// What an XNNPACK of 2022 says of a call that needs one of 2024; with MLC_XNNPACK=2024 (tests/xnnpack-newer.sh) it is
/// a failure.
std::string refusal(const XnnCase &c) {
  KernelCallInfo info = c.call->info();
  const KernelDef *kernel = c.call->kernel(Isa::portable);
  auto prepared = kernel->prepare(info);
  if (!prepared)
    return prepared.error().message();
  kernel->release(*prepared);
  return "";
}

bool isOld() {
  const char *expected = getenv("MLC_XNNPACK");
  if (expected && strcmp(expected, "2024") == 0)
    return false;
  Random random(1);
  return !refusal(dynamicLinearCase(random, 1, 8, 8, false)).empty();
}

TEST(XnnOperators, AnOldLibraryRefusesTheNewerOnesByName) {
  if (!isOld())
    GTEST_SKIP() << "this XNNPACK has them";
  for (const XnnCase &c : xnnCases())
    if (c.newer)
      EXPECT_THAT(refusal(c), ::testing::HasSubstr("too old for it: build with -DXNNPACK_ROOT")) << c.call->name;
}

TEST(XnnOperators, AgreeWithF64OnAnyNumberOfThreads) {
  auto library = xnnpack::load();
  ASSERT_TRUE(bool(library)) << library.error().message();
  bool old = isOld();
  for (XnnCase &c : xnnCases()) {
    if (c.newer && old)
      continue;
    std::vector<double> alone;
    for (unsigned threads : {1u, 3u}) {
      // Bytes of a quiet NaN.
      const TensorView &output = c.tensors.back()->view;
      memset(output.data, 0xff, c.expected.size() * dtypeSize(output.dtype));
      c.call->run(Isa::portable, threads);
      std::vector<double> got;
      for (size_t i = 0; i < c.expected.size(); ++i)
        got.push_back(c.result(i));
      for (size_t i = 0; i < got.size(); ++i) {
        if (std::isnan(c.expected[i]))
          EXPECT_TRUE(std::isnan(got[i])) << c.call->name << " " << i;
        else if (!c.within.empty())
          ASSERT_NEAR(got[i], c.expected[i], c.within[i]) << c.call->name << " " << i;
        else if (c.exact)
          ASSERT_EQ(got[i], c.expected[i]) << c.call->name << " " << i;
        else
          ASSERT_NEAR(got[i], c.expected[i], 2e-5 * std::max(1.0, std::fabs(c.expected[i])))
              << c.call->name << " " << i;
      }
      if (threads == 1)
        alone = got;
      else
        for (size_t i = 0; i < got.size(); ++i)
          ASSERT_EQ(std::bit_cast<uint64_t>(got[i]), std::bit_cast<uint64_t>(alone[i])) << c.call->name << " " << i;
    }
  }
}

// One prepared call over other rows and other memory, inside an arena and outside.
TEST(XnnOperators, FollowTheirOperands) {
  Random random(7);
  XnnCase c = linearCase(random, 6, 20, 9, true, false);
  const KernelDef *kernel = c.call->kernel(Isa::portable);
  KernelCallInfo info = c.call->info();
  std::vector<TensorView> inputs, outputs{c.call->outputs[0]->view};
  for (const Tensor *tensor : c.call->inputs)
    inputs.push_back(tensor->view);
  info.inputs = inputs;
  info.outputs = outputs;
  auto prepared = kernel->prepare(info);
  ASSERT_TRUE(bool(prepared)) << prepared.error().message();
  std::vector<uint8_t> scratch(kernel->scratch(info).shared + 64);
  std::vector<float> arena(6 * 20 + 4 + 6 * 9);
  bool failed = false;
  for (int64_t rows : {6, 1, 4, 6}) {
    for (bool inside : {false, true}) {
      KernelContext context;
      std::vector<TensorView> in = inputs, out = outputs;
      in[0].dims[0] = out[0].dims[0] = rows;
      if (inside) {
        std::copy_n(inputs[0].as<float>(), rows * 20, arena.data());
        in[0].data = arena.data();
        out[0].data = arena.data() + 6 * 20 + 4;
        context.arena = {reinterpret_cast<const uint8_t *>(arena.data()), arena.size() * sizeof(float)};
      }
      std::fill_n(out[0].as<float>(), rows * 9, NAN);
      context.inputs = in;
      context.outputs = out;
      context.prepared = *prepared;
      context.failed = &failed;
      context.pool = poolOf(2);
      context.sharedScratch = scratch.data();
      kernel->run(context);
      ASSERT_FALSE(failed);
      for (int64_t i = 0; i < rows * 9; ++i)
        ASSERT_NEAR(out[0].as<float>()[i], c.expected[size_t(i)], 1e-5) << rows << " " << inside;
    }
  }
  kernel->release(*prepared);
}

} // namespace
