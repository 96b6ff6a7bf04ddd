//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the C interface refuses, before it launches anything: launch() here only counts.
//
#include "targets/cuda/attention/Launch.h"
#include "targets/cuda/attention/exact/Exact.h"
#include "targets/cuda/attention/tests/Problem.h"

#include <cmath>
#include <functional>
#include <gtest/gtest.h>

namespace {
int launches = 0;
}

namespace mlc::attention {
bool launch(const Launch &, const ErrorText &) {
  ++launches;
  return true;
}
} // namespace mlc::attention

using namespace mlc::attention;

namespace {

const test::Options kOptions = {"", 2, 4, 2, 8, 16, 64};

TEST(Check, RefusesProblemsByName) {
  static int32_t integers[3] = {0, 8, 16};
  const struct {
    const char *text;
    std::function<void(mlc_attention_problem &)> change;
  } cases[] = {
      {"head size 48 is not compiled in", [](auto &p) { p.head_dim = 48; }},
      {"4 query heads are not a multiple of 3", [](auto &p) { p.heads_kv = 3; }},
      {"4 query heads are not a multiple of 0", [](auto &p) { p.heads_kv = 0; }},
      {"a negative size", [](auto &p) { p.seq_kv = -1; }},
      {"a negative size", [](auto &p) { p.batch = -1; }},
      {"more than 2^30", [](auto &p) { p.seq_q = p.seq_kv = 1 << 30; }},
      {"2^31 - 1 blocks", [](auto &p) { p.batch = 1 << 29; }},
      {"query has no address", [](auto &p) { p.q.data = nullptr; }},
      {"key: its address", [](auto &p) { p.k.data = static_cast<char *>(p.k.data) + 4; }},
      {"value: the token stride is 66 elements", [](auto &p) { p.v.token = 66; }},
      {"output: the head stride is 65 elements", [](auto &p) { p.out.head = 65; }},
      {"query: the batch stride is 1 elements", [](auto &p) { p.q.batch = 1; }},
      {"a window of -2 and -1", [](auto &p) { p.window_left = -2; }},
      {"scale inf", [](auto &p) { p.scale = INFINITY; }},
      {"soft-cap -1", [](auto &p) { p.softcap = -1; }},
      {"the exact kernels take f32 alone", [](auto &p) { p.kv_dtype = MLC_ATTENTION_INT8; }},
      {"a page table needs the sequences' lengths", [](auto &p) { p.page_table = integers; }},
      {"pages of 32 tokens; f32 needs a multiple of 64",
       [](auto &p) { p.page_table = p.lengths_kv = integers, p.page_size = 32, p.pages = p.pages_per_sequence = 1; }},
      {"pages: 1 of 0 tokens",
       [](auto &p) { p.page_table = p.lengths_kv = integers, p.pages = p.pages_per_sequence = 1; }},
      {"more than 2^31 - 1 tokens",
       [](auto &p) {
         p.page_table = p.lengths_kv = integers, p.pages = 1, p.pages_per_sequence = p.page_size = 1 << 20;
       }},
      {"both paged and ragged", [](auto &p) { p.page_table = p.cu_seqlens_kv = integers; }},
  };
  for (const auto &[text, change] : cases) {
    test::Problem problem(kOptions, MLC_ATTENTION_F32, 1);
    change(problem.problem);
    char error[200] = "";
    launches = 0;
    EXPECT_EQ(mlc_attention_exact_forward(&problem.problem, 0, nullptr, error, sizeof(error)), 1) << text;
    EXPECT_NE(std::string(error).find(text), std::string::npos) << error;
    EXPECT_EQ(launches, 0);
  }
}

TEST(Check, RefusesGradientsByName) {
  static float workspace[2 * 4 * 8];
  static int32_t integers[3] = {0, 8, 16};
  const struct {
    const char *text;
    std::function<void(mlc_attention_problem &, mlc_attention_gradients &)> change;
    size_t bytes = sizeof(workspace);
  } cases[] = {
      {"gradients exist for bf16 and f16", [](auto &p, auto &) { p.dtype = p.kv_dtype = MLC_ATTENTION_F32; }},
      {"head size 64 and 128; it is 96", [](auto &p, auto &) { p.head_dim = 96; }},
      {"no gradients through a cache", [](auto &p, auto &) { p.lengths_kv = integers; }},
      {"need the forward pass's log-sum-exp", [](auto &p, auto &) { p.lse = nullptr; }},
      {"gradient of the key has no address", [](auto &, auto &g) { g.dk.data = nullptr; }},
      {"gradient of the output: the token stride is 60", [](auto &, auto &g) { g.dout.token = 60; }},
      {"the workspace has 255 bytes; the backward pass needs 256", [](auto &, auto &) {}, 255},
  };
  for (const auto &[text, change, bytes] : cases) {
    test::Problem problem(kOptions, MLC_ATTENTION_BF16, 1);
    change(problem.problem, problem.gradients);
    char error[200] = "";
    launches = 0;
    EXPECT_EQ(
        mlc_attention_backward(&problem.problem, &problem.gradients, nullptr, workspace, bytes, error, sizeof(error)),
        1)
        << text;
    EXPECT_NE(std::string(error).find(text), std::string::npos) << error;
    EXPECT_EQ(launches, 0);
  }
}

TEST(Check, AcceptsTheRest) {
  test::Problem problem(kOptions, MLC_ATTENTION_F32, 1);
  launches = 0;
  EXPECT_EQ(mlc_attention_exact_forward(&problem.problem, 1, nullptr, nullptr, 0), 0);
  EXPECT_EQ(launches, 1);
  test::Problem half(kOptions, MLC_ATTENTION_F16, 1);
  static float workspace[2 * 4 * 8];
  EXPECT_EQ(mlc_attention_backward_workspace(&half.problem), sizeof(workspace));
  EXPECT_EQ(mlc_attention_backward(&half.problem, &half.gradients, nullptr, workspace, sizeof(workspace), nullptr, 0),
            0);
  EXPECT_EQ(launches, 4);
  // A scalar axis may have any stride.
  half.problem.batch = 1;
  half.problem.q.batch = 3;
  EXPECT_EQ(mlc_attention_backward(&half.problem, &half.gradients, nullptr, workspace, sizeof(workspace), nullptr, 0),
            0);
}

} // namespace
