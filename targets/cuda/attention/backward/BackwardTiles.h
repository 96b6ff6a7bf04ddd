//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Tiles of the backward kernels. A block of 128 threads: each of 4 warps owns 16 of 64 rows (of dQ) or keys (of dK and
// dV) and meets the other side in tiles of 64, copied one ahead. Scores are computed as [own, other], so that they
// leave the product as the left operand of the next one: probabilities never pass through shared memory.
//
#pragma once

#include "targets/cuda/attention/Tiles.h"
#include "targets/cuda/attention/backward/Backward.h"

namespace mlc::attention {

constexpr int kBackwardTile = 64, kBackwardThreads = 128;

template <int kHeadDim> struct BackwardTiles {
  static_assert(kHeadDim == 64 || kHeadDim == 128);
  static constexpr int kVectors = kHeadDim / 8; // 16 bytes each, in a row
  static constexpr int kTileBytes = kBackwardTile * kHeadDim * 2;
  // Two tiles stay, two stages of two tiles follow; then the two rows of statistics for each stage.
  static constexpr int kStages = 2 * kTileBytes, kStatistics = kStages + 4 * kTileBytes;
  static constexpr int kSharedBytes = kStatistics + 2 * 2 * kBackwardTile * int(sizeof(float));
  /// Tiles of 8 queries whose scores dK and dV meet at a time: beside two sums of head 128 there is room for half.
  static constexpr int kTogether = kHeadDim > 64 ? 4 : 8;
  /// Where 16-byte vector `vector` of a row lies, in bytes: 8 rows of one column of vectors are in different banks.
  MLC_BOTH static constexpr int place(int row, int vector) { return (row * kVectors + (vector ^ (row & 7))) * 16; }
};

/// Blocks [begin, end) of `height` rows that see one of the keys [key, key + count). A row sees [row + d - left,
/// row + d + right], d = columns - rows.
MLC_BOTH constexpr cuda::BlockRange rowBlocksOf(const cuda::Mask &mask, int key, int count, int height) {
  const int last = cuda::least(key + count, mask.columns) - 1, shift = mask.columns - mask.rows;
  const int begin = mask.right < 0 ? 0 : cuda::most(0, key - shift - mask.right);
  const int end = mask.left < 0 ? mask.rows : cuda::least(mask.rows, last - shift + mask.left + 1);
  if (last < key || end <= begin)
    return {0, 0};
  return {begin / height, cuda::ceilDiv(end, height)};
}

struct BackwardArgs {
  mlc_attention_problem problem;
  mlc_attention_gradients gradients;
  cuda::TileOrder rowOrder, keyOrder; // of dQ; of dK and dV
  float *delta;                       // as lse
  float factor;                       // scale * log2(e); with a soft-cap log2(e)
  float capFactor;                    // scale / softcap; 0 without a cap
};

} // namespace mlc::attention
