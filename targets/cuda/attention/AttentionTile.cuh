//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Attention over paged KV on tensor cores: a KV of bf16, other operands rounded to it, f32 sums. A pair is a row with
// one of the query heads that share a KV head; 16 pairs are the rows of a product, the 64 positions of a page its
// columns. What a page gives a pair (largest score, sum, weighted values) is joined in order, as in AttentionPaged.cuh,
// so a pair's bits depend on nothing but its row. Two forms: a warp with 16 pairs of its own, and four warps with the
// same 16.
//
#pragma once

#include "targets/cuda/attention/AttentionPaged.cuh"
#include "targets/cuda/device/Ring.cuh"

namespace mlc::cuda {

/// Rows of shared memory that a block has: pairs, or positions.
constexpr int kTilePairs = 64;
static_assert(kTilePairs == kPage && kAttentionThreads == 4 * kWarp);

/// kTiles: 8 columns of head_dim each, of which the last ones may be zeros.
template <int kTiles> struct AttentionShared {
  static constexpr int kStride = 16 * kTiles + 16; // Bytes: rows begin in different banks.
  uint8_t *q, *page;                               // [kTilePairs], [kPage] rows of bf16.
  MLC_DEVICE AttentionShared() : q(dynamicShared()), page(q + kTilePairs * kStride) {}
  static_assert(2 * kTilePairs * kStride == attentionTileBytes(8 * kTiles));
};

/// A word without its numbers that are not finite; `broken`: there were some.
MLC_DEVICE uint32_t finitePair(uint32_t pair, bool &broken) {
  const bool low = (pair & 0x7f80) == 0x7f80, high = (pair & 0x7f800000) == 0x7f800000;
  broken = broken || low || high;
  return pair & ~(low ? 0xffffu : 0u) & ~(high ? 0xffff0000u : 0u);
}

/// Of each position of a page, whether its V has numbers that are not finite; behind them, whether any has.
using Broken = uint8_t[kPage + 1];

/// K, or V, of positions [begin, end) of a page; zeros for the others. broken: numbers of V that are not finite are
/// zeros, and noted there; null: they stay.
template <int kTiles>
MLC_DEVICE void loadPage(const KvView &kv, const uint8_t *data, bool value, int head, int begin, int end, uint8_t *to,
                         Broken *broken) {
  const int dim = kv.headDim;
  const auto *elements = reinterpret_cast<const uint16_t *>(data);
  for (int item = int(threadIdx.x); item < kPage * kTiles; item += int(blockDim.x)) {
    const int p = item / kTiles, d = item % kTiles * 8;
    const bool inside = p >= begin && p < end && d < dim;
    const uint16_t *from = elements + kvOffset(kv, value, head, p) + d;
    uint8_t *place = to + p * AttentionShared<kTiles>::kStride + 2 * d;
    bool found = false;
    if (!inside || dim % 8 == 0) {
      uint4 eight = inside ? *reinterpret_cast<const uint4 *>(from) : uint4{0, 0, 0, 0};
      if (broken)
        eight = {finitePair(eight.x, found), finitePair(eight.y, found), finitePair(eight.z, found),
                 finitePair(eight.w, found)};
      *reinterpret_cast<uint4 *>(place) = eight;
    } else {
#pragma unroll 1
      for (int e = 0; e < 8; ++e) {
        uint32_t one = d + e < dim ? from[e] : 0;
        if (broken)
          one = finitePair(one, found);
        reinterpret_cast<uint16_t *>(place)[e] = uint16_t(one);
      }
    }
    if (found)
      (*broken)[p] = (*broken)[kPage] = 1;
  }
}

/// Of V [64][8 kTiles] the operands of columns 8 j and 8 (j + 1) at positions 16 s: as multiply() takes them.
template <int kStride> MLC_DEVICE void loadValues(const uint8_t *page, int s, int j, uint32_t (&b)[4]) {
  loadSquare<kStride, Square::down>(page + 16 * s * kStride + 16 * j, b);
}

/// The scores of 16 pairs from `q` on with positions [8 first, 8 (first + kCount)), unscaled.
template <int kStride, int kCount>
MLC_DEVICE void scores(const uint8_t *q, const uint8_t *page, int first, int dim, float (&s)[kCount][4]) {
  const int lane = int(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
#pragma unroll
  for (int j = 0; j < kCount; ++j)
    s[j][0] = s[j][1] = s[j][2] = s[j][3] = 0;
  const uint8_t *a = q + g * kStride + 4 * t, *b = page + (8 * first + g) * kStride + 4 * t;
#pragma unroll 2
  for (int d = 0; d < dim; d += 16, a += 32, b += 32) {
    const uint32_t left[4] = {
        *reinterpret_cast<const uint32_t *>(a), *reinterpret_cast<const uint32_t *>(a + 8 * kStride),
        *reinterpret_cast<const uint32_t *>(a + 16), *reinterpret_cast<const uint32_t *>(a + 8 * kStride + 16)};
#pragma unroll
    for (int j = 0; j < kCount; ++j) {
      const uint8_t *at = b + 8 * j * kStride;
      const uint32_t right[2] = {*reinterpret_cast<const uint32_t *>(at), *reinterpret_cast<const uint32_t *>(at + 16)};
      multiply(s[j], left, right);
    }
  }
}

/// What a lane has of two pairs, g and g + 8 of the 16: of each how the next page is joined.
struct PairState {
  Visible seen;  // Of the page, from its first position on.
  Softmax total; // Of the pages before.
  bool has;      // There were some.
  bool joins;    // The page has something that the pair sees.
  float left, right;
};

/// The weights of a page, as the operands of the product with V, from the scores of all of its positions.
MLC_DEVICE void weigh(const AttentionArgs &args, float (&s)[8][4], PairState (&pairs)[2], Softmax (&parts)[2],
                      uint32_t (&weights)[4][4]) {
  const int t = int(threadIdx.x) % 4;
  const float twice = 2.0f / args.softcap;
  // f(score, whether the pair sees its position) of the lane's scores of pair r, in order.
  auto forScores = [&](int r, const auto &f) {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      const int p = 8 * (i / 2) + 2 * t + i % 2;
      f(s[i / 2][2 * r + i % 2], p >= pairs[r].seen.begin && p < pairs[r].seen.end);
    }
  };
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    PairState &pair = pairs[r];
    float most = -INFINITY;
    forScores(r, [&](float &x, bool sees) {
      x *= args.scale;
      if (args.softcap > 0) // tanh, in a tenth of its code.
        x = args.softcap * (1.0f - 2.0f / (1.0f + expf(x * twice)));
      if (!sees)
        x = -INFINITY;
      most = fmaxf(most, x);
    });
    most = fmaxf(most, shuffleXor(most, 1));
    most = fmaxf(most, shuffleXor(most, 2));
    float sum = 0;
    forScores(r, [&](float &x, bool sees) {
      x = sees ? expf(x - most) : 0.0f;
      sum += x;
    });
    sum += shuffleXor(sum, 1);
    sum += shuffleXor(sum, 2);
    parts[r] = {most, sum};
    if (!pair.joins)
      continue;
    if (pair.has)
      join(pair.total, parts[r], pair.left, pair.right);
    else
      pair.total = parts[r];
  }
#pragma unroll
  for (int k = 0; k < 4; ++k)
#pragma unroll
    for (int i = 0; i < 4; ++i)
      weights[k][i] = pairToBf16(s[2 * k + i / 2][i % 2 * 2], s[2 * k + i / 2][i % 2 * 2 + 1]);
}

