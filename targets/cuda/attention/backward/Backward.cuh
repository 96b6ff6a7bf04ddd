//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The backward kernels (backward/Backward.h says what they compute).
//
#pragma once

#include "targets/cuda/attention/backward/BackwardParts.cuh"

namespace mlc::attention {

/// delta of every row: a warp a row, grid [rows of all sequences and heads / 4]. Rows are numbered as in lse.
template <int kHeadDim, typename Type> MLC_DEVICE void backwardDelta(const BackwardArgs &args) {
  const mlc_attention_problem &problem = args.problem;
  const int64_t index = int64_t(blockIndex()) * (kBackwardThreads / 32) + threadIndex() / 32;
  const int lane = threadIndex() % 32;
  const bool ragged = problem.cu_seqlens_q != nullptr;
  const int64_t tokens = ragged ? problem.total_q : problem.seq_q;
  if (index >= (ragged ? 1 : problem.batch) * tokens * problem.heads_q)
    return;
  const int64_t token = index % tokens, head = index / tokens % problem.heads_q;
  const int64_t batch = index / tokens / problem.heads_q;
  auto rowOf = [&](const mlc_attention_tensor &tensor) {
    return static_cast<const uint32_t *>(tensor.data) +
           (batch * tensor.batch + token * tensor.token + head * tensor.head) / 2;
  };
  const uint32_t *out = rowOf(problem.out), *dout = rowOf(args.gradients.dout);
  float sum = 0;
  MLC_UNROLL_ALL
  for (int i = 0; i < kHeadDim / 64; ++i) {
    const Float2 a = Type::unpack(out[32 * i + lane]), b = Type::unpack(dout[32 * i + lane]);
    sum = fmaf(a.x, b.x, fmaf(a.y, b.y, sum));
  }
  MLC_UNROLL_ALL
  for (int lanes = 16; lanes; lanes /= 2)
    sum += shuffleXor(sum, lanes);
  if (lane == 0)
    args.delta[index] = sum;
}

/// dQ of 64 rows.
template <int kHeadDim, typename Type> MLC_DEVICE void backwardQuery(const BackwardArgs &args) {
  using Tiles = BackwardTiles<kHeadDim>;
  const mlc_attention_problem &problem = args.problem;
  Bytes *shared = sharedMemory<Bytes>();
  Bytes *q = shared, *dout = shared + Tiles::kTileBytes, *stages = shared + Tiles::kStages;
  const auto tile = args.rowOrder.tile(blockIndex());
  const int batch = tile.head / problem.heads_q, head = tile.head % problem.heads_q;
  const int headKv = head / (problem.heads_q / problem.heads_kv);
  const int row = tile.rowBlock * kBackwardTile;
  const Sequence sequence = sequenceOf(problem, batch);
  if (row >= sequence.rows)
    return;
  const cuda::Mask mask = sequence.mask(problem);
  const cuda::BlockRange blocks = cuda::blocksOf(mask, row, kBackwardTile, kBackwardTile);
  const uint16_t *k = headOf(problem.k, firstKey(problem, sequence, batch, problem.k), headKv);
  const uint16_t *v = headOf(problem.v, firstKey(problem, sequence, batch, problem.v), headKv);
  auto issue = [&](int block) {
    if (block < blocks.end) {
      Bytes *to = stages + (block - blocks.begin) % 2 * 2 * Tiles::kTileBytes;
      copyTile<kHeadDim>(to, k, problem.k.token, block * kBackwardTile, sequence.columns);
      copyTile<kHeadDim>(to + Tiles::kTileBytes, v, problem.v.token, block * kBackwardTile, sequence.columns);
    }
    commitCopies();
  };
  copyTile<kHeadDim>(q, headOf(problem.q, firstQuery(problem, sequence, batch, problem.q), head), problem.q.token, row,
                     sequence.rows);
  const mlc_attention_tensor &gradient = args.gradients.dout;
  copyTile<kHeadDim>(dout, headOf(gradient, firstQuery(problem, sequence, batch, gradient), head), gradient.token, row,
                     sequence.rows);
  issue(blocks.begin);

  const int warp = threadIndex() / 32, lane = threadIndex() % 32;
  const int own = row + 16 * warp + lane / 4; // and the row 8 further on
  const Band band = Band::of(mask);
  float lse[2], delta[2];
  MLC_UNROLL_ALL
  for (int half = 0; half < 2; ++half) {
    const int at = own + 8 * half;
    const bool valid = at < sequence.rows;
    const int64_t index = rowIndex(problem, sequence, batch, head, valid ? at : 0);
    lse[half] = valid ? lseToLog2(problem.lse[index]) : INFINITY;
    delta[half] = valid ? args.delta[index] : 0;
  }
  float sums[kHeadDim / 8][4] = {};
  for (int block = blocks.begin; block < blocks.end; ++block) {
    waitCopies<0>();
    syncThreads();
    issue(block + 1);
    const Bytes *keys = stages + (block - blocks.begin) % 2 * 2 * Tiles::kTileBytes;
    float scores[8][4] = {}, products[8][4] = {};
    multiplyTransposed<kHeadDim, Type>(scores, q, keys, products, dout, keys + Tiles::kTileBytes, 16 * warp);
    const int key = block * kBackwardTile;
    const bool cut = mask.cuts(row, kBackwardTile, key, kBackwardTile);
    MLC_UNROLL_ALL
    for (int n = 0; n < 8; ++n)
      MLC_UNROLL_ALL
    for (int i = 0; i < 4; ++i) {
      float slope;
      const float p = probability(args, scores[n][i], lse[i / 2], slope);
      const int at = key + 8 * n + 2 * (lane % 4) + i % 2;
      const float ds = p * (products[n][i] - delta[i / 2]) * slope;
      const bool hidden = cut && !(band.passes(at - own - i / 2 * 8) && at < sequence.columns);
      scores[n][i] = hidden ? 0 : ds;
    }
    multiplyOwn<kHeadDim, Type>(sums, scores, keys);
  }
  waitCopies<0>();
  const mlc_attention_tensor &to = args.gradients.dq;
  storeGradient<kHeadDim, Type>(headOf(to, firstQuery(problem, sequence, batch, to), head), to.token, sums,
                                problem.scale, row + 16 * warp, sequence.rows);
}

/// What a block of keys is.
struct KeyPlace {
  int batch, headKv, key;

