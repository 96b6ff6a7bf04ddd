//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Attention forward for sm_80, sm_86 and sm_89 (and whatever runs mma.sync). A block of threads makes one tile of rows;
// each warp holds 16 or 32 of them, all columns of a block of K, so that scores become weights in registers. Tiles of K
// and V pass in turn (K, V of the last block, K, V of the one before, ...) through one ring of shared memory, filled by
// cp.async kSlots - 1 tiles ahead. With 32 rows every fragment of K and V that a warp loads serves two products, which
// halves the traffic of shared memory; Q then is read from there again for each block, but at head dimension 80.
//
#pragma once

#include "targets/cuda/attention/forward/ForwardShapes.h"
#include "targets/cuda/attention/forward/Softmax.cuh"
#include "targets/cuda/device/Ampere.cuh"

namespace mlc::attention {

using namespace cuda;

/// What a block of threads makes.
struct Place {
  int row, head, batch;
  __device__ __forceinline__ Place(const ForwardArgs &p, int index, int rows) {
    const TileOrder::Tile tile = p.order.tile(index);
    row = tile.rowBlock * rows;
    head = tile.head % p.problem.heads_q;
    batch = tile.head / p.problem.heads_q;
  }
};

template <class T, class S> struct AmpereTile {
  using Rows = SwizzledRows<S::kHeadDim>;
  static constexpr int kRowTiles = S::kRowTiles, kDepth = S::kHeadDim / 16, kSteps = S::kColumns / 16;

  const ForwardArgs &p;
  const Mask mask;
  const uint32_t q, ring; // shared memory
  const int batch, lane = threadIdx.x % 32;
  const int row;        // this warp's first
  const uint8_t *k, *v; // this thread's part of row 0
  uint32_t slot;

  uint32_t kept[S::kKeepQ ? kRowTiles : 1][S::kKeepQ ? kDepth : 1][4];
  float scores[kRowTiles][S::kColumns / 2], bias[kRowTiles][2];
  float values[kRowTiles][S::kHeadDim / 2];
  SoftmaxRows softmax[kRowTiles];

  /// What a thread copies: chunk threadIdx.x % kGroup of each group of a row, of every kStride-th row.
  static constexpr int kStride = S::kThreads / Rows::kGroup;

  __device__ __forceinline__ AmpereTile(const ForwardArgs &p, const Sequence &sequence, uint32_t shared,
                                        const Place &place)
      : p(p), mask(sequence.mask(p.problem)), q(shared), ring(shared + S::kQBytes), batch(place.batch),
        row(place.row + uniform(threadIdx.x / 32) * S::kWarpRows), slot(ring) {
    k = origin(sequence, place.head, p.problem.k);
    v = origin(sequence, place.head, p.problem.v);
  }
  /// Token 0 of the sequence's head; of pages, page 0.
  __device__ __forceinline__ const uint8_t *origin(const Sequence &sequence, int head, const mlc_attention_tensor &t) {
    const int64_t first = sequence.pages ? 0 : keyOffset(p.problem, t, sequence, batch, 0);
    return static_cast<const uint8_t *>(t.data) + (first + head / p.group * t.head) * 2 +
           threadIdx.x % Rows::kGroup * 16;
  }

  /// kCount rows from `first` on; those from `end` on become zeros.
  template <int kCount, class Address>
  __device__ __forceinline__ void copyRows(uint32_t to, int first, int end, Address address) {
    const int mine = threadIdx.x / Rows::kGroup;
    to += Rows::offset(mine, threadIdx.x % Rows::kGroup);
#pragma unroll
    for (int i = 0; i < kCount; i += kStride) {
      if (kCount % kStride && mine + i >= kCount)
        break;
      const int at = first + mine + i;
      bool inside = at < end;
      const uint8_t *from = address(at, inside);
#pragma unroll
      for (int c = 0; c < Rows::kChunks; c += Rows::kGroup)
        copy16(to + i * Rows::kRowBytes + c * 16, from + c * 16, inside);
    }
  }
  /// Starts the copy of a block of K or V to a slot.
  __device__ __forceinline__ void fetch(uint32_t to, const mlc_attention_tensor &t, const uint8_t *base, int block) {
    if (p.problem.page_table)
      copyRows<S::kColumns>(to, block * S::kColumns, mask.columns, [&](int at, bool &inside) {
        return base + (inside ? keyOffset(p.problem, t, sequenceOf(p.problem, batch), batch, at) * 2 : 0);
      });
    else
      copyRows<S::kColumns>(to, block * S::kColumns, mask.columns,
                            [&](int at, bool &) { return base + at * t.token * 2; });
  }

  __device__ __forceinline__ void loadQ(const Sequence &sequence, const Place &place) {
    const uint8_t *from =
        static_cast<const uint8_t *>(p.problem.q.data) + (sequence.queries + place.head * p.problem.q.head) * 2;
    if constexpr (S::kKeepQ) {
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          const int mine = row + 16 * m + 8 * r + lane / 4;
          const uint8_t *at = from + mine * p.problem.q.token * 2 + lane % 4 * 4;
#pragma unroll
          for (int i = 0; i < 2 * kDepth; ++i)
            kept[m][i / 2][i % 2 * 2 + r] =
                mine < mask.rows ? __ldg(reinterpret_cast<const uint32_t *>(at + 16 * i)) : 0;
        }
    } else {
      from += threadIdx.x % Rows::kGroup * 16;
      copyRows<S::kRows>(q, place.row, mask.rows, [&](int at, bool &) { return from + at * p.problem.q.token * 2; });
    }
  }

