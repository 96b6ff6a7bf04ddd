//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Attention forward for sm_90a: one warpgroup copies K and V tiles by the bulk copy engine, two or three multiply.
// A tile is 64 rows of Q a consumer warpgroup; scores and values are warpgroup products, P stays in registers. The
// scores of block j + 1 are multiplied before the values of block j, so the softmax of one runs under the product of
// the other, and the consumers take turns at the tensor cores (Shah et al., FlashAttention-3, arXiv:2407.08608).
//
#pragma once

#include "attention/ForwardParameters.h"
#include "attention/Tiles.h"
#include "device/Hopper.cuh"
#include "device/Mma.cuh"

namespace mlc::cuda {

template <class T, int kColumns> struct Wgmma;
#include "Wgmma.inc"

/// Sizes of one form of the kernel.
template <int kHeadDim_, int kConsumers_, int kColumns_, int kStages_> struct ForwardShape {
  static constexpr int kHeadDim = kHeadDim_, kConsumers = kConsumers_, kColumns = kColumns_, kStages = kStages_;
  static constexpr int kChunks = (kHeadDim + 63) / 64; // of 64 columns: 128 bytes, the widest swizzle
  static constexpr int kRows = 64 * kConsumers;
  static constexpr int kThreads = 128 * (kConsumers + 1);
  static constexpr int kQBytes = 64 * 128 * kChunks, kKvBytes = kColumns * 128 * kChunks;
  static constexpr int kConsumerRegisters = kConsumers == 2 ? 232 : 160, kProducerRegisters = kConsumers == 2 ? 40 : 32;
  struct Shared {
    alignas(1024) uint8_t q[kConsumers][kQBytes];
    alignas(1024) uint8_t k[kStages][kKvBytes];
    alignas(1024) uint8_t v[kStages][kKvBytes];
    uint64_t qFull[kConsumers], qEmpty[kConsumers];
    uint64_t kFull[kStages], kEmpty[kStages], vFull[kStages], vEmpty[kStages];
    uint64_t tileFull[2], tileEmpty[2];
    int4 tile[2]; // row (-1: no more), head, batch
  };
  static constexpr int kSharedBytes = sizeof(Shared) + 1024; // the base is aligned by hand
};

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

template <class S, int kPieces>
__device__ __forceinline__ void copyTile(void *to, const CUtensorMap *map, uint64_t *barrier, int row, int head,
                                         int batch) {
#pragma unroll
  for (int c = 0; c < kPieces; ++c)
    copyBox(static_cast<uint8_t *>(to) + c * S::kColumns * 128, map, barrier, c * 64, row, head, batch);
}

/// One block of K or V: a box for each chunk, or for each chunk and page.
template <class S>
__device__ __forceinline__ void copyBlock(const ForwardParameters &p, const CUtensorMap *map, uint8_t *to,
                                          uint64_t *barrier, int base, int block, int columns, int head, int batch) {
  barrierExpect(barrier, S::kKvBytes);
  if (!p.pages) {
    copyTile<S, S::kChunks>(to, map, barrier, base + block * S::kColumns, head, p.cuKv ? 0 : batch);
    return;
  }
  for (int at = 0; at < S::kColumns; at += p.pageSize) {
    const int position = block * S::kColumns + at;
    // Past the end: a page that does not exist, which the copy fills with zeros.
    const int page = position < columns
                         ? p.pages[int64_t(batch) * p.pagesPerSequence + position / p.pageSize]
                         : p.pageCount;
#pragma unroll
    for (int c = 0; c < S::kChunks; ++c)
      copyBox(to + c * S::kColumns * 128 + at * 128, map, barrier, c * 64, 0, head, page);
  }
}

/// The tile after `index`: whoever is free takes the next, or, without a counter, every gridDim-th.
__device__ __forceinline__ int nextTile(const ForwardParameters &p, int index) {
  return int(gridDim.x) + (p.counter ? int(atomicAdd(p.counter, 1u)) : index);
}

template <class S> __device__ __forceinline__ void produce(const ForwardParameters &p, typename S::Shared &shared) {
  prefetchMap(&p.q);
  prefetchMap(&p.k);
  prefetchMap(&p.v);
  // Counts, of which the places in the rings and their parities follow.
  uint32_t blocks = 0, tiles = 0;
  for (int index = blockIdx.x;; ) {
    Mask mask{};
    TileOrder::Tile tile{};
    int batch = 0;
    // Ragged: tiles past the end of their sequence are passed over.
    for (; index < p.order.tiles(); index = nextTile(p, index)) {
      tile = p.order.tile(index);
      batch = tile.head / p.headsQ;
      mask = maskOf(p, batch);
      if (tile.rowBlock * S::kRows < mask.rows)
        break;
    }
    const bool more = index < p.order.tiles();
    const int row = tile.rowBlock * S::kRows, head = tile.head % p.headsQ;
    barrierWait(&shared.tileEmpty[tiles & 1], tiles >> 1 & 1 ^ 1);
    shared.tile[tiles & 1] = make_int4(more ? row : -1, head, batch, 0);
    barrierArrive(&shared.tileFull[tiles & 1]);
    if (!more)
      break;
    const BlockRange range = blocksOf(mask, row, S::kRows, S::kColumns);
    const int kvHead = head / p.group, baseKv = p.cuKv ? p.cuKv[batch] : 0, baseQ = p.cuQ ? p.cuQ[batch] : 0;
    auto load = [&](const CUtensorMap *map, uint8_t(*to)[S::kKvBytes], uint64_t *full, uint64_t *empty,
                    uint32_t number, int block) {
      const uint32_t stage = number % S::kStages;
      barrierWait(&empty[stage], number / S::kStages & 1 ^ 1);
      copyBlock<S>(p, map, to[stage], &full[stage], baseKv, block, mask.columns, kvHead, batch);
    };
    if (range.count())
      load(&p.k, shared.k, shared.kFull, shared.kEmpty, blocks, range.end - 1);
    for (int w = 0; w < S::kConsumers; ++w) {
      barrierWait(&shared.qEmpty[w], tiles & 1 ^ 1);
      barrierExpect(&shared.qFull[w], S::kQBytes);
#pragma unroll
      for (int c = 0; c < S::kChunks; ++c)
        copyBox(shared.q[w] + c * 64 * 128, &p.q, &shared.qFull[w], c * 64, baseQ + row + w * 64, head,
                p.cuQ ? 0 : batch);
    }
    ++tiles;
    for (int block = range.end - 2; block >= range.begin; --block) {
      load(&p.k, shared.k, shared.kFull, shared.kEmpty, blocks + 1, block);
      load(&p.v, shared.v, shared.vFull, shared.vEmpty, blocks++, block + 1);
    }
    if (range.count())
      load(&p.v, shared.v, shared.vFull, shared.vEmpty, blocks++, range.begin);
    index = nextTile(p, index);
  }
  // The last block to end leaves the counter at zero for the next launch.
  if (p.counter && atomicInc(p.counter + 1, gridDim.x - 1) == gridDim.x - 1)
    atomicExch(p.counter, 0u);
}

/// The rows of one thread: `row` and `row + 8` of its warpgroup's 64.
template <class T, class S, bool kTurns> struct Consumer {
  static constexpr int kScores = S::kColumns / 2, kValues = S::kHeadDim / 2, kDepth = S::kHeadDim / 16;
  static constexpr int kSteps = S::kColumns / 16;
  // An exponent may grow by this many bits before the sums are scaled down again.
  static constexpr float kSlack = 8;

  const ForwardParameters &p;
  typename S::Shared &shared;
  const int group, thread; // warpgroup, thread in it
  const int rowInTile, columnInBlock;
  RingPlace<S::kStages> at{}; // of the next block whose K has not been multiplied, or V of the block before
  uint32_t tiles = 0;

  float scores[kScores], values[kValues];
  uint32_t weights[kScores / 2];
  float maximum[2], sum[2];

  __device__ __forceinline__ Consumer(const ForwardParameters &p, typename S::Shared &shared, int group, int thread)
      : p(p), shared(shared), group(group), thread(thread), rowInTile(thread / 32 * 16 + thread % 32 / 4),
        columnInBlock(thread % 4 * 2) {}

  __device__ __forceinline__ void takeTurn() {
    if constexpr (kTurns)
      namedSync(1 + group, 256);
  }
  __device__ __forceinline__ void passTurn() {
    if constexpr (kTurns)
      namedArrive(1 + (group + 1) % S::kConsumers, 256);
  }
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

  /// From scores to weights' exponentials, in place; gives the factor of what was summed before.
  template <bool kFirst>
  __device__ __forceinline__ bool softmax(const Mask &mask, int row, int block, float (&factor)[2]) {
    if (p.softcap > 0) {
#pragma unroll
      for (int i = 0; i < kScores; ++i)
        scores[i] = p.softcap - 2 * p.softcap * __frcp_rn(1 + exp2Fast(scores[i] * p.capScaleLog2));
    }
    const int column = block * S::kColumns;
    if (mask.cuts(row, 64, column, S::kColumns)) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int mine = row + rowInTile + 8 * r;
        const int first = mask.first(mine) - column - columnInBlock, end = mask.end(mine) - column - columnInBlock;
#pragma unroll
        for (int i = 0; i < kScores / 4; ++i)
#pragma unroll
          for (int c = 0; c < 2; ++c)
            if (8 * i + c < first || 8 * i + c >= end)
              scores[4 * i + 2 * r + c] = -INFINITY;
      }
    }
    bool rescale = false;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float most = scores[2 * r];
#pragma unroll
      for (int i = 0; i < kScores / 4; ++i)
        most = fmaxf(fmaxf(most, scores[4 * i + 2 * r]), scores[4 * i + 2 * r + 1]);
      most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
      most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
      factor[r] = most;
      if constexpr (!kFirst)
        rescale |= (most - maximum[r]) * p.scaleLog2 > kSlack;
    }
    if constexpr (kFirst) {
      maximum[0] = factor[0];
      maximum[1] = factor[1];
    } else {
      rescale = __any_sync(~0u, rescale);
      if (rescale) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          const float most = fmaxf(factor[r], maximum[r]);
          // A row that has seen nothing yet keeps its zeros.
          factor[r] = most == -INFINITY ? 1 : exp2Fast((maximum[r] - most) * p.scaleLog2);
          maximum[r] = most;
          sum[r] *= factor[r];
        }
      }
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const float bias = maximum[r] == -INFINITY ? 0 : -maximum[r] * p.scaleLog2;
      float total = 0;
