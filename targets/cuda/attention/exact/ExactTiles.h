//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Tiles of the f32-exact kernel, and which of them a thread works on.
//
// A block of 128 threads computes 64 rows (32 with head 256, whose output would not fit the registers), over blocks of
// 64 keys. Q stays in shared memory; K and V come in chunks of 64 columns ([64 keys][64 columns], 16 KiB) through a
// ring. A warp owns a quarter of the rows with all their keys, so a row's statistics and probabilities stay inside the
// warp; a thread has 8 rows (4) x 4 keys of the scores and as many rows x 4 columns of each chunk of the output.
//
#pragma once

#include "targets/cuda/attention/Attention.h"
#include "targets/cuda/attention/Tiles.h"

namespace mlc::attention {

constexpr int kExactTile = 64;                // keys, and columns of a chunk
constexpr int kExactThreads = 128;            //
constexpr int kExactVectors = kExactTile / 4; // Float4s in a row of a tile
constexpr int kTileFloats = kExactTile * kExactTile;

template <int kHeadDim> struct ExactTiles {
  static_assert(kHeadDim % 16 == 0 && kHeadDim <= 256);
  static constexpr int kChunks = (kHeadDim + kExactTile - 1) / kExactTile;
  /// 64; of the last chunk 16, 32, 48 or 64.
  MLC_BOTH static constexpr int width(int chunk) { return cuda::least(kExactTile, kHeadDim - kExactTile * chunk); }
  static constexpr int kOwn = kHeadDim > 128 ? 4 : 8; // rows of a thread
  static constexpr int kRows = 8 * kOwn;
  static constexpr int kStages = kHeadDim > 128 || kHeadDim == 64 ? 2 : 3;
  static constexpr int kQFloats = kRows * kExactTile; // of one chunk of Q, and of P
  static constexpr int kQ = 0, kP = kQ + kChunks * kQFloats, kRing = kP + kQFloats;
  static constexpr int kSharedBytes = (kRing + kStages * kTileFloats) * int(sizeof(float));
};

/// Of a thread: two lanes that differ in bit 0 have neighbouring rows and the same keys, so a 128-bit load of K or V is
/// two wavefronts.
struct ExactThread {
  int firstRow, rowLane, keyLane;

  MLC_BOTH static constexpr ExactThread of(int thread, int own) {
    return {thread / 32 * 2 * own + thread % 2, thread % 2, thread % 32 / 2};
  }
  MLC_BOTH constexpr int row(int i) const { return firstRow + 2 * i; }
  MLC_BOTH constexpr int key(int j) const { return keyLane + 16 * j; }
  /// Where the probability of row(i) and key(j) lies: placeInQ(), as one of two addresses and a constant.
  MLC_BOTH constexpr int probability(int i, int j) const {
    return row(0) * kExactTile + keyLane + (j % 2 ? -16 : 16) * rowLane + 2 * kExactTile * i + 16 * j;
  }
};

// Where Float4 `vector` of a row lies. K: the keys of 8 neighbouring lanes lie in different banks. Q and P: two
// neighbouring rows do, read as vectors or written as 16 floats in a row. V has no need.
MLC_BOTH constexpr int placeInK(int row, int vector) { return row * kExactVectors + (vector ^ (row & 7)); }
MLC_BOTH constexpr int placeInQ(int row, int vector) { return row * kExactVectors + (vector ^ (row & 1) << 2); }
MLC_BOTH constexpr int placeInV(int row, int vector) { return row * kExactVectors + vector; }

struct ExactArgs {
  mlc_attention_problem problem;
  cuda::TileOrder order;
  float factor, factorLow;       // of the scores (capped ones, if there is a cap), in two terms; to base 2
  float capFactor, capFactorLow; // scale / softcap, in two terms; 0 without a cap
};

} // namespace mlc::attention