  /// Products of this warp's rows of Q and the block of K in `slot`.
  __device__ __forceinline__ void score() {
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
      for (int i = 0; i < S::kColumns / 2; ++i)
        scores[m][i] = 0;
    const uint32_t a = q + Rows::offset(row % S::kRows + lane % 16, lane / 16);
    const uint32_t b = slot + Rows::offset(lane % 8 + lane / 16 * 8, lane / 8 % 2);
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      uint32_t rows[kRowTiles][4];
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
        if constexpr (S::kKeepQ) {
#pragma unroll
          for (int i = 0; i < 4; ++i)
            rows[m][i] = kept[m][d][i];
        } else
          loadMatrices(rows[m], Rows::along(a, d) + m * 16 * Rows::kRowBytes);
      }
#pragma unroll
      for (int n = 0; n < kSteps; ++n) {
        uint32_t columns[4];
        loadMatrices(columns, Rows::along(b, d) + n * 16 * Rows::kRowBytes);
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
          mma<T>(scores[m] + 8 * n, rows[m], columns[0], columns[1]);
          mma<T>(scores[m] + 8 * n + 4, rows[m], columns[2], columns[3]);
        }
      }
    }
  }

  /// From the scores to the weights of 16 columns, of which `part` of `parts`; they take the scores' place.
  __device__ __forceinline__ void weigh(int step, int part, int parts) {
    constexpr int kCount = kRowTiles * 8;
#pragma unroll
    for (int e = part * kCount / parts; e < (part + 1) * kCount / parts; ++e) {
      float &score = scores[e / 8][8 * step + e % 8];
      score = exp2Fast(fmaf(score, p.scaleLog2, bias[e / 8][e / 2 % 2]));
    }
  }

  /// Adds the weighted rows of V in `slot`. The weights of 16 columns are made under the products of the 16 before.
  __device__ __forceinline__ void addValues(int block) {
    const bool cut = mask.cuts(row, S::kWarpRows, block * S::kColumns, S::kColumns);
    float most[kRowTiles][2];
    bool grows = false;
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
      SoftmaxRows::limit(p, mask, cut, row + 16 * m + lane / 4, block * S::kColumns + lane % 4 * 2, scores[m]);
      grows |= softmax[m].grows(p.scaleLog2, scores[m], most[m]);
    }
    if (__any_sync(~0u, grows)) {
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
        float factor[2];
        softmax[m].grow(p.scaleLog2, most[m], factor);
        SoftmaxRows::rescale(factor, values[m]);
      }
    }
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
      bias[m][0] = softmax[m].bias(p.scaleLog2, 0);
      bias[m][1] = softmax[m].bias(p.scaleLog2, 1);
    }
    const uint32_t b = slot + Rows::offset(lane % 16, lane / 16);
    weigh(0, 0, 1);
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      uint32_t weights[kRowTiles][4];
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float low = scores[m][8 * s + 2 * i], high = scores[m][8 * s + 2 * i + 1];
          weights[m][i] = packPair<T>(low, high);
          softmax[m].sum[i % 2] += low + high;
        }
