//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// ssd with products of values rounded to bf16.
//
#include "targets/cpu/kernels/SsdRows.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

struct Rounded {
  using T = Bf16;
  static constexpr bool kTile = true;
  MLC_SIMD void storeRow(T *p, VF v) { storeBf16(p, v); }
  MLC_SIMD void storeTile(T *tile, int64_t columns, int64_t row, int64_t column, VF even, VF odd) {
    MLC_ISA_NS::storeTile<false>(tile, columns, row, column, even, odd);
  }
#if defined(__AVX512BF16__)
  using Vec = __m512bh;
  static constexpr int64_t kStep = 2;
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
  using Vec = VF;
  static constexpr int64_t kStep = 1;
  MLC_SIMD VF load(const T *p) { return MLC_ISA_NS::load(p); }
  MLC_SIMD VF broadcast(const T *p) { return set1(*p); }
  MLC_SIMD VF firstOf(VF v) { return v; }
  MLC_SIMD VF mac(VF a, VF b, VF c) { return fma(a, b, c); }
#endif
};

} // namespace

SsdPackFn ssdPackBf16;
void ssdPackBf16(const SsdPackArgs &args) { ssdPackOf<Rounded>(args); }
SsdHeadFn ssdHeadBf16;
void ssdHeadBf16(const SsdHeadArgs &args) { ssdHeadOf<Rounded>(args); }

} // namespace MLC_ISA_NS
} // namespace mlc::cpu
