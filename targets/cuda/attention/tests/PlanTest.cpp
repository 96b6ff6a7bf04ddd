//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The arithmetic of masks, blocks, schedules and shares against what it means, and the plans of the 16-bit kernels.
//
#include "targets/cuda/attention/decode/DecodePlan.h"
#include "targets/cuda/attention/forward/ForwardPlan.h"
#include "targets/cuda/attention/forward/ForwardShapes.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <set>
#include <string>

namespace mlc::attention {
namespace {

using cuda::Mask;
using cuda::TileOrder;

/// As the header of mlc_attention_problem says it.
bool sees(const Mask &mask, int row, int column) {
  const int diagonal = row + mask.columns - mask.rows;
  return column >= 0 && column < mask.columns && (mask.left < 0 || column >= diagonal - mask.left) &&
         (mask.right < 0 || column <= diagonal + mask.right);
}

TEST(Tiles, MasksAndBlocksAreWhatRowsSee) {
  std::mt19937 random(1);
  const auto draw = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  for (int trial = 0; trial < 300; ++trial) {
    const Mask mask{draw(1, 90), draw(0, 90), draw(-1, 40), draw(-1, 40)};
    const int count = draw(1, 40), width = draw(1, 30), row = draw(0, mask.rows - 1);
    for (int r = row; r < std::min(row + count, mask.rows); ++r)
      for (int c = 0; c < mask.columns; ++c)
        EXPECT_EQ(sees(mask, r, c), c >= mask.first(r) && c < mask.end(r));
    const cuda::BlockRange range = cuda::blocksOf(mask, row, count, width);
    for (int block = 0; block * width < mask.columns; ++block) {
      bool some = false, all = true;
      for (int r = row; r < std::min(row + count, mask.rows); ++r)
        for (int c = block * width; c < (block + 1) * width; ++c)
          sees(mask, r, c) ? some = true : all = false;
      EXPECT_TRUE(!some || (block >= range.begin && block < range.end));
      EXPECT_TRUE(all || row + count > mask.rows || mask.cuts(row, count, block * width, width));
    }
  }
}

TEST(Tiles, OrderHasEveryTileOnceAndLongRowsFirst) {
  for (int section : {1, 3, 8, 20})
    for (int heads : {1, 3, 8, 20}) {
      const TileOrder order{7, heads, std::min(section, heads)};
      std::set<std::pair<int, int>> seen;
      int before = 0, beforeSection = 0;
      for (int i = 0; i < order.tiles(); ++i) {
        const auto [rowBlock, head] = order.tile(i);
        EXPECT_TRUE(rowBlock >= 0 && rowBlock < 7 && head >= 0 && head < heads);
        EXPECT_TRUE(seen.emplace(rowBlock, head).second);
        EXPECT_TRUE(!i || head / order.section != beforeSection || rowBlock <= before);
        before = rowBlock;
        beforeSection = head / order.section;
      }
      EXPECT_EQ(int(seen.size()), order.tiles());
    }
}

TEST(Tiles, SharesCoverEveryTokenOnce) {
  for (int columns : {0, 1, 63, 64, 65, 4096, 32768, 100000, 1 << 28})
    for (int64_t lanes : {1, 8, 100, 128, 5000})
      for (int step : {64, 128}) {
        const SplitPlan plan = planSplits(columns, lanes, 132, step);
        EXPECT_EQ(plan.tokens % step, 0);
        EXPECT_GE(int64_t(plan.tokens) * plan.splits, columns);
        EXPECT_TRUE(plan.splits == 1 || int64_t(plan.tokens) * (plan.splits - 1) < columns);
        EXPECT_LE(plan.splits, kMostSplits);
      }
  // One wave of eight heads on 132 processors, 0.97 of them.
  EXPECT_EQ(planSplits(32768, 8, 132, 128).splits, 16);
  EXPECT_EQ(planSplits(32768, 128, 132, 128).splits, 1);
}

int encoded(void *map, int, uint32_t, void *, const uint64_t *sizes, const uint64_t *strides, const uint32_t *box,
            const uint32_t *, int, int, int, int) {
  for (int i = 0; i < 4; ++i)
    EXPECT_GE(sizes[i], 1u);
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(strides[i] % 16, 0u);
  EXPECT_LE(box[1], 256u);
  std::memset(map, 1, sizeof(TensorMap));
  return 0;
}
int refused(void *, int, uint32_t, void *, const uint64_t *, const uint64_t *, const uint32_t *, const uint32_t *, int,
            int, int, int) {
  return 1;
}

mlc_attention_problem problemOf(int headDim, int rows, int columns, mlc_attention_dtype kv = MLC_ATTENTION_BF16) {
  mlc_attention_problem problem = {};
  problem.dtype = MLC_ATTENTION_BF16;
  problem.kv_dtype = kv;
  problem.head_dim = headDim;
  problem.batch = 2;
  problem.heads_q = 16;
  problem.heads_kv = 2;
  problem.seq_q = rows;
  problem.seq_kv = columns;
  problem.q = problem.out = {nullptr, int64_t(rows) * 16 * headDim, 16 * headDim, headDim};
  problem.k = problem.v = {nullptr, int64_t(columns) * 2 * headDim, 2 * headDim, headDim};
  problem.window_left = problem.window_right = -1;
  problem.scale = 0.1f;
  return problem;
}

const Device kDevices[] = {
    {132, 227 * 1024, true, encoded}, {108, 163 * 1024, false, nullptr}, {84, 99 * 1024, false, nullptr}};

TEST(Plan, EveryFormFitsItsDevice) {
  char text[200];
  for (const Device &device : kDevices)
    for (int headDim : {64, 80, 96, 128, 256}) {
      uint32_t counter[2];
      ForwardPlan forward;
      ASSERT_TRUE(planForward(problemOf(headDim, 1000, 1000), device, counter, forward, {text, sizeof(text)})) << text;
      EXPECT_LE(forward.sharedBytes, device.sharedBytes) << forward.kernel;
      EXPECT_EQ(forward.args.counter != nullptr, device.hopper);
      EXPECT_GE(forward.blocks * device.processors, 1);
      EXPECT_EQ(std::string(forward.kernel), std::string("mlc_attention_forward_") +
                                                 (device.sharedBytes == 99 * 1024 && headDim >= 128 ? "small_" : "") +
                                                 "bf16_" + std::to_string(headDim));
      for (int rows : {1, 3, 8})
        for (mlc_attention_dtype kv : {MLC_ATTENTION_BF16, MLC_ATTENTION_INT8, MLC_ATTENTION_FP8_E4M3}) {
          const DecodePlan plan = planDecode(problemOf(headDim, rows, 5000, kv), device, nullptr);
          EXPECT_LE(plan.sharedBytes, device.sharedBytes) << plan.kernel;
          EXPECT_EQ(plan.grid[1], plan.args.splits);
          // Linear in shares x rows, behind what counts.
          EXPECT_EQ(plan.workspace,
                    plan.args.splits == 1
                        ? 0
                        : kMostArrived * 4 + size_t(2) * 16 * rows * plan.args.splits * (headDim + 1) * 4);
        }
    }
}

TEST(Plan, OnlyPositiveScalesReachTheSoftmax) {
  for (float scale : {0.1f, 0.0f, -0.1f})
    for (float softcap : {0.0f, 5.0f}) {
      mlc_attention_problem problem = problemOf(64, 4, 100);
      problem.scale = scale;
      problem.softcap = softcap;
      const DecodeArgs args = planDecode(problem, kDevices[0], nullptr).args;
      EXPECT_GT(args.scaleLog2, 0);
      EXPECT_EQ(args.premultiply != 0, softcap == 0 && scale <= 0);
    }
}

TEST(Plan, WhatTheCopyEngineRefusesIsSaid) {
  char text[200];
  ForwardPlan plan;
  Device device = kDevices[0];
  device.encode = refused;
  EXPECT_FALSE(planForward(problemOf(64, 100, 100), device, nullptr, plan, {text, sizeof(text)}));
  EXPECT_STREQ(text, "query: the device cannot copy a tensor of these strides; make it contiguous");
}

} // namespace
} // namespace mlc::attention