#pragma unroll
      for (int d = 0; d < kDepth; ++d) {
        uint32_t columns[4];
        loadMatricesTransposed(columns, Rows::along(b, d) + s * 16 * Rows::kRowBytes);
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
          mma<T>(values[m] + 8 * d, weights[m], columns[0], columns[1]);
          mma<T>(values[m] + 8 * d + 4, weights[m], columns[2], columns[3]);
        }
        if (s + 1 < kSteps)
          weigh(s + 1, d, kDepth);
      }
    }
  }

  /// Waits for the tile in `slot`, and for all warps to have left the one before, which the copy of a later block
  /// takes.
  template <bool kOfV> __device__ __forceinline__ void advance(int block, int begin) {
    copyWait<S::kSlots - 2>();
    __syncthreads();
    const uint32_t to = slot == ring ? ring + (S::kSlots - 1) * S::kTileBytes : slot - S::kTileBytes;
    if (block >= begin)
      kOfV ? fetch(to, p.problem.v, v, block) : fetch(to, p.problem.k, k, block);
    copyCommit();
  }
  __device__ __forceinline__ void next() {
    slot = slot == ring + (S::kSlots - 1) * S::kTileBytes ? ring : slot + S::kTileBytes;
  }

  __device__ __forceinline__ void run(const Sequence &sequence, const Place &place) {
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
      for (int i = 0; i < S::kHeadDim / 2; ++i)
        values[m][i] = 0;
    const BlockRange all = blocksOf(mask, place.row, S::kRows, S::kColumns);
    if (all.count()) {
      const BlockRange mine = blocksOf(mask, row, S::kWarpRows, S::kColumns);
      loadQ(sequence, place);
#pragma unroll
      for (int i = 0; i < S::kSlots - 1; ++i) {
        const int block = all.end - 1 - i / 2;
        if (block >= all.begin)
          i % 2 ? fetch(ring + i * S::kTileBytes, p.problem.v, v, block)
                : fetch(ring + i * S::kTileBytes, p.problem.k, k, block);
        copyCommit();
      }
      for (int block = all.end - 1; block >= all.begin; --block) {
        // Blocks that other warps see and this one does not.
        const bool sees = block >= mine.begin && block < mine.end;
        advance<S::kSlots % 2 == 0>(block - (S::kSlots - 1) / 2, all.begin);
        if (sees)
          score();
        next();
        advance<S::kSlots % 2 == 1>(block - S::kSlots / 2, all.begin);
        if (sees)
          addValues(block);
        next();
      }
    }
    const Place end(p, forget(blockIdx.x), S::kRows);
    const Sequence output = sequenceOf(p.problem, end.batch);
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m)
      softmax[m].template store<T, S::kHeadDim>(p, output, row + 16 * m + lane / 4, end.head, end.batch, values[m]);
  }
};

template <class T, class S> __device__ __forceinline__ void forwardAmpere(const ForwardArgs &p) {
  const Place place(p, blockIdx.x, S::kRows);
  const Sequence sequence = sequenceOf(p.problem, place.batch);
  // Ragged: past the end of its sequence.
  if (place.row < sequence.rows)
    AmpereTile<T, S>(p, sequence, sharedAddress(dynamicShared()), place).run(sequence, place);
}

} // namespace mlc::attention
