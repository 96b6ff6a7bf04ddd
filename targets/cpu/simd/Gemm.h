//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The register-blocked f32 product shared by linear and attention: R rows by C vectors of columns, k summed one by one,
// so that every blocking gives the same bits.
//
#pragma once

#include "targets/cpu/simd/Simd.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

/// acc[r][16 c + lane] += sum over i of x[r][i] * w[i * wStep + c * wColumn + lane], i ascending.
struct GemmBlock {
  const float *x;
  int64_t xStride;
  const float *w;
  int64_t wStep, wColumn;
  int64_t k;
  float *acc;
  int64_t accStride;
  bool fresh; // acc starts at 0 and is not read.
};

// Rows and vectors that the form's registers hold.
#if defined(__AVX512F__)
constexpr int kGemmRows = 8, kGemmColumns = 2;
#elif defined(__AVX2__)
constexpr int kGemmRows = 6, kGemmColumns = 1;
#elif defined(__ARM_NEON)
constexpr int kGemmRows = 4, kGemmColumns = 1;
#else
constexpr int kGemmRows = 2, kGemmColumns = 1;
#endif

template <auto Add, int R, int C> static void gemmBlock(const GemmBlock &b) {
  VF acc[R][C];
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c)
      acc[r][c] = b.fresh ? zero() : load(b.acc + r * b.accStride + c * kLanes);
  const float *w = b.w;
  for (int64_t i = 0; i < b.k; ++i, w += b.wStep) {
    VF wv[C];
    for (int c = 0; c < C; ++c)
      wv[c] = load(w + c * b.wColumn);
    for (int r = 0; r < R; ++r) {
      VF xv = set1(b.x[r * b.xStride + i]);
      for (int c = 0; c < C; ++c)
        acc[r][c] = Add(xv, wv[c], acc[r][c]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c)
      store(b.acc + r * b.accStride + c * kLanes, acc[r][c]);
}

using GemmFn = void (*)(const GemmBlock &);
template <auto Add, int C, int... Rows> struct GemmTable {
  static constexpr GemmFn fn[] = {gemmBlock<Add, Rows, C>...};
};
#if defined(__AVX512F__)
template <auto Add, int C> using GemmRows = GemmTable<Add, C, 1, 2, 3, 4, 5, 6, 7, 8>;
#elif defined(__AVX2__)
template <auto Add, int C> using GemmRows = GemmTable<Add, C, 1, 2, 3, 4, 5, 6>;
#elif defined(__ARM_NEON)
template <auto Add, int C> using GemmRows = GemmTable<Add, C, 1, 2, 3, 4>;
#else
template <auto Add, int C> using GemmRows = GemmTable<Add, C, 1, 2>;
#endif

/// `rows` <= any, `columns` vectors <= any: cut into blocks. Add: fma or multiplyAdd.
template <auto Add> static void gemm(GemmBlock b, int64_t rows, int64_t columns) {
  const float *x = b.x;
  float *acc = b.acc;
  for (int64_t c = 0; c < columns;) {
    int step = columns - c >= kGemmColumns ? kGemmColumns : 1;
    if (rows == 1 && columns - c >= 4)
      step = 4;
    for (int64_t r = 0; r < rows; r += kGemmRows) {
      int count = int(rows - r < kGemmRows ? rows - r : kGemmRows);
      b.x = x + r * b.xStride;
      b.acc = acc + r * b.accStride + c * kLanes;
      if (step == 4)
        gemmBlock<Add, 1, 4>(b);
      else
        (step == 1 ? GemmRows<Add, 1>::fn : GemmRows<Add, kGemmColumns>::fn)[count - 1](b);
    }
    b.w += step * b.wColumn;
    c += step;
  }
}

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
