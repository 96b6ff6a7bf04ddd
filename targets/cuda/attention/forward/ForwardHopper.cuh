//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Attention forward for sm_90a: one warpgroup hands out tiles and copies by the bulk copy engine, two or three
// multiply. A tile is 64 rows of Q a consumer warpgroup; scores and values are warpgroup products, P stays in
// registers. The scores of block j + 1 are multiplied before the values of block j, so the softmax of one runs under
// the product of the other, and the consumers take turns at the tensor cores (Shah et al., FlashAttention-3,
// arXiv:2407.08608).
//
#pragma once

#include "targets/cuda/attention/forward/ForwardShapes.h"
#include "targets/cuda/attention/forward/Softmax.cuh"
#include "targets/cuda/device/Hopper.cuh"

namespace mlc::attention {

using namespace cuda;

template <class T, int kColumns> struct Wgmma;
#include "Wgmma.inc" // by device/wgmma.py

/// A place in a ring of kStages buffers.
template <int kStages> struct RingPlace {
  int stage = 0;
  uint32_t parity = 0;
  __device__ __forceinline__ void next() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

template <class Tile> __device__ __forceinline__ Mask maskOf(const ForwardArgs &p, const Tile &tile) {
  return {tile.rows, tile.columns, p.problem.window_left, p.problem.window_right};
}

/// One block of K or V: a box for each chunk of columns, and of a paged cache for each kPagedBoxRows rows.
template <class S>
__device__ __forceinline__ void copyBlock(const ForwardArgs &p, const TensorMap *map, uint8_t *to, uint64_t *barrier,
                                          const typename S::Tile &tile, int block) {
  barrierExpect(barrier, S::kKvBytes);
  const int position = block * S::kColumns, head = tile.head / p.group;
  if (!p.problem.page_table) {
#pragma unroll
    for (int c = 0; c < S::kChunks; ++c)
      copyBox(to + c * S::kColumns * 128, map, barrier, c * 64, tile.firstKey + position, head,
              p.problem.cu_seqlens_kv ? 0 : tile.batch);
    return;
  }
  const int32_t *pages = p.problem.page_table + int64_t(tile.batch) * p.problem.pages_per_sequence;
  for (int at = 0; at < S::kColumns; at += kPagedBoxRows) {
    const int index = (position + at) / p.problem.page_size;
    // Past the end: a page that does not exist, which the copy fills with zeros.
    const int page = position + at < tile.columns ? pages[index] : p.problem.pages;
#pragma unroll
    for (int c = 0; c < S::kChunks; ++c)
      copyBox(to + c * S::kColumns * 128 + at * 128, map, barrier, c * 64, position + at - index * p.problem.page_size,
              head, page);
  }
}

/// The tile after `index`: whoever is free takes the next, or, without a counter, every gridDim-th.
__device__ __forceinline__ int nextTile(const ForwardArgs &p, int index) {
  return int(gridDim.x) + (p.counter ? int(atomicAdd(p.counter, 1u)) : index);
}

/// One thread: hands out tiles and copies their Q. It takes the next when the last block of the one before is on its
/// way, no earlier: a tile that waits for one processor keeps the others idle at the end.
template <class S> __device__ __forceinline__ void schedule(const ForwardArgs &p, typename S::Shared &shared) {
  prefetchMap(&p.q);
  int index = blockIdx.x;
  for (uint32_t tiles = 0;; ++tiles) {
    if (tiles) {
      barrierWait(&shared.copied, tiles & 1 ^ 1);
      index = nextTile(p, index);
    }
    typename S::Tile tile{-1};
    int firstQuery = 0;
    // Ragged: tiles past the end of their sequence are passed over.
    for (; index < p.order.tiles(); index = nextTile(p, index)) {
      const TileOrder::Tile at = p.order.tile(index);
      const int batch = at.head / p.problem.heads_q;
      const Sequence sequence = sequenceOf(p.problem, batch);
      if (at.rowBlock * S::kRows < sequence.rows) {
        tile = {at.rowBlock * S::kRows, at.head - batch * p.problem.heads_q, batch, sequence.rows, sequence.columns,
                int(sequence.keys)};
        firstQuery = int(sequence.tokensQ);
        break;
      }
    }
    barrierWait(&shared.tileEmpty[tiles & 1], tiles >> 1 & 1 ^ 1);
    shared.tile[tiles & 1] = tile;
    barrierArrive(&shared.tileFull[tiles & 1]);
    if (tile.row < 0)
      break;
    for (int w = 0; w < S::kConsumers; ++w) {
      barrierWait(&shared.qEmpty[w], tiles & 1 ^ 1);
      barrierExpect(&shared.qFull[w], S::kQBytes);
#pragma unroll
      for (int c = 0; c < S::kChunks; ++c)
        copyBox(shared.q[w] + c * 64 * 128, &p.q, &shared.qFull[w], c * 64, firstQuery + tile.row + w * 64, tile.head,
                p.problem.cu_seqlens_q ? 0 : tile.batch);
    }
  }
  // The last block to end leaves the counter at zero for the next launch.
  if (p.counter && atomicInc(p.counter + 1, gridDim.x - 1) == gridDim.x - 1)
    atomicExch(p.counter, 0u);
}

/// One thread: copies K and V of the tiles' blocks, from the last to the first, K one block ahead.
template <class S> __device__ __forceinline__ void copyBlocks(const ForwardArgs &p, typename S::Shared &shared) {
  prefetchMap(&p.k);
  prefetchMap(&p.v);
  uint32_t blocks = 0; // that came before: places in the rings follow
  for (uint32_t tiles = 0;; ++tiles) {
    barrierWait(&shared.tileFull[tiles & 1], tiles >> 1 & 1);
    const typename S::Tile tile = shared.tile[tiles & 1];
    barrierArrive(&shared.tileEmpty[tiles & 1]);
    if (tile.row < 0)
      break;
    const BlockRange range = blocksOf(maskOf(p, tile), tile.row, S::kRows, S::kColumns);
    for (int block = range.end; block >= range.begin && range.count(); --block) {
      if (block > range.begin) {
        const uint32_t stage = blocks % S::kStages;
        barrierWait(&shared.kEmpty[stage], blocks / S::kStages & 1 ^ 1);
        copyBlock<S>(p, &p.k, shared.k[stage], &shared.kFull[stage], tile, block - 1);
      }
      if (block < range.end) {
        const uint32_t stage = (blocks - 1) % S::kStages;
        barrierWait(&shared.vEmpty[stage], (blocks - 1) / S::kStages & 1 ^ 1);
        copyBlock<S>(p, &p.v, shared.v[stage], &shared.vFull[stage], tile, block);
      }
      blocks += block > range.begin;
    }
    barrierArrive(&shared.copied);
  }
}

/// The rows of one thread: `row` and `row + 8` of its warpgroup's 64.
template <class T, class S> struct Consumer {
  static constexpr int kScores = S::kColumns / 2, kValues = S::kHeadDim / 2, kDepth = S::kHeadDim / 16;
  static constexpr int kSteps = S::kColumns / 16;

  const ForwardArgs &p;
  typename S::Shared &shared;
  const int group, thread; // warpgroup, thread in it
  const int rowInTile, columnInBlock;
  RingPlace<S::kStages> at{}; // of the next block whose K has not been multiplied, or V of the block before
  uint32_t tiles = 0;

  float scores[kScores], values[kValues];
  uint32_t weights[kScores / 2];
  SoftmaxRows softmax;

  __device__ __forceinline__ Consumer(const ForwardArgs &p, typename S::Shared &shared, int group, int thread)
      : p(p), shared(shared), group(group), thread(thread), rowInTile(thread / 32 * 16 + thread % 32 / 4),
        columnInBlock(thread % 4 * 2) {}

  __device__ __forceinline__ void takeTurn() { namedSync(1 + group, 256); }
  __device__ __forceinline__ void passTurn() { namedArrive(1 + (group + 1) % S::kConsumers, 256); }
  __device__ __forceinline__ void release(uint64_t *barrier) {
    if (thread == 0)
      barrierArrive(barrier);
  }

  __device__ __forceinline__ void issueScores(int stage) {
    const uint64_t a = descriptorKMajor(sharedAddress(shared.q[group]));
    const uint64_t b = descriptorKMajor(sharedAddress(shared.k[stage]));
#pragma unroll
    for (int i = 0; i < kDepth; ++i)
      Wgmma<T, S::kColumns>::scores(a + (i / 4 * (64 * 128) + i % 4 * 32) / 16,
                                    b + (i / 4 * (S::kColumns * 128) + i % 4 * 32) / 16, scores, i != 0);
  }
  __device__ __forceinline__ void issueValues() {
    const uint64_t b = descriptorMnMajor(sharedAddress(shared.v[at.stage]), S::kColumns * 128);
#pragma unroll
    for (int i = 0; i < kSteps; ++i)
      Wgmma<T, S::kHeadDim>::values(reinterpret_cast<const uint32_t(&)[4]>(weights[4 * i]), b + i * (16 * 128) / 16,
                                    values, 1);
  }

  /// Rows of V past the end of a sequence may hold anything: zero times a NaN would be one.
  __device__ __forceinline__ void clearValues(int from) {
    const int chunk = thread % 8;
    for (int row = from + thread / 8; row < S::kColumns; row += 16)
      for (int c = 0; c < S::kChunks; ++c)
        *reinterpret_cast<int4 *>(shared.v[at.stage] + c * S::kColumns * 128 + row * 128 + chunk * 16) = int4{};
    fenceAsyncProxy();
    namedSync(4 + group, 128);
  }

  /// From scores to their exponentials, in place. Whether what was summed before is to be multiplied by `factor`.
  __device__ __forceinline__ bool weigh(const Mask &mask, int row, int block, float (&factor)[2]) {
    const int column = block * S::kColumns;
    SoftmaxRows::limit(p, mask, mask.cuts(row, 64, column, S::kColumns), row + rowInTile, column + columnInBlock,
                       scores);
    float most[2];
    const bool grows = __any_sync(~0u, softmax.grows(p.scaleLog2, scores, most));
    if (grows)
      softmax.grow(p.scaleLog2, most, factor);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float bias = softmax.bias(p.scaleLog2, r);
      float total = 0;
#pragma unroll
      for (int i = 0; i < kScores / 4; ++i)
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          float &s = scores[4 * i + 2 * r + c];
          s = exp2Fast(fmaf(s, p.scaleLog2, bias));
          total += s;
        }
      softmax.sum[r] += total;
    }
    return grows;
  }
  __device__ __forceinline__ void roundWeights() {
#pragma unroll
    for (int i = 0; i < kScores / 2; ++i)
      weights[i] = packPair<T>(scores[2 * i], scores[2 * i + 1]);
  }

