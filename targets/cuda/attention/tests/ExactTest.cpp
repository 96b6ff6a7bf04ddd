//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The f32-exact kernels, run by the emulator, against f64.
//
#include "targets/cuda/attention/Plan.h"
#include "targets/cuda/attention/exact/ExactForward.cuh"
#include "targets/cuda/attention/tests/Problem.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>

using namespace mlc::attention;
using namespace mlc::attention::test;

namespace {

bool forward(const mlc_attention_problem &problem, bool compensated, bool backwards) {
  const ExactArgs args = exactArgs(problem);
  auto run = [&]<int kHeadDim>(Index<kHeadDim>) {
    return emulator::launch(args.order.tiles(), kExactThreads, size_t(exactSharedBytes(kHeadDim)), backwards, [&] {
      compensated ? exactForward<kHeadDim, true>(args) : exactForward<kHeadDim, false>(args);
    });
  };
  switch (problem.head_dim) {
  case 64:
    return run(Index<64>());
  case 80:
    return run(Index<80>());
  case 96:
    return run(Index<96>());
  case 128:
    return run(Index<128>());
  default:
    return run(Index<256>());
  }
}

/// The largest error as a share of the largest value.
double errorOf(const std::vector<double> &got, const std::vector<double> &expected) {
  double most = 0, error = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    if (got[i] == expected[i]) // infinities
      continue;
    error = std::isfinite(got[i]) ? std::max(error, std::fabs(got[i] - expected[i])) : INFINITY;
    most = std::max(most, std::fabs(expected[i]));
  }
  return most > 0 ? error / most : error;
}

const Options kOptions[] = {
    {"plain", 2, 2, 2, 70, 130, 64},
    {"one row", 1, 3, 1, 1, 65, 128, -1, 0},
    {"causal, fewer keys than rows", 1, 2, 1, 100, 40, 64, -1, 0},
    {"window", 1, 2, 2, 150, 200, 64, 30, 0},
    {"two-sided window", 1, 1, 1, 130, 130, 96, 20, 33},
    {"soft-cap", 1, 2, 1, 66, 70, 80, -1, 0, 3.0f, 2.0f},
    {"head 256", 1, 1, 1, 65, 65, 256, -1, 0},
    {"ragged", 3, 2, 1, 0, 0, 128, -1, 0, 0, 1, {5, 0, 66}, {70, 3, 66}},
    {"lengths", 3, 2, 2, 10, 130, 64, -1, 0, 0, 1, {}, {}, {130, 0, 7}},
    {"pages", 2, 2, 1, 20, 150, 64, -1, 0, 0, 1, {}, {}, {150, 64}, 64},
    {"large pages, tokens inside", 2, 2, 2, 3, 200, 80, 9, -1, 0, 1, {}, {}, {200, 33}, 128, true},
};

TEST(Exact, EveryOptionAgainstF64) {
  for (const Options &options : kOptions)
    for (bool compensated : {false, true}) {
      SCOPED_TRACE(std::string(options.name) + (compensated ? ", compensated" : ""));
      Problem problem(options, MLC_ATTENTION_F32, 1);
      const Problem::Answer answer = problem.answer(false);
      ASSERT_TRUE(forward(problem.problem, compensated, compensated));
      EXPECT_LT(errorOf(problem.readQueries(problem.problem.out), answer.out), compensated ? 4e-7 : 6e-7);
      EXPECT_LT(errorOf(problem.readLse(), answer.lse), compensated ? 2e-7 : 4e-7);
    }
}

// Nothing depends on the order of blocks, warps and lanes.
TEST(Exact, SameBitsInEitherOrder) {
  const Options options = {"", 1, 2, 1, 130, 140, 128, -1, 0};
  Problem forwards(options, MLC_ATTENTION_F32, 2), backwards(options, MLC_ATTENTION_F32, 2);
  ASSERT_TRUE(forward(forwards.problem, false, false));
  ASSERT_TRUE(forward(backwards.problem, false, true));
  EXPECT_EQ(forwards.readQueries(forwards.problem.out), backwards.readQueries(backwards.problem.out));
}

// Scores up to about 100: the compensated form keeps 1e-6, which the other one does not.
TEST(Exact, CompensatedHoldsLargeScores) {
  const Options options = {"", 1, 1, 1, 128, 256, 128, -1, -1, 0, 5.0f};
  Problem problem(options, MLC_ATTENTION_F32, 3);
  const Problem::Answer answer = problem.answer(false);
  EXPECT_GT(*std::ranges::max_element(answer.lse), 90);
  ASSERT_TRUE(forward(problem.problem, true, false));
  EXPECT_LT(errorOf(problem.readQueries(problem.problem.out), answer.out), 5e-7);
  ASSERT_TRUE(forward(problem.problem, false, false));
  EXPECT_GT(errorOf(problem.readQueries(problem.problem.out), answer.out), 1e-6);
}