/// Adds what V gives to columns [8 first, 8 (first + kCount)) of both pairs.
template <int kStride, int kCount>
MLC_DEVICE void addValues(const uint8_t *page, int first, int dim, const uint32_t (&weights)[4][4],
                          const PairState (&pairs)[2], const bool (&broken)[2], float (&out)[kCount][4]) {
#pragma unroll
  for (int j = 0; j < kCount; j += 2) {
    if (8 * (first + j) >= dim)
      break;
    float sums[2][4] = {};
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      uint32_t b[4];
      loadValues<kStride>(page, k, first + j, b);
      const uint32_t low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
      multiply(sums[0], weights[k], low);
      multiply(sums[1], weights[k], high);
    }
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const PairState &pair = pairs[e / 2];
        const float sum = broken[e / 2] ? notANumber() : sums[i][e];
        float &to = out[j + i][e];
        if (pair.joins)
          to = pair.has ? fmaf(sum, pair.right, to * pair.left) : sum;
      }
  }
}

/// Pair `m` of a block whose rows begin at `firstRow`: its row, and its query head of the group.
struct Query {
  int row, head;
  MLC_DEVICE Query(const AttentionArgs &args, int firstRow, int m)
      : row(firstRow + m / args.group), head(m % args.group) {}
  MLC_DEVICE int64_t column(const AttentionArgs &args, int kvHead) const {
    return (int64_t(kvHead) * args.group + head) * args.kv.headDim;
  }
};

