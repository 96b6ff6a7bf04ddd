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

/// R positions by P panels; sums is [P][16 positions][16 channels].
template <int R, int P> [[gnu::noinline]] static void sumTile(const ConvTile &t, int64_t first, float *sums) {
  VF acc[R][P];
  const float *at[R];
  for (int r = 0; r < R; ++r) {
    at[r] = t.at[first + r];
    for (int p = 0; p < P; ++p)
      acc[r][p] = zero();
  }
  const float *weight = t.weight;
  const int64_t *offsets = t.offsets, panel = t.k * kConvPanel;
  for (int64_t k = 0; k < t.k; ++k, weight += kConvPanel) {
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
      store(sums + (p * kConvBlock + first + r) * kConvPanel, acc[r][p]);
}

/// As many positions from `first` on as one tile takes; gives how many.
template <int P, int R = kRows> MLC_SIMD int64_t sumSome(const ConvTile &t, int64_t first, float *sums) {
  if (R == 1 || t.positions - first >= R) {
    sumTile<R, P>(t, first, sums);
    return R;
  }
  if constexpr (R > 1)
    return sumSome<P, (R > 8 ? 8 : R > 4 && R % 2 == 0 ? R - 2 : R - 1)>(t, first, sums);
  return 1;
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
  float sums[kConvMostPanels * kConvBlock * kConvPanel];
  for (int64_t first = 0; first < t.positions;)
    switch (t.panels) {
    case 1:
      first += sumSome<1>(t, first, sums);
      break;
    case 2:
      first += sumSome<2, (kRows + 1) / 2>(t, first, sums);
      break;
    default:
      // Of fewer than four, the callers give two and one.
      first += sumSome<4, 1>(t, first, sums);
    }
  for (int64_t c = 0; c < t.channels; ++c) {
    const float *column = sums + c / kConvPanel * kConvBlock * kConvPanel + c % kConvPanel;
    VF v;
    for (int i = 0; i < kConvBlock; ++i)
      v[i] = column[i * kConvPanel];
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
