//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Products of values rounded to bf16, summed in f32. With vdpbf16ps a tile row pair lies interleaved and two products
// go into a lane at once: the odd one of the pair first, then the even one, each sum rounded. The other forms keep the
// rounded values as f32 with the values of a pair swapped, and multiply those one by one: the same bits.
//
#pragma once

#include "targets/cpu/simd/Simd.h"
#if !defined(__AVX512BF16__)
#include "targets/cpu/simd/Gemm.h"
#endif

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

#if defined(__AVX512BF16__)
typedef uint16_t Bf16; // How a rounded value is kept.
constexpr int kBf16Rows = 6, kBf16Columns = 4;
#else
typedef float Bf16;
constexpr int kBf16Rows = kGemmRows;
#endif

/// Subnormal values as 0: so the instruction takes them.
MLC_SIMD VF withoutSubnormals(VF v) { return select(magnitude(v) < set1(0x1p-126f), zero(), v); }
/// The first and the second factors of pairs of bf16.
MLC_SIMD VF firstOfPairs(VI pairs) { return (VF)(pairs << 16); }
MLC_SIMD VF secondOfPairs(VI pairs) { return (VF)(pairs & set1(int32_t(0xffff0000))); }

/// v rounded to bf16, to nearest even; NaN stays NaN.
MLC_MATH VF roundBf16(VF v) {
  VI bits = (VI)withoutSubnormals(v);
  VI rounded = (bits + set1(0x7fff) + ((bits >> 16) & 1)) & set1(int32_t(0xffff0000));
  return select(v != v, v, (VF)rounded);
}

#if !defined(__AVX512BF16__)
MLC_SIMD VF swapPairs(VF v) {
  return __builtin_shufflevector(v, v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
}
#endif

/// A row of rounded values: 32 of them.
MLC_SIMD void storeBf16(Bf16 *p, VF low, VF high) {
#if defined(__AVX512BF16__)
  __m512bh rounded = _mm512_cvtne2ps_pbh((__m512)high, (__m512)low);
  __builtin_memcpy(p, &rounded, sizeof rounded);
#else
  store(p, swapPairs(roundBf16(low)));
  store(p + kLanes, swapPairs(roundBf16(high)));
#endif
}

/// Columns [column, column + 16) of the tile rows `row` (even) and row + 1; `Exact`: both are bf16 values already. A
/// tile has `columns` columns and an even number of rows.
template <bool Exact>
MLC_SIMD void storeBf16Tile(Bf16 *tile, int64_t columns, int64_t row, int64_t column, VF even, VF odd) {
#if defined(__AVX512BF16__)
  VI pairs;
  if constexpr (Exact) {
    pairs = (VI)_mm512_or_si512(_mm512_srli_epi32((__m512i)even, 16), (__m512i)odd);
  } else {
    const __m512i interleave = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22,
                                                6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    pairs = (VI)_mm512_permutexvar_epi16(interleave, (__m512i)_mm512_cvtne2ps_pbh((__m512)odd, (__m512)even));
  }
  __builtin_memcpy(tile + row * columns + 2 * column, &pairs, sizeof pairs);
#else
  store(tile + row * columns + column, Exact ? withoutSubnormals(odd) : roundBf16(odd));
  store(tile + (row + 1) * columns + column, Exact ? withoutSubnormals(even) : roundBf16(even));
#endif
}

/// acc[r][j] += sum over i < k of x[r][i] * tile[i][j]; k even, the tile begins at an even row.
struct Bf16Gemm {
  const Bf16 *x;
  int64_t xStride;
  const Bf16 *tile;
  int64_t columns;
  int64_t k;
  float *acc;
  int64_t accStride;
  bool fresh; // acc starts at 0 and is not read.
};

#if defined(__AVX512BF16__)
template <int R, int C> static void bf16Block(const Bf16Gemm &b) {
  __m512 acc[R][C];
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c)
      acc[r][c] = b.fresh ? _mm512_setzero_ps() : _mm512_loadu_ps(b.acc + r * b.accStride + c * kLanes);
  const Bf16 *w = b.tile;
  for (int64_t i = 0; i < b.k; i += 2, w += 2 * b.columns) {
    __m512bh wv[C];
    for (int c = 0; c < C; ++c)
      wv[c] = (__m512bh)_mm512_loadu_si512(w + 2 * c * kLanes);
    for (int r = 0; r < R; ++r) {
      int32_t pair;
      __builtin_memcpy(&pair, b.x + r * b.xStride + i, sizeof pair);
      __m512bh xv = (__m512bh)_mm512_set1_epi32(pair);
      for (int c = 0; c < C; ++c)
        acc[r][c] = _mm512_dpbf16_ps(acc[r][c], xv, wv[c]);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c)
      _mm512_storeu_ps(b.acc + r * b.accStride + c * kLanes, acc[r][c]);
}

using Bf16BlockFn = void (*)(const Bf16Gemm &);
template <int C> struct Bf16Blocks {
  static constexpr Bf16BlockFn fn[] = {bf16Block<1, C>, bf16Block<2, C>, bf16Block<3, C>,
                                       bf16Block<4, C>, bf16Block<5, C>, bf16Block<6, C>};
};

/// 1 <= rows <= kBf16Rows, any number of vectors of columns.
[[maybe_unused]] static void bf16Gemm(Bf16Gemm b, int64_t rows, int64_t vectors) {
  for (; vectors >= kBf16Columns; vectors -= kBf16Columns) {
    Bf16Blocks<kBf16Columns>::fn[rows - 1](b);
    b.tile += 2 * kBf16Columns * kLanes;
    b.acc += kBf16Columns * kLanes;
  }
  if (vectors == 3)
    Bf16Blocks<3>::fn[rows - 1](b);
  else if (vectors == 2)
    Bf16Blocks<2>::fn[rows - 1](b);
  else if (vectors == 1)
    Bf16Blocks<1>::fn[rows - 1](b);
}
#else
[[maybe_unused]] static void bf16Gemm(const Bf16Gemm &b, int64_t rows, int64_t vectors) {
  // Products of bf16 are exact.
  gemm<multiplyAdd>({b.x, b.xStride, b.tile, b.columns, kLanes, b.k, b.acc, b.accStride, b.fresh}, rows, vectors);
}
#endif

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
