//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the backward kernels share: copies of tiles, products of a warp's 16 rows with a tile, probabilities.
//
#pragma once

#include "targets/cuda/attention/Sequence.h"
#include "targets/cuda/attention/backward/BackwardTiles.h"
#include "targets/cuda/attention/simt/Simt.h"

namespace mlc::attention {

using Bytes = unsigned char;

/// Rows [row, row + 64) of 16-bit `data` to a tile, later; rows from `rows` on are zero.
template <int kHeadDim> MLC_DEVICE void copyTile(Bytes *tile, const uint16_t *data, int64_t stride, int row, int rows) {
  using Tiles = BackwardTiles<kHeadDim>;
  constexpr int together = kBackwardThreads / Tiles::kVectors;
  const int vector = threadIndex() % Tiles::kVectors, first = threadIndex() / Tiles::kVectors;
  MLC_UNROLL_ALL
  for (int i = 0; i < kBackwardTile / together; ++i) {
    const int r = first + i * together;
    const bool valid = row + r < rows;
    copyAsync(tile + Tiles::place(r, vector), data + (valid ? (row + r) * stride : 0) + 8 * vector, valid);
  }
}

/// The left operand: 16 rows from `row` on, columns [16 k, 16 k + 16).
template <int kHeadDim> MLC_DEVICE void loadLeft(uint32_t (&to)[4], const Bytes *tile, int row, int k) {
  const int lane = threadIndex() % 32;
  loadMatrices(to, tile + BackwardTiles<kHeadDim>::place(row + lane % 16, 2 * k + lane / 16));
}
/// The right operand of a product with the tile's transpose: its rows [16 n, 16 n + 16) as columns, its columns
/// [16 k, 16 k + 16) as rows. Values 0 and 1 are for the first 8 columns, 2 and 3 for the others.
template <int kHeadDim> MLC_DEVICE void loadRightTransposed(uint32_t (&to)[4], const Bytes *tile, int n, int k) {
  const int lane = threadIndex() % 32;
  loadMatrices(to, tile + BackwardTiles<kHeadDim>::place(16 * n + lane % 8 + lane / 16 * 8, 2 * k + lane / 8 % 2));
}
/// The right operand of a product with the tile: rows [16 k, 16 k + 16), columns [16 n, 16 n + 16); values as above.
template <int kHeadDim> MLC_DEVICE void loadRight(uint32_t (&to)[4], const Bytes *tile, int k, int n) {
  const int lane = threadIndex() % 32;
  loadMatricesTransposed(to, tile + BackwardTiles<kHeadDim>::place(16 * k + lane % 16, 2 * n + lane / 16));
}

/// Two products at a time, whose steps alternate, so that twice as many are under way: of the left tiles' rows [row,
/// row + 16) with the transposes of the right ones' rows from 16 `firstPair` on, [16, 8 kTiles] each.
template <int kHeadDim, typename Type, int kTiles>
MLC_DEVICE void multiplyTransposed(float (&sumsA)[kTiles][4], const Bytes *leftA, const Bytes *rightA,
                                   float (&sumsB)[kTiles][4], const Bytes *leftB, const Bytes *rightB, int row,
                                   int firstPair = 0) {
  MLC_UNROLL_ALL
  for (int k = 0; k < kHeadDim / 16; ++k) {
    uint32_t a[4], b[4];
    loadLeft<kHeadDim>(a, leftA, row, k);
    loadLeft<kHeadDim>(b, leftB, row, k);
    MLC_UNROLL_ALL
    for (int n = 0; n < kTiles / 2; ++n) {
      uint32_t right[4];
      loadRightTransposed<kHeadDim>(right, rightA, firstPair + n, k);
      multiplyAdd<Type>(sumsA[2 * n], a, right[0], right[1]);
      multiplyAdd<Type>(sumsA[2 * n + 1], a, right[2], right[3]);
      loadRightTransposed<kHeadDim>(right, rightB, firstPair + n, k);
      multiplyAdd<Type>(sumsB[2 * n], b, right[0], right[1]);
      multiplyAdd<Type>(sumsB[2 * n + 1], b, right[2], right[3]);
    }
  }
}

/// sums [16, head] += left [16, 8 kTiles] times `right`'s rows from 16 `firstPair` on. A product's result is laid out
/// as a left operand needs it.
template <int kHeadDim, typename Type, int kTiles>
MLC_DEVICE void multiplyOwn(float (&sums)[kHeadDim / 8][4], const float (&left)[kTiles][4], const Bytes *right,
                            int firstPair = 0) {
  MLC_UNROLL_ALL
  for (int k = 0; k < kTiles / 2; ++k) {
    const float(&first)[4] = left[2 * k], (&second)[4] = left[2 * k + 1];
    const uint32_t a[4] = {Type::pack(first[0], first[1]), Type::pack(first[2], first[3]),
                           Type::pack(second[0], second[1]), Type::pack(second[2], second[3])};
    MLC_UNROLL_ALL
    for (int n = 0; n < kHeadDim / 16; ++n) {
      uint32_t b[4];
      loadRight<kHeadDim>(b, right, firstPair + k, n);
      multiplyAdd<Type>(sums[2 * n], a, b[0], b[1]);
      multiplyAdd<Type>(sums[2 * n + 1], a, b[2], b[3]);
    }
  }
}

/// A score becomes its probability; `slope` is what the soft-cap's derivative multiplies dS with. `lseLog2` is infinite
/// for a row without keys: its probabilities are 0.
MLC_DEVICE float probability(const BackwardArgs &args, float score, float lseLog2, float &slope) {
  slope = 1;
  if (args.capFactor != 0) {
    const float tangent = tanhf(score * args.capFactor);
    slope = fmaf(-tangent, tangent, 1.0f);
    score = args.problem.softcap * tangent;
  }
  return exp2Fast(fmaf(score, args.factor, -lseLog2));
}

/// What a row's log-sum-exp is to probability().
MLC_DEVICE float lseToLog2(float lse) { return lse == -INFINITY ? INFINITY : lse * 1.4426950408889634f; }

/// Writes a warp's 16 rows from `row` on, those below `rows`.
template <int kHeadDim, typename Type>
MLC_DEVICE void storeGradient(uint16_t *data, int64_t stride, const float (&sums)[kHeadDim / 8][4], float scale,
                              int row, int rows) {
  const int lane = threadIndex() % 32;
  MLC_UNROLL_ALL
  for (int half = 0; half < 2; ++half) {
    const int at = row + lane / 4 + 8 * half;
    if (at >= rows)
      continue;
    uint32_t *to = reinterpret_cast<uint32_t *>(data + at * stride) + lane % 4;
    MLC_UNROLL_ALL
    for (int n = 0; n < kHeadDim / 8; ++n)
      to[4 * n] = Type::pack(sums[n][2 * half] * scale, sums[n][2 * half + 1] * scale);
  }
}

/// The head of a tensor, at the first token of a sequence.
MLC_DEVICE uint16_t *headOf(const mlc_attention_tensor &tensor, int64_t offset, int head) {
  return static_cast<uint16_t *>(tensor.data) + offset + head * tensor.head;
}
/// The offset of a sequence's first query or key in any tensor.
MLC_DEVICE int64_t firstQuery(const mlc_attention_problem &problem, const Sequence &sequence, int batch,
                              const mlc_attention_tensor &tensor) {
  return problem.cu_seqlens_q ? sequence.tokensQ * tensor.token : batch * tensor.batch;
}
MLC_DEVICE int64_t firstKey(const mlc_attention_problem &problem, const Sequence &sequence, int batch,
                            const mlc_attention_tensor &tensor) {
  return problem.cu_seqlens_kv ? sequence.keys * tensor.token : batch * tensor.batch;
}

} // namespace mlc::attention