  /// Blocks that the other warpgroups see and this one does not.
  __device__ __forceinline__ void passOver(int blocks) {
    for (int i = 0; i < blocks; ++i) {
      takeTurn();
      passTurn();
      barrierWait(&shared.kFull[at.stage], at.parity);
      release(&shared.kEmpty[at.stage]);
      barrierWait(&shared.vFull[at.stage], at.parity);
      release(&shared.vEmpty[at.stage]);
      at.next();
    }
  }

  /// The tile in `slot`; what is needed before and after the blocks alone is read again.
  __device__ __forceinline__ void tile(int slot) {
    const Mask mask{uniform(shared.tile[slot].rows), uniform(shared.tile[slot].columns), p.problem.window_left,
                    p.problem.window_right};
    const int row = uniform(shared.tile[slot].row) + group * 64;
    const BlockRange all = blocksOf(mask, row - group * 64, S::kRows, S::kColumns);
    BlockRange range = blocksOf(mask, row, 64, S::kColumns);
    softmax = {};
#pragma unroll
    for (int i = 0; i < kValues; ++i)
      values[i] = 0;
    if (!range.count())
      range = {all.begin, all.begin};
    passOver(all.end - range.end);
    barrierWait(&shared.qFull[group], tiles & 1);
    if (range.count()) {
      float factor[2];
      int block = range.end - 1;
      barrierWait(&shared.kFull[at.stage], at.parity);
      takeTurn();
      productFence();
      issueScores(at.stage);
      productCommit();
      passTurn();
      productWait<0>();
      release(&shared.kEmpty[at.stage]);
      weigh(mask, row, block, factor);
      roundWeights();
      if ((p.problem.cu_seqlens_kv || p.problem.page_table || p.problem.lengths_kv) &&
          range.end * S::kColumns > mask.columns) {
        barrierWait(&shared.vFull[at.stage], at.parity);
        clearValues(mask.columns - block * S::kColumns);
      }
      for (--block; block >= range.begin; --block) {
        auto k = at;
        k.next();
        barrierWait(&shared.kFull[k.stage], k.parity);
        takeTurn();
        productFence();
        issueScores(k.stage);
        productCommit();
        barrierWait(&shared.vFull[at.stage], at.parity);
        productFence();
        issueValues();
        productCommit();
        passTurn();
        productWait<1>();
        release(&shared.kEmpty[k.stage]);
        const bool rescale = weigh(mask, row, block, factor);
        productWait<0>();
        release(&shared.vEmpty[at.stage]);
        at = k;
        roundWeights();
        if (rescale)
          SoftmaxRows::rescale(factor, values);
      }
      release(&shared.qEmpty[group]);
      barrierWait(&shared.vFull[at.stage], at.parity);
      productFence();
      issueValues();
      productCommit();
      productWait<0>();
      release(&shared.vEmpty[at.stage]);
      at.next();
    } else
      release(&shared.qEmpty[group]);
    passOver(range.begin - blocksOf(mask, row - group * 64, S::kRows, S::kColumns).begin);
    const typename S::Tile t = shared.tile[slot];
    softmax.template store<T, S::kHeadDim>(p, sequenceOf(p.problem, t.batch), row + rowInTile, t.head, t.batch, values);
  }

