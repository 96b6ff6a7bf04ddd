//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The backward kernels, run by the emulator, against f64.
//
#include "targets/cuda/attention/backward/Backward.cuh"
#include "targets/cuda/attention/Plan.h"
#include "targets/cuda/attention/tests/Problem.h"

#include <cmath>
#include <gtest/gtest.h>

using namespace mlc::attention;
using namespace mlc::attention::test;

namespace {

template <int kHeadDim, typename Type> bool run(const BackwardArgs &args, bool backwards) {
  const size_t shared = size_t(backwardSharedBytes(kHeadDim));
  return emulator::launch(int(deltaBlocks(args.problem)), kBackwardThreads, 0, backwards,
                          [&] { backwardDelta<kHeadDim, Type>(args); }) &&
         emulator::launch(args.rowOrder.tiles(), kBackwardThreads, shared, backwards,
                          [&] { backwardQuery<kHeadDim, Type>(args); }) &&
         emulator::launch(args.keyOrder.tiles(), kBackwardThreads, shared, backwards,
                          [&] { backwardKeyValue<kHeadDim, Type>(args); });
}

bool backward(Problem &problem, bool reversed) {
  std::vector<float> delta(backwardWorkspace(problem.problem) / sizeof(float), NAN);
  const BackwardArgs args = backwardArgs(problem.problem, problem.gradients, delta.data());
  const bool half = problem.problem.dtype == MLC_ATTENTION_F16;
  if (problem.problem.head_dim == 64)
    return half ? run<64, F16>(args, reversed) : run<64, Bf16>(args, reversed);
  return half ? run<128, F16>(args, reversed) : run<128, Bf16>(args, reversed);
}

/// Root mean square of the error as a share of that of the values.
double errorOf(const std::vector<double> &got, const std::vector<double> &expected) {
  double error = 0, size = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    error += (got[i] - expected[i]) * (got[i] - expected[i]);
    size += expected[i] * expected[i];
  }
  return size > 0 ? std::sqrt(error / size) : std::sqrt(error);
}

const Options kOptions[] = {
    {"plain", 1, 2, 2, 70, 130, 64},
    {"causal, head 128", 2, 2, 1, 70, 70, 128, -1, 0},
    {"one row", 1, 2, 2, 1, 65, 64, -1, 0},
    {"causal, fewer keys than rows", 1, 2, 1, 100, 40, 64, -1, 0},
    {"window", 1, 1, 1, 150, 200, 64, 30, 0},
    {"two-sided window, tokens inside", 1, 2, 1, 66, 130, 64, 20, 33, 0, 1, {}, {}, {}, 0, true},
    {"soft-cap", 1, 1, 1, 66, 70, 128, -1, 0, 3.0f, 2.0f},
    {"ragged", 3, 2, 1, 0, 0, 64, -1, 0, 0, 1, {5, 0, 66}, {70, 3, 66}},
};

TEST(Backward, EveryOptionAgainstF64) {
  for (const Options &options : kOptions)
    for (mlc_attention_dtype dtype : {MLC_ATTENTION_BF16, MLC_ATTENTION_F16}) {
      if (dtype == MLC_ATTENTION_F16 && options.right != 0) // the type changes conversions only
        continue;
      SCOPED_TRACE(std::string(options.name) + (dtype == MLC_ATTENTION_F16 ? ", f16" : ", bf16"));
      Problem problem(options, dtype, 1);
      const Problem::Answer answer = problem.answer(true);
      problem.setForward(answer);
      ASSERT_TRUE(backward(problem, dtype == MLC_ATTENTION_F16));
      // A few units in the last place: 2^-9 and 2^-12 of bf16 and f16.
      const double bar = dtype == MLC_ATTENTION_F16 ? 1e-3 : 8e-3;
      EXPECT_LT(errorOf(problem.readQueries(problem.gradients.dq), answer.dq), bar);
      EXPECT_LT(errorOf(problem.readKeys(problem.gradients.dk), answer.dk), bar);
      EXPECT_LT(errorOf(problem.readKeys(problem.gradients.dv), answer.dv), bar);
    }
}

TEST(Backward, SameBitsInEitherOrder) {
  const Options options = {"", 1, 2, 1, 70, 80, 64, -1, 0};
  Problem forwards(options, MLC_ATTENTION_BF16, 2), backwards(options, MLC_ATTENTION_BF16, 2);
  forwards.setForward(forwards.answer(false));
  backwards.setForward(backwards.answer(false));
  ASSERT_TRUE(backward(forwards, false));
  ASSERT_TRUE(backward(backwards, true));
  EXPECT_EQ(forwards.readQueries(forwards.gradients.dq), backwards.readQueries(backwards.gradients.dq));
  EXPECT_EQ(forwards.readKeys(forwards.gradients.dk), backwards.readKeys(backwards.gradients.dk));
}

// Rows and keys find the same pairs.
TEST(Backward, BlocksOfRowsAndOfKeysAgree) {
  for (int rows : {1, 64, 130, 200})
    for (int columns : {1, 63, 128, 300})
      for (int left : {-1, 0, 7, 90})
        for (int right : {-1, 0, 5, 100}) {
          const mlc::cuda::Mask mask = {rows, columns, left, right};
          for (int key = 0; key < columns; key += 64) {
            int first = rows, last = -1;
            for (int row = 0; row < rows; ++row)
              for (int column = key; column < std::min(key + 64, columns); ++column)
                if (column >= mask.first(row) && column < mask.end(row)) {
                  first = std::min(first, row);
                  last = row;
                }
            const mlc::cuda::BlockRange blocks = rowBlocksOf(mask, key, 64, 64);
            if (last < 0) {
              EXPECT_EQ(blocks.count(), 0);
              continue;
            }
            EXPECT_EQ(blocks.begin, first / 64);
            EXPECT_EQ(blocks.end, last / 64 + 1);
          }
        }
}

TEST(Backward, Banks) {
  // The 8 rows that one phase of a matrix load reads.
  for (int row = 0; row < 64; row += 8)
    for (int vector = 0; vector < 16; ++vector) {
      unsigned banks = 0;
      for (int i = 0; i < 8; ++i)
        banks |= 1u << (BackwardTiles<128>::place(row + i, vector) / 16 % 8);
      EXPECT_EQ(banks, 0xffu);
    }
}

TEST(Emulator, HalfPrecisionRoundTrip) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = emulator::valueOfF16(uint16_t(bits));
    if (value == value)
      ASSERT_EQ(emulator::f16Of(value), bits);
    const float wide = emulator::valueOfBf16(uint16_t(bits));
    if (wide == wide)
      ASSERT_EQ(emulator::bf16Of(wide), bits);
  }
  EXPECT_EQ(emulator::f16Of(1 + 0x1p-11f), emulator::f16Of(1));
  EXPECT_EQ(emulator::f16Of(65520), 0x7c00);
}

// A barrier that not all threads reach is seen.
TEST(Emulator, SeesThreadsThatWaitForEver) {
  testing::internal::CaptureStderr();
  EXPECT_FALSE(emulator::launch(1, 64, 0, false, [] {
    if (threadIndex() != 5)
      syncThreads();
  }));
  EXPECT_NE(testing::internal::GetCapturedStderr().find("waits for ever"), std::string::npos);
}

} // namespace
