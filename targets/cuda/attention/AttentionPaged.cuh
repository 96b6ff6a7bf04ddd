//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// kv_append, and attention over paged KV with f32 products: causal, grouped, windows, soft-cap. A block works on one
// row and one KV head with all query heads of its group, a page at a time: the scores of the page, its largest and its
// sum, the weighted values. Pages are combined in order, in one pass or by a second kernel: both give the same bits,
// and pages lie at absolute positions.
//
#pragma once

#include "targets/cuda/device/Cuda.h"

namespace mlc::cuda {

constexpr int kAttentionThreads = 128, kMostGroup = 64;

MLC_DEVICE uint8_t *pageOf(const KvView &kv, int segment, int64_t page) {
  return kv.pool + int64_t(kv.tables[segment * kv.tableStride + page]) * kv.pageBytes;
}
/// Where K or V of `position` begins in its page, in elements.
MLC_DEVICE int64_t kvOffset(const KvView &kv, bool value, int head, int64_t position) {
  return ((int64_t(value) * kv.heads + head) * kPage + position % kPage) * kv.headDim;
}

/// The positions that a row sees.
struct Visible {
  int64_t begin, end;
};
MLC_DEVICE Visible visible(int64_t position, int window) {
  return {window && position >= window ? position - window + 1 : 0, position + 1};
}

/// What a page, or several, gives a query head: its largest score, the sum of the exponentials.
struct Softmax {
  float most, sum;
};
/// Joins the next page: factors of what was there and of what comes.
MLC_DEVICE void join(Softmax &total, const Softmax &part, float &left, float &right) {
  float most = fmaxf(total.most, part.most);
  left = expf(total.most - most);
  right = expf(part.most - most);
  total = {most, total.sum * left + part.sum * right};
}

/// Query heads that a warp or a thread works on at a time.
constexpr int kHeadsAtOnce = 8;

/// Four elements from `i` on, of which those beyond `end` are zeros.
template <Storage storage> MLC_DEVICE void loadFour(const void *data, int64_t i, int count, float (&out)[4]) {
  // Heads may begin anywhere.
  auto at = reinterpret_cast<uintptr_t>(data) + uintptr_t(i) * (storage == Storage::f32 ? 4 : 2);
  bool whole = count >= 4 && at % (storage == Storage::f32 ? 16 : 8) == 0;
  if (storage == Storage::f32 && whole) {
    float4 v = *reinterpret_cast<const float4 *>(at);
    out[0] = v.x;
    out[1] = v.y;
    out[2] = v.z;
    out[3] = v.w;
    return;
  }
  if (storage != Storage::f32 && whole) {
    uint2 v = *reinterpret_cast<const uint2 *>(at);
    const uint32_t words[2] = {v.x, v.y};
    for (int e = 0; e < 4; ++e) {
      uint16_t bits = uint16_t(words[e / 2] >> (e % 2 * 16));
      out[e] = storage == Storage::f16 ? halfToFloat(bits) : bf16ToFloat(bits);
    }
    return;
  }
  for (int e = 0; e < 4; ++e)
    out[e] = e < count ? stored(data, storage, i + e) : 0.0f;
}

/// The scores of positions [begin, end) of a page for every query head: eight lanes a position, lane l of them takes
/// the elements 4 l, ..., 4 l + 3 of every 32; the lanes are added by halves.
template <Storage storage>
MLC_DEVICE void pageScores(const AttentionArgs &args, const uint8_t *data, const float *q, int head, int begin, int end,
                           float (&scores)[kMostGroup][kPage]) {
  int dim = args.kv.headDim, part = int(threadIdx.x) % 8;
  // Every lane of a warp comes to every exchange.
  for (int first = begin; first < end; first += kAttentionThreads / 8) {
    int p = first + int(threadIdx.x) / 8;
    int64_t key = kvOffset(args.kv, false, head, p < end ? p : begin);
    for (int g0 = 0; g0 < args.group; g0 += kHeadsAtOnce) {
      float sums[kHeadsAtOnce] = {};
      for (int d = 4 * part; d < dim; d += 32) {
        float k[4];
        loadFour<storage>(data, key + d, dim - d, k);
#pragma unroll
        for (int g = 0; g < kHeadsAtOnce; ++g) {
          if (g0 + g >= args.group)
            continue;
          float x[4];
          loadFour<Storage::f32>(q, int64_t(g0 + g) * dim + d, dim - d, x);
          for (int e = 0; e < 4; ++e)
            sums[g] = args.bf16 ? fmaf(roundBf16(x[e]), roundBf16(k[e]), sums[g]) : fmaf(x[e], k[e], sums[g]);
        }
      }
#pragma unroll
      for (int g = 0; g < kHeadsAtOnce; ++g)
        for (int lanes = 4; lanes; lanes /= 2)
          sums[g] += shuffleXor(sums[g], lanes);
#pragma unroll
      for (int g = 0; g < kHeadsAtOnce; ++g)
        if (p < end && g0 + g < args.group && part == g) {
          float s = sums[g] * args.scale;
          scores[g0 + g][p] = args.softcap > 0 ? args.softcap * tanhf(s / args.softcap) : s;
        }
    }
  }
}

template <Storage storage> MLC_DEVICE void attentionPages(const AttentionArgs &args) {
  MLC_SHARED float scores[kMostGroup][kPage];
  MLC_SHARED Softmax parts[kMostGroup], totals[kMostGroup];
  MLC_SHARED float lefts[kMostGroup], rights[kMostGroup];
  int head = int(blockIdx.y), row = int(blockIdx.z), warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
  constexpr int warps = kAttentionThreads / kWarp;
  int dim = args.kv.headDim, segment = args.step.segment[row];
  Visible seen = visible(args.step.position[row], args.window);
  int64_t firstPage = seen.begin / kPage, lastPage = (seen.end - 1) / kPage;
  if (args.parts) {
    if (int64_t(blockIdx.x) < firstPage || int64_t(blockIdx.x) > lastPage)
      return;
    firstPage = lastPage = blockIdx.x;
  }
  const float *q = args.q.data + row * args.q.stride + int64_t(head) * args.group * dim;
  float *out = args.out.data + row * args.out.stride + int64_t(head) * args.group * dim;
  auto partOf = [&](int g) {
    int64_t index = (int64_t(row) * args.kv.heads * args.group + head * args.group + g) * args.chunks + firstPage;
    return args.parts + index * (2 + dim);
  };
  for (int64_t page = firstPage; page <= lastPage; ++page) {
    const uint8_t *data = pageOf(args.kv, segment, page);
    int begin = int(seen.begin > page * kPage ? seen.begin - page * kPage : 0);
    int end = int(seen.end < (page + 1) * kPage ? seen.end - page * kPage : kPage);
    pageScores<storage>(args, data, q, head, begin, end, scores);
    __syncthreads();
    for (int g = warp; g < args.group; g += warps) {
      float most = -INFINITY, sum = 0;
      for (int p = begin + lane; p < end; p += kWarp)
        most = fmaxf(most, scores[g][p]);
      most = warpMax(most);
      for (int p = begin + lane; p < end; p += kWarp) {
        float e = expf(scores[g][p] - most);
        sum += e;
        scores[g][p] = args.bf16 ? roundBf16(e) : e;
      }
      sum = warpSum(sum);
      if (lane == 0) {
        parts[g] = {most, sum};
        if (page == firstPage)
          totals[g] = parts[g];
        else
          join(totals[g], parts[g], lefts[g], rights[g]);
      }
    }
    __syncthreads();
    // A thread for an element of some heads: a value is read once for them, positions are added in order.
    int sets = (args.group + kHeadsAtOnce - 1) / kHeadsAtOnce;
    for (int item = int(threadIdx.x); item < sets * dim; item += kAttentionThreads) {
      int g0 = item / dim * kHeadsAtOnce, d = item % dim;
      int64_t value = kvOffset(args.kv, true, head, 0) + d;
      float sums[kHeadsAtOnce] = {};
      auto add = [&](int p, float v) {
        v = args.bf16 ? roundBf16(v) : v;
        for (int g = 0; g < kHeadsAtOnce; ++g)
          sums[g] = fmaf(g0 + g < args.group ? scores[g0 + g][p] : 0.0f, v, sums[g]);
      };
      constexpr int kAhead = 16;
      int p = begin;
      for (; p + kAhead <= end; p += kAhead) {
        float v[kAhead];
        for (int i = 0; i < kAhead; ++i)
          v[i] = stored(data, storage, value + int64_t(p + i) * dim);
        for (int i = 0; i < kAhead; ++i)
          add(p + i, v[i]);
      }
      for (; p < end; ++p)
        add(p, stored(data, storage, value + int64_t(p) * dim));
      // The thread that wrote an element reads it.
#pragma unroll
      for (int i = 0; i < kHeadsAtOnce; ++i) {
        int g = g0 + i;
        if (g >= args.group)
          continue;
        float sum = sums[i];
        float &at = args.parts ? partOf(g)[2 + d] : out[g * dim + d];
        at = args.parts || page == firstPage ? sum : fmaf(sum, rights[g], at * lefts[g]);
      }
    }
    __syncthreads();
  }
  if (args.parts) {
    for (int g = int(threadIdx.x); g < args.group; g += kAttentionThreads) {
      partOf(g)[0] = parts[g].most;
      partOf(g)[1] = parts[g].sum;
    }
    return;
  }
  for (int item = int(threadIdx.x); item < (args.group + kHeadsAtOnce - 1) / kHeadsAtOnce * dim;
       item += kAttentionThreads)
    for (int g = item / dim * kHeadsAtOnce, last = g + kHeadsAtOnce; g < last && g < args.group; ++g)
      out[g * dim + item % dim] *= 1.0f / totals[g].sum;
}

template <Storage storage> MLC_DEVICE void store(void *data, int64_t i, float value) {
  if constexpr (storage == Storage::f32)
    static_cast<float *>(data)[i] = value;
  else
    static_cast<uint16_t *>(data)[i] = storage == Storage::f16 ? floatToHalf(value) : floatToBf16(value);
}

template <Storage storage> MLC_DEVICE void append(const AppendArgs &args) {
  int row = int(blockIdx.y), column = int(blockIdx.x * blockDim.x + threadIdx.x), dim = args.kv.headDim;
  if (column >= args.kv.heads * dim)
    return;
  int64_t position = args.step.position[row];
  uint8_t *page = pageOf(args.kv, args.step.segment[row], position / kPage);
  store<storage>(page, kvOffset(args.kv, false, column / dim, position) + column % dim,
                 args.k.data[row * args.k.stride + column]);
  store<storage>(page, kvOffset(args.kv, true, column / dim, position) + column % dim,
                 args.v.data[row * args.v.stride + column]);
}

} // namespace mlc::cuda

