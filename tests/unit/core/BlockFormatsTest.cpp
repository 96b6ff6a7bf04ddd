//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Block formats against gguf-py: block_vectors.py makes the table from the same pseudo-random blocks.
//
#include "runtime/core/BlockFormats.h"

#include <gtest/gtest.h>

#include <bit>
#include <vector>

using namespace mlc;
using F = fb::WeightFormat;

namespace {

constexpr uint16_t kExtremes[] = {0x0000, 0x8000, 0x0001, 0x83ff, 0x0400, 0x7bff, 0xfbff, 0x7c00, 0x7e00, 0x3c00};
constexpr size_t kBlocks = 96;

struct Recorded {
  F format;
  unsigned elements, bytes;
  std::vector<unsigned> halves; // Byte offsets of the f16 fields.
  uint64_t hash;                // FNV-1a over all values' bits, NaN as 0x7fc00000.
  uint32_t picked[5];           // Block 1: the first two values, the two in the middle, the last.
};

const Recorded kRecorded[] = {
    {F::block_q4_0, 32, 18, {0}, 0xae9e09609cd88f25, {0x3d8c8000, 0xbeafa000, 0x3eafa000, 0xbeafa000, 0xbe8c8000}},
    {F::block_q4_1, 32, 20, {0, 2}, 0x28e8c751a129d19b, {0xbe0cea00, 0xbdd57400, 0xbe001800, 0xbde68c00, 0xbdb34400}},
    {F::block_q5_0, 32, 22, {0}, 0x9a2135e965b15d25, {0x3ba09800, 0x3cbb5c00, 0x3c70e400, 0x3cbb5c00, 0x3c05d400}},
    {F::block_q5_1, 32, 24, {0, 2}, 0xb7e8265042f9b8da, {0xc8ea482f, 0xc905e017, 0xc6b282ea, 0xc8c8d02f, 0xc92cec17}},
    {F::block_q8_0, 32, 34, {0}, 0xb1e5c3393a8375a5, {0x3d3f7200, 0xbdc14940, 0x3d21fe00, 0xbc3f7200, 0x3c048a00}},
    {F::block_q2_k,
     256,
     84,
     {80, 82},
     0x55381ac1f9000a26,
     {0xc5802690, 0xc529e520, 0xc5715aa0, 0xc4f1b6c0, 0xc57b0cc0}},
    {F::block_q3_k, 256, 110, {108}, 0xe84c3274a3f09225, {0x4a254080, 0xca254080, 0x49dc5600, 0x4a3cdc00, 0x49dc5600}},
    {F::block_q4_k, 256, 144, {0, 2}, 0xf70c2bc816e32881, {0x45c5c64b, 0x45c66add, 0x45b59be5, 0x4592e80c, 0x460288b8}},
    {F::block_q5_k, 256, 176, {0, 2}, 0xe3d8abe74013d8c8, {0x40a28ede, 0x3efbfdd8, 0x40860644, 0x4006fbec, 0x406671d1}},
    {F::block_q6_k, 256, 210, {208}, 0x972d0b3a2163a677, {0x411ed48c, 0x41121fb4, 0x3f276d00, 0x3f4552c0, 0xbddf3c00}},
};

std::vector<uint8_t> makeBlocks(const Recorded &recorded, uint64_t seed) {
  std::vector<uint8_t> data(kBlocks * recorded.bytes);
  uint64_t state = seed;
  for (uint8_t &byte : data) {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    byte = uint8_t(z ^ (z >> 31));
  }
  for (size_t block = 0; block < kBlocks; block += 3)
    for (size_t i = 0; i < recorded.halves.size(); ++i) {
      uint16_t half = kExtremes[(block / 3 + i * 3) % std::size(kExtremes)];
      data[block * recorded.bytes + recorded.halves[i]] = uint8_t(half);
      data[block * recorded.bytes + recorded.halves[i] + 1] = uint8_t(half >> 8);
    }
  return data;
}

TEST(BlockFormats, DequantizeEqualsTheDefinitionBitForBit) {
  uint64_t seed = 0;
  for (const Recorded &recorded : kRecorded) {
    SCOPED_TRACE(blockName(recorded.format));
    ASSERT_TRUE(isBlockFormat(recorded.format));
    EXPECT_EQ(blockElements(recorded.format), recorded.elements);
    EXPECT_EQ(blockBytes(recorded.format), recorded.bytes);
    std::vector<uint8_t> data = makeBlocks(recorded, seed++);
    std::vector<float> values(kBlocks * recorded.elements);
    dequantizeBlocks(recorded.format, data.data(), kBlocks, values.data());
    uint64_t hash = 0xcbf29ce484222325;
    for (float value : values)
      hash = (hash ^ (value != value ? 0x7fc00000 : std::bit_cast<uint32_t>(value))) * 0x100000001b3;
    EXPECT_EQ(hash, recorded.hash);
    unsigned n = recorded.elements, index[] = {0, 1, n / 2 - 1, n / 2, n - 1};
    for (unsigned i = 0; i < 5; ++i)
      EXPECT_EQ(std::bit_cast<uint32_t>(values[n + index[i]]), recorded.picked[i]) << "value " << index[i];
  }
  EXPECT_EQ(seed, 10u);
}

TEST(BlockFormats, PlainFormatsAreNoBlocks) {
  for (F format : {F::rows_f32, F::rows_bf16, F::panel_int4, F(31), F(42), F(255)}) {
    EXPECT_FALSE(isBlockFormat(format));
    EXPECT_EQ(blockElements(format), 0u);
    EXPECT_EQ(blockBytes(format), 0u);
    EXPECT_STREQ(blockName(format), "?");
  }
}

} // namespace
