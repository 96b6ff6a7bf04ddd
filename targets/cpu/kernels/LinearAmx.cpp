//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Integer products with AMX tiles: up to 32 rows of x against two panels, whose quads are a tile's rows as they lie.
// The integer sums of a group are exact, and the floats that follow are those of dotBlock, in its order: the same bits.
//
#include "targets/cpu/simd/Simd.h"

#include "targets/cpu/kernels/Linear.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

constexpr int64_t kTileRows = 16, kAmxRows = 2 * kTileRows;

/// Columns of k that one instruction takes: the largest that divides a group of `units` times 16.
constexpr int64_t tileColumns(int64_t units) { return units % 4 == 0 ? 64 : units % 2 == 0 ? 32 : 16; }

/// Shapes of the tiles: 0 to 3 sums (rows by panels), 4 and 5 rows of x, 6 and 7 panels. At most kAmxRows rows.
[[gnu::noinline]] void configureTiles(int64_t rows, int64_t columns) {
  struct {
    uint8_t palette = 1, start = 0, reserved[14] = {};
    uint16_t rowBytes[16] = {};
    uint8_t rows[16] = {};
  } config;
  auto shape = [&](int tile, int64_t tileRows, int64_t bytes) {
    // A tile without rows has no bytes either.
    config.rowBytes[tile] = uint16_t(tileRows ? bytes : 0);
    config.rows[tile] = uint8_t(tileRows);
  };
  int64_t first = rows < kTileRows ? rows : kTileRows, second = rows - first;
  shape(0, first, 64), shape(1, first, 64), shape(2, second, 64), shape(3, second, 64);
  shape(4, first, columns), shape(5, second, columns);
  shape(6, columns / 4, 64), shape(7, columns / 4, 64);
  _tile_loadconfig(&config);
}

template <DotWeights Kind, int Sums, int X, int W> MLC_SIMD void multiplyTile() {
  if constexpr (Kind == DotWeights::ofSigned)
    _tile_dpbssd(Sums, X, W);
  else
    _tile_dpbsud(Sums, X, W);
}

/// A group of some rows whose products are in the tiles, or stored from there to `sums`, and not yet scaled.
struct AmxStep {
  int64_t rows = 0;
  const uint8_t *xScales, *xSums;
  const float *factors;
  float *acc;
  bool opens, closes; // The first and the last of the groups that share a scale of x.
  bool begins;        // Nothing is in `acc` yet.
};

/// What a call needs beside the tiles.
struct AmxScratch {
  alignas(64) int32_t sums[kAmxRows * kStride];
  alignas(64) float parts[kAmxRows * kStride]; // Of groups that share a scale of x.
};

/// Scales the rows [begin, end) of a step: what dotBlock does with its sums, in the same order.
template <DotWeights Kind, bool Shared>
MLC_SIMD void scaleRows(const DotBlock &b, const AmxStep &step, AmxScratch &s, int64_t begin, int64_t end) {
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
      int64_t at = r * kStride + c * kLanes;
      float *acc = step.acc + at, *part = s.parts + at;
      VI isum;
      __builtin_memcpy(&isum, s.sums + at, sizeof isum);
      if constexpr (Kind == DotWeights::withZero)
        isum = isum + set1(loadInt(xSums));
      VF sum = toFloat(isum);
      if constexpr (Shared) {
        VF total = fma(sum, scale[c], step.opens ? zero() : load(part));
        if constexpr (kOffset)
          total = fma(offset[c], set1(loadFloat(xSums)), total);
        if (step.closes)
          store(acc, fma(total, set1(xScale), step.begins ? zero() : load(acc)));
        else
          store(part, total);
      } else {
        VF total = fma(sum, scale[c] * set1(xScale), step.begins ? zero() : load(acc));
        if constexpr (kOffset)
          total = fma(offset[c], set1(loadFloat(xSums) * xScale), total);
        store(acc, total);
      }
    }
  }
}

/// scaleRows from row `begin` on.
using ScaleFn = void(const DotBlock &, const AmxStep &, AmxScratch &, int64_t begin);
template <DotWeights Kind, bool Shared>
[[gnu::noinline]] void scaleRest(const DotBlock &b, const AmxStep &step, AmxScratch &s, int64_t begin) {
  scaleRows<Kind, Shared>(b, step, s, begin, step.rows);
}

template <int Tile> MLC_SIMD void storeTile(AmxScratch &s) {
  _tile_stored(Tile, s.sums + Tile / 2 * kTileRows * kStride + Tile % 2 * kPanelColumns, kStride * 4);
}

