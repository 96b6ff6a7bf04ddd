//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// moe_route: a warp for a token, grid (tokens). The choice compares logits (of the sigmoid form: p + bias), the lower
// expert first of equals, as on the CPU. And the order of a step's rows by expert.
//
#pragma once

#include "targets/cuda/elementwise/Elementwise.cuh"

namespace mlc::cuda {

constexpr int kMostExperts = 1024, kMostChosen = 64, kGroupThreads = 256, kMoeRows = 32;

/// A score and whose it is; expert -1: none.
struct Scored {
  float score;
  int expert;
  MLC_DEVICE bool worse(const Scored &other) const {
    return other.expert >= 0 && (expert < 0 || other.score > score || (other.score == score && other.expert < expert));
  }
};

/// The best of `scores`, of what is a number.
MLC_DEVICE Scored bestOf(const float *scores, int experts) {
  Scored best{0, -1};
  for (int e = int(threadIdx.x); e < experts; e += kWarp)
    if (Scored next{scores[e], e}; next.score == next.score && best.worse(next))
      best = next;
  for (int lanes = kWarp / 2; lanes; lanes /= 2) {
    Scored other{shuffleXor(best.score, lanes),
                 int(__float_as_uint(shuffleXor(__uint_as_float(uint32_t(best.expert)), lanes)))};
    if (best.worse(other))
      best = other;
  }
  return best;
}

/// Leaves the scores of the `kept` groups whose two best have the largest sums.
MLC_DEVICE void keepGroups(const MoeRouteArgs &args, float *scores, float *sums) {
  int size = args.experts / args.groups;
  for (int g = int(threadIdx.x); g < args.groups; g += kWarp) {
    float first = -__uint_as_float(0x7f800000), second = first;
    for (int i = g * size; i < (g + 1) * size; ++i) {
      float score = scores[i];
      second = score > first ? first : score > second ? score : second;
      first = score > first ? score : first;
    }
    sums[g] = first + second;
  }
  __syncthreads();
  for (int g = int(threadIdx.x); g < args.groups; g += kWarp) {
    int better = 0;
    for (int h = 0; h < args.groups; ++h)
      better += sums[h] > sums[g] || (sums[h] == sums[g] && h < g);
    for (int i = g * size; better >= args.topGroups && i < (g + 1) * size; ++i)
      scores[i] = notANumber();
  }
}

} // namespace mlc::cuda

MLC_KERNEL(mlc_moe_route, MoeRouteArgs) {
  begin();
  MLC_SHARED float scores[kMostExperts], sums[kMostExperts], weights[kMostChosen];
  MLC_SHARED int ids[kMostChosen];
  int64_t token = blockIdx.x;
  const float *logits = args.logits.data + token * args.logits.stride;
  float most = -__uint_as_float(0x7f800000), total = 0;
  for (int e = int(threadIdx.x); e < args.experts; e += kWarp) {
    float score = logits[e];
    most = fmaxf(most, score);
    if (args.form == Router::sigmoid)
      score = sigmoid(score) + (args.bias ? args.bias[e] : 0.0f);
    scores[e] = score;
  }
  if (args.form == Router::softmaxTopk) {
    most = warpMax(most);
    for (int e = int(threadIdx.x); e < args.experts; e += kWarp)
      total += expf(logits[e] - most);
    total = warpSum(total);
  }
  __syncthreads();
  if (args.groups > 1)
    keepGroups(args, scores, sums);
  for (int j = 0; j < args.chosen; ++j) {
    __syncthreads();
    // Where fewer are numbers, 0 stands for the rest.
    Scored best = bestOf(scores, args.experts);
    int expert = best.expert < 0 ? 0 : best.expert;
    if (threadIdx.x == 0) {
      scores[expert] = notANumber();
      ids[j] = expert;
      weights[j] = args.form == Router::softmaxTopk ? expf(logits[expert] - most) / total
                   : args.form == Router::sigmoid   ? sigmoid(logits[expert])
                                                    : logits[expert];
    }
  }
  __syncthreads();
  // Every lane has the same sums.
  float largest = weights[0], sum = 0;
  for (int j = 1; j < args.chosen; ++j)
    largest = fmaxf(largest, weights[j]);
  bool softmax = args.form == Router::topkSoftmax;
  for (int j = 0; j < args.chosen; ++j)
    sum += softmax ? expf(weights[j] - largest) : weights[j];
  for (int j = int(threadIdx.x); j < args.chosen; j += kWarp) {
    float weight = softmax           ? expf(weights[j] - largest) / sum
                   : !args.normalize ? weights[j]
                                     : weights[j] / (args.form == Router::sigmoid ? sum + 1e-20f : sum);
    args.ids.data[token * args.ids.stride + j] = ids[j];
    args.weights.data[token * args.weights.stride + j] = weight * args.scale;
  }
}

/// One block: every thread counts, then places the slots of some experts, in order.
MLC_KERNEL_OF(mlc_moe_group, MoeGroupArgs, kGroupThreads) {
  begin();
  constexpr int kChunk = 1024;
  MLC_SHARED int chunk[kChunk], firstSlot[kMostExperts + 1], firstTile[kMostExperts + 1];
  int thread = int(threadIdx.x);
  int64_t slots = args.tokens * args.chosen;
  for (int placing = 0; placing < 2; ++placing) {
    constexpr int kEach = kMostExperts / kGroupThreads;
    int next[kEach];
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      int e = thread + i * kGroupThreads;
      next[i] = placing && e < args.experts ? firstSlot[e] : 0;
    }
    for (int64_t from = 0; from < slots; from += kChunk) {
      int count = slots - from < kChunk ? int(slots - from) : kChunk;
      __syncthreads();
      for (int i = thread; i < count; i += kGroupThreads)
        chunk[i] = args.ids.data[(from + i) / args.chosen * args.ids.stride + (from + i) % args.chosen];
      __syncthreads();
      for (int i = 0; i < count; ++i)
#pragma unroll
        for (int each = 0; each < kEach; ++each)
          if (chunk[i] == thread + each * kGroupThreads && chunk[i] < args.experts) {
            if (placing)
              args.slots[next[each]] = int32_t(from + i);
            ++next[each];
          }
    }
    if (placing)
      break;
#pragma unroll
    for (int i = 0; i < kEach; ++i)
      if (int e = thread + i * kGroupThreads; e < args.experts)
        firstSlot[e + 1] = next[i];
    __syncthreads();
    if (thread == 0) {
      firstSlot[0] = firstTile[0] = 0;
      for (int e = 0; e < args.experts; ++e) {
        firstTile[e + 1] = firstTile[e] + (firstSlot[e + 1] + kMoeRows - 1) / kMoeRows;
        firstSlot[e + 1] += firstSlot[e];
      }
    }
    __syncthreads();
  }
  for (int e = thread; e < args.experts; e += kGroupThreads)
    for (int tile = firstTile[e], first = firstSlot[e]; tile < firstTile[e + 1]; ++tile, first += kMoeRows)
      args.tiles[tile] = {e, first, firstSlot[e + 1] - first < kMoeRows ? firstSlot[e + 1] - first : kMoeRows};
  for (int64_t tile = firstTile[args.experts] + thread; tile < args.mostTiles; tile += kGroupThreads)
    args.tiles[tile] = {0, 0, 0};
}
