//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the products with AMX tiles share.
//
#pragma once

#include "targets/cpu/kernels/FetchRows.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

constexpr int64_t kTileRows = 16, kAmxRows = 2 * kTileRows;
alignas(64) constexpr float kNothing[kLanes] = {};

/// Columns of k that one instruction takes: the largest that divides a group of `units` times 16.
constexpr int64_t tileColumns(int64_t units) { return units % 4 == 0 ? 64 : units % 2 == 0 ? 32 : 16; }

/// What ldtilecfg reads.
struct TileShapes {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t rowBytes[16] = {};
  uint8_t rows[16] = {};

  void set(int tile, int64_t tileRows, int64_t bytes) {
    // A tile without rows has no bytes either.
    rowBytes[tile] = uint16_t(tileRows ? bytes : 0);
    rows[tile] = uint8_t(tileRows);
  }
  void configure() const { asm volatile("ldtilecfg %0" : : "m"(*this)); }
};

/// Shapes of the tiles: 0, 1 and 2, 3 sums of `first` and of `second` rows, 4 and 5 those rows of x, 6 and 7 panels.
[[gnu::noinline, maybe_unused]] void configureTiles(int64_t first, int64_t second, int64_t columns) {
  TileShapes shapes;
  shapes.set(0, first, 64), shapes.set(1, first, 64), shapes.set(2, second, 64), shapes.set(3, second, 64);
  shapes.set(4, first, columns), shapes.set(5, second, columns);
  shapes.set(6, columns / 4, 64), shapes.set(7, columns / 4, 64);
  shapes.configure();
}

// Assembly, for the headers of g++ take no tile that a template names, and say nothing of the memory that is read.
template <int Tile> MLC_SIMD void zeroTile() { asm volatile("tilezero %%tmm%c0" : : "i"(Tile)); }
template <int Tile> MLC_SIMD void loadTile(const uint8_t *rows, int64_t stride) {
  asm volatile("tileloadd (%0,%1), %%tmm%c2" : : "r"(rows), "r"(stride), "i"(Tile) : "memory");
}
template <int Tile> MLC_SIMD void storeTile(void *rows, int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1)" : : "r"(rows), "r"(stride), "i"(Tile) : "memory");
}
MLC_SIMD void releaseTiles() { asm volatile("tilerelease"); }

template <bool Signed, int Sums, int X, int W> MLC_SIMD void multiplyTile() {
  if constexpr (Signed)
    asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sums), "i"(X), "i"(W));
  else
    asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sums), "i"(X), "i"(W));
}

template <int Sums, int X, int W> MLC_SIMD void multiplyPairTile() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sums), "i"(X), "i"(W));
}

/// Three steps, and sums of two: while the next is multiplied the one in the tiles is stored, and the one before that
/// is scaled: neither waits for the other. They take turns: a copy of what was just written would wait until all stores
/// before it are done.
template <int64_t Sums> struct TileTurns {
  alignas(64) int32_t buffers[2][Sums];
  TileStep turns[3], *next = turns, *inTiles = turns + 1, *stored = turns + 2;
  int32_t *sums = buffers[0], *earlier = buffers[1]; // Of the step in the tiles; of the one stored.

  /// After the next step's products: its place in the tiles, which is the caller's to describe.
  TileStep &advance() {
    TileStep *scaled = stored;
    stored = inTiles, inTiles = next, next = scaled;
    int32_t *read = earlier;
    earlier = sums, sums = read;
    return *inTiles;
  }
};

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
