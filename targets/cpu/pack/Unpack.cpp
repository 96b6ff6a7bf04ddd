//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Reading weights back: GGUF blocks by their published definitions, panels by ours.
//
#include "targets/cpu/pack/Pack.h"

#include "runtime/core/Float16.h"

#include <cstring>

namespace mlc::cpu {

using fb::WeightFormat;

namespace {

uint16_t load16(const uint8_t *p) {
  uint16_t v;
  memcpy(&v, p, 2);
  return v;
}
float half(const uint8_t *p) { return f16ToF32(load16(p)); }

void q4_0(const uint8_t *b, float *out) {
  float d = half(b);
  for (int i = 0; i < 16; ++i) {
    out[i] = float(int(b[2 + i] & 15) - 8) * d;
    out[i + 16] = float(int(b[2 + i] >> 4) - 8) * d;
  }
}

void q4_1(const uint8_t *b, float *out) {
  float d = half(b), m = half(b + 2);
  for (int i = 0; i < 16; ++i) {
    out[i] = float(b[4 + i] & 15) * d + m;
    out[i + 16] = float(b[4 + i] >> 4) * d + m;
  }
}

void q5_0(const uint8_t *b, float *out) {
  float d = half(b);
  uint32_t high = load16(b + 2) | uint32_t(load16(b + 4)) << 16;
  for (int i = 0; i < 16; ++i) {
    out[i] = float(int((b[6 + i] & 15) | (high >> i & 1) << 4) - 16) * d;
    out[i + 16] = float(int((b[6 + i] >> 4) | (high >> (i + 16) & 1) << 4) - 16) * d;
  }
}

void q5_1(const uint8_t *b, float *out) {
  float d = half(b), m = half(b + 2);
  uint32_t high = load16(b + 4) | uint32_t(load16(b + 6)) << 16;
  for (int i = 0; i < 16; ++i) {
    out[i] = float((b[8 + i] & 15) | (high >> i & 1) << 4) * d + m;
    out[i + 16] = float((b[8 + i] >> 4) | (high >> (i + 16) & 1) << 4) * d + m;
  }
}

void q8_0(const uint8_t *b, float *out) {
  float d = half(b);
  for (int i = 0; i < 32; ++i)
    out[i] = float(int8_t(b[2 + i])) * d;
}

// Sub-blocks of 16: 4-bit scale and minimum; 2-bit values, four planes of 32 to each half.
void q2_k(const uint8_t *b, float *out) {
  const uint8_t *scales = b, *values = b + 16;
  float d = half(b + 80), dmin = half(b + 82);
  for (int i = 0; i < 256; ++i) {
    int sub = i / 16;
    float scale = d * float(scales[sub] & 15), minimum = dmin * float(scales[sub] >> 4);
    int v = values[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
    out[i] = scale * float(v) - minimum;
  }
}

// Sub-blocks of 16: signed 6-bit scales; the third bit of a value comes from the mask plane (clear: minus 4).
void q3_k(const uint8_t *b, float *out) {
  const uint8_t *mask = b, *values = b + 32, *packed = b + 96;
  float d = half(b + 108);
  for (int i = 0; i < 256; ++i) {
    int sub = i / 16;
    int low = sub < 8 ? packed[sub] & 15 : packed[sub - 8] >> 4, high = packed[8 + sub % 4] >> (sub / 4 * 2) & 3;
    float scale = d * float((low | high << 4) - 32);
    int v = values[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
    out[i] = scale * float(v - (mask[i % 32] >> (i / 32) & 1 ? 0 : 4));
  }
}

/// The 6-bit scale and minimum of sub-block `j` (of 8) of q4_k and q5_k.
void scaleMin(const uint8_t *packed, int j, int &scale, int &minimum) {
  if (j < 4) {
    scale = packed[j] & 63;
    minimum = packed[j + 4] & 63;
  } else {
    scale = (packed[j + 4] & 15) | (packed[j - 4] >> 6) << 4;
    minimum = packed[j + 4] >> 4 | (packed[j] >> 6) << 4;
  }
}

void q4_k(const uint8_t *b, float *out) {
  float d = half(b), dmin = half(b + 2);
  for (int sub = 0; sub < 8; ++sub) {
    int scale, minimum;
    scaleMin(b + 4, sub, scale, minimum);
    float s = d * float(scale), m = dmin * float(minimum);
    for (int i = 0; i < 32; ++i)
      out[sub * 32 + i] = s * float(b[16 + sub / 2 * 32 + i] >> (sub % 2 * 4) & 15) - m;
  }
}

void q5_k(const uint8_t *b, float *out) {
  float d = half(b), dmin = half(b + 2);
  for (int sub = 0; sub < 8; ++sub) {
    int scale, minimum;
    scaleMin(b + 4, sub, scale, minimum);
    float s = d * float(scale), m = dmin * float(minimum);
    for (int i = 0; i < 32; ++i) {
      int v = (b[48 + sub / 2 * 32 + i] >> (sub % 2 * 4) & 15) | (b[16 + i] >> sub & 1) << 4;
      out[sub * 32 + i] = s * float(v) - m;
    }
  }
}

void q6_k(const uint8_t *b, float *out) {
  const uint8_t *low = b, *high = b + 128, *scales = b + 192;
  float d = half(b + 208);
  for (int i = 0; i < 256; ++i) {
    int part = i / 128, plane = i % 128 / 32, at = i % 32;
    int v = low[part * 64 + (plane & 1) * 32 + at] >> (plane / 2 * 4) & 15;
    v |= (high[part * 32 + at] >> (plane * 2) & 3) << 4;
    out[i] = d * float(int8_t(scales[i / 16])) * float(v - 32);
  }
}

using BlockFn = void (*)(const uint8_t *, float *);
BlockFn blockFn(WeightFormat format) {
  switch (format) {
  case WeightFormat::block_q4_0:
    return q4_0;
  case WeightFormat::block_q4_1:
    return q4_1;
  case WeightFormat::block_q5_0:
    return q5_0;
  case WeightFormat::block_q5_1:
    return q5_1;
  case WeightFormat::block_q8_0:
    return q8_0;
  case WeightFormat::block_q2_k:
    return q2_k;
  case WeightFormat::block_q3_k:
    return q3_k;
  case WeightFormat::block_q4_k:
    return q4_k;
  case WeightFormat::block_q5_k:
    return q5_k;
  default:
    return q6_k;
  }
}

} // namespace

void dequantizeBlocks(WeightFormat format, const uint8_t *row, uint64_t begin, uint64_t count, float *out) {
  BlockShape shape = blockShape(format);
  BlockFn fn = blockFn(format);
  const uint8_t *block = row + begin / shape.elements * shape.bytes;
  for (uint64_t i = 0; i < count; i += shape.elements, block += shape.bytes)
    fn(block, out + i);
}

void unpackRow(const fb::WeightDesc &desc, const uint8_t *weight, uint64_t row, float *out) {
  WeightFormat format = desc.format();
  uint64_t k = desc.k();
  if (isBlock(format))
    return dequantizeBlocks(format, weight + packedOffset(desc, row), 0, k, out);
  // A row of a plain format, or row r of a panel: element i lies at base + i * step elements.
  PanelLayout layout{};
  const uint8_t *base;
  uint64_t r = 0, step = 1;
  if (isRows(format)) {
    base = weight + packedOffset(desc, row);
  } else {
    layout = panelLayout(desc);
    base = weight + row / kPanel * layout.bytes;
    r = row % kPanel;
    step = kPanel;
  }
  switch (format) {
  case WeightFormat::rows_f32:
  case WeightFormat::panel_f32:
    for (uint64_t i = 0; i < k; ++i)
      memcpy(out + i, base + (i * step + r) * 4, 4);
    return;
  case WeightFormat::rows_f16:
  case WeightFormat::panel_f16:
    for (uint64_t i = 0; i < k; ++i)
      out[i] = half(base + (i * step + r) * 2);
    return;
  case WeightFormat::rows_bf16:
  case WeightFormat::panel_bf16:
    for (uint64_t i = 0; i < k; ++i)
      out[i] = bf16ToF32(load16(base + (i * step + r) * 2));
    return;
  default:
    break;
  }
  bool int4 = format == WeightFormat::panel_int4;
  for (uint64_t g = 0; g < layout.groups; ++g) {
    float scale = bf16ToF32(load16(base + layout.scalesOffset + (g * kPanel + r) * 2));
    int zero = int4 ? 8 : 128;
    if (desc.asymmetric())
      zero = int8_t(base[layout.zerosOffset + g * kPanel + r]);
    uint64_t begin = g * layout.group, end = begin + layout.group < k ? begin + layout.group : k;
    for (uint64_t i = begin; i < end; ++i) {
      int q = int4 ? base[i / 8 * 64 + r * 4 + i % 4] >> (i & 4) & 15 : base[i / 4 * 64 + r * 4 + i % 4];
      out[i] = float(q - zero) * scale;
    }
  }
}

} // namespace mlc::cpu
