//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The online softmax of the two rows that a thread holds of a 16-row fragment, and the way out of the result.
// Fragments are those of mma.m16n8 (and of wgmma): value 4 * i + 2 * r + c is of row `lane / 4 + 8 * r` and column
// `8 * i + lane % 4 * 2 + c`.
//
#pragma once

#include "attention/ForwardParameters.h"
#include "device/Common.cuh"

namespace mlc::cuda {

struct SoftmaxRows {
  // An exponent may grow by this many bits before the sums are scaled down again.
  static constexpr float kSlack = 8;

  float maximum[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};

  /// From the products of Q and K, of rows from `row` on (this thread's first) and columns from `column` on, to
  /// weights, in place. Gives the factors of what was summed before and whether one of this warp's is not 1; a row's
  /// factor depends on that row alone.
  template <int kScores>
  __device__ __forceinline__ bool weigh(const ForwardParameters &p, const Mask &mask, bool cut, int row, int column,
                                        float (&scores)[kScores], float (&factor)[2]) {
    if (p.softcap > 0) {
#pragma unroll
      for (int i = 0; i < kScores; ++i)
        scores[i] = p.softcap - 2 * p.softcap * __frcp_rn(1 + exp2Fast(scores[i] * p.capScaleLog2));
    }
    if (cut) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int first = mask.first(row + 8 * r) - column, end = mask.end(row + 8 * r) - column;
#pragma unroll
        for (int i = 0; i < kScores / 4; ++i)
#pragma unroll
          for (int c = 0; c < 2; ++c)
            if (8 * i + c < first || 8 * i + c >= end)
              scores[4 * i + 2 * r + c] = -INFINITY;
      }
    }
    bool grows[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float most = fmaxf(scores[2 * r], scores[2 * r + 1]);
#pragma unroll
      for (int i = 1; i < kScores / 4; ++i)
        most = fmaxf(fmaxf(most, scores[4 * i + 2 * r]), scores[4 * i + 2 * r + 1]);
      most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
      factor[r] = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
      // Not so for a row that has seen nothing yet and still does not.
      grows[r] = (factor[r] - maximum[r]) * p.scaleLog2 > kSlack;
    }
    const bool rescale = __any_sync(~0u, grows[0] || grows[1]);
    if (rescale) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const float most = grows[r] ? factor[r] : maximum[r];
        factor[r] = grows[r] ? exp2Fast((maximum[r] - most) * p.scaleLog2) : 1;
        maximum[r] = most;
        sum[r] *= factor[r];
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
      sum[r] += total;
    }
    return rescale;
  }

  /// The two rows' results, values / sum, and log-sum-exp. `row`: this thread's first.
  template <class T, int kHeadDim>
  __device__ __forceinline__ void store(const ForwardParameters &p, const Mask &mask, int row, int head, int batch,
                                        const float (&values)[kHeadDim / 2]) {
    const int64_t tokens = p.cuQ ? p.cuQ[batch] : 0;
    const int lane = threadIdx.x % 4;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float total = sum[r] + __shfl_xor_sync(~0u, sum[r], 1);
      total += __shfl_xor_sync(~0u, total, 2);
      const float inverse = total > 0 ? 1 / total : 0;
      const int mine = row + 8 * r;
      const bool inside = mine < mask.rows;
      if (p.lse && inside && lane == 0)
        p.lse[(p.cuQ ? 0 : batch * p.lseBatch) + head * p.lseHead + tokens + mine] =
            total > 0 ? (maximum[r] * p.scaleLog2 + log2f(total)) * 0.6931471805599453f : -INFINITY;
      T *out = static_cast<T *>(p.out) + (p.cuQ ? 0 : batch * p.outBatch) + (tokens + mine) * p.outToken +
               head * p.outHead;
#pragma unroll
      for (int i = 0; i + 4 <= kHeadDim / 8; i += 4) {
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
      for (int i = kHeadDim / 32 * 4; i < kHeadDim / 8; ++i)
        if (inside)
          *reinterpret_cast<uint32_t *>(out + 8 * i + lane * 2) =
              packPair<T>(values[4 * i + 2 * r] * inverse, values[4 * i + 2 * r + 1] * inverse);
    }
  }
};

} // namespace mlc::cuda
