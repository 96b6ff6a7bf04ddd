//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Reading packed weights back.
//
#include "targets/cpu/pack/Pack.h"

#include "runtime/core/BlockFormats.h"
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

} // namespace

void unpackQuantized(const fb::WeightDesc &desc, const uint8_t *weight, uint64_t row, uint64_t begin, uint64_t count,
                     float *out) {
  PanelLayout layout = panelLayout(desc);
  const uint8_t *base = weight + row / kPanel * layout.bytes;
  uint64_t r = row % kPanel, end = begin + count;
  bool int4 = desc.format() == WeightFormat::panel_int4;
  for (uint64_t i = begin; i < end;) {
    uint64_t g = i / layout.group, last = (g + 1) * layout.group < end ? (g + 1) * layout.group : end;
    float scale = bf16ToF32(load16(base + layout.scalesOffset + (g * kPanel + r) * 2));
    int zero = int4 ? 8 : 128;
    if (desc.asymmetric())
      zero = int8_t(base[layout.zerosOffset + g * kPanel + r]);
    for (; i < last; ++i) {
      int q = int4 ? base[i / 8 * 64 + r * 4 + i % 4] >> (i & 4) & 15 : base[i / 4 * 64 + r * 4 + i % 4];
      out[i - begin] = float(q - zero) * scale;
    }
  }
}

void unpackRow(const fb::WeightDesc &desc, const uint8_t *weight, uint64_t row, float *out) {
  WeightFormat format = desc.format();
  uint64_t k = desc.k();
  if (isQuantized(format))
    return unpackQuantized(desc, weight, row, 0, k, out);
  if (isBlockFormat(format))
    return dequantizeBlocks(format, weight + packedOffset(desc, row), size_t(k / blockElements(format)), out);
  // A row of a plain format, or row r of a panel: element i lies at base + i * step elements.
  const uint8_t *base;
  uint64_t r = 0, step = 1;
  if (isRows(format)) {
    base = weight + packedOffset(desc, row);
  } else {
    base = weight + row / kPanel * panelLayout(desc).bytes;
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
}

} // namespace mlc::cpu