  MLC_DEVICE explicit KeyPlace(const BackwardArgs &args) {
    const auto tile = args.keyOrder.tile(blockIndex());
    batch = tile.head / args.problem.heads_kv;
    headKv = tile.head % args.problem.heads_kv;
    // The first keys are seen by the most rows under a causal mask: the order's last block is ours first.
    key = (args.keyOrder.rowBlocks - 1 - tile.rowBlock) * kBackwardTile;
  }
};

template <int kHeadDim, typename Type>
MLC_DEVICE void storeKeyValue(const BackwardArgs &args, const float (&sumsK)[kHeadDim / 8][4],
                              const float (&sumsV)[kHeadDim / 8][4]) {
  const mlc_attention_problem &problem = args.problem;
  const mlc_attention_tensor &dk = args.gradients.dk, &dv = args.gradients.dv;
  // Found again rather than kept in registers.
  const KeyPlace place(args);
  const Sequence sequence = sequenceOf(problem, place.batch);
  const int row = place.key + threadIndex() / 32 * 16;
  storeGradient<kHeadDim, Type>(headOf(dk, firstKey(problem, sequence, place.batch, dk), place.headKv), dk.token, sumsK,
                                problem.scale, row, sequence.columns);
  storeGradient<kHeadDim, Type>(headOf(dv, firstKey(problem, sequence, place.batch, dv), place.headKv), dv.token, sumsV,
                                1.0f, row, sequence.columns);
}

/// dK and dV of 64 keys, from all query heads that read them, one after the other.
template <int kHeadDim, typename Type> MLC_DEVICE void backwardKeyValue(const BackwardArgs &args) {
  using Tiles = BackwardTiles<kHeadDim>;
  const mlc_attention_problem &problem = args.problem;
  Bytes *shared = sharedMemory<Bytes>();
  Bytes *k = shared, *v = shared + Tiles::kTileBytes, *stages = shared + Tiles::kStages;
  float *statistics = reinterpret_cast<float *>(shared + Tiles::kStatistics);
  const KeyPlace place(args);
  const int batch = place.batch, headKv = place.headKv, key = place.key;
  const int group = problem.heads_q / problem.heads_kv;
  const Sequence sequence = sequenceOf(problem, batch);
  if (key >= sequence.columns)
    return;
  const cuda::Mask mask = sequence.mask(problem);
  const cuda::BlockRange blocks = rowBlocksOf(mask, key, kBackwardTile, kBackwardTile);
  const int steps = blocks.count() * group;

  const mlc_attention_tensor &gradient = args.gradients.dout;
  // The next tile to copy: of which head of the group, which rows.
  int member = 0, nextRow = blocks.begin * kBackwardTile;
  auto issue = [&](int step) {
    if (step < steps) {
      const int row = nextRow;
      Bytes *to = stages + step % 2 * 2 * Tiles::kTileBytes;
      // Addresses are found again each time: registers.
      const int head = headKv * group + member;
      copyTile<kHeadDim>(to, headOf(problem.q, firstQuery(problem, sequence, batch, problem.q), head), problem.q.token,
                         row, sequence.rows);
      copyTile<kHeadDim>(to + Tiles::kTileBytes, headOf(gradient, firstQuery(problem, sequence, batch, gradient), head),
                         gradient.token, row, sequence.rows);
      if (threadIndex() < kBackwardTile) {
        const int at = row + threadIndex();
        const bool valid = at < sequence.rows;
        const int64_t index = rowIndex(problem, sequence, batch, head, valid ? at : 0);
        float *place = statistics + step % 2 * 2 * kBackwardTile + threadIndex();
        place[0] = valid ? lseToLog2(problem.lse[index]) : INFINITY;
        place[kBackwardTile] = valid ? args.delta[index] : 0;
      }
      nextRow += kBackwardTile;
      if (nextRow >= blocks.end * kBackwardTile) {
        nextRow = blocks.begin * kBackwardTile;
        ++member;
      }
    }
    commitCopies();
  };
  copyTile<kHeadDim>(k, headOf(problem.k, firstKey(problem, sequence, batch, problem.k), headKv), problem.k.token, key,
                     sequence.columns);
  copyTile<kHeadDim>(v, headOf(problem.v, firstKey(problem, sequence, batch, problem.v), headKv), problem.v.token, key,
                     sequence.columns);
  issue(0);

  const int warp = threadIndex() / 32, lane = threadIndex() % 32;
  const int own = key + 16 * warp + lane / 4; // and the key 8 further on
  const Band band = Band::of(mask);
  // Tiles of 8 queries at a time: registers.
  constexpr int kTogether = Tiles::kTogether;
  float sumsK[kHeadDim / 8][4] = {}, sumsV[kHeadDim / 8][4] = {};
  int row = blocks.begin * kBackwardTile;
  for (int step = 0; step < steps; ++step) {
    waitCopies<0>();
    syncThreads();
    issue(step + 1);
    const Bytes *queries = stages + step % 2 * 2 * Tiles::kTileBytes;
    const float *lse = statistics + step % 2 * 2 * kBackwardTile, *delta = lse + kBackwardTile;
    const bool cut = mask.cuts(row, kBackwardTile, key, kBackwardTile);
    MLC_UNROLL(1)
    for (int first = 0; first < 8; first += kTogether) {
      float scores[kTogether][4] = {}, products[kTogether][4] = {};
      multiplyTransposed<kHeadDim, Type>(scores, k, queries, products, v, queries + Tiles::kTileBytes, 16 * warp,
                                         first / 2);
      MLC_UNROLL_ALL
      for (int n = 0; n < kTogether; ++n)
        MLC_UNROLL_ALL
      for (int i = 0; i < 4; ++i) {
        const int column = 8 * (first + n) + 2 * (lane % 4) + i % 2, at = own + i / 2 * 8;
        float slope;
        float p = probability(args, scores[n][i], lse[column], slope);
        if (cut && !band.passes(at - row - column))
          p = 0;
        scores[n][i] = p;
        products[n][i] = p * (products[n][i] - delta[column]) * slope;
      }
      multiplyOwn<kHeadDim, Type>(sumsV, scores, queries + Tiles::kTileBytes, first / 2);
      multiplyOwn<kHeadDim, Type>(sumsK, products, queries, first / 2);
    }
    row = row + kBackwardTile < blocks.end * kBackwardTile ? row + kBackwardTile : blocks.begin * kBackwardTile;
  }
  waitCopies<0>();
  storeKeyValue<kHeadDim, Type>(args, sumsK, sumsV);
}

} // namespace mlc::attention
