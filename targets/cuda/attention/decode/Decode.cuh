//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Attention of a few query tokens over a long K and V, for sm_80 and later. The query heads that share a K and V head
// and their tokens are the rows of one product. A block takes a share of the tokens; each of its warps streams its own
// blocks of 16 tokens through its own ring of copies, so that warps never wait for each other; the shares of the warps
// are added at the end in order, then those of the blocks by the last of them to end (Dao et al., Flash-Decoding).
//
#pragma once

#include <type_traits>

#include "targets/cuda/attention/decode/DecodeShape.h"
#include "targets/cuda/device/Ampere.cuh"

namespace mlc::attention {

using namespace cuda;

/// K and V as 16-bit values of the type of Q.
template <class T, int kHeadDim> struct Kv16 {
  using Element = T;
  static constexpr bool kScaledTokens = false;
  static constexpr int kRowBytes = decodeRowBytes(kHeadDim, 2);

  /// Fragments of Q for step i of the sum: rows of the tile at q, `stride` elements apart.
  static __device__ __forceinline__ void query(uint32_t (&a)[4], const T *q, int stride, int i, int lane) {
    loadMatrices(a, sharedAddress(q + lane % 16 * stride + i * 16 + lane / 16 * 8));
  }
  /// Fragments of 16 tokens of K for step i: b[0], b[1] of the first 8 tokens, b[2], b[3] of the others.
  static __device__ __forceinline__ void keys(uint32_t (&b)[4], const uint8_t *k, int i, int lane) {
    loadMatrices(b, sharedAddress(k + (lane / 16 * 8 + lane % 8) * kRowBytes + i * 32 + lane / 8 % 2 * 16));
  }
  /// Calls use(tile, b0, b1) with the fragments of V for each 8 columns.
  template <class F> static __device__ __forceinline__ void values(const uint8_t *v, int lane, F use) {
#pragma unroll
    for (int i = 0; i < kHeadDim / 16; ++i) {
      uint32_t b[4];
      loadMatricesTransposed(b, sharedAddress(v + lane % 16 * kRowBytes + i * 32 + lane / 16 * 16));
      use(2 * i, b[0], b[1]);
      use(2 * i + 1, b[2], b[3]);
    }
  }
  /// The column of head_dim that element c (0 or 1) of a row of output tile j is.
  static __device__ __forceinline__ int column(int j, int c, int lane) { return 8 * j + lane % 4 * 2 + c; }
};

template <class T> struct Pair;
template <> struct Pair<__nv_bfloat16> {
  using Type = __nv_bfloat162;
};
template <> struct Pair<__half> {
  using Type = __half2;
};
template <class T> __device__ __forceinline__ typename Pair<T>::Type asPair(uint32_t bits) {
  return *reinterpret_cast<typename Pair<T>::Type *>(&bits);
}
template <class P> __device__ __forceinline__ uint32_t bitsOf(P pair) { return *reinterpret_cast<uint32_t *>(&pair); }

/// Codes of 8 bits. pair<T, i, j>(a, b): bytes i and j of the 8 of two words as two values of T, exactly.
struct Int8 {
  static constexpr bool kScaledTokens = true;
  template <class T, int kLow, int kHigh> static __device__ __forceinline__ uint32_t pair(uint32_t a, uint32_t b) {
    const uint32_t bytes = __byte_perm(a, b, kLow * 0x11 | kHigh * 0x1100);
    if constexpr (std::is_same_v<T, __half>) // 1024 + (x + 128), minus 1152
      return bitsOf(__hsub2(asPair<T>(bytes & 0x00ff00ff ^ 0x64806480), asPair<T>(0x64806480)));
    else // 128 + the low 7 bits, minus 128 or, negative, 256
      return bitsOf(__hsub2(asPair<T>(bytes & 0x007f007f | 0x43004300), asPair<T>(bytes & 0x00800080 | 0x43004300)));
  }
};
/// E4M3 of finite values (the pattern of NaN reads as 480).
struct Fp8 {
  static constexpr bool kScaledTokens = false;
  template <class T, int kLow, int kHigh> static __device__ __forceinline__ uint32_t pair(uint32_t a, uint32_t b) {
    // The fields of a wider float hold the value times a power of two, denormal numbers included.
    const uint32_t bytes = __byte_perm(a, b, kLow * 0x11 | kHigh * 0x1100), sign = bytes & 0x80008000;
    if constexpr (std::is_same_v<T, __half>)
      return bitsOf(__hmul2(asPair<T>(sign | (bytes & 0x7f007f00) >> 1), asPair<T>(0x5c005c00)));
    else
      return bitsOf(__hmul2(asPair<T>(sign | (bytes & 0x7f007f00) >> 4), asPair<T>(0x7b807b80)));
  }
};

/// K and V as bytes. The sum over head_dim takes its terms in another order than memory's, on both sides, so that a
/// lane's values lie beside each other; likewise the columns of V.
template <class T, int kHeadDim, class Code> struct Kv8 {
  using Element = uint8_t;
  static constexpr bool kScaledTokens = Code::kScaledTokens;
  static constexpr int kRowBytes = decodeRowBytes(kHeadDim, 1);
  static_assert(kHeadDim % 32 == 0);

  static __device__ __forceinline__ void query(uint32_t (&a)[4], const T *q, int stride, int i, int lane) {
    const T *at = q + lane / 4 * stride + i * 16 + lane % 4 * 4;
    const uint2 low = *reinterpret_cast<const uint2 *>(at), high = *reinterpret_cast<const uint2 *>(at + 8 * stride);
    a[0] = low.x;
    a[1] = high.x;
    a[2] = low.y;
    a[3] = high.y;
  }
  static __device__ __forceinline__ void keys(uint32_t (&b)[4], const uint8_t *k, int i, int lane) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint32_t word =
          *reinterpret_cast<const uint32_t *>(k + (half * 8 + lane / 4) * kRowBytes + i * 16 + lane % 4 * 4);
      b[2 * half] = Code::template pair<T, 0, 1>(word, word);
      b[2 * half + 1] = Code::template pair<T, 2, 3>(word, word);
    }
  }
  template <class F> static __device__ __forceinline__ void values(const uint8_t *v, int lane, F use) {
    const uint8_t *at = v + lane % 4 * 2 * kRowBytes + lane / 4 * 4;
#pragma unroll
    for (int i = 0; i < kHeadDim / 32; ++i) {
      uint32_t word[4];
#pragma unroll
      for (int r = 0; r < 4; ++r)
        word[r] = *reinterpret_cast<const uint32_t *>(at + (r % 2 + r / 2 * 8) * kRowBytes + i * 32);
      use(4 * i, Code::template pair<T, 0, 4>(word[0], word[1]), Code::template pair<T, 0, 4>(word[2], word[3]));
      use(4 * i + 1, Code::template pair<T, 1, 5>(word[0], word[1]), Code::template pair<T, 1, 5>(word[2], word[3]));
      use(4 * i + 2, Code::template pair<T, 2, 6>(word[0], word[1]), Code::template pair<T, 2, 6>(word[2], word[3]));
      use(4 * i + 3, Code::template pair<T, 3, 7>(word[0], word[1]), Code::template pair<T, 3, 7>(word[2], word[3]));
    }
  }
  static __device__ __forceinline__ int column(int j, int c, int lane) {
    return j / 4 * 32 + lane % 4 * 8 + c * 4 + j % 4;
  }
};

