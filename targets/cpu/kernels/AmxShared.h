//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Products with AMX tiles for groups of weights that share a scale of x. A step is one panel's tiles of the two or four
// groups that share one: their sums meet in registers (TileTurns).
//
#pragma once

#include "targets/cpu/kernels/AmxTiles.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

constexpr int64_t kTileSums = kTileRows * kPanelColumns;

/// Scales rows [begin, end) of a share, whose sums are [Groups][kTileRows][kPanelColumns].
template <DotWeights Kind, int Groups>
MLC_SIMD void scaleShare(const DotBlock &b, const TileStep &share, const int32_t *sums, int64_t begin, int64_t end) {
  constexpr bool kOffset = Kind == DotWeights::plain;
  constexpr int64_t kFactors = kLanes * (kOffset ? 2 : 1);
  if (begin == end)
    return;
  VF scale[Groups], offset[Groups];
  for (int g = 0; g < Groups; ++g) {
    const float *factors = share.factors + g * kPanelsTogether * kFactors;
    scale[g] = load(factors);
    offset[g] = kOffset ? load(factors + kLanes) : zero();
  }
  const int64_t xStride = b.xStride, sumStride = b.sumStride;
  const uint8_t *xScales = share.xScales + begin * xStride, *xSums = share.xSums + begin * sumStride;
  float *acc = share.acc + begin * kStride;
  const float *before = share.begins ? kNothing : acc;
  const int64_t beforeStride = share.begins ? 0 : kStride;
  sums += begin * kPanelColumns;
  for (int64_t r = begin; r < end; ++r) {
    VF total = zero(), offsets = zero();
    for (int g = 0; g < Groups; ++g) {
      VI isum;
      __builtin_memcpy(&isum, sums + g * kTileSums, sizeof isum);
      if constexpr (Kind == DotWeights::withZero)
        isum = isum + set1(loadInt(xSums + 4 * g));
      total = fma(toFloat(isum), scale[g], total);
      if constexpr (kOffset)
        offsets = fma(offset[g], set1(loadFloat(xSums + 4 * g)), offsets);
    }
    if constexpr (kOffset)
      total = total + offsets;
    store(acc, fma(total, set1(loadFloat(xScales)), load(before)));
    xScales += xStride, xSums += sumStride, sums += kPanelColumns;
    acc += kStride, before += beforeStride;
  }
}

/// Group `Tile` of a step; the tile of the step before is stored when it is about to be zeroed.
template <bool Signed, int Tile>
MLC_SIMD void multiplyShare(const DotBlock &b, const uint8_t *x, const uint8_t *w, int64_t columns, bool stores,
                            int32_t *sums) {
  constexpr int kX = 4 + Tile % 2, kW = 6 + Tile % 2;
  const int64_t group = b.units * 16;
  x += Tile * group, w += Tile * group * kPanelColumns;
  loadTile<kW>(w, 64);
  loadTile<kX>(x, b.xStride);
  if (stores)
    storeTile<Tile>(sums + Tile * kTileSums, 64);
  zeroTile<Tile>();
  multiplyTile<Signed, Tile, kX, kW>();
  for (int64_t c = columns; c < group; c += columns) {
    x += columns, w += columns * kPanelColumns;
    loadTile<kW>(w, 64);
    loadTile<kX>(x, b.xStride);
    multiplyTile<Signed, Tile, kX, kW>();
  }
}

/// dotBlock for any number of rows; `Groups` share a scale of x.
template <DotWeights Kind, int Groups> void sharesOf(const DotBlock &b, int64_t rows, int64_t &shape) {
  constexpr bool kSigned = Kind == DotWeights::ofSigned;
  constexpr int64_t kFactors = kLanes * (Kind == DotWeights::plain ? 2 : 1);
  const int64_t group = b.units * 16, columns = tileColumns(b.units), steps = b.groups / Groups;
  TileTurns<Groups * kTileSums> turns;
  auto finish = [&] {
    scaleShare<Kind, Groups>(b, *turns.stored, turns.earlier, 0, turns.stored->rows);
    if (turns.inTiles->rows) {
      storeTile<0>(turns.sums, 64);
      storeTile<1>(turns.sums + kTileSums, 64);
      if constexpr (Groups > 2) {
        storeTile<2>(turns.sums + 2 * kTileSums, 64);
        storeTile<3>(turns.sums + 3 * kTileSums, 64);
      }
      scaleShare<Kind, Groups>(b, *turns.inTiles, turns.sums, 0, turns.inTiles->rows);
    }
    turns.inTiles->rows = turns.stored->rows = 0;
  };
  for (int64_t r = 0; r < rows; r += kTileRows) {
    const int64_t count = rows - r < kTileRows ? rows - r : kTileRows;
    if (count != shape) {
      // A configuration empties the tiles.
      finish();
      configureTiles(count, count, columns);
      shape = count;
    }
    const uint8_t *x = b.x + r * b.xStride, *w = b.w;
    for (int64_t step = 0; step < steps; ++step, x += Groups * group, w += Groups * group * kPanelColumns) {
      fetchRows(b, r, count, step, steps);
      for (int64_t c = 0; c < kPanelsTogether; ++c) {
        const bool stores = turns.inTiles->rows > 0;
        const int64_t half = turns.stored->rows / 2;
        const uint8_t *panel = w + c * b.wPanel;
        multiplyShare<kSigned, 0>(b, x, panel, columns, stores, turns.sums);
        multiplyShare<kSigned, 1>(b, x, panel, columns, stores, turns.sums);
        scaleShare<Kind, Groups>(b, *turns.stored, turns.earlier, 0, half);
        if constexpr (Groups > 2) {
          multiplyShare<kSigned, 2>(b, x, panel, columns, stores, turns.sums);
          multiplyShare<kSigned, 3>(b, x, panel, columns, stores, turns.sums);
        }
        scaleShare<Kind, Groups>(b, *turns.stored, turns.earlier, half, turns.stored->rows);
        TileStep &opened = turns.advance();
        opened.rows = count;
        opened.xScales = b.scales + r * b.xStride + 4 * step;
        opened.xSums = b.sums + r * b.sumStride + 4 * step * Groups;
        opened.factors = b.factors + (step * Groups * kPanelsTogether + c) * kFactors;
        opened.acc = b.acc + r * kStride + c * kLanes;
        opened.begins = b.begins && step == 0;
      }
    }
  }
  finish();
}

inline void amxShares(const DotBlock &b, int64_t rows, DotWeights weights, int64_t &shape) {
  using SharesFn = void(const DotBlock &, int64_t rows, int64_t &shape);
  static constexpr SharesFn *kShares[] = {sharesOf<DotWeights::plain, 2>,    sharesOf<DotWeights::plain, 4>,
                                          sharesOf<DotWeights::withZero, 2>, sharesOf<DotWeights::withZero, 4>,
                                          sharesOf<DotWeights::ofSigned, 2>, sharesOf<DotWeights::ofSigned, 4>};
  kShares[2 * unsigned(weights) + (b.together == 4)](b, rows, shape);
}

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