TEST(Exact, NanAndInfinityShow) {
  const Options options = {"", 1, 1, 1, 64, 64, 64};
  for (float value : {NAN, INFINITY})
    for (bool compensated : {false, true}) {
      Problem problem(options, MLC_ATTENTION_F32, 4);
      static_cast<float *>(problem.problem.q.data)[3 * 64 + 5] = value;
      ASSERT_TRUE(forward(problem.problem, compensated, false));
      const std::vector<double> out = problem.readQueries(problem.problem.out);
      EXPECT_TRUE(std::isnan(out[3 * 64]));
      EXPECT_FALSE(std::isnan(out[4 * 64]));
    }
}

TEST(Exact, PowersOfTwo) {
  double worst = 0;
  for (int i = 0; i < 200000; ++i) {
    const float x = -float(i) * 6e-4f;
    worst = std::max(worst, std::fabs(double(exp2Exact(x)) / std::exp2(double(x)) - 1));
  }
  EXPECT_LT(worst, 8e-8);
  EXPECT_EQ(exp2Exact(0), 1);
  EXPECT_EQ(exp2Exact(-INFINITY), 0x1p-126f);
  EXPECT_TRUE(std::isnan(exp2Exact(NAN)));
}

TEST(Exact, HyperbolicTangent) {
  for (int i = -4000; i <= 4000; ++i) {
    const double x = i * 1.2345e-2 + 1e-9;
    EXPECT_NEAR(tanhExact(x), std::tanh(x), 2e-12) << x;
  }
  EXPECT_EQ(tanhExact(INFINITY), 1);
  EXPECT_EQ(tanhExact(-1e30), -1);
  EXPECT_TRUE(std::isnan(tanhExact(NAN)));
}

// Products that cancel to a millionth of their size: two terms keep what one loses.
TEST(Exact, AnchoredSums) {
  float a[64], b[64], squaresA = 0, squaresB = 0;
  double exact = 0;
  for (int i = 0; i < 64; ++i) {
    a[i] = float(i % 7 + 1) * 1.2345678f;
    b[i] = (i % 2 ? -1.0f : 1.0f) * (float(i % 5) + 0.7654321f);
    squaresA += a[i] * a[i];
    squaresB += b[i] * b[i];
    exact += double(a[i]) * b[i];
  }
  const float bound = std::sqrt(squaresA * squaresB), anchor = anchorOf(bound), larger = anchorOf(40 * bound);
  AnchoredSum sum = {anchor, 0};
  for (int i = 0; i < 64; ++i) {
    sum.add(a[i], b[i]);
    if (i == 40)
      sum.move(anchor, larger);
  }
  const Pair pair = sum.value(larger);
  EXPECT_NEAR(double(pair.high) + pair.low, exact, 1e-8);
  EXPECT_GT(anchor, 4 * bound);
  EXPECT_FALSE(std::isfinite(anchorOf(INFINITY)));
  EXPECT_TRUE(std::isnan(anchorOf(NAN)));
  EXPECT_TRUE(std::isfinite(anchorOf(3e38f)));
  EXPECT_EQ(anchorOf(0), 0x1.8p-99f);
}

TEST(Exact, BandsAreMasks) {
  for (int left : {-1, 0, 5})
    for (int right : {-1, 0, 7})
      for (int rows : {10, 30}) {
        const mlc::cuda::Mask mask = {rows, 20, left, right};
        for (int row = 0; row < rows; ++row)
          for (int column = 0; column < 20; ++column)
            EXPECT_EQ(Band::of(mask).passes(column - row), column >= mask.first(row) && column < mask.end(row));
      }
}

TEST(Exact, ProbabilitiesLieWhereTheyAreRead) {
  for (int thread = 0; thread < kExactThreads; ++thread) {
    const ExactThread me = ExactThread::of(thread, 8);
    for (int i = 0; i < 8; ++i)
      for (int j = 0; j < 4; ++j)
        EXPECT_EQ(me.probability(i, j), 4 * placeInQ(me.row(i), me.key(j) / 4) + me.key(j) % 4);
  }
}

// Each Float4 of a tile has its own place, and a warp's loads meet no bank twice.
TEST(Exact, PlacesAndBanks) {
  for (auto place : {placeInK, placeInQ, placeInV}) {
    std::vector<bool> seen(kTileFloats / 4);
    for (int row = 0; row < kExactTile; ++row)
      for (int vector = 0; vector < kExactVectors; ++vector) {
        ASSERT_FALSE(seen[size_t(place(row, vector))]);
        seen[size_t(place(row, vector))] = true;
      }
  }
  // Half a warp is served at once where two lanes of each pair ask for the same: 8 places, 8 groups of banks.
  for (int half = 0; half < 2; ++half)
    for (int x = 0; x < kExactVectors; ++x) {
      unsigned banksK = 0, banksV = 0;
      for (int lane = 16 * half; lane < 16 * half + 16; lane += 2) {
        const ExactThread me = ExactThread::of(lane, 8);
        banksK |= 1u << (placeInK(me.key(1), x) % 8);
        banksV |= 1u << (placeInV(x, me.keyLane) % 8);
      }
      EXPECT_EQ(banksK, 0xffu);
      EXPECT_EQ(banksV, 0xffu);
      EXPECT_NE(placeInQ(ExactThread::of(0, 8).row(3), x) % 8, placeInQ(ExactThread::of(1, 8).row(3), x) % 8);
    }
}

} // namespace