/// Where K and V of a head are read by form F.
template <class T, class F>
using KvOf = std::conditional_t<F::kCode == KvCode::same, Kv16<T, F::kHeadDim>,
                                Kv8<T, F::kHeadDim, std::conditional_t<F::kCode == KvCode::int8, Int8, Fp8>>>;

/// Four columns of a row's result; with the first, its log-sum-exp, given in bits.
template <class T>
__device__ __forceinline__ void storeRow(const DecodeArgs &p, const Sequence &sequence, int batch, int head, int token,
                                         int column, float4 value, float lse2) {
  const mlc_attention_tensor &out = p.problem.out;
  *reinterpret_cast<uint2 *>(static_cast<T *>(out.data) + sequence.outputs + token * out.token + head * out.head +
                             column) = make_uint2(packPair<T>(value.x, value.y), packPair<T>(value.z, value.w));
  if (p.problem.lse && column == 0)
    p.problem.lse[rowIndex(p.problem, sequence, batch, head, token)] = lse2 * 0.6931471805599453f;
}

/// Adds the shares that all blocks have of `count` rows, the first being `firstRow` of those of `head`, in their order.
template <class T, class S>
__device__ __forceinline__ void combine(const DecodeArgs &p, const Sequence &sequence, int batch, int head,
                                        int firstRow, int count) {
  constexpr int kD = S::kHeadDim, kAtATime = 16;
  for (int i = threadIdx.x; i < count * (kD / 4); i += S::kThreads) {
    const int column = i % (kD / 4) * 4, row = firstRow + i / (kD / 4);
    const int headQ = head * p.group + row % p.group, token = row / p.group;
    const int64_t share = ((int64_t(batch) * p.problem.heads_q + headQ) * p.problem.seq_q + token) * p.splits;
    const float *lses = p.partialLse + share;
    const float4 *parts = reinterpret_cast<const float4 *>(p.partial + share * kD + column);
    float most = -INFINITY, sum = 0;
    float4 value{};
    for (int first = 0; first < p.splits; first += kAtATime) {
      // All loads before the first use.
      float lse[kAtATime];
      float4 part[kAtATime];
#pragma unroll
      for (int s = 0; s < kAtATime; ++s) {
        const int split = least(first + s, p.splits - 1);
        lse[s] = first + s < p.splits ? __ldcg(lses + split) : -INFINITY;
        part[s] = __ldcg(parts + split * (kD / 4));
      }
      float tallest = most;
#pragma unroll
      for (int s = 0; s < kAtATime; ++s)
        tallest = fmaxf(tallest, lse[s]);
      if (tallest == -INFINITY)
        continue;
      const float before = exp2Fast(most - tallest);
      most = tallest;
      sum *= before;
      value = make_float4(value.x * before, value.y * before, value.z * before, value.w * before);
#pragma unroll
      for (int s = 0; s < kAtATime; ++s) {
        const float factor = exp2Fast(lse[s] - most);
        sum += factor;
        value.x = fmaf(part[s].x, factor, value.x);
        value.y = fmaf(part[s].y, factor, value.y);
        value.z = fmaf(part[s].z, factor, value.z);
        value.w = fmaf(part[s].w, factor, value.w);
      }
    }
    const float inverse = sum > 0 ? 1 / sum : 0;
    storeRow<T>(p, sequence, batch, headQ, token, column,
                make_float4(value.x * inverse, value.y * inverse, value.z * inverse, value.w * inverse),
                sum > 0 ? most + log2f(sum) : -INFINITY);
  }
}

