//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Factors of ssd's products that are rounded to bf16.
//
#pragma once

#include "targets/cpu/kernels/SsdRows.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

struct Rounded {
  using T = Bf16;
  static constexpr int64_t kStep = 2;
  static constexpr bool kTile = true;
  static constexpr int64_t kTileRows = 2;
#if defined(__AVX512BF16__)
  using Vec = __m512bh;
  MLC_SIMD void storeRow(T *p, VF v) {
    __m256bh rounded = _mm512_cvtneps_pbh((__m512)v);
    __builtin_memcpy(p, &rounded, sizeof rounded);
  }
  MLC_SIMD void storeTile(T *tile, int64_t columns, int64_t row, int64_t column, VF even, VF odd) {
    storeBf16Tile<false>(tile, columns, row, column, even, odd);
  }
  MLC_SIMD Vec load(const T *p) { return (Vec)_mm512_loadu_si512(p); }
  MLC_SIMD Vec broadcast(const T *p) {
    int32_t pair;
    __builtin_memcpy(&pair, p, sizeof pair);
    return (Vec)_mm512_set1_epi32(pair);
  }
  /// The second factor of each pair becomes 0.
  MLC_SIMD Vec firstOf(Vec v) { return (Vec)_mm512_and_si512((__m512i)v, _mm512_set1_epi32(0xffff)); }
  MLC_SIMD VF mac(Vec a, Vec b, VF c) { return (VF)_mm512_dpbf16_ps((__m512)c, a, b); }
#else
  struct Vec {
    VF first, second;
  };
  MLC_SIMD void storeRow(T *p, VF v) { store(p, roundBf16(v)); }
  MLC_SIMD void storeTile(T *tile, int64_t columns, int64_t row, int64_t column, VF even, VF odd) {
    store(tile + row * columns + 2 * column, roundBf16(even));
    store(tile + row * columns + 2 * column + kLanes, roundBf16(odd));
  }
  MLC_SIMD Vec load(const T *p) { return {MLC_ISA_NS::load(p), MLC_ISA_NS::load(p + kLanes)}; }
  MLC_SIMD Vec broadcast(const T *p) { return {set1(p[0]), set1(p[1])}; }
  MLC_SIMD Vec firstOf(Vec v) { return {v.first, zero()}; }
  // Products of bf16 are exact.
  MLC_SIMD VF mac(Vec a, Vec b, VF c) { return multiplyAdd(a.first, b.first, multiplyAdd(a.second, b.second, c)); }
#endif
};

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