/// Rounds the queries of pairs [first, first + count) into `room` rows of shared memory; zeros for those that are not
/// there.
template <int kTiles>
MLC_DEVICE void loadQueries(const AttentionArgs &args, int firstRow, int endRow, int kvHead, int first, int count,
                            int room, uint8_t *to) {
  const int dim = args.kv.headDim;
  for (int item = int(threadIdx.x); item < room * kTiles * 4; item += int(blockDim.x)) {
    const int m = item / (4 * kTiles), d = item % (4 * kTiles) * 2;
    const Query query(args, firstRow, first + m);
    const bool there = m < count && query.row < endRow;
    const float *q = args.q.data + query.row * args.q.stride + query.column(args, kvHead) + d;
    *reinterpret_cast<uint32_t *>(to + m * AttentionShared<kTiles>::kStride + 2 * d) =
        pairToBf16(there && d < dim ? q[0] : 0.0f, there && d + 1 < dim ? q[1] : 0.0f);
  }
}

/// What page `page` shows of positions [begin, end).
MLC_DEVICE Visible inPage(const Visible &seen, int64_t page) {
  const int64_t first = page * kPage;
  return {seen.begin > first ? seen.begin - first : 0, seen.end - first < kPage ? seen.end - first : int64_t(kPage)};
}

/// Grid (blocks of rows, KV heads): a warp has 16 pairs, and of a large head_dim half of the columns of V. Rows may be
/// of several sequences.
template <int kTiles> MLC_DEVICE void attentionRows(const AttentionArgs &args) {
  constexpr int kStride = AttentionShared<kTiles>::kStride;
  MLC_SHARED Broken broken;
  constexpr int kCount = kTiles / attentionHalves(8 * kTiles);
  const AttentionShared<kTiles> shared;
  const int warp = int(threadIdx.x) / kWarp % 4, lane = int(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
  const int firstTile = int(threadIdx.x) / kAttentionThreads * kCount; // Of V.
  const int each = kTilePairs / args.group, firstRow = int(blockIdx.x) * each, head = int(blockIdx.y);
  const int endRow = firstRow + each < args.rows ? firstRow + each : args.rows, dim = args.kv.headDim;
  loadQueries<kTiles>(args, firstRow, endRow, head, 0, each * args.group, kTilePairs, shared.q);
  float out[kCount][4];
  PairState pairs[2] = {};
  for (int segment = args.step.segment[firstRow]; segment <= args.step.segment[endRow - 1]; ++segment) {
    // The block's rows of the sequence, and what they see together.
    int begin = firstRow, end = endRow;
    while (args.step.segment[begin] < segment)
      ++begin;
    while (args.step.segment[end - 1] > segment)
      --end;
    if (begin == end)
      continue;
    const Visible first = visible(args.step.position[begin], args.window),
                  last = visible(args.step.position[end - 1], args.window);
    for (int64_t page = first.begin / kPage; page <= (last.end - 1) / kPage; ++page) {
      const uint8_t *data = pageOf(args.kv, segment, page);
      const int most = int(inPage(last, page).end);
      // Whether some row sees less of it than others: what it does not see must not reach it.
      const bool partial = first.end < (page + 1) * kPage || last.begin > page * kPage;
      __syncthreads();
      loadPage<kTiles>(args.kv, data, false, head, 0, most, shared.page, nullptr);
      if (threadIdx.x <= kPage)
        broken[threadIdx.x] = 0;
      __syncthreads();
      float s[8][4];
      scores<kStride>(shared.q + 16 * warp * kStride, shared.page, 0, dim, s);
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int row = Query(args, firstRow, 16 * warp + g + 8 * r).row;
        pairs[r].seen = {0, 0};
        if (row >= begin && row < end)
          pairs[r].seen = inPage(visible(args.step.position[row], args.window), page);
        pairs[r].joins = pairs[r].seen.begin < pairs[r].seen.end;
      }
      Softmax parts[2];
      uint32_t weights[4][4];
      weigh(args, s, pairs, parts, weights);
      __syncthreads();
      loadPage<kTiles>(args.kv, data, true, head, 0, most, shared.page, partial ? &broken : nullptr);
      __syncthreads();
      bool reached[2] = {false, false};
      if (broken[kPage])
        for (int r = 0; r < 2; ++r)
          for (int p = int(pairs[r].seen.begin); p < int(pairs[r].seen.end); ++p)
            reached[r] = reached[r] || broken[p];
      addValues<kStride, kCount>(shared.page, firstTile, dim, weights, pairs, reached, out);
      for (int r = 0; r < 2; ++r)
        pairs[r].has = pairs[r].has || pairs[r].joins;
    }
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int m = 16 * warp + g + 8 * r;
    const Query query(args, firstRow, m);
    if (m >= each * args.group || query.row >= endRow)
      continue;
    float *to = args.out.data + query.row * args.out.stride + query.column(args, head);
    const float scale = 1.0f / pairs[r].total.sum;
#pragma unroll
    for (int j = 0; j < kCount; ++j)
#pragma unroll
      for (int e = 0; e < 2; ++e)
        if (const int d = 8 * (firstTile + j) + 2 * t + e; d < dim)
          to[d] = out[j][2 * r + e] * scale;
  }
}