template <class T, class S> __device__ __forceinline__ void attentionDecode(const DecodeArgs &p) {
  using Kv = KvOf<T, S>;
  constexpr int kD = S::kHeadDim, kChunks = kD * sizeof(typename Kv::Element) / 16, kSteps = kD / 16;
  constexpr bool kKeepQuery = S::kRowTiles == 1 && kD <= 128;
  extern __shared__ __align__(16) uint8_t shared[];
  T *q = reinterpret_cast<T *>(shared);
  uint8_t *ring = shared + S::kQBytes;

  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int head = blockIdx.x / p.rowGroups, rowGroup = blockIdx.x % p.rowGroups, split = blockIdx.y,
            batch = blockIdx.z;
  const Sequence sequence = sequenceOf(p.problem, batch);
  const Mask mask = sequence.mask(p.problem);
  const int rows = sequence.rows * p.group, firstRow = rowGroup * S::kRows;
  if (firstRow >= rows)
    return;
  const int firstToken = firstRow / p.group, lastToken = (least(rows, firstRow + S::kRows) - 1) / p.group;
  const int begin = most(split * p.splitTokens, mask.first(firstToken) / kDecodeTokens * kDecodeTokens);
  const int end = least((split + 1) * p.splitTokens, mask.end(lastToken));

  const mlc_attention_tensor &keyTensor = p.problem.k, &valueTensor = p.problem.v;
  const auto *keysAt = static_cast<const typename Kv::Element *>(keyTensor.data) + head * keyTensor.head;
  const auto *valuesAt = static_cast<const typename Kv::Element *>(valueTensor.data) + head * valueTensor.head;
  auto load = [&](int token, int stage) {
    uint8_t *to = ring + (warp * S::kStages + stage) * S::kStageBytes;
    // A step's tokens lie in one page.
    const auto *k = keysAt + keyOffset(p.problem, keyTensor, sequence, batch, token);
    const auto *v = valuesAt + keyOffset(p.problem, valueTensor, sequence, batch, token);
    constexpr int kElements = 16 / sizeof(typename Kv::Element);
#pragma unroll
    for (int i = 0; i < (kDecodeTokens * kChunks + 31) / 32; ++i) {
      const int piece = i * 32 + lane, row = piece / kChunks, chunk = piece % kChunks;
      if (kDecodeTokens * kChunks % 32 == 0 || row < kDecodeTokens) {
        // A row past the end is not read: it need not exist.
        const bool inside = token + row < end;
        copy16(sharedAddress(to + row * Kv::kRowBytes + chunk * 16),
               inside ? k + row * keyTensor.token + chunk * kElements : keysAt, inside);
        copy16(sharedAddress(to + S::kTileBytes + row * Kv::kRowBytes + chunk * 16),
               inside ? v + row * valueTensor.token + chunk * kElements : valuesAt, inside);
      }
    }
    if constexpr (Kv::kScaledTokens) {
      const int row = lane % 16;
      const bool inside = token + row < end;
      const float *scales = lane < 16 ? p.problem.k_scales : p.problem.v_scales;
      const int64_t at = keyOffset(p.problem, p.scales, sequence, batch, token) + row * p.scales.token + head;
      copy4(sharedAddress(to + 2 * S::kTileBytes + lane * 4), inside ? scales + at : scales, inside);
    }
  };
  // Q first: it would wait behind what is asked for before it.
  for (int i = threadIdx.x; i < S::kRows * (kD / 8); i += 32 * S::kWarps) {
    const int r = i / (kD / 8), chunk = i % (kD / 8), row = firstRow + r;
    const bool inside = row < rows;
    const T *from = static_cast<const T *>(p.problem.q.data);
    copy16(sharedAddress(q + r * S::kQStride + chunk * 8),
           inside ? from + sequence.queries + row / p.group * p.problem.q.token +
                        (head * p.group + row % p.group) * p.problem.q.head + chunk * 8
                  : from,
           inside);
  }
  copyCommit();
  constexpr int kStride = S::kWarps * kDecodeTokens;
  const int mine = begin + warp * kDecodeTokens;
#pragma unroll
  for (int s = 0; s < S::kStages - 1; ++s) {
    if (mine + s * kStride < end)
      load(mine + s * kStride, s);
    copyCommit();
  }

  copyWait<S::kStages - 1>();
  __syncthreads();

  uint32_t query[kKeepQuery ? kSteps : 1][S::kRowTiles][4];
  if constexpr (kKeepQuery) {
#pragma unroll
    for (int i = 0; i < kSteps; ++i)
#pragma unroll
      for (int m = 0; m < S::kRowTiles; ++m)
        Kv::query(query[i][m], q + m * 16 * S::kQStride, S::kQStride, i, lane);
  }
  float sums[S::kRowTiles][kD / 8][4] = {}, maximum[S::kRowTiles][2], total[S::kRowTiles][2] = {};
#pragma unroll
  for (int m = 0; m < S::kRowTiles; ++m)
    maximum[m][0] = maximum[m][1] = -INFINITY;
  float scaleLog2 = p.scaleLog2, capScale = p.capScaleLog2;
  if constexpr (S::kCode == KvCode::fp8) {
    const float scale = p.problem.k_scales ? p.problem.k_scales[head] : 1;
    if (p.problem.softcap > 0)
      capScale *= scale;
    else
      scaleLog2 *= scale;
  }

  int stage = 0;
  for (int token = mine; token < end; token += kStride) {
    copyWait<S::kStages - 2>();
    __syncwarp();
    const int ahead = token + (S::kStages - 1) * kStride;
    if (ahead < end)
      load(ahead, stage == 0 ? S::kStages - 1 : stage - 1);
    copyCommit();
    const uint8_t *k = ring + (warp * S::kStages + stage) * S::kStageBytes, *v = k + S::kTileBytes;

    float scores[S::kRowTiles][2][4] = {};
#pragma unroll
    for (int i = 0; i < kSteps; ++i) {
      uint32_t b[4];
      Kv::keys(b, k, i, lane);
#pragma unroll
      for (int m = 0; m < S::kRowTiles; ++m) {
        uint32_t local[4];
        if constexpr (!kKeepQuery)
          Kv::query(local, q + m * 16 * S::kQStride, S::kQStride, i, lane);
        const uint32_t(&a)[4] = kKeepQuery ? query[kKeepQuery ? i : 0][m] : local;
        mma<T>(scores[m][0], a, b[0], b[1]);
        mma<T>(scores[m][1], a, b[2], b[3]);
      }
    }
    uint32_t weights[S::kRowTiles][4];
    const float *scales = reinterpret_cast<const float *>(k + 2 * S::kTileBytes);
#pragma unroll
    for (int m = 0; m < S::kRowTiles; ++m) {
      if constexpr (Kv::kScaledTokens) {
#pragma unroll
        for (int j = 0; j < 8; ++j)
          scores[m][j / 4][j % 4] *= scales[j / 4 * 8 + lane % 4 * 2 + j % 2];
      }
      if (p.problem.softcap > 0) {
#pragma unroll
        for (int j = 0; j < 8; ++j)
          scores[m][j / 4][j % 4] =
              fmaf(-2 * p.problem.softcap, reciprocalFast(1 + exp2Fast(scores[m][j / 4][j % 4] * capScale)),
                   p.problem.softcap);
      }
      if (p.premultiply != 0) {
#pragma unroll
        for (int j = 0; j < 8; ++j)
          scores[m][j / 4][j % 4] *= p.premultiply;
      }
      if (mask.cuts(firstToken, lastToken - firstToken + 1, token, kDecodeTokens)) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          const int row = least(firstRow + m * 16 + lane / 4 + 8 * r, rows - 1) / p.group;
          const int from = mask.first(row) - token - lane % 4 * 2, to = mask.end(row) - token - lane % 4 * 2;
#pragma unroll
          for (int j = 0; j < 2; ++j)
#pragma unroll
            for (int c = 0; c < 2; ++c)
              if (8 * j + c < from || 8 * j + c >= to)
                scores[m][j][2 * r + c] = -INFINITY;
        }
      }
      float tallest[2];
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float x = fmaxf(fmaxf(scores[m][0][2 * r], scores[m][0][2 * r + 1]),
                        fmaxf(scores[m][1][2 * r], scores[m][1][2 * r + 1]));
        x = fmaxf(x, __shfl_xor_sync(~0u, x, 1));
        tallest[r] = fmaxf(x, __shfl_xor_sync(~0u, x, 2));
      }
      if (__any_sync(~0u, tallest[0] > maximum[m][0] || tallest[1] > maximum[m][1])) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          const float most = fmaxf(tallest[r], maximum[m][r]);
          const float factor = most == -INFINITY ? 1 : exp2Fast((maximum[m][r] - most) * scaleLog2);
          maximum[m][r] = most;
          total[m][r] *= factor;
