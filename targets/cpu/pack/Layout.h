//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The layouts that the CPU kernels, the packing code and the compiler agree on: sizes and offsets of packed weights and
// of quantized activation rows. docs/kernels.md describes them byte by byte.
//
#pragma once

#include "runtime/core/Checked.h"
#include "runtime/core/Result.h"
#include "schema_generated.h"

namespace mlc::cpu {

/// Output columns of one panel; n is padded up to a multiple of it.
constexpr uint64_t kPanel = 16;
/// Largest n and k of a weight, so that products of two of them and of an element size fit 64 bits.
constexpr uint64_t kMaxExtent = uint64_t(1) << 28;
/// Largest group (or k when group is 0) whose integer sums fit 32 bits: 255 * 128 * 65536 < 2^31.
constexpr uint64_t kMaxGroup = 65536;

/// Whether rows of f32 are quantized to meet this weight (int8 and int4 panels), or may be.
constexpr bool isQuantized(fb::WeightFormat format) {
  return format == fb::WeightFormat::panel_int8 || format == fb::WeightFormat::panel_int4;
}
constexpr bool isPanel(fb::WeightFormat format) {
  return format >= fb::WeightFormat::panel_f32 && format <= fb::WeightFormat::panel_int4;
}
constexpr bool isRows(fb::WeightFormat format) { return format <= fb::WeightFormat::rows_bf16; }

/// Columns that share one scale: `group`, or all of k rounded up to 32 when group is 0.
constexpr uint64_t effectiveGroup(uint64_t k, uint64_t group) { return group ? group : alignUp<uint64_t>(k, 32); }
/// Groups of a row; the last one is padded with zeros.
constexpr uint64_t groupCount(uint64_t k, uint64_t group) { return ceilDiv(k, effectiveGroup(k, group)); }
/// k with the last group's padding.
constexpr uint64_t paddedColumns(uint64_t k, uint64_t group) { return groupCount(k, group) * effectiveGroup(k, group); }

/// Whether rows of k columns can be quantized in groups of `group` (0: one scale a row; else a multiple of 32).
constexpr bool quantizedRowValid(uint64_t k, uint64_t group) {
  return k >= 1 && k <= kMaxExtent && group % 32 == 0 && effectiveGroup(k, group) <= kMaxGroup;
}
/// Offsets in a quantized row: int8[paddedColumns] at 0, f32 scale[groups], i32 sum[groups].
constexpr uint64_t quantizedScalesOffset(uint64_t k, uint64_t group) {
  return alignUp<uint64_t>(paddedColumns(k, group), 64);
}
constexpr uint64_t quantizedSumsOffset(uint64_t k, uint64_t group) {
  return quantizedScalesOffset(k, group) + 4 * groupCount(k, group);
}
/// Bytes of one row that quantize_rows writes: a multiple of 64. Needs quantizedRowValid(k, group).
constexpr uint64_t quantizedRowBytes(uint64_t k, uint64_t group) {
  return alignUp<uint64_t>(quantizedSumsOffset(k, group) + 4 * groupCount(k, group), 64);
}

/// Where things lie in one panel of 16 outputs of a panel_* weight.
struct PanelLayout {
  uint64_t columns;      // k with padding.
  uint64_t group;        // Columns per scale (quantized formats).
  uint64_t groups;       // Groups of a row (quantized formats).
  uint64_t scalesOffset; // bf16[groups][16] (quantized formats).
  uint64_t zerosOffset;  // i8[groups][16] (asymmetric int4).
  uint64_t bytes;        // Of the whole panel; a multiple of 64.
};
/// Of a valid panel_* descriptor.
PanelLayout panelLayout(const fb::WeightDesc &desc);

/// Whether n, k, group, format and asymmetric are in range and fit together; names the field that does not.
Status checkWeightDesc(const fb::WeightDesc &desc);

/// Bytes of one row of a block_* or rows_* format, of a valid descriptor.
uint64_t plainRowBytes(const fb::WeightDesc &desc);
/// Bytes of the whole weight, or why the descriptor is not valid.
Result<uint64_t> packedBytes(const fb::WeightDesc &desc);
/// Byte offset where row `row` begins; for panel_* formats, `row` is a multiple of 16 or n. packedOffset(n) is the
/// size.
uint64_t packedOffset(const fb::WeightDesc &desc, uint64_t row);

} // namespace mlc::cpu
