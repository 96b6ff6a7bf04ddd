//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the sources of `linear` share: plain argument structs, so that the ISA forms include no schema.
//
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace mlc::cpu {

/// Rows of x against a weight with float products: stored floats, or blocks dequantized tile by tile.
struct LinearFloat {
  const float *x, *bias, *residual; // bias, residual: null when absent.
  float *out;
  int64_t xStride, outStride, residualStride;
  const uint8_t *weight;
  int64_t n, k, panelBytes;
  enum Source : uint8_t { panelF32, panelF16, panelBf16, rows } source;
  /// rows: columns [begin, begin + count) of weight row `row` as f32.
  void (*unpack)(const LinearFloat &, int64_t row, int64_t begin, int64_t count, float *out);
  const void *desc; // Of `unpack`.
  int64_t rowTile;  // Rows that one call may cover.
};

/// Quantized rows against int8 or int4 panels.
struct LinearInt {
  const uint8_t *x;
  const float *bias, *residual;
  float *out;
  int64_t xStride, outStride, residualStride; // xStride in bytes.
  int64_t xScales, xSums;                     // Byte offsets in a quantized row.
  const uint8_t *weight;
  int64_t n, panelBytes, scalesOffset, zerosOffset;
  int64_t group, groups;
  bool int4, asymmetric;
  int64_t rowTile;
};

/// Rows [rowBegin, rowEnd) (at most rowTile) by panels [panelBegin, panelEnd).
using LinearFloatFn = void(const LinearFloat &, int64_t rowBegin, int64_t rowEnd, int64_t panelBegin, int64_t panelEnd,
                           uint8_t *scratch);
using LinearIntFn = void(const LinearInt &, int64_t rowBegin, int64_t rowEnd, int64_t panelBegin, int64_t panelEnd,
                         uint8_t *scratch);

constexpr int64_t kPanelColumns = 16;
/// Columns of k that lie unpacked in a worker's scratch: a multiple of every block and int4 group.
constexpr int64_t kFloatColumns = 256, kIntColumns = 512;
/// Panels a call walks together.
constexpr int64_t kPanelsTogether = 2;

/// Bytes of a worker's scratch for calls of up to `rowTile` rows.
constexpr int64_t linearScratchBytes(int64_t rowTile) {
  int64_t accumulators = rowTile * kPanelsTogether * kPanelColumns * 4;
  int64_t tile = kPanelsTogether * kPanelColumns * kFloatColumns * 4;
  return accumulators + tile + kFloatColumns * 4;
}
static_assert(kIntColumns <= kFloatColumns * 4);

} // namespace mlc::cpu
