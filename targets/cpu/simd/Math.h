//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// exp, tanh and erf on 16 lanes, in one sequence of operations for every form. Maximal errors against double, measured
// over the range: exp 1.2e-7 relative, tanh 2.5e-7 relative, erf 2e-7 absolute.
//
#pragma once

#include "targets/cpu/simd/Simd.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

/// 2^n for integral n in [-126, 127].
MLC_SIMD VF exp2Integer(VF n) {
  // Adding 1.5 * 2^23 + 127 leaves n + 127 in the low bits.
  return (VF)((VI)(n + set1(12582912.f + 127.f)) << 23);
}

/// The polynomial of x with these coefficients, the highest power's first.
template <int N> MLC_SIMD VF polynomial(VF x, const float (&coefficients)[N]) {
  VF p = set1(coefficients[0]);
  auto step = [&](int i) __attribute__((always_inline)) { p = fma(p, x, set1(coefficients[i])); };
  if constexpr (kFused) {
#pragma GCC unroll 16
    for (int i = 1; i < N; ++i)
      step(i);
  } else { // Emulated, the series would fill half a page of code at each of its uses.
    for (int i = 1; i < N; ++i)
      step(i);
  }
  return p;
}

/// x = n ln 2 + r with |r| <= ln 2 / 2; returns expm1(r).
MLC_MATH VF reducedExpm1(VF x, VF &n) {
  n = roundEven(x * set1(1.44269504f));
  VF r = fma(n, set1(-0.693145752f), x);
  r = fma(n, set1(-1.42860677e-6f), r);
  // Taylor's series to r^7: its remainder is below half an ulp of the sum.
  VF p = polynomial(r, {1.98412698e-4f, 1.38888889e-3f, 8.33333333e-3f, 4.16666667e-2f, 1.66666667e-1f, 0.5f});
  return fma(p * r, r, r);
}

/// e^x; 0 below -87.3 (results are never subnormal), infinity above 88.7; NaN stays NaN; exactly 1 at 0.
MLC_MATH VF exp(VF x) {
  VF limited = select(x > set1(88.8f), set1(88.8f), x);
  limited = select(limited < set1(-87.5f), set1(-87.5f), limited);
  VF n, e = reducedExpm1(limited, n);
  // n may be 128: two factors, each of a representable exponent.
  VF half = roundEven(n * set1(0.5f));
  VF y = (e + set1(1.0f)) * exp2Integer(half) * exp2Integer(n - half);
  return select(x < set1(-87.3f), zero(), y);
}

/// 1 / b, rounded to nearest, for b in [1, 2^126] whose last bit is 0.
MLC_SIMD VF reciprocal(VF b) {
#if defined(__AVX512F__)
  // The divider takes as long as the rest of an activation. Newton's steps end a bit off for a mantissa of ones alone.
  VF y = (VF)_mm512_rcp14_ps((__m512)b);
  y = fma(y, fma(-b, y, set1(1.0f)), y);
  return fma(y, fma(-b, y, set1(1.0f)), y);
#else
  return set1(1.0f) / b;
#endif
}

/// 1 / (1 + e^-x), the sum without its last bit; 0 below -87. NaN stays NaN.
MLC_MATH VF sigmoid(VF x) {
  VF n, e = reducedExpm1(minimum(set1(87.0f), maximum(set1(-87.0f), -x)), n), power = exp2Integer(n);
  VF sum = fma(e, power, power) + set1(1.0f);
  return select(x < set1(-87.0f), zero(), reciprocal((VF)((VI)sum & ~1)));
}

MLC_MATH VF tanh(VF x) {
  VF a = minimum(magnitude(x), set1(10.0f)), n, e = reducedExpm1(a + a, n);
  VF scale = exp2Integer(n), em1 = fma(e, scale, scale - set1(1.0f));
  VF y = em1 / (em1 + set1(2.0f));
  y = select(x != x, x, y);
  return (VF)((VI)y | ((VI)x & set1(int32_t(0x80000000))));
}

/// Below 1: x * P(x^2); else 1 - t Q(t) e^(-x^2) with t = 1 / (1 + x / 2).
MLC_MATH VF erf(VF x) {
  VF a = magnitude(x), s = a * a;
  VF p = polynomial(s, {-9.67359024e-06f, 0.000112682537f, -0.000848439652f, 0.00522105341f, -0.0268654383f,
                        0.112837826f, -0.376126385f, 1.12837917f});
  VF small = p * a;
  VF bounded = minimum(a, set1(9.0f)), t = set1(1.0f) / fma(bounded, set1(0.5f), set1(1.0f));
  VF q = polynomial(t, {-0.0644395236f, 0.198046778f, -0.155892853f, -0.0645872644f, 0.0296263059f, 0.0653456664f,
                        0.181490773f, 0.245990124f, 0.282169848f, 0.282091952f});
  VF large = set1(1.0f) - t * q * exp(-(bounded * bounded));
  VF y = select(a < set1(1.0f), small, large);
  y = select(x != x, x, y);
  return (VF)((VI)y | ((VI)x & set1(int32_t(0x80000000))));
}

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
