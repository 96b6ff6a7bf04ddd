//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// conv's sums. Every output adds its products in the order of the weight (channel, row, column of the kernel), in all
// forms and block sizes.
//
#include "targets/cpu/kernels/Conv.h"
#include "targets/cpu/simd/Activation.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

// Accumulators that the registers hold beside a panel's vector.
#if defined(__AVX512F__)
constexpr int kRows = 12;
#elif defined(__AVX2__) || defined(__aarch64__)
constexpr int kRows = 6;
#else
constexpr int kRows = 3;
#endif

/// Products [begin, end) of R positions by P panels, onto what sums holds of those before: [P][16 positions][16
/// channels].
template <int R, int P>
[[gnu::noinline]] static void sumTile(const ConvTile &t, int64_t first, int64_t begin, int64_t end, float *sums) {
  VF acc[R][P];
  const float *at[R];
  sums += first * kConvPanel;
  for (int r = 0; r < R; ++r) {
    at[r] = t.at[first + r];
    for (int p = 0; p < P; ++p)
      acc[r][p] = begin ? load(sums + (p * kConvBlock + r) * kConvPanel) : zero();
  }
  const float *weight = t.weight + begin * kConvPanel;
  const int64_t *offsets = t.offsets, panel = t.k * kConvPanel;
  for (int64_t k = begin; k < end; ++k, weight += kConvPanel) {
    int64_t offset = offsets[k];
    VF w[P];
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p)
      w[p] = load(weight + p * panel);
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      VF x = set1(at[r][offset]);
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p)
        acc[r][p] = multiplyAdd(x, w[p], acc[r][p]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int p = 0; p < P; ++p)
      store(sums + (p * kConvBlock + r) * kConvPanel, acc[r][p]);
}

/// As many positions from `first` on as one tile takes; gives how many.
template <int P, int R = kRows>
MLC_SIMD int64_t sumSome(const ConvTile &t, int64_t first, int64_t begin, int64_t end, float *sums) {
  if (R == 1 || t.positions - first >= R) {
    sumTile<R, P>(t, first, begin, end, sums);
    return R;
  }
  if constexpr (R > 1)
    return sumSome<P, (R > 8 ? 8 : R > 4 && R % 2 == 0 ? R - 2 : R - 1)>(t, first, begin, end, sums);
  return 1;
}

typedef float V8 __attribute__((vector_size(32)));

/// Eight rows of eight out of rows of 16, columns out.
MLC_SIMD void transpose8(const float *in, float *out) {
  V8 r[8], t[8], s[8];
  for (int i = 0; i < 8; ++i)
    __builtin_memcpy(&r[i], in + i * kConvPanel, sizeof r[i]);
  for (int i = 0; i < 8; i += 2) {
    t[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    t[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i += 4)
    for (int j = 0; j < 2; ++j) {
      s[i + 2 * j] = __builtin_shufflevector(t[i + j], t[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      s[i + 2 * j + 1] = __builtin_shufflevector(t[i + j], t[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  for (int i = 0; i < 4; ++i) {
    V8 even = __builtin_shufflevector(s[i], s[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    V8 odd = __builtin_shufflevector(s[i], s[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    __builtin_memcpy(out + i * kConvBlock, &even, sizeof even);
    __builtin_memcpy(out + (i + 4) * kConvBlock, &odd, sizeof odd);
  }
}

MLC_SIMD VF finish(const ConvPost &post, VF v) {
  Act act = Act(post.activation);
  if (act == Act::relu && post.slope != 0)
    return select(v < zero(), v * set1(post.slope), v);
  return activateUsually<Act::relu>(act, v);
}

} // namespace

ConvTileFn convTile;
void convTile(const ConvTile &t) {
  float sums[kConvMostPanels * kConvBlock * kConvPanel], columns[kConvPanel * kConvBlock];
  // So many products that their weights stay in the first cache while all positions pass them.
  constexpr int64_t kNear = 256;
  for (int64_t begin = 0; begin < t.k; begin += kNear) {
    int64_t end = t.k - begin < kNear ? t.k : begin + kNear;
    for (int64_t first = 0; first < t.positions;)
      switch (t.panels) {
      case 1:
        first += sumSome<1>(t, first, begin, end, sums);
        break;
      case 2:
        first += sumSome<2, (kRows + 1) / 2>(t, first, begin, end, sums);
        break;
      default:
        // Of fewer than four, the callers give two and one.
        first += sumSome<4, 1>(t, first, begin, end, sums);
      }
  }
  for (int64_t c = 0; c < t.channels; ++c) {
    if (c % kConvPanel == 0)
      for (int i = 0; i < 4; ++i)
        if (i % 2 * 8 < t.positions && c + i / 2 * 8 < t.channels)
          transpose8(sums + (c / kConvPanel * kConvBlock + i % 2 * 8) * kConvPanel + i / 2 * 8,
                     columns + i / 2 * 8 * kConvBlock + i % 2 * 8);
    VF v = load(columns + c % kConvPanel * kConvBlock);
    if (t.post.bias)
      v += set1(t.post.bias[c]);
    if (t.post.residual)
      v += loadPart(t.post.residual + c * t.post.residualStride, t.positions);
    storePart(t.out + c * t.outStride, finish(t.post, v), t.positions);
  }
}

ConvRowFn convRow;
void convRow(const ConvRow &row) {
  for (int64_t first = 0; first < row.positions; first += kConvBlock) {
    int64_t left = row.positions - first;
    VF sum = zero();
    for (int64_t i = 0; i < row.kernelH; ++i)
      for (int64_t j = 0; j < row.kernelW; ++j) {
        const float *x = row.x + i * row.strideH + j * row.strideW + first * row.step;
        VF v;
        if (row.step == 1) {
          v = loadPart(x, left);
        } else {
          v = zero();
          for (int lane = 0; lane < kLanes && lane < left; ++lane)
            v[lane] = x[lane * row.step];
        }
        sum = multiplyAdd(v, set1(row.weight[i * row.kernelW + j]), sum);
      }
    if (row.post.bias)
      sum += set1(*row.post.bias);
    if (row.post.residual)
      sum += loadPart(row.post.residual + first, left);
    storePart(row.out + first, finish(row.post, sum), left);
  }
}

} // namespace MLC_ISA_NS
} // namespace mlc::cpu