  __device__ __forceinline__ void run() {
    if (group == S::kConsumers - 1)
      passTurn();
    for (;;) {
      const int slot = tiles & 1;
      barrierWait(&shared.tileFull[slot], tiles >> 1 & 1);
      if (uniform(shared.tile[slot].row) < 0)
        break;
      tile(slot);
      namedSync(4 + group, 128);
      release(&shared.tileEmpty[slot]);
      ++tiles;
    }
    // The turn that was passed last.
    if (group == 0)
      takeTurn();
  }
};

template <class T, class S> __device__ __forceinline__ void forwardHopper(const ForwardArgs &p) {
  extern __shared__ uint8_t raw[];
  auto &shared = *reinterpret_cast<typename S::Shared *>((reinterpret_cast<uintptr_t>(raw) + 1023) & ~uintptr_t(1023));
  if (threadIdx.x == 0) {
    for (int i = 0; i < S::kConsumers; ++i) {
      barrierInit(&shared.qFull[i], 1);
      barrierInit(&shared.qEmpty[i], 1);
    }
    for (int i = 0; i < S::kStages; ++i) {
      barrierInit(&shared.kFull[i], 1);
      barrierInit(&shared.vFull[i], 1);
      barrierInit(&shared.kEmpty[i], S::kConsumers);
      barrierInit(&shared.vEmpty[i], S::kConsumers);
    }
    barrierInit(&shared.copied, 1);
    for (int i = 0; i < 2; ++i) {
      barrierInit(&shared.tileFull[i], 1);
      barrierInit(&shared.tileEmpty[i], S::kConsumers + 1);
    }
    barrierInitFence();
  }
  __syncthreads();
  const int group = uniform(threadIdx.x / 128);
  if (group == 0) {
    giveRegisters<S::kProducerRegisters>();
    if (threadIdx.x == 0)
      schedule<S>(p, shared);
    else if (threadIdx.x == 32)
      copyBlocks<S>(p, shared);
  } else {
    takeRegisters<S::kConsumerRegisters>();
    Consumer<T, S>(p, shared, group - 1, threadIdx.x % 128).run();
  }
}

} // namespace mlc::attention
