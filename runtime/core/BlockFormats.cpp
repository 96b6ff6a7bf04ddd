//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/core/BlockFormats.h"

#include "runtime/core/Float16.h"

namespace mlc {
namespace {

using fb::WeightFormat;

uint16_t readHalf(const uint8_t *bytes) { return uint16_t(bytes[0] | bytes[1] << 8); }
uint32_t readWord(const uint8_t *bytes) {
  return uint32_t(bytes[0]) | uint32_t(bytes[1]) << 8 | uint32_t(bytes[2]) << 16 | uint32_t(bytes[3]) << 24;
}

// Blocks of 32: value i sits in the low nibble of qs[i] for i < 16, else in the high nibble of qs[i - 16]; its fifth
// bit, if any, is bit i of the little-endian word qh.

void splitNibbles(const uint8_t *qs, BlockParts &parts) {
  for (unsigned i = 0; i < 16; ++i) {
    parts.q[i] = qs[i] & 15;
    parts.q[i + 16] = qs[i] >> 4;
  }
}
void addFifthBits(uint32_t high, BlockParts &parts) {
  for (unsigned i = 0; i < 32; ++i)
    parts.q[i] |= uint8_t((high >> i & 1) << 4);
}

struct Q4_0 { // d f16 | qs[16]: d * (q - 8)
  static constexpr unsigned elements = 32, bytes = 18;
  static constexpr BlockShape shape{4, 8, 32, false, false, false};
  static void split(const uint8_t *block, BlockParts &parts) {
    parts.d = readHalf(block);
    splitNibbles(block + 2, parts);
  }
};

struct Q4_1 { // d f16 | m f16 | qs[16]: d * q + m
  static constexpr unsigned elements = 32, bytes = 20;
  static constexpr BlockShape shape{4, 0, 32, true, false, false};
  static void split(const uint8_t *block, BlockParts &parts) {
    parts.d = readHalf(block);
    parts.m = readHalf(block + 2) ^ 0x8000;
    splitNibbles(block + 4, parts);
  }
};

struct Q5_0 { // d f16 | qh[4] | qs[16]: d * (q - 16)
  static constexpr unsigned elements = 32, bytes = 22;
  static constexpr BlockShape shape{5, 16, 32, false, false, false};
  static void split(const uint8_t *block, BlockParts &parts) {
    parts.d = readHalf(block);
    splitNibbles(block + 6, parts);
    addFifthBits(readWord(block + 2), parts);
  }
};

struct Q5_1 { // d f16 | m f16 | qh[4] | qs[16]: d * q + m
  static constexpr unsigned elements = 32, bytes = 24;
  static constexpr BlockShape shape{5, 0, 32, true, false, false};
  static void split(const uint8_t *block, BlockParts &parts) {
    parts.d = readHalf(block);
    parts.m = readHalf(block + 2) ^ 0x8000;
    splitNibbles(block + 8, parts);
    addFifthBits(readWord(block + 4), parts);
  }
};

struct Q8_0 { // d f16 | qs i8[32]: q * d
  static constexpr unsigned elements = 32, bytes = 34;
  static constexpr BlockShape shape{8, 128, 32, false, false, false};
  static void split(const uint8_t *block, BlockParts &parts) {
    parts.d = readHalf(block);
    for (unsigned i = 0; i < 32; ++i)
      parts.q[i] = block[2 + i] ^ 0x80;
  }
};

// Super-blocks of 256. Two-bit fields: each run of 32 bytes holds 128 values, 32 for each shift 0, 2, 4, 6.

void splitPairs(const uint8_t *qs, uint8_t *q) {
  for (unsigned run = 0; run < 2; ++run)
    for (unsigned shift = 0; shift < 4; ++shift)
      for (unsigned i = 0; i < 32; ++i)
        q[run * 128 + shift * 32 + i] = qs[run * 32 + i] >> (2 * shift) & 3;
}

struct Q2_K { // scales[16] (scale | min << 4 per 16 values) | qs[64] | d f16 | dmin f16: d * scale * q - dmin * min
  static constexpr unsigned elements = 256, bytes = 84;
  static constexpr BlockShape shape{2, 0, 16, true, true, false};
  static void split(const uint8_t *block, BlockParts &parts) {
    parts.d = readHalf(block + 80);
    parts.m = readHalf(block + 82);
    for (unsigned i = 0; i < 16; ++i) {
      parts.scales[i] = block[i] & 15;
      parts.offsets[i] = block[i] >> 4;
    }
    splitPairs(block + 16, parts.q);
  }
};

struct Q3_K { // hmask[32] | qs[64] | scales[12] (6 bits per 16 values) | d f16: d * (scale - 32) * (q - (hmask ? 0 :
              // 4))
  static constexpr unsigned elements = 256, bytes = 110;
  static constexpr BlockShape shape{3, 4, 16, false, true, true};
  static void split(const uint8_t *block, BlockParts &parts) {
    const uint8_t *packed = block + 96;
    parts.d = readHalf(block + 108);
    for (unsigned j = 0; j < 16; ++j) {
      unsigned low = packed[j % 8] >> (j / 8 * 4) & 15, high = packed[8 + j % 4] >> (j / 4 * 2) & 3;
      parts.scales[j] = uint8_t(int(low | high << 4) - 32);
    }
    splitPairs(block + 32, parts.q);
    for (unsigned run = 0; run < 8; ++run)
      for (unsigned i = 0; i < 32; ++i)
        parts.q[run * 32 + i] |= uint8_t((block[i] >> run & 1) << 2);
  }
};

/// Eight 6-bit scales and minima in 12 bytes: 0-3 in the low six bits of bytes 0-3 and 4-7; 4-7 in the nibbles of bytes
/// 8-11, their upper two bits in the top of bytes 0-3 and 4-7.
void splitScales(const uint8_t *packed, BlockParts &parts) {
  for (unsigned j = 0; j < 4; ++j) {
    parts.scales[j] = packed[j] & 63;
    parts.offsets[j] = packed[4 + j] & 63;
    parts.scales[4 + j] = uint8_t((packed[8 + j] & 15) | (packed[j] >> 2 & 0x30));
    parts.offsets[4 + j] = uint8_t((packed[8 + j] >> 4) | (packed[4 + j] >> 2 & 0x30));
  }
}
/// 64 values for every 32 bytes, low nibbles first.
void splitNibbleRuns(const uint8_t *qs, uint8_t *q) {
  for (unsigned run = 0; run < 4; ++run)
    for (unsigned i = 0; i < 32; ++i) {
      q[run * 64 + i] = qs[run * 32 + i] & 15;
      q[run * 64 + 32 + i] = qs[run * 32 + i] >> 4;
    }
}

struct Q4_K { // d f16 | dmin f16 | scales[12] | qs[128]: d * scale * q - dmin * min
  static constexpr unsigned elements = 256, bytes = 144;
  static constexpr BlockShape shape{4, 0, 32, true, true, false};
  static void split(const uint8_t *block, BlockParts &parts) {
    parts.d = readHalf(block);
    parts.m = readHalf(block + 2);
    splitScales(block + 4, parts);
    splitNibbleRuns(block + 16, parts.q);
  }
};

struct Q5_K { // d f16 | dmin f16 | scales[12] | qh[32] (bit i / 32 of byte i % 32) | qs[128] as in Q4_K
  static constexpr unsigned elements = 256, bytes = 176;
  static constexpr BlockShape shape{5, 0, 32, true, true, false};
  static void split(const uint8_t *block, BlockParts &parts) {
    parts.d = readHalf(block);
    parts.m = readHalf(block + 2);
    splitScales(block + 4, parts);
    splitNibbleRuns(block + 48, parts.q);
    for (unsigned run = 0; run < 8; ++run)
      for (unsigned i = 0; i < 32; ++i)
        parts.q[run * 32 + i] |= uint8_t((block[16 + i] >> run & 1) << 4);
  }
};

struct Q6_K { // ql[128] (128 values per 64 bytes, low nibbles first) | qh[64] | scales i8[16] | d f16: d * scale * (q -
              // 32)
  static constexpr unsigned elements = 256, bytes = 210;
  static constexpr BlockShape shape{6, 32, 16, false, true, true};
  static void split(const uint8_t *block, BlockParts &parts) {
    parts.d = readHalf(block + 208);
    for (unsigned i = 0; i < 16; ++i)
      parts.scales[i] = block[192 + i];
    splitPairs(block + 128, parts.q);
    for (unsigned run = 0; run < 2; ++run)
      for (unsigned i = 0; i < 64; ++i) {
        uint8_t &low = parts.q[run * 128 + i], &high = parts.q[run * 128 + 64 + i], nibbles = block[run * 64 + i];
        low = uint8_t(low << 4 | (nibbles & 15));
        high = uint8_t(high << 4 | nibbles >> 4);
      }
  }
};

template <typename Block> void dequantizeAll(const uint8_t *blocks, size_t count, float *out) {
  constexpr BlockShape shape = Block::shape;
  BlockParts parts;
  for (size_t b = 0; b < count; ++b, out += Block::elements) {
    Block::split(blocks + b * Block::bytes, parts);
    float d = f16ToF32(parts.d), m = f16ToF32(parts.m);
    for (unsigned g = 0; g < Block::elements / shape.group; ++g) {
      float scale = d, offset = m;
      if (shape.super)
        scale = d * (shape.signedScales ? float(int8_t(parts.scales[g])) : float(parts.scales[g]));
      if (shape.super && shape.offsets)
        offset = m * float(parts.offsets[g]);
      for (unsigned i = g * shape.group; i < (g + 1u) * shape.group; ++i) {
        float value = scale * float(int(parts.q[i]) - shape.zero);
        out[i] = shape.offsets ? value - offset : value;
      }
    }
  }
}

struct Traits {
  const char *name;
  unsigned elements, bytes;
  BlockShape shape;
  void (*split)(const uint8_t *, BlockParts &);
  void (*dequantize)(const uint8_t *, size_t, float *);
};

template <typename Block> constexpr Traits traitsOf(const char *name) {
  return {name, Block::elements, Block::bytes, Block::shape, Block::split, dequantizeAll<Block>};
}

constexpr Traits kTraits[] = {
    traitsOf<Q4_0>("Q4_0"), traitsOf<Q4_1>("Q4_1"), traitsOf<Q5_0>("Q5_0"), traitsOf<Q5_1>("Q5_1"),
    traitsOf<Q8_0>("Q8_0"), traitsOf<Q2_K>("Q2_K"), traitsOf<Q3_K>("Q3_K"), traitsOf<Q4_K>("Q4_K"),
    traitsOf<Q5_K>("Q5_K"), traitsOf<Q6_K>("Q6_K"),
};
constexpr unsigned kFirst = unsigned(WeightFormat::block_q4_0), kCount = sizeof kTraits / sizeof kTraits[0];
static_assert(kFirst + kCount - 1 == unsigned(WeightFormat::block_q6_k));

const Traits *find(WeightFormat format) {
  unsigned index = unsigned(format) - kFirst;
  return index < kCount ? &kTraits[index] : nullptr;
}

} // namespace

bool isBlockFormat(WeightFormat format) { return find(format) != nullptr; }

unsigned blockElements(WeightFormat format) {
  const Traits *traits = find(format);
  return traits ? traits->elements : 0;
}

unsigned blockBytes(WeightFormat format) {
  const Traits *traits = find(format);
  return traits ? traits->bytes : 0;
}

const char *blockName(WeightFormat format) {
  const Traits *traits = find(format);
  return traits ? traits->name : "?";
}

const BlockShape &blockShape(WeightFormat format) { return find(format)->shape; }

void splitBlock(WeightFormat format, const uint8_t *block, BlockParts &parts) { find(format)->split(block, parts); }

void dequantizeBlocks(WeightFormat format, const uint8_t *blocks, size_t count, float *out) {
  find(format)->dequantize(blocks, count, out);
}

} // namespace mlc
