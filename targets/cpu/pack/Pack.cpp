//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Panels: quantized groups (ScaleSearch.h chooses their scales) and the interleaving of 16 rows.
//
#include "targets/cpu/pack/Pack.h"

#include "runtime/core/Float16.h"
#include "targets/cpu/pack/ScaleSearch.h"

#include <cstring>

namespace mlc::cpu {

using fb::WeightFormat;

uint32_t chooseGroup(uint64_t k, uint32_t wanted) {
  for (uint32_t group : {128u, 64u, 32u})
    if (group <= wanted && k % group == 0)
      return group;
  return wanted;
}

namespace {

/// Packs up to 16 rows of k columns into one panel.
bool packQuantizedPanel(const fb::WeightDesc &desc, const PanelLayout &layout, const float *rows, unsigned count,
                        const float *importance, uint8_t *out) {
  bool int4 = desc.format() == WeightFormat::panel_int4;
  const QuantRange range = int4 ? int4Range(desc.asymmetric()) : kInt8Range;
  memset(out, 0, size_t(layout.bytes));
  memset(out, int4 ? 0x88 : 0x80, size_t(layout.scalesOffset));
  for (unsigned r = 0; r < count; ++r)
    for (uint64_t g = 0; g < layout.groups; ++g) {
      uint64_t begin = g * layout.group, left = desc.k() - begin, valid = left < layout.group ? left : layout.group;
      const float *values = rows + r * desc.k() + begin;
      GroupScale group;
      if (!searchScale(values, importance ? importance + begin : nullptr, valid, range, group))
        return false;
      memcpy(out + layout.scalesOffset + (g * kPanel + r) * 2, &group.scale, 2);
      if (desc.asymmetric())
        out[layout.offsetsOffset + g * kPanel + r] = uint8_t(group.zero);
      float scale = bf16ToF32(group.scale), inverse = scale != 0 ? 1.0f / scale : 0.0f;
      for (uint64_t i = 0; i < valid; ++i) {
        uint64_t column = begin + i;
        if (int4) {
          uint8_t &byte = out[column / 8 * 64 + r * 4 + column % 4];
          int q = quantizeValue(values[i], inverse, group.zero, range);
          byte = column / 4 % 2 ? uint8_t((byte & 0x0f) | q << 4) : uint8_t((byte & 0xf0) | q);
        } else {
          out[column / 4 * 64 + r * 4 + column % 4] = uint8_t(quantizeValue(values[i], inverse, group.zero, range));
        }
      }
    }
  return true;
}

void packFloatPanel(WeightFormat format, uint64_t k, const float *rows, unsigned count, uint64_t bytes, uint8_t *out) {
  memset(out, 0, size_t(bytes));
  for (unsigned r = 0; r < count; ++r)
    for (uint64_t i = 0; i < k; ++i) {
      float value = rows[r * k + i];
      // bf16: pairs of columns side by side.
      uint64_t at = format == WeightFormat::panel_bf16 ? (i / 2 * kPanel + r) * 2 + i % 2 : i * kPanel + r;
      if (format == WeightFormat::panel_f32) {
        memcpy(out + at * 4, &value, 4);
      } else {
        uint16_t bits = format == WeightFormat::panel_f16 ? f32ToF16(value) : f32ToBf16(value);
        memcpy(out + at * 2, &bits, 2);
      }
    }
}

} // namespace

bool packRows(const fb::WeightDesc &desc, uint64_t rowBegin, uint64_t rowEnd, const float *rows, uint8_t *out,
              const float *importance) {
  uint64_t k = desc.k();
  if (isRows(desc.format())) {
    uint64_t count = (rowEnd - rowBegin) * k;
    if (desc.format() == WeightFormat::rows_f32) {
      memcpy(out, rows, size_t(count) * 4);
      return true;
    }
    for (uint64_t i = 0; i < count; ++i) {
      uint16_t bits = desc.format() == WeightFormat::rows_f16 ? f32ToF16(rows[i]) : f32ToBf16(rows[i]);
      memcpy(out + i * 2, &bits, 2);
    }
    return true;
  }
  PanelLayout layout = panelLayout(desc);
  for (uint64_t row = rowBegin; row < rowEnd; row += kPanel, out += layout.bytes) {
    unsigned count = unsigned(rowEnd - row < kPanel ? rowEnd - row : kPanel);
    const float *source = rows + (row - rowBegin) * k;
    if (!isQuantized(desc.format()))
      packFloatPanel(desc.format(), k, source, count, layout.bytes, out);
    else if (!packQuantizedPanel(desc, layout, source, count, importance, out))
      return false;
  }
  return true;
}

} // namespace mlc::cpu