#pragma unroll
          for (int j = 0; j < kD / 8; ++j) {
            sums[m][j][2 * r] *= factor;
            sums[m][j][2 * r + 1] *= factor;
          }
        }
      }
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const float bias = maximum[m][r] == -INFINITY ? 0 : -maximum[m][r] * scaleLog2;
#pragma unroll
        for (int j = 0; j < 2; ++j)
#pragma unroll
          for (int c = 0; c < 2; ++c) {
            float &s = scores[m][j][2 * r + c];
            s = exp2Fast(fmaf(s, scaleLog2, bias));
            total[m][r] += s;
            if constexpr (Kv::kScaledTokens)
              s *= scales[16 + j * 8 + lane % 4 * 2 + c];
          }
      }
      weights[m][0] = packPair<T>(scores[m][0][0], scores[m][0][1]);
      weights[m][1] = packPair<T>(scores[m][0][2], scores[m][0][3]);
      weights[m][2] = packPair<T>(scores[m][1][0], scores[m][1][1]);
      weights[m][3] = packPair<T>(scores[m][1][2], scores[m][1][3]);
    }
    Kv::values(v, lane, [&](int j, uint32_t b0, uint32_t b1) {
#pragma unroll
      for (int m = 0; m < S::kRowTiles; ++m)
        mma<T>(sums[m][j], weights[m], b0, b1);
    });
    __syncwarp();
    stage = stage + 1 == S::kStages ? 0 : stage + 1;
  }
  copyWait<0>();
  __syncthreads();

  // The warps' shares, in order.
  float *all = reinterpret_cast<float *>(ring), *maxima = all + S::kWarps * S::kRows * S::kSumStride,
        *totals = maxima + S::kWarps * S::kRows;
