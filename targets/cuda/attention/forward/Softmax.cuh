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

#include "targets/cuda/attention/forward/ForwardArgs.h"
#include "targets/cuda/device/Common.cuh"

namespace mlc::attention {

using namespace cuda;

struct SoftmaxRows {
  // An exponent may grow by this many bits before the sums are scaled down again.
  static constexpr float kSlack = 8;

  float maximum[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};

  /// From products of Q and K to what softmax sees of them; `row` and `column`: this thread's first.
  template <int kScores>
  static __device__ __forceinline__ void limit(const ForwardArgs &p, const Mask &mask, bool cut, int row, int column,
                                               float (&scores)[kScores]) {
    if (p.problem.softcap > 0) {
#pragma unroll
      for (int i = 0; i < kScores; ++i)
        scores[i] =
            fmaf(-2 * p.problem.softcap, reciprocalFast(1 + exp2Fast(scores[i] * p.capScaleLog2)), p.problem.softcap);
    }
    if (p.premultiply != 0) {
#pragma unroll
      for (int i = 0; i < kScores; ++i)
        scores[i] *= p.premultiply;
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
  }

  /// The maxima with these scores, and whether one has grown so far that the sums must be scaled down.
  template <int kScores>
  __device__ __forceinline__ bool grows(float scale, const float (&scores)[kScores], float (&most)[2]) const {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      most[r] = fmaxf(scores[2 * r], scores[2 * r + 1]);
#pragma unroll
      for (int i = 1; i < kScores / 4; ++i)
        most[r] = fmaxf(fmaxf(most[r], scores[4 * i + 2 * r]), scores[4 * i + 2 * r + 1]);
      most[r] = fmaxf(most[r], __shfl_xor_sync(~0u, most[r], 1));
      most[r] = fmaxf(most[r], __shfl_xor_sync(~0u, most[r], 2));
    }
    return growsFar(scale, most[0], 0) || growsFar(scale, most[1], 1);
  }
  /// Not so for a row that has seen nothing yet and still does not.
  __device__ __forceinline__ bool growsFar(float scale, float most, int r) const {
    return (most - maximum[r]) * scale > kSlack;
  }
  /// Takes the maxima of rows that have grown far; `factor`: of what was summed before. It depends on that row alone.
  __device__ __forceinline__ void grow(float scale, const float (&most)[2], float (&factor)[2]) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const bool far = growsFar(scale, most[r], r);
      factor[r] = far ? exp2Fast((maximum[r] - most[r]) * scale) : 1;
      maximum[r] = far ? most[r] : maximum[r];
      sum[r] *= factor[r];
    }
  }
  template <int kValues>
  static __device__ __forceinline__ void rescale(const float (&factor)[2], float (&values)[kValues]) {
#pragma unroll
    for (int i = 0; i < kValues; ++i)
      values[i] *= factor[i / 2 % 2];
  }
  __device__ __forceinline__ float bias(float scale, int r) const {
    return maximum[r] == -INFINITY ? 0 : -maximum[r] * scale;
  }
  /// The two rows' results, values / sum, and log-sum-exp. `row`: this thread's first.
  template <class T, int kHeadDim>
  __device__ __forceinline__ void store(const ForwardArgs &p, const Sequence &sequence, int row, int head, int batch,
                                        const float (&values)[kHeadDim / 2]) {
    const mlc_attention_tensor &tensor = p.problem.out;
    const int lane = threadIdx.x % 4;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float total = sum[r] + __shfl_xor_sync(~0u, sum[r], 1);
      total += __shfl_xor_sync(~0u, total, 2);
      const float inverse = total == 0 ? 0 : 1 / total; // NaN stays NaN
      const int mine = row + 8 * r;
      const bool inside = mine < sequence.rows;
      if (p.problem.lse && inside && lane == 0)
        p.problem.lse[rowIndex(p.problem, sequence, batch, head, mine)] =
            total == 0 ? -INFINITY : fmaf(maximum[r], p.scaleLog2, log2f(total)) * 0.6931471805599453f;
      T *out = static_cast<T *>(tensor.data) + sequence.outputs + mine * tensor.token + head * tensor.head;
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

} // namespace mlc::attention
