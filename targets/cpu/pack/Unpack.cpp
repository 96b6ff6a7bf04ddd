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

static unsigned bitsAt(const uint8_t *lines, unsigned width, uint64_t column, uint64_t row) {
  uint64_t quad = column / 4, quadsPerByte = 8 / width;
  return lines[quad / quadsPerByte * 64 + row * 4 + column % 4] >> (quad % quadsPerByte * width) & ((1u << width) - 1);
}

unsigned panelCode(const PanelLayout &layout, const uint8_t *panel, uint64_t column, uint64_t row) {
  unsigned low = unsigned(lowBits(int(layout.bits))), high = layout.bits - low;
  const uint8_t *unit = panel + unitOffset(layout, column);
  unsigned code = bitsAt(unit, low, column % kUnit, row);
  return high ? code | bitsAt(unit + low * 64, high, column % kUnit, row) << low : code;
}

GroupFactors groupFactors(const fb::WeightDesc &desc, const PanelLayout &layout, const uint8_t *panel, uint64_t g,
                          uint64_t row) {
  if (!isBlockPanel(desc.format())) {
    int zero = 1 << (layout.bits - 1);
    if (desc.asymmetric())
      zero = int8_t(panel[layout.offsetsOffset + g * kPanel + row]);
    return {bf16ToF32(load16(panel + layout.scalesOffset + (g * kPanel + row) * 2)), 0, zero};
  }
  const BlockShape &shape = blockShape(blockOfPanel(desc.format()));
  const uint64_t blockGroups = layout.blockColumns / layout.group;
  panel += g / blockGroups * layout.blockBytes;
  g %= blockGroups;
  uint64_t at = (shape.super ? row : g * kPanel + row) * 2;
  GroupFactors factors{half(panel + layout.scalesOffset + at), 0, shape.zero};
  if (shape.offsets)
    factors.offset = half(panel + layout.offsetsOffset + at);
  if (shape.super) {
    uint8_t scale = panel[layout.subScalesOffset + g * kPanel + row];
    factors.scale *= shape.signedScales ? float(int8_t(scale)) : float(scale);
    if (shape.offsets)
      factors.offset *= float(panel[layout.subOffsetsOffset + g * kPanel + row]);
  }
  return factors;
}

void unpackQuantized(const fb::WeightDesc &desc, const uint8_t *weight, uint64_t row, uint64_t begin, uint64_t count,
                     float *out) {
  PanelLayout layout = panelLayout(desc);
  const uint8_t *panel = weight + row / kPanel * layout.bytes;
  uint64_t r = row % kPanel, end = begin + count;
  bool offsets = isBlockPanel(desc.format()) && blockShape(blockOfPanel(desc.format())).offsets;
  for (uint64_t i = begin; i < end;) {
    uint64_t g = i / layout.group, last = (g + 1) * layout.group < end ? (g + 1) * layout.group : end;
    GroupFactors factors = groupFactors(desc, layout, panel, g, r);
    for (; i < last; ++i) {
      float value = float(int(panelCode(layout, panel, i, r)) - factors.zero) * factors.scale;
      out[i - begin] = offsets ? value - factors.offset : value;
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
    for (uint64_t i = 0; i < k; ++i)
      out[i] = bf16ToF32(load16(base + i * 2));
    return;
  case WeightFormat::panel_bf16:
    for (uint64_t i = 0; i < k; ++i)
      out[i] = bf16ToF32(load16(base + ((i / 2 * kPanel + r) * 2 + i % 2) * 2));
    return;
  default:
    break;
  }
}

} // namespace mlc::cpu
