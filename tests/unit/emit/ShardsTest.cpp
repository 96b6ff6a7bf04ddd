//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What ranks hold of a tensor, against its values.
//
#include "compiler/Artifact/Emit/Shards.h"

#include "targets/cpu/pack/Pack.h"

#include <gtest/gtest.h>

#include <random>

using namespace mlc;

namespace {

/// A tensor of any bytes that are finite numbers, in its storage.
struct Stored {
  TensorInfo tensor;
  std::vector<uint8_t> bytes;

  Stored(StorageType storage, llvm::ArrayRef<int64_t> shape) {
    tensor.storage = storage;
    tensor.shape.assign(shape.begin(), shape.end());
    EXPECT_TRUE(storageBytes(storage, shape, tensor.bytes));
    std::mt19937 random(unsigned(tensor.bytes));
    bytes.resize(tensor.bytes);
    for (uint8_t &byte : bytes)
      byte = uint8_t(random() % 0x38);
    tensor.data = bytes.data();
    tensor.file = 0;
  }
  static std::vector<float> valuesOf(const TensorInfo &tensor) {
    std::vector<float> values(size_t(tensor.elements()));
    Checkpoint::readRows(tensor, 0, tensor.rows(), values.data());
    return values;
  }
};

/// Compares every rank's part with the values that the shard names.
void check(StorageType storage, llvm::ArrayRef<int64_t> shape, int64_t ranks, int64_t axis,
           llvm::ArrayRef<int64_t> pieces) {
  Stored stored(storage, shape);
  const std::vector<float> whole = Stored::valuesOf(stored.tensor);
  int64_t outer = 1, inner = 1;
  for (int64_t i = 0; i < int64_t(shape.size()); ++i)
    (i < axis ? outer : inner) *= i == axis ? 1 : shape[i];
  llvm::SmallVector<int64_t> shard{ranks, axis};
  shard.append(pieces.begin(), pieces.end());
  for (int64_t rank = 0; rank < ranks; ++rank) {
    std::vector<uint8_t> bytes;
    TensorInfo part = partOf(stored.tensor, shard, rank, bytes);
    std::vector<float> want;
    for (int64_t o = 0; o < outer; ++o) {
      int64_t begin = 0;
      for (int64_t piece : pieces) {
        for (int64_t i = begin + rank * (piece / ranks); i < begin + (rank + 1) * (piece / ranks); ++i)
          for (int64_t k = 0; k < inner; ++k)
            want.push_back(whole[size_t((o * shape[axis] + i) * inner + k)]);
        begin += piece;
      }
    }
    uint64_t expected = 0;
    ASSERT_TRUE(storageBytes(storage, part.shape, expected));
    EXPECT_EQ(part.bytes, expected);
    EXPECT_EQ(Stored::valuesOf(part), want) << "rank " << rank << ", axis " << axis;
  }
}

TEST(Shards, AreTheValuesOfEachRank) {
  for (StorageType storage :
       {StorageType::rows_f32, StorageType::rows_f16, StorageType::rows_bf16, StorageType::block_q4_0,
        StorageType::block_q8_0, StorageType::block_q4_k, StorageType::block_q6_k}) {
    for (int64_t ranks : {2, 3, 4}) {
      // Rows: at once, and of a matrix of several pieces.
      check(storage, {12, 768}, ranks, 0, {12});
      check(storage, {36, 256}, ranks, 0, {12, 24});
      // Columns, of blocks whole ones.
      check(storage, {5, 3072}, ranks, 1, {3072});
      check(storage, {5, 6144}, ranks, 1, {3072, 3072});
      // Of experts in one tensor.
      check(storage, {3, 24, 256}, ranks, 1, {12, 12});
      check(storage, {3, 4, 3072}, ranks, 2, {3072});
    }
  }
  check(StorageType::rows_f32, {24}, 2, 0, {8, 16});
  check(StorageType::rows_bf16, {24}, 3, 0, {24});
}

TEST(Shards, WhatIsAddedOnceIsRankZeros) {
  Stored stored(StorageType::rows_f16, {8});
  std::vector<uint8_t> bytes;
  EXPECT_EQ(Stored::valuesOf(partOf(stored.tensor, {2, 0}, 0, bytes)), Stored::valuesOf(stored.tensor));
  EXPECT_EQ(Stored::valuesOf(partOf(stored.tensor, {2, 0}, 1, bytes)), std::vector<float>(8, 0.0f));
}

TEST(Shards, WholeTensorsStay) {
  Stored stored(StorageType::rows_f32, {2, 4});
  std::vector<uint8_t> bytes;
  EXPECT_EQ(partOf(stored.tensor, {}, 1, bytes).data, stored.tensor.data);
}

} // namespace
