//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cuda/attention/Tiles.h"

#include <gtest/gtest.h>

#include <set>

using namespace mlc::cuda;

namespace {

template <typename T> class SwizzledRowsTest : public testing::Test {};
using HeadDims =
    testing::Types<SwizzledRows<64>, SwizzledRows<80>, SwizzledRows<96>, SwizzledRows<128>, SwizzledRows<256>>;
TYPED_TEST_SUITE(SwizzledRowsTest, HeadDims);

constexpr int kRows = 64;

int bank(int offset) { return offset / 16 % 8; }

TYPED_TEST(SwizzledRowsTest, EveryChunkHasItsPlaceInItsRow) {
  std::set<int> places;
  for (int row = 0; row < kRows; ++row)
    for (int chunk = 0; chunk < TypeParam::kChunks; ++chunk) {
      int offset = TypeParam::offset(row, chunk);
      EXPECT_EQ(offset / TypeParam::kRowBytes, row);
      EXPECT_EQ(offset % 16, 0);
      EXPECT_TRUE(places.insert(offset).second);
    }
}

// What one phase of a matrix load reads: a chunk of each of eight rows.
TYPED_TEST(SwizzledRowsTest, EightRowsLieInEightBanks) {
  for (int row = 0; row < kRows; row += 8)
    for (int chunk = 0; chunk < TypeParam::kChunks; ++chunk) {
      std::set<int> banks;
      for (int i = 0; i < 8; ++i)
        banks.insert(bank(TypeParam::offset(row + i, chunk)));
      EXPECT_EQ(banks.size(), 8u) << "row " << row << " chunk " << chunk;
    }
}

// What one phase of a 16-byte copy writes: kGroup chunks of each of 8 / kGroup rows.
TYPED_TEST(SwizzledRowsTest, CopiesOfEightThreads) {
  for (int thread = 0; thread < 256; thread += 8)
    for (int chunk = 0; chunk < TypeParam::kChunks; chunk += TypeParam::kGroup) {
      std::set<int> banks;
      for (int i = thread; i < thread + 8; ++i) {
        int offset = TypeParam::offset(i / TypeParam::kGroup, i % TypeParam::kGroup);
        banks.insert(bank(offset + chunk * 16));
        EXPECT_EQ(offset + chunk * 16, TypeParam::offset(i / TypeParam::kGroup, i % TypeParam::kGroup + chunk));
      }
      EXPECT_EQ(banks.size(), 8u) << "thread " << thread << " chunk " << chunk;
    }
}

TYPED_TEST(SwizzledRowsTest, AlongARow) {
  constexpr uint32_t base = 3 * 128;
  for (int row = 0; row < kRows; ++row)
    for (int chunk = 0; chunk < TypeParam::kChunks; ++chunk)
      EXPECT_EQ(TypeParam::along(base + TypeParam::offset(row, chunk % 2), chunk / 2),
                base + TypeParam::offset(row, chunk))
          << "row " << row << " chunk " << chunk;
}

} // namespace
