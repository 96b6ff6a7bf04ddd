//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Integer products with AMX tiles: up to 32 rows of x against two panels, whose quads are a tile's rows as they lie.
// The integer sums of a group are exact, and the floats that follow are those of dotBlock, in its order: the same bits.
//
#include "targets/cpu/kernels/AmxFew.h"
#include "targets/cpu/kernels/AmxScaled.h"
#include "targets/cpu/kernels/AmxShared.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

/// Scales the rows [begin, end) of a step, whose sums are [kAmxRows][kStride].
template <DotWeights Kind>
MLC_SIMD void scaleRows(const DotBlock &b, const TileStep &step, const int32_t *sums, int64_t begin, int64_t end) {
  constexpr bool kOffset = Kind == DotWeights::plain;
  constexpr int64_t kFactors = kLanes * (kOffset ? 2 : 1);
  VF scale[kPanelsTogether], offset[kPanelsTogether];
  for (int c = 0; c < kPanelsTogether; ++c) {
    scale[c] = load(step.factors + c * kFactors);
    offset[c] = kOffset ? load(step.factors + c * kFactors + kLanes) : zero();
  }
  const uint8_t *xScales = step.xScales + begin * b.xStride, *xSums = step.xSums + begin * b.sumStride;
  for (int64_t r = begin; r < end; ++r, xScales += b.xStride, xSums += b.sumStride) {
    float xScale = loadFloat(xScales);
    for (int c = 0; c < kPanelsTogether; ++c) {
      float *acc = step.acc + r * kStride + c * kLanes;
      VI isum;
      __builtin_memcpy(&isum, sums + r * kStride + c * kLanes, sizeof isum);
      if constexpr (Kind == DotWeights::withZero)
        isum = isum + set1(loadInt(xSums));
      VF total = fma(toFloat(isum), scale[c] * set1(xScale), step.begins ? zero() : load(acc));
      if constexpr (kOffset)
        total = fma(offset[c], set1(loadFloat(xSums) * xScale), total);
      store(acc, total);
    }
  }
}

using ScaleFn = void(const DotBlock &, const TileStep &, const int32_t *sums, int64_t begin, int64_t end);
template <DotWeights Kind>
[[gnu::noinline]] void scaleSome(const DotBlock &b, const TileStep &step, const int32_t *sums, int64_t begin,
                                 int64_t end) {
  if (begin < end)
    scaleRows<Kind>(b, step, sums, begin, end);
}

template <int Tile> MLC_SIMD void storeSums(int32_t *sums) {
  storeTile<Tile>(sums + Tile / 2 * kTileRows * kStride + Tile % 2 * kPanelColumns, kStride * 4);
}

/// Multiplies a group of `rows` rows; meanwhile stores and scales the step before. Each tile is stored just before it
/// is zeroed, and the rows are scaled between later products: neither side waits for the other.
template <bool Signed>
void amxStep(const DotBlock &b, const uint8_t *x, const uint8_t *w, int64_t rows, int64_t columns,
             const TileStep &before, int32_t *sums, ScaleFn *scale) {
  const int64_t group = b.units * 16, xStride = b.xStride, wPanel = b.wPanel;
  const bool two = rows > kTileRows, stores = before.rows > 0, storesTwo = before.rows > kTileRows;
  loadTile<6>(w, 64);
  loadTile<4>(x, xStride);
  if (stores)
    storeSums<0>(sums);
  zeroTile<0>();
  multiplyTile<Signed, 0, 4, 6>();
  if (two)
    loadTile<5>(x + kTileRows * xStride, xStride);
  if (storesTwo)
    storeSums<2>(sums);
  if (two) {
    zeroTile<2>();
    multiplyTile<Signed, 2, 5, 6>();
  }
  loadTile<7>(w + wPanel, 64);
  if (stores)
    storeSums<1>(sums);
  zeroTile<1>();
  multiplyTile<Signed, 1, 4, 7>();
  if (storesTwo)
    storeSums<3>(sums);
  if (two) {
    zeroTile<3>();
    multiplyTile<Signed, 3, 5, 7>();
  }
  int64_t scaled = 0;
  const int64_t part = group > columns ? before.rows / (group / columns - 1) : 0;
  // Products of the same weights follow each other: in another order they wait for the loads.
  for (int64_t c = columns; c < group; c += columns) {
    x += columns, w += columns * kPanelColumns;
    loadTile<6>(w, 64);
    loadTile<4>(x, xStride);
    multiplyTile<Signed, 0, 4, 6>();
    if (two) {
      loadTile<5>(x + kTileRows * xStride, xStride);
      multiplyTile<Signed, 2, 5, 6>();
    }
    loadTile<7>(w + wPanel, 64);
    multiplyTile<Signed, 1, 4, 7>();
    if (two)
      multiplyTile<Signed, 3, 5, 7>();
    // The commonest weights are scaled here, without a call.
    if constexpr (!Signed)
      scale(b, before, sums, scaled, scaled + part);
    else if (part)
      scaleRows<DotWeights::ofSigned>(b, before, sums, scaled, scaled + part);
    scaled += part;
  }
  scale(b, before, sums, scaled, before.rows);
}

