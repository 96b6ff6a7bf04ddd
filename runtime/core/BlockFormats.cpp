//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/core/BlockFormats.h"

#include "runtime/core/Float16.h"

namespace mlc {
namespace {

using fb::WeightFormat;

float readF16(const uint8_t *bytes) { return f16ToF32(uint16_t(bytes[0] | bytes[1] << 8)); }

// Blocks of 32: value i sits in the low nibble of qs[i] for i < 16, else in the high nibble of qs[i - 16]; its fifth
// bit, if any, is bit i of the little-endian word qh.

uint32_t readWord(const uint8_t *bytes) {
  return uint32_t(bytes[0]) | uint32_t(bytes[1]) << 8 | uint32_t(bytes[2]) << 16 | uint32_t(bytes[3]) << 24;
}

struct Q4_0 { // d f16 | qs[16]: d * (q - 8)
  static constexpr unsigned elements = 32, bytes = 18;
  static void dequantize(const uint8_t *block, float *out) {
    float d = readF16(block);
    for (unsigned i = 0; i < 16; ++i) {
      out[i] = d * float(int(block[2 + i] & 15) - 8);
      out[i + 16] = d * float(int(block[2 + i] >> 4) - 8);
    }
  }
};

struct Q4_1 { // d f16 | m f16 | qs[16]: d * q + m
  static constexpr unsigned elements = 32, bytes = 20;
  static void dequantize(const uint8_t *block, float *out) {
    float d = readF16(block), m = readF16(block + 2);
    for (unsigned i = 0; i < 16; ++i) {
      out[i] = d * float(block[4 + i] & 15) + m;
      out[i + 16] = d * float(block[4 + i] >> 4) + m;
    }
  }
};

struct Q5_0 { // d f16 | qh[4] | qs[16]: d * (q - 16)
  static constexpr unsigned elements = 32, bytes = 22;
  static void dequantize(const uint8_t *block, float *out) {
    float d = readF16(block);
    uint32_t high = readWord(block + 2);
    for (unsigned i = 0; i < 16; ++i) {
      int low = int((block[6 + i] & 15) | (high >> i & 1) << 4),
          upper = int((block[6 + i] >> 4) | (high >> (i + 16) & 1) << 4);
      out[i] = d * float(low - 16);
      out[i + 16] = d * float(upper - 16);
    }
  }
};

struct Q5_1 { // d f16 | m f16 | qh[4] | qs[16]: d * q + m
  static constexpr unsigned elements = 32, bytes = 24;
  static void dequantize(const uint8_t *block, float *out) {
    float d = readF16(block), m = readF16(block + 2);
    uint32_t high = readWord(block + 4);
    for (unsigned i = 0; i < 16; ++i) {
      unsigned low = (block[8 + i] & 15) | (high >> i & 1) << 4, upper = (block[8 + i] >> 4) | (high >> (i + 16) & 1)
                                                                                                   << 4;
      out[i] = d * float(low) + m;
      out[i + 16] = d * float(upper) + m;
    }
  }
};

struct Q8_0 { // d f16 | qs i8[32]: q * d
  static constexpr unsigned elements = 32, bytes = 34;
  static void dequantize(const uint8_t *block, float *out) {
    float d = readF16(block);
    for (unsigned i = 0; i < 32; ++i)
      out[i] = float(int8_t(block[2 + i])) * d;
  }
};

// Super-blocks of 256. Two-bit fields: each run of 32 bytes holds 128 values, 32 for each shift 0, 2, 4, 6.

struct Q2_K { // scales[16] (scale | min << 4 per 16 values) | qs[64] | d f16 | dmin f16: d * scale * q - dmin * min
  static constexpr unsigned elements = 256, bytes = 84;
  static void dequantize(const uint8_t *block, float *out) {
    const uint8_t *qs = block + 16;
    float d = readF16(block + 80), dmin = readF16(block + 82);
    for (unsigned i = 0; i < 256; ++i) {
      uint8_t scale = block[i / 16];
      unsigned q = qs[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
      out[i] = (d * float(scale & 15)) * float(q) - dmin * float(scale >> 4);
    }
  }
};

struct Q3_K { // hmask[32] | qs[64] | scales[12] (6 bits per 16 values) | d f16: d * (scale - 32) * (q - (hmask ? 0 :
              // 4))
  static constexpr unsigned elements = 256, bytes = 110;
  static void dequantize(const uint8_t *block, float *out) {
    const uint8_t *qs = block + 32, *packed = block + 96;
    float d = readF16(block + 108), scales[16];
    for (unsigned j = 0; j < 16; ++j) {
      unsigned low = packed[j % 8] >> (j / 8 * 4) & 15, high = packed[8 + j % 4] >> (j / 4 * 2) & 3;
      scales[j] = d * float(int(low | high << 4) - 32);
    }
    for (unsigned i = 0; i < 256; ++i) {
      int q = qs[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
      int offset = (block[i % 32] >> (i / 32) & 1) ? 0 : 4;
      out[i] = scales[i / 16] * float(q - offset);
    }
  }
};

/// Eight 6-bit scales and minima in 12 bytes: 0-3 in the low six bits of bytes 0-3 and 4-7; 4-7 in the nibbles of bytes
/// 8-11, their upper two bits in the top of bytes 0-3 and 4-7.
void unpackScaleMin(const uint8_t *packed, float d, float dmin, float scales[8], float minima[8]) {
  for (unsigned j = 0; j < 4; ++j) {
    scales[j] = d * float(packed[j] & 63);
    minima[j] = dmin * float(packed[4 + j] & 63);
    scales[4 + j] = d * float((packed[8 + j] & 15) | (packed[j] >> 2 & 0x30));
    minima[4 + j] = dmin * float((packed[8 + j] >> 4) | (packed[4 + j] >> 2 & 0x30));
  }
}

struct Q4_K { // d f16 | dmin f16 | scales[12] | qs[128] (64 values per 32 bytes, low nibbles first): d*scale*q -
              // dmin*min
  static constexpr unsigned elements = 256, bytes = 144;
  static void dequantize(const uint8_t *block, float *out) {
    float scales[8], minima[8];
    unpackScaleMin(block + 4, readF16(block), readF16(block + 2), scales, minima);
    const uint8_t *qs = block + 16;
    for (unsigned i = 0; i < 256; ++i) {
      unsigned q = qs[i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15;
      out[i] = scales[i / 32] * float(q) - minima[i / 32];
    }
  }
};

struct Q5_K { // d f16 | dmin f16 | scales[12] | qh[32] (bit i / 32 of byte i % 32) | qs[128] as in Q4_K
  static constexpr unsigned elements = 256, bytes = 176;
  static void dequantize(const uint8_t *block, float *out) {
    float scales[8], minima[8];
    unpackScaleMin(block + 4, readF16(block), readF16(block + 2), scales, minima);
    const uint8_t *qh = block + 16, *qs = block + 48;
    for (unsigned i = 0; i < 256; ++i) {
      unsigned q = (qs[i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15) | (qh[i % 32] >> (i / 32) & 1) << 4;
      out[i] = scales[i / 32] * float(q) - minima[i / 32];
    }
  }
};

struct Q6_K { // ql[128] (128 values per 64 bytes, low nibbles first) | qh[64] | scales i8[16] | d f16: d * scale * (q -
              // 32)
  static constexpr unsigned elements = 256, bytes = 210;
  static void dequantize(const uint8_t *block, float *out) {
    const uint8_t *qh = block + 128, *scales = block + 192;
    float d = readF16(block + 208);
    for (unsigned i = 0; i < 256; ++i) {
      unsigned low = block[i / 128 * 64 + i % 64] >> (i / 64 % 2 * 4) & 15;
      unsigned high = qh[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
      out[i] = (d * float(int8_t(scales[i / 16]))) * float(int(low | high << 4) - 32);
    }
  }
};

template <typename Block> void dequantizeAll(const uint8_t *blocks, size_t count, float *out) {
  for (size_t i = 0; i < count; ++i)
    Block::dequantize(blocks + i * Block::bytes, out + i * Block::elements);
}

struct Traits {
  const char *name;
  unsigned elements, bytes;
  void (*dequantize)(const uint8_t *, size_t, float *);
};

template <typename Block> constexpr Traits traitsOf(const char *name) {
  return {name, Block::elements, Block::bytes, dequantizeAll<Block>};
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

void dequantizeBlocks(WeightFormat format, const uint8_t *blocks, size_t count, float *out) {
  find(format)->dequantize(blocks, count, out);
}

} // namespace mlc