/// Grid (pages, or 1 without parts; KV heads; rows).
#define MLC_KV_KERNELS(STORAGE)                                                                                        \
  MLC_KERNEL(mlc_attention_##STORAGE, AttentionArgs) {                                                                 \
    begin();                                                                                                           \
    attentionPages<Storage::STORAGE>(args);                                                                            \
  }                                                                                                                    \
  MLC_KERNEL(mlc_kv_append_##STORAGE, AppendArgs) {                                                                    \
    begin();                                                                                                           \
    append<Storage::STORAGE>(args);                                                                                    \
  }
MLC_KV_KERNELS(f32)
MLC_KV_KERNELS(f16)
MLC_KV_KERNELS(bf16)

/// Grid (1, query heads, rows): joins a row's pages.
MLC_KERNEL(mlc_attention_join, AttentionArgs) {
  begin();
  int head = int(blockIdx.y), row = int(blockIdx.z), dim = args.kv.headDim;
  Visible seen = visible(args.step.position[row], args.window);
  int64_t firstPage = seen.begin / kPage, lastPage = (seen.end - 1) / kPage;
  int64_t heads = int64_t(args.kv.heads) * args.group;
  const float *parts = args.parts + (row * heads + head) * args.chunks * (2 + dim);
  float *out = args.out.data + row * args.out.stride + int64_t(head) * dim;
  for (int d = int(threadIdx.x); d < dim; d += int(blockDim.x)) {
    const float *part = parts + firstPage * (2 + dim);
    Softmax total{part[0], part[1]};
    float value = part[2 + d], left, right;
    for (int64_t page = firstPage + 1; page <= lastPage; ++page) {
      part += 2 + dim;
      join(total, {part[0], part[1]}, left, right);
      value = fmaf(part[2 + d], right, value * left);
    }
    out[d] = value * (1.0f / total.sum);
  }
}