#pragma unroll
      for (int i = 0; i < kScores / 4; ++i)
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          float &s = scores[4 * i + 2 * r + c];
          s = exp2Fast(fmaf(s, p.scaleLog2, bias));
          total += s;
        }
      sum[r] = kFirst ? total : sum[r] + total;
    }
    return rescale;
  }
  __device__ __forceinline__ void roundWeights() {
#pragma unroll
    for (int i = 0; i < kScores / 2; ++i)
      weights[i] = packPair<T>(scores[2 * i], scores[2 * i + 1]);
  }

  __device__ __forceinline__ void store(const Mask &mask, int row, int head, int batch) {
    const int64_t tokens = p.cuQ ? p.cuQ[batch] : 0;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float total = sum[r] + __shfl_xor_sync(~0u, sum[r], 1);
      total += __shfl_xor_sync(~0u, total, 2);
      const float inverse = total > 0 ? 1 / total : 0;
      const int mine = row + rowInTile + 8 * r;
      const bool inside = mine < mask.rows;
      if (p.lse && inside && thread % 4 == 0)
        p.lse[(p.cuQ ? 0 : batch * p.lseBatch) + head * p.lseHead + tokens + mine] =
            total > 0 ? (maximum[r] * p.scaleLog2 + log2f(total)) * 0.6931471805599453f : -INFINITY;
      T *out = static_cast<T *>(p.out) + (p.cuQ ? 0 : batch * p.outBatch) + (tokens + mine) * p.outToken +
               head * p.outHead;
      const int lane = thread % 4;
#pragma unroll
      for (int i = 0; i + 4 <= S::kHeadDim / 8; i += 4) {
        // Four lanes hold two columns each of four groups of eight; each takes one whole group.
        uint32_t mineOf[4], whole[4];
#pragma unroll
        for (int j = 0; j < 4; ++j)
          mineOf[j] = packPair<T>(values[4 * (i + j) + 2 * r] * inverse, values[4 * (i + j) + 2 * r + 1] * inverse);
#pragma unroll
        for (int x = 0; x < 4; ++x) {
          const int to = lane ^ x;
          const uint32_t sent = to == 0 ? mineOf[0] : to == 1 ? mineOf[1] : to == 2 ? mineOf[2] : mineOf[3];
          const uint32_t got = __shfl_xor_sync(~0u, sent, x);
          // It came from lane ^ x, whose columns are the pair of that number.
#pragma unroll
          for (int j = 0; j < 4; ++j)
            whole[j] = to == j ? got : whole[j];
        }
        if (inside)
          *reinterpret_cast<uint4 *>(out + 8 * (i + lane)) = make_uint4(whole[0], whole[1], whole[2], whole[3]);
      }
#pragma unroll
      for (int i = S::kHeadDim / 32 * 4; i < S::kHeadDim / 8; ++i)
        if (inside)
          *reinterpret_cast<uint32_t *>(out + 8 * i + columnInBlock) =
              packPair<T>(values[4 * i + 2 * r] * inverse, values[4 * i + 2 * r + 1] * inverse);
    }
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

  __device__ __forceinline__ void tile(const Mask &mask, int tileRow, int head, int batch) {
    const int row = tileRow + group * 64;
    const BlockRange all = blocksOf(mask, tileRow, S::kRows, S::kColumns);
    BlockRange range = blocksOf(mask, row, 64, S::kColumns);
    sum[0] = sum[1] = 0;
    maximum[0] = maximum[1] = -INFINITY;
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
      softmax<true>(mask, row, block, factor);
      roundWeights();
      if ((p.cuKv || p.pages || p.lengths) && range.end * S::kColumns > mask.columns) {
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
        const bool rescale = softmax<false>(mask, row, block, factor);
        productWait<0>();
        release(&shared.vEmpty[at.stage]);
        at = k;
        roundWeights();
        if (rescale) {
#pragma unroll
          for (int i = 0; i < kValues; ++i)
            values[i] *= factor[i / 2 % 2];
        }
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
    passOver(range.begin - all.begin);
    store(mask, row, head, batch);
  }

  __device__ __forceinline__ void run() {
    if (kTurns && group == S::kConsumers - 1)
      passTurn();
    for (;;) {
      const int slot = tiles & 1;
      barrierWait(&shared.tileFull[slot], tiles >> 1 & 1);
      int4 t = shared.tile[slot];
      t = make_int4(uniform(t.x), uniform(t.y), uniform(t.z), 0);
      namedSync(4 + group, 128);
      release(&shared.tileEmpty[slot]);
      if (t.x < 0)
        break;
      Mask mask = maskOf(p, t.z);
      mask.rows = uniform(mask.rows);
      mask.columns = uniform(mask.columns);
      tile(mask, t.x, t.y, t.z);
      ++tiles;
    }
    // Nobody may wait for a turn, but an arrival must not be left for the next block on this processor.
    takeTurnAtEnd();
  }
  __device__ __forceinline__ void takeTurnAtEnd() {
    if (kTurns && group == 0)
      takeTurn();
  }
};

template <class T, class S, bool kTurns>
__global__ void __launch_bounds__(S::kThreads, 1) attentionForward(const __grid_constant__ ForwardParameters p) {
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
    for (int i = 0; i < 2; ++i) {
      barrierInit(&shared.tileFull[i], 1);
      barrierInit(&shared.tileEmpty[i], S::kConsumers);
    }
    barrierInitFence();
  }
  __syncthreads();
  const int group = __shfl_sync(~0u, threadIdx.x / 128, 0);
  if (group == 0) {
    giveRegisters<S::kProducerRegisters>();
    if (threadIdx.x == 0)
      produce<S>(p, shared);
  } else {
    takeRegisters<S::kConsumerRegisters>();
    Consumer<T, S, kTurns>(p, shared, group - 1, threadIdx.x % 128).run();
  }
}

} // namespace mlc::cuda
