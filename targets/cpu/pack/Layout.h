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
#include "targets/cpu/pack/SuperBlock.h"

namespace mlc::cpu {

/// Output columns of one panel; n is padded up to a multiple of it.
constexpr uint64_t kPanel = 16;
/// Largest n and k of a weight, so that products of two of them and of an element size fit 64 bits.
constexpr uint64_t kMaxExtent = uint64_t(1) << 28;
/// Largest group (or k when group is 0) whose integer sums fit 32 bits: 255 * 128 * 65536 < 2^31.
constexpr uint64_t kMaxGroup = 65536;

/// Whether the weight is one of GGUF's blocks as a panel, without loss.
constexpr bool isBlockPanel(fb::WeightFormat format) {
  return format >= fb::WeightFormat::panel_q4_0 && format <= fb::WeightFormat::panel_q6_k;
}
/// The blocks that a block panel holds, and the panel that holds a block format.
constexpr fb::WeightFormat blockOfPanel(fb::WeightFormat format) { return fb::WeightFormat(uint8_t(format) - 16); }
constexpr fb::WeightFormat panelOfBlock(fb::WeightFormat format) { return fb::WeightFormat(uint8_t(format) + 16); }
/// Whether rows of f32 are quantized to meet this weight (panels of integers), or may be.
constexpr bool isQuantized(fb::WeightFormat format) {
  return format == fb::WeightFormat::panel_int8 || format == fb::WeightFormat::panel_int4 || isBlockPanel(format);
}
constexpr bool isPanel(fb::WeightFormat format) {
  return (format >= fb::WeightFormat::panel_f32 && format <= fb::WeightFormat::panel_int4) || isBlockPanel(format);
}
constexpr bool isRows(fb::WeightFormat format) { return format <= fb::WeightFormat::rows_bf16; }

/// Columns that share one scale: `group`, or all of k rounded up to 32 when group is 0.
constexpr uint64_t effectiveGroup(uint64_t k, uint64_t group) { return group ? group : alignUp<uint64_t>(k, 32); }

/// A row of f32[k] quantized to int8: where its parts lie. The last group is padded with zeros.
struct QuantizedRow {
  uint64_t group = 0, groups = 0, columns = 0; // Columns that share a scale; groups; k with padding.
  uint64_t sumGroup = 0;                       // Columns that share a sum; divides the group.
  uint64_t scalesOffset = 0, sumsOffset = 0;   // f32[groups], i32[columns / sumGroup]: the negated sums.
  uint64_t bytes = 0;                          // A multiple of 64.

  /// Whether rows of k columns can be quantized in groups of `group` (0: one scale a row; else a multiple of 32) with
  /// sums of `sumGroup` (0: the group; else a multiple of 16 that divides it).
  static constexpr bool valid(uint64_t k, uint64_t group, uint64_t sumGroup) {
    return k >= 1 && k <= kMaxExtent && group % 32 == 0 && effectiveGroup(k, group) <= kMaxGroup &&
           (!sumGroup || (sumGroup % 16 == 0 && effectiveGroup(k, group) % sumGroup == 0));
  }
  /// Of valid sizes.
  constexpr QuantizedRow(uint64_t k, uint64_t wantedGroup, uint64_t wantedSums) {
    group = effectiveGroup(k, wantedGroup);
    groups = ceilDiv(k, group);
    columns = groups * group;
    sumGroup = wantedSums ? wantedSums : group;
    scalesOffset = alignUp<uint64_t>(columns, 64);
    sumsOffset = scalesOffset + 4 * groups;
    bytes = alignUp<uint64_t>(sumsOffset + 4 * (columns / sumGroup), 64);
  }
};

/// How rows are quantized to meet a weight: groups of 128 columns with sums of the weight's own groups where 128
/// divides k and those divide 128, else groups of 32 (blocks) or the weight's.
struct RowGroups {
  uint32_t group, sumGroup;
};
/// Of a descriptor that is valid and isQuantized().
RowGroups rowGroups(const fb::WeightDesc &desc);
/// The rows that meet `desc`, which is valid and isQuantized().
QuantizedRow quantizedRow(const fb::WeightDesc &desc);

/// Where things lie in one panel of 16 outputs of a panel_* weight: one block or, of K-quants, one for every 256
/// columns. The offsets are those of integer formats within a block.
struct PanelLayout {
  uint64_t columns; // k with padding: bf16 lies in pairs.
  uint64_t group;   // Columns per scale.
  uint64_t groups;  // Groups of a row.
  unsigned bits;    // Of a value.
  uint64_t blockColumns, blockBytes;
  /// Units of 32 columns (kUnit).
  uint64_t valuesOffset;
  /// 2 bytes for each output, of every group or of a K-quant's block: bf16 (int8, int4) or f16.
  uint64_t scalesOffset;
  /// i8 zero points [groups][16] (asymmetric int4); f16 offsets, as the scales lie (q4_1, q5_1, q2_k, q4_k, q5_k).
  uint64_t offsetsOffset;
  /// 8 bits for each group and output, factors of the scale and of the offset of the block (q2_k ... q6_k).
  uint64_t subScalesOffset, subOffsetsOffset;
  uint64_t bytes; // Of the whole panel; a multiple of 64.
};
/// Of a valid panel_* descriptor.
PanelLayout panelLayout(const fb::WeightDesc &desc);

/// Where the values of the unit of 32 columns that `column` lies in begin in a panel of integers.
constexpr uint64_t unitOffset(const PanelLayout &layout, uint64_t column) {
  return column / layout.blockColumns * layout.blockBytes + layout.valuesOffset +
         column % layout.blockColumns / kUnit * layout.bits * 64;
}

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