#pragma unroll
  for (int m = 0; m < S::kRowTiles; ++m)
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = warp * S::kRows + m * 16 + lane / 4 + 8 * r;
      float sum = total[m][r] + __shfl_xor_sync(~0u, total[m][r], 1);
      sum += __shfl_xor_sync(~0u, sum, 2);
      if (lane % 4 == 0) {
        maxima[row] = maximum[m][r] * scaleLog2; // -inf stays: the scale is positive
        totals[row] = sum;
      }
#pragma unroll
      for (int j = 0; j < kD / 8; ++j)
#pragma unroll
        for (int c = 0; c < 2; ++c)
          all[row * S::kSumStride + Kv::column(j, c, lane)] = sums[m][j][2 * r + c];
    }
  __syncthreads();
  float valueScale = 1;
  if constexpr (S::kCode == KvCode::fp8)
    valueScale = p.problem.v_scales ? p.problem.v_scales[head] : 1;
  for (int i = threadIdx.x; i < S::kRows * (kD / 4); i += 32 * S::kWarps) {
    const int r = i / (kD / 4), column = i % (kD / 4) * 4, row = firstRow + r;
    if (row >= rows)
      break;
    float most = -INFINITY, sum = 0;
#pragma unroll
    for (int w = 0; w < S::kWarps; ++w)
      most = fmaxf(most, maxima[w * S::kRows + r]);
    float4 value{};
#pragma unroll
    for (int w = 0; w < S::kWarps; ++w) {
      const float factor = most == -INFINITY ? 0 : exp2Fast(maxima[w * S::kRows + r] - most);
      sum = fmaf(totals[w * S::kRows + r], factor, sum);
      const float4 part = *reinterpret_cast<const float4 *>(all + (w * S::kRows + r) * S::kSumStride + column);
      value.x = fmaf(part.x, factor, value.x);
      value.y = fmaf(part.y, factor, value.y);
      value.z = fmaf(part.z, factor, value.z);
      value.w = fmaf(part.w, factor, value.w);
    }
    const float inverse = sum > 0 ? valueScale / sum : 0, lse2 = sum > 0 ? most + log2f(sum) : -INFINITY;
    value = make_float4(value.x * inverse, value.y * inverse, value.z * inverse, value.w * inverse);
    const int headQ = head * p.group + row % p.group, token = row / p.group;
    if (p.splits == 1) {
      storeRow<T>(p, sequence, batch, headQ, token, column, value, lse2);
    } else {
      const int64_t at = ((int64_t(batch) * p.problem.heads_q + headQ) * p.problem.seq_q + token) * p.splits + split;
      *reinterpret_cast<float4 *>(p.partial + at * kD + column) = value;
      if (column == 0)
        p.partialLse[at] = lse2;
    }
  }
  if (p.splits == 1)
    return;
  // The last block of a row group to end adds the shares, in order.
  __shared__ bool last;
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence(); // with what the others wrote before the barrier
    last = atomicInc(p.arrived + int64_t(batch) * gridDim.x + blockIdx.x, p.splits - 1) == p.splits - 1;
  }
  __syncthreads();
  if (!last)
    return;
  __threadfence();
  combine<T, S>(p, sequence, batch, head, firstRow, least(S::kRows, rows - firstRow));
}

} // namespace mlc::attention
