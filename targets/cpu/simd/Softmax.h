//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Steps of a softmax in powers of two, bitwise equal in every form that has fused products.
//
#pragma once

#include "targets/cpu/simd/Math.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

/// The integer nearest to x <= 1 and what remains of x, where x is at least -126.
MLC_SIMD VF splitInteger(VF x, VF &rest) {
#if defined(__AVX512F__)
  VF n = (VF)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
  x = select(x < set1(-126.0f), set1(-126.0f), x);
  VF n = roundEven(x);
#endif
  rest = x - n;
  return n;
}
/// p * 2^n; 0 where x is below -126.
MLC_SIMD VF scaleInteger(VF p, VF n, VF x) {
#if defined(__AVX512F__)
  __mmask16 kept = _mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(-126.0f), _CMP_NLT_UQ);
  return (VF)_mm512_maskz_scalef_ps(kept, (__m512)p, (__m512)n);
#else
  return select(x < set1(-126.0f), zero(), p * exp2Integer(n));
#endif
}

// 2^x for x <= 1, by a polynomial in what the nearest integer leaves (least relative error on [-1/2, 1/2], 1 at 0); 2^x
// itself for integers; 0 below -126: results are never subnormal. NaN stays NaN.

/// To 3e-6 relative.
MLC_MATH VF exp2Short(VF x) {
  VF r, n = splitInteger(x, r);
  VF p = fma(r, set1(9.58285294e-3f), set1(5.59064262e-2f));
  p = fma(p, r, set1(0.240240991f));
  p = fma(p, r, set1(0.693124175f));
  p = fma(p, r, set1(1.0f));
  return scaleInteger(p, n, x);
}

/// To 8e-8 relative.
MLC_MATH VF exp2Below(VF x) {
  VF r, n = splitInteger(x, r);
  VF p = fma(r, set1(1.5353362e-4f), set1(1.3398875e-3f));
  p = fma(p, r, set1(9.61843692e-3f));
  p = fma(p, r, set1(5.55033237e-2f));
  p = fma(p, r, set1(0.240226477f));
  p = fma(p, r, set1(0.693147182f));
  p = fma(p, r, set1(1.0f));
  return scaleInteger(p, n, x);
}

/// out[i] = the largest lane of v[i].
MLC_SIMD void maxRows(const VF (&v)[8], float *out) {
#if defined(__AVX2__)
  __m256 half[8], pair[4], quad[2];
  for (int i = 0; i < 8; ++i)
#if defined(__AVX512F__)
    half[i] = _mm256_max_ps(_mm512_castps512_ps256((__m512)v[i]), _mm512_extractf32x8_ps((__m512)v[i], 1));
#else
    half[i] = _mm256_max_ps(low(v[i]), high(v[i]));
#endif
  for (int i = 0; i < 4; ++i)
    pair[i] = _mm256_max_ps(_mm256_unpacklo_ps(half[2 * i], half[2 * i + 1]),
                            _mm256_unpackhi_ps(half[2 * i], half[2 * i + 1]));
  for (int i = 0; i < 2; ++i)
    quad[i] = _mm256_max_ps((__m256)_mm256_unpacklo_pd((__m256d)pair[2 * i], (__m256d)pair[2 * i + 1]),
                            (__m256)_mm256_unpackhi_pd((__m256d)pair[2 * i], (__m256d)pair[2 * i + 1]));
  _mm256_storeu_ps(out, _mm256_max_ps(_mm256_permute2f128_ps(quad[0], quad[1], 0x20),
                                      _mm256_permute2f128_ps(quad[0], quad[1], 0x31)));
#else
  for (int i = 0; i < 8; ++i)
    out[i] = maxLanes(v[i]);
#endif
}

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