/// dotBlock for any number of rows, where every group has a scale of x.
template <bool Signed>
void amxRows(const DotBlock &b, int64_t rows, int64_t factors, ScaleFn *scale, TileState &state) {
  const int64_t group = b.units * 16, columns = tileColumns(b.units);
  alignas(64) int32_t sums[kAmxRows * kStride];
  TileStep &pending = state.pending;
  auto finish = [&] {
    if (!pending.rows)
      return;
    storeSums<0>(sums);
    storeSums<1>(sums);
    if (pending.rows > kTileRows) {
      storeSums<2>(sums);
      storeSums<3>(sums);
    }
    scale(b, pending, sums, 0, pending.rows);
    pending.rows = 0;
  };
  for (int64_t r = 0; r < rows; r += kAmxRows) {
    const int64_t count = rows - r < kAmxRows ? rows - r : kAmxRows;
    if (count != state.shape) {
      // A configuration empties the tiles.
      finish();
      int64_t upper = count < kTileRows ? count : kTileRows;
      configureTiles(upper, count - upper, columns);
      state.shape = count;
    }
    for (int64_t g = 0; g < b.groups; ++g) {
      fetchRows(b, r, count, g, b.groups);
      const uint8_t *x = b.x + r * b.xStride + g * group;
      const TileStep before = pending;
      amxStep<Signed>(b, x, b.w + g * group * kPanelColumns, count, columns, before, sums, scale);
      pending.rows = count;
      pending.factors = b.factors + g * factors * kPanelsTogether;
      pending.acc = b.acc + r * kStride;
      pending.xSums = b.sums + r * b.sumStride + 4 * g;
      pending.xScales = b.scales + r * b.xStride + 4 * g;
      pending.begins = b.begins && g == 0;
    }
  }
  if (!rows)
    finish();
}

} // namespace

DotTilesFn dotTiles;
void dotTiles(const DotBlock &b, int64_t rows, DotWeights weights, bool shared, TileState &state) {
  const int64_t factors = kLanes * (weights == DotWeights::plain ? 2 : 1);
  if (!b.w) {
    if (state.shape)
      releaseTiles();
    state.shape = 0;
  } else if (weights == DotWeights::scaled || weights == DotWeights::scaledPlain) {
    amxScaled(b, rows, weights, state.shape);
  } else if (shared) {
    amxShares(b, rows, weights, state.shape);
  } else if (weights == DotWeights::ofSigned) {
    amxRows<true>(b, rows, factors, scaleSome<DotWeights::ofSigned>, state);
  } else {
    amxRows<false>(b, rows, factors,
                   weights == DotWeights::plain ? scaleSome<DotWeights::plain> : scaleSome<DotWeights::withZero>,
                   state);
  }
}

FewRowsFn multiplyFewRows;
void multiplyFewRows(const LinearInt &a, const FewRows &f) {
  if (!f.rows)
    releaseTiles();
  else if (!f.panels[0])
    configureTiles(f.rows < kTileRows ? f.rows : kTileRows, f.rows > kTileRows ? f.rows - kTileRows : f.rows,
                   kHalfGroup);
  else if (a.format == IntFormat::int4)
    multiplyFew<4>(a, f);
  else
    multiplyFew<8>(a, f);
}

} // namespace MLC_ISA_NS
} // namespace mlc::cpu
