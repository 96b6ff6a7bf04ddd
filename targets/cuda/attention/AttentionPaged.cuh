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
    for (int p = begin + warp; p < end; p += warps) {
      int64_t key = kvOffset(args.kv, false, head, p);
      for (int g = 0; g < args.group; ++g) {
        float s = 0;
        for (int d = lane; d < dim; d += kWarp) {
          float a = q[g * dim + d], b = stored(data, storage, key + d);
          s = args.bf16 ? fmaf(roundBf16(a), roundBf16(b), s) : fmaf(a, b, s);
        }
        s = warpSum(s) * args.scale;
        if (args.softcap > 0)
          s = args.softcap * tanhf(s / args.softcap);
        if (lane == 0)
          scores[g][p] = s;
      }
    }
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
    for (int item = int(threadIdx.x); item < args.group * dim; item += kAttentionThreads) {
      int g = item / dim, d = item % dim;
      int64_t value = kvOffset(args.kv, true, head, 0) + d;
      float sum = 0;
      for (int p = begin; p < end; ++p) {
        float v = stored(data, storage, value + int64_t(p) * dim);
        sum = fmaf(scores[g][p], args.bf16 ? roundBf16(v) : v, sum);
      }
      // The thread that wrote an element reads it.
      if (args.parts)
        partOf(g)[2 + d] = sum;
      else
        out[item] = page == firstPage ? sum : fmaf(sum, rights[g], out[item] * lefts[g]);
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
  for (int item = int(threadIdx.x); item < args.group * dim; item += kAttentionThreads)
    out[item] *= 1.0f / totals[item / dim].sum;
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