/// Grid (pages, or 1 without parts; KV heads; rows): the block's warps have the pairs of one row, and each a quarter
/// of the columns of V.
template <int kTiles> MLC_DEVICE void attentionRow(const AttentionArgs &args) {
  constexpr int kStride = AttentionShared<kTiles>::kStride, kCount = kTiles / 4;
  MLC_SHARED float scored[16][kPage + 2];
  const AttentionShared<kTiles> shared;
  const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
  const int head = int(blockIdx.y), row = int(blockIdx.z), dim = args.kv.headDim, segment = args.step.segment[row];
  const Visible seen = visible(args.step.position[row], args.window);
  int64_t firstPage = seen.begin / kPage, lastPage = (seen.end - 1) / kPage;
  if (args.parts) {
    if (int64_t(blockIdx.x) < firstPage || int64_t(blockIdx.x) > lastPage)
      return;
    firstPage = lastPage = blockIdx.x;
  }
  for (int pairsBegin = 0; pairsBegin < args.group; pairsBegin += 16) {
    __syncthreads();
    loadQueries<kTiles>(args, row, row + 1, head, pairsBegin, args.group - pairsBegin, 16, shared.q);
    float out[kCount][4];
    PairState pairs[2] = {};
    Softmax parts[2];
    for (int64_t page = firstPage; page <= lastPage; ++page) {
      const uint8_t *data = pageOf(args.kv, segment, page);
      const Visible here = inPage(seen, page);
      __syncthreads();
      loadPage<kTiles>(args.kv, data, false, head, int(here.begin), int(here.end), shared.page, nullptr);
      __syncthreads();
      float quarter[2][4];
      scores<kStride>(shared.q, shared.page, 2 * warp, dim, quarter);
#pragma unroll
      for (int j = 0; j < 2; ++j)
        for (int e = 0; e < 4; ++e)
          scored[g + e / 2 * 8][8 * (2 * warp + j) + 2 * t + e % 2] = quarter[j][e];
      __syncthreads();
      loadPage<kTiles>(args.kv, data, true, head, int(here.begin), int(here.end), shared.page, nullptr);
      float s[8][4];
#pragma unroll
      for (int j = 0; j < 8; ++j)
        for (int e = 0; e < 4; ++e)
          s[j][e] = scored[g + e / 2 * 8][8 * j + 2 * t + e % 2];
      for (PairState &pair : pairs) {
        pair.seen = here;
        pair.joins = true;
      }
      uint32_t weights[4][4];
      weigh(args, s, pairs, parts, weights);
      __syncthreads();
      const bool reached[2] = {false, false};
      addValues<kStride, kCount>(shared.page, warp * kCount, dim, weights, pairs, reached, out);
      for (PairState &pair : pairs)
        pair.has = true;
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int pair = pairsBegin + g + 8 * r;
      if (pair >= args.group)
        continue;
      const int64_t query = int64_t(head) * args.group + pair;
      float *to = args.out.data + row * args.out.stride + query * dim;
      float scale = 1.0f / pairs[r].total.sum;
      if (args.parts) {
        float *part =
            args.parts + ((int64_t(row) * args.kv.heads * args.group + query) * args.chunks + firstPage) * (2 + dim);
        if (warp == 0 && t == 0) {
          part[0] = parts[r].most;
          part[1] = parts[r].sum;
        }
        to = part + 2;
        scale = 1;
      }
#pragma unroll
      for (int j = 0; j < kCount; ++j)
#pragma unroll
        for (int e = 0; e < 2; ++e)
          if (const int d = 8 * (warp * kCount + j) + 2 * t + e; d < dim)
            to[d] = out[j][2 * r + e] * scale;
    }
  }
}

} // namespace mlc::cuda

#define MLC_ATTENTION_TILES(DIM)                                                                                       \
  MLC_KERNEL_OF(mlc_attention_rows_##DIM, AttentionArgs, kAttentionThreads *attentionHalves(DIM)) {                    \
    begin();                                                                                                           \
    attentionRows<DIM / 8>(args);                                                                                      \
  }                                                                                                                    \
  MLC_KERNEL_OF(mlc_attention_row_##DIM, AttentionArgs, kAttentionThreads) {                                           \
    begin();                                                                                                           \
    attentionRow<DIM / 8>(args);                                                                                       \
  }
MLC_ATTENTION_TILES(64)
MLC_ATTENTION_TILES(128)
MLC_ATTENTION_TILES(256)
