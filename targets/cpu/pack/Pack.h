//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Packing f32 rows into the CPU target's weight formats, and back. Deterministic: the same rows give the same bytes on
// every host, however the rows are cut into blocks. Thread-safe: no state.
//
#pragma once

#include "targets/cpu/pack/Layout.h"

namespace mlc::cpu {

/// The group of a quantized weight with k columns when `wanted` (32, 64 or 128) is asked: the largest of 32, 64, 128
/// not above `wanted` that divides k; `wanted` itself (with a padded tail) when none does.
uint32_t chooseGroup(uint64_t k, uint32_t wanted);

/// Packs rows [rowBegin, rowEnd) of a valid rows_* or panel_* descriptor. rowBegin is a multiple of 16, rowEnd too or
/// n. `rows` is f32 [rowEnd - rowBegin][k] row-major; `out` receives the bytes [packedOffset(rowBegin),
/// packedOffset(rowEnd)) of the weight. False when a quantized format meets a value that is not finite (nothing usable
/// is written then). block_* weights are copied as they are, never packed. `importance` (null: all alike) is f32 [k],
/// finite and not negative: what an error in a column costs, which the search for the scales of int8 and int4
/// minimises.
[[nodiscard]] bool packRows(const fb::WeightDesc &desc, uint64_t rowBegin, uint64_t rowEnd, const float *rows,
                            uint8_t *out, const float *importance = nullptr);

/// Packs rows [rowBegin, rowEnd), as packRows() takes them, of a block panel from their blocks, row after row: the same
/// integers and scales in another order.
void packBlocks(const fb::WeightDesc &desc, uint64_t rowBegin, uint64_t rowEnd, const uint8_t *blocks, uint8_t *out);

/// What a panel of integers holds for group g of one of its 16 rows: value = (q - zero) * scale - offset.
struct GroupFactors {
  float scale, offset;
  int zero;
};
GroupFactors groupFactors(const fb::WeightDesc &desc, const PanelLayout &layout, const uint8_t *panel, uint64_t g,
                          uint64_t row);
/// The integer q of one column and row of a panel.
unsigned panelCode(const PanelLayout &layout, const uint8_t *panel, uint64_t column, uint64_t row);

/// Columns [begin, begin + count) of a row of a panel of integers as f32: (q - zero) * scale; of a block panel the same
/// bits as dequantizeBlocks() gives.
void unpackQuantized(const fb::WeightDesc &desc, const uint8_t *weight, uint64_t row, uint64_t begin, uint64_t count,
                     float *out);

/// Row `row` of a packed weight (any format) as f32[k]; `weight` is the whole weight, of any alignment.
void unpackRow(const fb::WeightDesc &desc, const uint8_t *weight, uint64_t row, float *out);

} // namespace mlc::cpu
