//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Products of bf16 pairs with AMX tiles: tdpbf16ps takes 16 pairs along the sum, which fixes its order.
//
#include "targets/cpu/kernels/AmxTiles.h"
#include "targets/cpu/kernels/PairTiles.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

constexpr int64_t kTilePairs = 16;

/// The four tiles of sums: 16 rows by 4 vectors, or 32 rows by 2.
template <bool Wide> struct SumTiles {
  const PairTiles &b;
  bool second; // Rows beyond the first 16.
  int64_t vectors;

  template <int Tile> bool has() const { return Wide ? Tile < vectors : Tile % 2 < vectors && (Tile < 2 || second); }
  template <int Tile> uint8_t *at(float *acc) const {
    int64_t row = Wide ? 0 : Tile / 2 * kTileRows, vector = Wide ? Tile : Tile % 2;
    return reinterpret_cast<uint8_t *>(acc + row * b.accStride + vector * kLanes);
  }
  template <int Tile> [[gnu::always_inline]] void begin(float *acc) const {
    if (!has<Tile>())
      return;
    if (b.fresh)
      zeroTile<Tile>();
    else
      loadTile<Tile>(at<Tile>(acc), b.accStride * 4);
  }
  template <int Tile> [[gnu::always_inline]] void end(float *acc) const {
    if (has<Tile>())
      storeTile<Tile>(at<Tile>(acc), b.accStride * 4);
  }
  template <int Tile> [[gnu::always_inline]] void loadWeights(const uint8_t *w) const {
    loadTile<Tile>(w, b.wStride);
    if (b.ahead)
      for (int64_t i = 0; i < kTilePairs; ++i)
        fetchLine(w + b.ahead + i * b.wStride);
  }
  /// One tile of pairs. Products of the same weights follow each other: in another order they wait for the loads.
  [[gnu::always_inline]] void multiply(const uint8_t *x, const uint8_t *w) const {
    loadWeights<6>(w);
    loadTile<4>(x, b.xStride);
    multiplyPairTile<0, 4, 6>();
    if constexpr (Wide) {
      if (vectors > 1) {
        loadWeights<7>(w + b.wVector);
        multiplyPairTile<1, 4, 7>();
      }
      if (vectors > 2) {
        loadWeights<6>(w + 2 * b.wVector);
        multiplyPairTile<2, 4, 6>();
      }
      if (vectors > 3) {
        loadWeights<7>(w + 3 * b.wVector);
        multiplyPairTile<3, 4, 7>();
      }
      return;
    }
    if (second) {
      loadTile<5>(x + kTileRows * b.xStride, b.xStride);
      multiplyPairTile<2, 5, 6>();
    }
    if (vectors > 1) {
      loadWeights<7>(w + b.wVector);
      multiplyPairTile<1, 4, 7>();
      if (second)
        multiplyPairTile<3, 5, 7>();
    }
  }
  [[gnu::always_inline]] void run(const uint8_t *x, const uint8_t *w, float *acc, int64_t tiles) const {
    begin<0>(acc), begin<1>(acc), begin<2>(acc), begin<3>(acc);
    for (; tiles; --tiles, x += kTilePairs * 4, w += kTilePairs * b.wStride)
      multiply(x, w);
    end<0>(acc), end<1>(acc), end<2>(acc), end<3>(acc);
  }
};

/// Configures the tiles for rows and bytes of a row of x, unless they are.
MLC_SIMD void shapeTiles(int64_t first, int64_t second, int64_t bytes, int64_t &shape) {
  int64_t wanted = first | second << 8 | bytes << 16;
  if (shape != wanted)
    configureTiles(first, second, bytes);
  shape = wanted;
}

template <bool Wide> void blocks(const PairTiles &b, int64_t rows, int64_t vectors, int64_t &shape) {
  constexpr int64_t kRows = Wide ? kTileRows : 2 * kTileRows, kVectors = Wide ? 4 : 2;
  for (int64_t r = 0; r < rows; r += kRows) {
    const int64_t count = rows - r < kRows ? rows - r : kRows, first = count < kTileRows ? count : kTileRows;
    shapeTiles(first, Wide ? first : count - first, kTilePairs * 4, shape);
    const uint8_t *x = b.x + r * b.xStride;
    for (int64_t v = 0; v < vectors; v += kVectors) {
      const int64_t some = vectors - v < kVectors ? vectors - v : kVectors;
      SumTiles<Wide>{b, count > kTileRows, some}.run(x, b.w + v * b.wVector, b.acc + r * b.accStride + v * kLanes,
                                                     b.pairs / kTilePairs);
    }
  }
}

} // namespace

PairTilesFn multiplyPairs;
void multiplyPairs(const PairTiles &b, int64_t rows, int64_t vectors, int64_t &shape) {
  if (!rows) {
    if (shape)
      releaseTiles();
    shape = 0;
    return;
  }
  int64_t rest = b.pairs % kTilePairs;
  if (b.pairs >= kTilePairs) {
    if (vectors > 2)
      blocks<true>(b, rows, vectors, shape);
    else
      blocks<false>(b, rows, vectors, shape);
  }
  if (!rest)
    return;
  // Tiles of fewer pairs.
  PairTiles last = b;
  last.fresh = b.fresh && b.pairs < kTilePairs;
  last.x += (b.pairs - rest) * 4;
  last.w += (b.pairs - rest) * b.wStride;
  last.ahead = 0;
  for (int64_t r = 0; r < rows; r += kTileRows) {
    const int64_t count = rows - r < kTileRows ? rows - r : kTileRows;
    shapeTiles(count, 0, rest * 4, shape);
    for (int64_t v = 0; v < vectors; ++v)
      SumTiles<false>{last, false, 1}.run(last.x + r * b.xStride, last.w + v * b.wVector,
                                          b.acc + r * b.accStride + v * kLanes, 1);
  }
}

} // namespace MLC_ISA_NS
} // namespace mlc::cpu
