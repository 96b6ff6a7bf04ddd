//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Products with AMX tiles for groups of weights that share a scale of x. A step is one panel's tiles of up to four
// groups: their sums meet in registers, before the scale of x. While a step is multiplied the one before it is stored.
//
#pragma once

#include "targets/cpu/kernels/AmxTiles.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

constexpr int64_t kTileSums = kTileRows * kPanelColumns;

/// Groups of up to kTileRows rows and one panel whose products are in tiles 0 to 3, or stored, and not yet scaled.
struct AmxShare {
  int64_t rows = 0;
  const uint8_t *xScales, *xSums;
  const float *factors; // Of the first group.
  float *acc, *parts;   // [rows][kStride]; parts: the sums of groups before these, where there are any.
  bool opens, closes;   // With the first and the last of the groups that share a scale of x.
  bool begins;          // Nothing is in `acc` yet.
};

using ScaleShareFn = void(const DotBlock &, const AmxShare &, const int32_t *sums);
template <DotWeights Kind, int Groups>
[[gnu::noinline]] void scaleShare(const DotBlock &b, const AmxShare &share, const int32_t *sums) {
  constexpr bool kOffset = Kind == DotWeights::plain;
  constexpr int64_t kFactors = kLanes * (kOffset ? 2 : 1);
  VF scale[Groups], offset[Groups];
  for (int g = 0; g < Groups; ++g) {
    const float *factors = share.factors + g * kPanelsTogether * kFactors;
    scale[g] = load(factors);
    offset[g] = kOffset ? load(factors + kLanes) : zero();
  }
  const uint8_t *xScales = share.xScales, *xSums = share.xSums;
  float *acc = share.acc, *parts = share.parts;
  for (int64_t r = 0; r < share.rows; ++r) {
    VF total = share.opens ? zero() : load(parts);
    for (int g = 0; g < Groups; ++g) {
      VI isum;
      __builtin_memcpy(&isum, sums + g * kTileSums, sizeof isum);
      if constexpr (Kind == DotWeights::withZero)
        isum = isum + set1(loadInt(xSums + 4 * g));
      total = fma(toFloat(isum), scale[g], total);
      if constexpr (kOffset)
        total = fma(offset[g], set1(loadFloat(xSums + 4 * g)), total);
    }
    if (share.closes)
      store(acc, fma(total, set1(loadFloat(xScales)), share.begins ? zero() : load(acc)));
    else
      store(parts, total);
    xScales += b.xStride, xSums += b.sumStride, sums += kPanelColumns, acc += kStride, parts += kStride;
  }
}

/// Group `Tile` of a step, where there is one; the tile of the step before is stored when it is about to be zeroed.
template <int Tile>
MLC_SIMD void multiplyShare(const DotBlock &b, const uint8_t *x, const uint8_t *w, int64_t groups, int64_t columns,
                            bool ofSigned, bool stores, int32_t *sums) {
  constexpr int kX = 4 + Tile % 2, kW = 6 + Tile % 2;
  const int64_t group = b.units * 16;
  if (Tile >= groups)
    return;
  x += Tile * group, w += Tile * group * kPanelColumns;
  loadTile<kW>(w, 64);
  loadTile<kX>(x, b.xStride);
  if (stores)
    storeTile<Tile>(sums + Tile * kTileSums, 64);
  zeroTile<Tile>();
  ofSigned ? multiplyTile<true, Tile, kX, kW>() : multiplyTile<false, Tile, kX, kW>();
  for (int64_t c = columns; c < group; c += columns) {
    x += columns, w += columns * kPanelColumns;
    loadTile<kW>(w, 64);
    loadTile<kX>(x, b.xStride);
    ofSigned ? multiplyTile<true, Tile, kX, kW>() : multiplyTile<false, Tile, kX, kW>();
  }
}

/// dotBlock for any number of rows; `factors`: floats of a group and panel.
inline void amxShares(const DotBlock &b, int64_t rows, DotWeights weights, int64_t factors) {
  static constexpr ScaleShareFn *kScale[] = {scaleShare<DotWeights::plain, 2>,    scaleShare<DotWeights::plain, 4>,
                                             scaleShare<DotWeights::withZero, 2>, scaleShare<DotWeights::withZero, 4>,
                                             scaleShare<DotWeights::ofSigned, 2>, scaleShare<DotWeights::ofSigned, 4>};
  const bool four = b.together % 4 == 0, ofSigned = weights == DotWeights::ofSigned;
  const int64_t groups = four ? 4 : 2;
  ScaleShareFn *scale = kScale[2 * unsigned(weights) + four];
  const int64_t group = b.units * 16, columns = tileColumns(b.units);
  alignas(64) int32_t sums[4 * kTileSums];
  alignas(64) float parts[kTileRows * kStride];
  // Two that take turns: a copy of what was just written would wait until all stores before it are done.
  AmxShare shares[2];
  bool turn = false;
  auto finish = [&](AmxShare &share) {
    if (!share.rows)
      return;
    storeTile<0>(sums, 64);
    storeTile<1>(sums + kTileSums, 64);
    if (groups > 2) {
      storeTile<2>(sums + 2 * kTileSums, 64);
      storeTile<3>(sums + 3 * kTileSums, 64);
    }
    scale(b, share, sums);
    share.rows = 0;
  };
  int64_t configured = 0;
  for (int64_t r = 0; r < rows; r += kTileRows) {
    const int64_t count = rows - r < kTileRows ? rows - r : kTileRows;
    if (count != configured) {
      // A configuration empties the tiles.
      finish(shares[!turn]);
      configureTiles(count, count, columns);
      configured = count;
    }
    const uint8_t *x = b.x + r * b.xStride;
    for (int64_t g = 0; g < b.groups; g += groups) {
      fetchRows(b, r, count, g / groups, b.groups / groups);
      for (int64_t c = 0; c < kPanelsTogether; ++c, turn = !turn) {
        AmxShare &before = shares[!turn], &share = shares[turn];
        const uint8_t *w = b.w + c * b.wPanel + g * group * kPanelColumns;
        const bool stores = before.rows > 0;
        multiplyShare<0>(b, x + g * group, w, groups, columns, ofSigned, stores, sums);
        multiplyShare<1>(b, x + g * group, w, groups, columns, ofSigned, stores, sums);
        multiplyShare<2>(b, x + g * group, w, groups, columns, ofSigned, stores, sums);
        multiplyShare<3>(b, x + g * group, w, groups, columns, ofSigned, stores, sums);
        if (stores)
          scale(b, before, sums);
        share.rows = count;
        share.xScales = b.scales + r * b.xStride + 4 * (g / b.together);
        share.xSums = b.sums + r * b.sumStride + 4 * g;
        share.factors = b.factors + (g * kPanelsTogether + c) * factors;
        share.acc = b.acc + r * kStride + c * kLanes;
        share.parts = parts + c * kLanes;
        share.opens = g % b.together == 0;
        share.closes = (g + groups) % b.together == 0;
        share.begins = b.begins && g < b.together;
      }
    }
  }
  finish(shares[!turn]);
}

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
