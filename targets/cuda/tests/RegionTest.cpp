//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Calls of compiled regions: what they give, how they are launched, and what is wrong with one.
//
#include "targets/cuda/tests/RegionModel.h"

using namespace mlc;
using namespace mlc::test;
using namespace mlc::cuda;

namespace {

// A compiled region gives what a kernel gives, in steps of any size and in graphs.
TEST_F(CudaTest, RegionsAreLaunchedLikeKernels) {
  std::vector<int32_t> tokens = someTokens(20, 7);
  AlignedBytes bytes = modelBytes(withProducts(kRegionText)), plain = modelBytes(withProducts());
  Owned<Model> model(must(open(bytes))), reference(must(open(plain)));
  EXPECT_EQ(calls("cuModuleLoadDataEx ptx"), 1u);
  std::vector<float> expected = plainLogits(*reference, tokens), logits;
  Owned<Session> session = makeSession(*model);
  SequenceId sequence = must(session->createSequence());
  for (size_t at = 0, step = 0; at < tokens.size(); ++step) {
    size_t count = step == 5 ? 7 : 1;
    fake::record().clear();
    std::vector<float> part = feedAll(*session, sequence, std::span<const int32_t>(tokens).subspan(at, count));
    logits.insert(logits.end(), part.begin(), part.end());
    at += count;
    // 80 columns: blocks of 128 x 2, one of each layer; once in a graph none.
    EXPECT_EQ(calls("cuLaunchKernelEx region_0 1,1 128x2"), step < 2 ? 2u : 0u) << step;
    EXPECT_EQ(calls("cuLaunchKernelEx region_0 1,4 128x2"), step == 5 ? 2u : 0u) << step;
  }
  EXPECT_EQ(logits, expected);
}

// The launch that fails is the region's, in a step of its own and among those that are captured.
TEST_F(CudaTest, ARegionsFailedLaunchIsNamed) {
  AlignedBytes bytes = modelBytes(withProducts(kRegionText));
  for (size_t failing : {0, 1}) {
    fake::reset();
    Owned<Model> model(must(open(bytes)));
    Owned<Session> session = makeSession(*model);
    SequenceId sequence = must(session->createSequence());
    std::vector<int32_t> tokens = someTokens(2, 3);
    int32_t row = 0;
    for (size_t i = 0; i <= failing; ++i) {
      mlc::StepSegment segment{sequence, {&tokens[i], 1}};
      if (i < failing) {
        must(session->step({&segment, 1}, {&row, 1}));
        continue;
      }
      // As many launches as a step of the kernels' has in front of the first region.
      auto launches = calls("cuLaunchKernelEx");
      fake::Record record = fake::record();
      if (!failing) {
        Owned<Session> other = makeSession(*model);
        mlc::StepSegment first{must(other->createSequence()), {&tokens[0], 1}};
        fake::record().clear();
        must(other->step({&first, 1}, {&row, 1}));
        record = fake::record();
        launches = calls("cuLaunchKernelEx");
      }
      unsigned before = 0;
      for (const std::string &call : record) {
        if (call.starts_with("cuLaunchKernelEx region_0"))
          break;
        before += call.starts_with("cuLaunchKernelEx");
      }
      fake::settings().failing = "cuLaunchKernelEx";
      fake::settings().failingAfter = launches + before;
      EXPECT_EQ(failure(session->step({&segment, 1}, {&row, 1}), ErrorCode::Unsupported),
                "region_0: CUDA_ERROR_INJECTED (999)");
      fake::settings().failing.clear();
      EXPECT_EQ(must(session->length(sequence)), int64_t(i));
    }
  }
}

TEST_F(CudaTest, RegionsThatDoNotLoadAreNamed) {
  std::string text = kRegionText;
  text.replace(text.find("mul.rn.f32"), strlen("mul.rn.f32"), "mul.no.f32");
  EXPECT_EQ(failure(open(modelBytes(withProducts(text.c_str()))), ErrorCode::Unsupported),
            "artifact: its regions for compute_80: cannot be loaded: CUDA_ERROR_INJECTED (218): line 52: not "
            "understood: mul.no.f32 \t%f3, %f1, %f2;");
  text = kRegionText;
  text.replace(text.find(".entry region_0"), strlen(".entry region_0"), ".entry region_1");
  for (size_t at = 0; (at = text.find("[region_0_", at)) != std::string::npos;)
    text[at + strlen("[region_")] = '1';
  EXPECT_EQ(failure(open(modelBytes(withProducts(text.c_str()))), ErrorCode::Unsupported),
            "artifact: its image for compute_80 lacks region_0; use the mlc release that compiled it, or compile it "
            "again");
  TinyModel other = withProducts(kRegionText);
  other.metadata.images.back()->arch = "sm_80";
  EXPECT_EQ(failure(open(modelBytes(other)), ErrorCode::Unsupported),
            "artifact: has regions for sm_80, none that Emulated GPU (sm_90) runs; compile it with --gpu sm_90");
  fake::settings().failing = "cuModuleLoadDataEx";
  EXPECT_EQ(failure(open(modelBytes(withProducts(kRegionText))), ErrorCode::Unsupported),
            "artifact: its kernels for sm_90a: cannot be loaded: CUDA_ERROR_INJECTED (999): ptxas application ptx "
            "input, line 9; an injected error");
  fake::reset();
  // What goes wrong when it runs ends the step.
  TinyModel wild = withProducts(kRegionText);
  for (auto &op : wild.metadata.functions[0]->body->ops)
    if (fb::CallCodeT *call = op->body.AsCallCode())
      call->dims[1] = fb::Dim(int64_t(1) << 30, -1);
  AlignedBytes bytes = modelBytes(wild);
  Owned<Model> model(must(open(bytes)));
  Owned<Session> session = makeSession(*model);
  std::vector<int32_t> tokens = someTokens(2, 3);
  mlc::StepSegment segment{must(session->createSequence()), tokens};
  int32_t row = 0;
  EXPECT_EQ(failure(session->step({&segment, 1}, {&row, 1}), ErrorCode::Unsupported),
            "a step on the GPU failed: CUDA_ERROR_INJECTED (700)");
  EXPECT_EQ(fake::mistakes().at(0), "region_0: bytes outside of the device's memory, or misaligned");
  fake::reset();
}

} // namespace