/// Multiplies a group of `rows` rows; meanwhile stores and scales the step before. Each tile is stored just before it
/// is zeroed, and the rows are scaled between later products: neither side waits for the other. Inside: the rows are
/// scaled here where a group has several products, as those that have a scale of x each do; else by `scale`.
template <DotWeights Kind, bool Inside>
void amxStep(const DotBlock &b, const uint8_t *x, const uint8_t *w, int64_t rows, int64_t columns,
             const AmxStep &before, AmxScratch &s, ScaleFn *scale) {
  const int64_t group = b.units * 16, xStride = b.xStride, wPanel = b.wPanel;
  const bool two = rows > kTileRows, stores = before.rows > 0, storesTwo = before.rows > kTileRows;
  // The compiler does not see what the instructions read and write.
  asm volatile("" ::: "memory");
  _tile_loadd(6, w, 64);
  _tile_loadd(4, x, xStride);
  if (stores)
    storeTile<0>(s);
  _tile_zero(0);
  multiplyTile<Kind, 0, 4, 6>();
  if (two)
    _tile_loadd(5, x + kTileRows * xStride, xStride);
  if (storesTwo)
    storeTile<2>(s);
  if (two) {
    _tile_zero(2);
    multiplyTile<Kind, 2, 5, 6>();
  }
  _tile_loadd(7, w + wPanel, 64);
  if (stores)
    storeTile<1>(s);
  _tile_zero(1);
  multiplyTile<Kind, 1, 4, 7>();
  if (storesTwo)
    storeTile<3>(s);
  if (two) {
    _tile_zero(3);
    multiplyTile<Kind, 3, 5, 7>();
  }
  asm volatile("" ::: "memory");
  int64_t scaled = 0;
  [[maybe_unused]] const int64_t part = group > columns ? before.rows / (group / columns - 1) : 0;
  // Products of the same weights follow each other: in another order they wait for the loads.
  for (int64_t c = columns; c < group; c += columns) {
    x += columns, w += columns * kPanelColumns;
    _tile_loadd(6, w, 64);
    _tile_loadd(4, x, xStride);
    multiplyTile<Kind, 0, 4, 6>();
    if (two) {
      _tile_loadd(5, x + kTileRows * xStride, xStride);
      multiplyTile<Kind, 2, 5, 6>();
    }
    _tile_loadd(7, w + wPanel, 64);
    multiplyTile<Kind, 1, 4, 7>();
    if (two)
      multiplyTile<Kind, 3, 5, 7>();
    if constexpr (Inside) {
      scaleRows<Kind, false>(b, before, s, scaled, scaled + part);
      scaled += part;
    }
  }
  scale(b, before, s, scaled);
}

/// Stores and scales a step with nothing to multiply meanwhile.
[[gnu::noinline]] void amxFinish(const DotBlock &b, const AmxStep &step, AmxScratch &s, ScaleFn *scale) {
  storeTile<0>(s);
  storeTile<1>(s);
  if (step.rows > kTileRows) {
    storeTile<2>(s);
    storeTile<3>(s);
  }
  asm volatile("" ::: "memory");
  scale(b, step, s, 0);
}

/// dotBlock for any number of rows.
template <DotWeights Kind, bool Inside>
void amxRows(const DotBlock &b, int64_t rows, DotWeights weights, bool shared, ScaleFn *scale) {
  const int64_t factors = kLanes * (weights == DotWeights::plain ? 2 : 1) * kPanelsTogether;
  const int64_t group = b.units * 16, columns = tileColumns(b.units);
  AmxScratch s;
  // Two that take turns: a copy of what was just written would wait until all stores before it are done.
  AmxStep steps[2];
  bool turn = false;
  int64_t configured = 0;
  for (int64_t r = 0; r < rows; r += kAmxRows) {
    const int64_t count = rows - r < kAmxRows ? rows - r : kAmxRows;
    if (count != configured) {
      // A configuration empties the tiles.
      if (steps[!turn].rows)
        amxFinish(b, steps[!turn], s, scale);
      steps[!turn].rows = 0;
      configureTiles(configured = count, columns);
    }
    const uint8_t *x = b.x + r * b.xStride;
    for (int64_t g = 0, closed = 0; g < b.groups; ++g, turn = !turn) {
      for (const auto &fetched : b.fetched)
        for (int64_t i = fetched.data ? count * g / b.groups : count; i < count * (g + 1) / b.groups; ++i)
          for (int c = 0; c < kPanelsTogether; ++c)
            __builtin_prefetch(fetched.data + (r + i) * fetched.stride + c * kLanes, 1);
      amxStep<Kind, Inside>(b, x + g * group, b.w + g * group * kPanelColumns, count, columns, steps[!turn], s, scale);
      AmxStep &step = steps[turn];
      step.rows = count;
      step.factors = b.factors + g * factors;
      step.acc = b.acc + r * kStride;
      step.xSums = b.sums + r * b.sumStride + 4 * g;
      step.xScales = b.scales + r * b.xStride + 4 * (shared ? closed : g);
      step.opens = g % b.together == 0;
      step.closes = (g + 1) % b.together == 0;
      step.begins = b.begins && closed == 0 && (shared || g == 0);
      closed += step.closes;
    }
  }
  amxFinish(b, steps[!turn], s, scale);
}

} // namespace

DotTilesFn dotTiles;
void dotTiles(const DotBlock &b, int64_t rows, DotWeights weights, bool shared) {
  static constexpr ScaleFn *kScale[] = {scaleRest<DotWeights::plain, false>,    scaleRest<DotWeights::plain, true>,
                                        scaleRest<DotWeights::withZero, false>, scaleRest<DotWeights::withZero, true>,
                                        scaleRest<DotWeights::ofSigned, false>, scaleRest<DotWeights::ofSigned, true>};
  ScaleFn *scale = kScale[2 * unsigned(weights) + shared];
  if (weights == DotWeights::ofSigned)
    shared ? amxRows<DotWeights::ofSigned, false>(b, rows, weights, shared, scale)
           : amxRows<DotWeights::ofSigned, true>(b, rows, weights, shared, scale);
  else if (weights == DotWeights::withZero && !shared)
    amxRows<DotWeights::withZero, true>(b, rows, weights, shared, scale);
  else
    amxRows<DotWeights::plain, false>(b, rows, weights, shared, scale);
  _tile_release();
}

} // namespace MLC_ISA_NS
} // namespace mlc::cpu
