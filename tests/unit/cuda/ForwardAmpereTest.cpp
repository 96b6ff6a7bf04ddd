//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The sm_80 attention kernel, run by the emulator, against f64.
//
#include "targets/cuda/attention/forward/ForwardAmpere.cuh"
#include "targets/cuda/attention/tests/Problem.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>

using namespace mlc::attention;
using namespace mlc::attention::test;

namespace {

template <class T, class S> bool forward(const mlc_attention_problem &problem, bool backwards) {
  ForwardArgs args = {};
  args.problem = problem;
  constexpr double kLog2E = 1.44269504088896340736;
  const bool capped = problem.softcap > 0;
  args.scaleLog2 = float(capped ? kLog2E : kLog2E * problem.scale);
  args.capScaleLog2 = capped ? float(2 * kLog2E * problem.scale / problem.softcap) : 0;
  args.group = problem.heads_q / problem.heads_kv;
  const int heads = problem.batch * problem.heads_q;
  args.order = {mlc::cuda::ceilDiv(problem.seq_q, S::kRows), heads, heads};
  return emulator::launch(args.order.tiles(), S::kThreads, S::kSharedBytes, backwards,
                          [&] { forwardAmpere<T, S>(args); });
}

template <class Type, class Shape> struct Form {
  using T = Type;
  using S = Shape;
  static constexpr bool kHalf = std::is_same_v<T, __half>;
  static constexpr mlc_attention_dtype kDtype = kHalf ? MLC_ATTENTION_F16 : MLC_ATTENTION_BF16;
};
template <class F> class ForwardAmpere : public testing::Test {};
using Forms = testing::Types<Form<__half, AmpereForm<64, false>>, Form<__nv_bfloat16, AmpereForm<80, false>>,
                             Form<__nv_bfloat16, AmpereForm<96, false>>, Form<__nv_bfloat16, AmpereForm<128, false>>,
                             Form<__nv_bfloat16, AmpereForm<128, true>>, Form<__nv_bfloat16, AmpereForm<256, false>>,
                             Form<__nv_bfloat16, AmpereForm<256, true>>>;
TYPED_TEST_SUITE(ForwardAmpere, Forms);

const Options kOptions[] = {
    {"plain", 1, 2, 1, 70, 150, 0},
    {"causal", 1, 1, 1, 150, 200, 0, -1, 0},
    {"causal, fewer keys than rows", 1, 1, 1, 150, 60, 0, -1, 0},
    {"two-sided window", 1, 1, 1, 140, 330, 0, 40, 20},
    {"soft-cap", 1, 1, 1, 40, 100, 0, -1, 0, 3.0f, 2.0f},
    {"ragged", 3, 2, 1, 0, 0, 0, -1, 0, 0, 1, {5, 0, 140}, {100, 20, 130}},
    {"lengths", 2, 2, 1, 40, 130, 0, -1, -1, 0, 1, {}, {}, {0, 130}},
    {"pages of 16, tokens inside", 2, 1, 1, 33, 150, 0, -1, 0, 0, 1, {}, {}, {150, 37}, 16, true},
    {"pages of 48", 2, 1, 1, 33, 200, 0, -1, 0, 0, 1, {}, {}, {200, 37}, 48},
};

TYPED_TEST(ForwardAmpere, EveryOptionAgainstF64) {
  using S = typename TypeParam::S;
  bool backwards = false;
  for (Options options : kOptions) {
    SCOPED_TRACE(options.name);
    options.headDim = S::kHeadDim;
    Problem problem(options, TypeParam::kDtype, 1);
    const Problem::Answer answer = problem.answer(false);
    backwards = !backwards;
    ASSERT_TRUE((forward<typename TypeParam::T, S>(problem.problem, backwards)));
    const std::vector<double> out = problem.readQueries(problem.problem.out), lse = problem.readLse();
    ASSERT_EQ(out.size(), answer.out.size());
    for (size_t row = 0; row < lse.size(); ++row) {
      double error = 0, size = 0;
      for (size_t i = row * S::kHeadDim; i < (row + 1) * S::kHeadDim; ++i) {
        error += (out[i] - answer.out[i]) * (out[i] - answer.out[i]);
        size += answer.out[i] * answer.out[i];
      }
      // Weights and results are rounded once each.
      ASSERT_LE(std::sqrt(error), (TypeParam::kHalf ? 1e-3 : 8e-3) * std::sqrt(size)) << "row " << row;
      if (std::isinf(answer.lse[row]))
        ASSERT_EQ(lse[row], answer.lse[row]) << "row " << row;
      else
        ASSERT_NEAR(lse[row], answer.lse[row], 1e-5 * (1 + std::fabs(answer.lse[row]))) << "row " << row;
    }
  }
}

// A row's bits depend neither on how many rows are beside it nor on how large their scores are.
TYPED_TEST(ForwardAmpere, RowsAreIndependent) {
  using S = typename TypeParam::S;
  constexpr int kRows = 50, kLast = 7, kColumns = 170;
  Problem all({"", 1, 1, 1, kRows, kColumns, S::kHeadDim, 120, 0}, TypeParam::kDtype, 2);
  Problem few({"", 1, 1, 1, kLast, kColumns, S::kHeadDim, 120, 0}, TypeParam::kDtype, 3);
  auto at = [](const mlc_attention_tensor &tensor, int token) {
    return static_cast<uint16_t *>(tensor.data) + token * tensor.token;
  };
  for (int i = 0; i < kColumns; ++i) {
    std::copy_n(at(all.problem.k, i), S::kHeadDim, at(few.problem.k, i));
    std::copy_n(at(all.problem.v, i), S::kHeadDim, at(few.problem.v, i));
  }
  for (int i = 0; i < kLast; ++i)
    std::copy_n(at(all.problem.q, kRows - kLast + i), S::kHeadDim, at(few.problem.q, i));
  for (int i = 0; i < kRows - kLast; ++i)
    for (int e = 0; e < S::kHeadDim; ++e) {
      uint16_t &q = at(all.problem.q, i)[e];
      q = mlc::cuda::narrow<typename TypeParam::T>(8 * mlc::cuda::widen<typename TypeParam::T>(q));
    }
  ASSERT_TRUE((forward<typename TypeParam::T, S>(all.problem, false)));
  ASSERT_TRUE((forward<typename TypeParam::T, S>(few.problem, true)));
  for (int i = 0; i < kLast; ++i)
    for (int e = 0; e < S::kHeadDim; ++e)
      ASSERT_EQ(at(few.problem.out, i)[e], at(all.problem.out, kRows - kLast + i)[e]) << "row " << i << ", " << e;
}

TYPED_TEST(ForwardAmpere, NanShowsInItsRow) {
  using S = typename TypeParam::S;
  Problem problem({"", 1, 1, 1, 20, 70, S::kHeadDim}, TypeParam::kDtype, 4);
  static_cast<uint16_t *>(problem.problem.q.data)[3 * problem.problem.q.token + 5] = 0x7fff;
  ASSERT_TRUE((forward<typename TypeParam::T, S>(problem.problem, false)));
  const std::vector<double> out = problem.readQueries(problem.problem.out), lse = problem.readLse();
  EXPECT_TRUE(std::isnan(out[3 * S::kHeadDim]));
  EXPECT_TRUE(std::isnan(lse[3]));
  EXPECT_FALSE(std::isnan(out[4 * S::kHeadDim]));
}

} // namespace
