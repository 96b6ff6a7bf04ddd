//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Products with AMX tiles for weights that their groups' integer factors have multiplied (ScaledPlanes.h): up to 32
// rows of x against one panel, the 128 columns of a scale of x a step (TileTurns).
//
#pragma once

#include "targets/cpu/kernels/AmxTiles.h"
#include "targets/cpu/kernels/ScaledPlanes.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

constexpr int64_t kPlaneSums = kAmxRows * kPanelColumns;

/// Scales the rows [begin, end) of a step, whose sums are [low, high][kAmxRows][kPanelColumns], with the offsets of
/// `Groups` groups.
template <int Groups>
[[gnu::noinline]] void scaleStep(const DotBlock &b, const TileStep &step, const int32_t *sums, int64_t begin,
                                 int64_t end) {
  if (begin >= end)
    return;
  VF offsets[Groups + 1];
  for (int g = 0; g < Groups; ++g)
    offsets[g] = load(step.factors + g * kPanelsTogether * 2 * kLanes + kLanes);
  const VF super = load(step.supers);
  if constexpr (Groups > 0)
    offsets[Groups] = load(step.supers + kLanes);
  const int64_t xStride = b.xStride, sumStride = b.sumStride;
  const uint8_t *xScales = step.xScales + begin * xStride, *xSums = step.xSums + begin * sumStride;
  float *acc = step.acc + begin * kStride;
  const float *before = step.begins ? kNothing : acc;
  const int64_t beforeStride = step.begins ? 0 : kStride;
  sums += begin * kPanelColumns;
  for (int64_t r = begin; r < end; ++r) {
    VI low, high;
    __builtin_memcpy(&low, sums, sizeof low);
    __builtin_memcpy(&high, sums + kPlaneSums, sizeof high);
    VF total = toFloat(low + (high << 8)) * super;
    if constexpr (Groups > 0) {
      VF offset = zero();
      for (int g = 0; g < Groups; ++g)
        offset = fma(offsets[g], set1(loadFloat(xSums + 4 * g)), offset);
      total = fma(offset, offsets[Groups], total);
    }
    store(acc, fma(total, set1(loadFloat(xScales)), load(before)));
    xScales += xStride, xSums += sumStride, sums += kPanelColumns;
    acc += kStride, before += beforeStride;
  }
}

/// One tile of x, of rows of sums that `Rows` (0 or 1) picks, against both planes of kScaledColumns columns.
template <int Rows, bool First> MLC_SIMD void multiplyPlanes(bool stores, int32_t *sums) {
  constexpr int kLow = 2 * Rows, kHigh = kLow + 1, kX = 4 + Rows;
  int32_t *at = sums + Rows * kTileRows * kPanelColumns;
  if constexpr (First) {
    // A tile of the step before is stored when it is about to be zeroed.
    if (stores)
      storeTile<kLow>(at, 64);
    zeroTile<kLow>();
  }
  multiplyTile<false, kLow, kX, 6>();
  if constexpr (First) {
    if (stores)
      storeTile<kHigh>(at + kPlaneSums, 64);
    zeroTile<kHigh>();
  }
  multiplyTile<true, kHigh, kX, 7>();
}

/// dotBlock for any number of rows; `Groups` of offsets share a scale of x, 0: the format has none.
template <int Groups> void scaledRows(const DotBlock &b, int64_t rows, int64_t &shape) {
  constexpr int64_t kFactors = kLanes * (Groups > 0 ? 2 : 1);
  const int64_t steps = b.groups / b.together;
  TileTurns<2 * kPlaneSums> turns;
  auto finish = [&] {
    scaleStep<Groups>(b, *turns.stored, turns.earlier, 0, turns.stored->rows);
    if (turns.inTiles->rows) {
      storeTile<0>(turns.sums, 64);
      storeTile<1>(turns.sums + kPlaneSums, 64);
      if (turns.inTiles->rows > kTileRows) {
        storeTile<2>(turns.sums + kTileRows * kPanelColumns, 64);
        storeTile<3>(turns.sums + kTileRows * kPanelColumns + kPlaneSums, 64);
      }
      scaleStep<Groups>(b, *turns.inTiles, turns.sums, 0, turns.inTiles->rows);
    }
    turns.inTiles->rows = turns.stored->rows = 0;
  };
  for (int64_t r = 0; r < rows; r += kAmxRows) {
    const int64_t count = rows - r < kAmxRows ? rows - r : kAmxRows;
    const bool two = count > kTileRows;
    if (count != shape) {
      // A configuration empties the tiles.
      finish();
      const int64_t upper = two ? kTileRows : count;
      configureTiles(upper, count - upper, kScaledColumns);
      shape = count;
    }
    const uint8_t *x = b.x + r * b.xStride, *lowerX = x + kTileRows * b.xStride;
    for (int64_t step = 0; step < steps; ++step, x += kScaledGroup, lowerX += kScaledGroup) {
      fetchRows(b, r, count, step, steps);
      for (int64_t c = 0; c < kPanelsTogether; ++c) {
        const bool stores = turns.inTiles->rows > 0;
        const int64_t part = turns.stored->rows / 4;
        const uint8_t *w = b.w + step * 4 * kPlaneBytes + c * b.wPanel;
        loadTile<6>(w, 64);
        loadTile<4>(x, b.xStride);
        loadTile<7>(w + kPlaneBytes, 64);
        multiplyPlanes<0, true>(stores, turns.sums);
        scaleStep<Groups>(b, *turns.stored, turns.earlier, 0, part);
        if (two) {
          loadTile<5>(lowerX, b.xStride);
          multiplyPlanes<1, true>(stores, turns.sums);
        }
        scaleStep<Groups>(b, *turns.stored, turns.earlier, part, 2 * part);
        loadTile<6>(w + 2 * kPlaneBytes, 64);
        loadTile<4>(x + kScaledColumns, b.xStride);
        loadTile<7>(w + 3 * kPlaneBytes, 64);
        multiplyPlanes<0, false>(stores, turns.sums);
        scaleStep<Groups>(b, *turns.stored, turns.earlier, 2 * part, 3 * part);
        if (two) {
          loadTile<5>(lowerX + kScaledColumns, b.xStride);
          multiplyPlanes<1, false>(stores, turns.sums);
        }
        scaleStep<Groups>(b, *turns.stored, turns.earlier, 3 * part, turns.stored->rows);
        TileStep &opened = turns.advance();
        opened.rows = count;
        opened.xScales = b.scales + r * b.xStride + 4 * step;
        opened.xSums = b.sums + r * b.sumStride + 4 * step * b.together;
        opened.factors = b.factors + (step * b.together * kPanelsTogether + c) * kFactors;
        opened.supers = b.supers + (step * kPanelsTogether + c) * kFactors;
        opened.acc = b.acc + r * kStride + c * kLanes;
        opened.begins = b.begins && step == 0;
      }
    }
  }
  finish();
}

inline void amxScaled(const DotBlock &b, int64_t rows, DotWeights weights, int64_t &shape) {
  if (weights == DotWeights::scaled)
    scaledRows<0>(b, rows, shape);
  else if (b.together == 4)
    scaledRows<4>(b, rows, shape);
  else
    scaledRows<8>(b, rows, shape);
}

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
