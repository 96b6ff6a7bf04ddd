//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Vectors of 16 lanes for the ISA forms of the kernels. A kernel source is compiled once per form with the form's -m
// flags and MLC_ISA_NS, the namespace its vector code lies in; what the instructions are is asked of the compiler's own
// feature macros. Everything here is internal to the translation unit, so that no symbol compiled with a form's flags
// can replace a portable one: a form includes this header and plain ones only, nothing with inline functions of
// external linkage.
//
#pragma once

#include "targets/cpu/Forms.h"

#include <stddef.h>
#include <stdint.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define MLC_SIMD static inline __attribute__((always_inline, unused))

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

typedef float VF __attribute__((vector_size(64)));
typedef int32_t VI __attribute__((vector_size(64)));
typedef uint8_t VB __attribute__((vector_size(64)));
constexpr int kLanes = 16;

MLC_SIMD VF zero() { return VF{}; }
MLC_SIMD VF set1(float x) { return VF{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
MLC_SIMD VI set1(int32_t x) { return VI{x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
/// Of any alignment: packed weights may lie anywhere.
MLC_SIMD VF load(const void *p) {
  VF v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
MLC_SIMD void store(float *p, VF v) { __builtin_memcpy(p, &v, sizeof v); }
MLC_SIMD VB loadBytes(const uint8_t *p) {
  VB v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
/// Bytes between what a stream reads and what it fetches.
constexpr int64_t kFetchAhead = 4096;
/// What a stream fetches at `at`: where its panel has ended there, what lies `gap` behind.
template <typename T> MLC_SIMD const T *beyondPanel(const T *at, const T *end, int64_t gap) {
  return at + (at >= end ? gap : 0);
}
/// Fetches the line at p, which is read once and soon. On x86 into the second cache: the first has few buffers for
/// lines under way (Zen 4: 1.5 times the speed of reading).
MLC_SIMD void fetchLine(const void *p) {
#if defined(__x86_64__)
  __builtin_prefetch(p, 0, 2);
#else
  __builtin_prefetch(p);
#endif
}
/// Lanes [0, n) of p, the others 0; reads nothing beyond.
MLC_SIMD VF loadPart(const float *p, int64_t n) {
#if defined(__AVX512F__)
  return (VF)_mm512_maskz_loadu_ps(n >= 16 ? 0xffff : __mmask16((1u << n) - 1), p);
#else
  if (n >= kLanes)
    return load(p);
  VF v = {};
  __builtin_memcpy(&v, p, size_t(n) * sizeof(float));
  return v;
#endif
}
MLC_SIMD void storePart(float *p, VF v, int64_t n) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, n >= 16 ? 0xffff : __mmask16((1u << n) - 1), (__m512)v);
#else
  if (n >= kLanes)
    return store(p, v);
  __builtin_memcpy(p, &v, size_t(n) * sizeof(float));
#endif
}
MLC_SIMD float loadFloat(const uint8_t *p) {
  float v;
  __builtin_memcpy(&v, p, 4);
  return v;
}
MLC_SIMD int32_t loadInt(const uint8_t *p) {
  int32_t v;
  __builtin_memcpy(&v, p, 4);
  return v;
}

#if defined(__AVX2__) && !defined(__AVX512F__)
MLC_SIMD __m256 low(VF v) { return (__m256)__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7); }
MLC_SIMD __m256 high(VF v) { return (__m256)__builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15); }
MLC_SIMD VF join(__m256 a, __m256 b) {
  return (VF)__builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
typedef int32_t VI8 __attribute__((vector_size(32)));
MLC_SIMD VI joinInt(__m256i a, __m256i b) {
  return (VI)__builtin_shufflevector((VI8)a, (VI8)b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
#endif

#if defined(__AVX2__) || defined(__FMA__) || defined(__aarch64__) || defined(__ARM_FEATURE_FMA)
constexpr bool kFused = true;
#define MLC_MATH MLC_SIMD
/// a * b + c, rounded once in every form.
MLC_SIMD VF fma(VF a, VF b, VF c) {
#if defined(__AVX512F__)
  return (VF)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX2__)
  return join(_mm256_fmadd_ps(low(a), low(b), low(c)), _mm256_fmadd_ps(high(a), high(b), high(c)));
#elif defined(__clang__)
  return __builtin_elementwise_fma(a, b, c);
#else
  VF r;
  for (int i = 0; i < kLanes; ++i)
    r[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return r;
#endif
}
/// a * b + c, rounded once where the form has fused instructions, else twice.
MLC_SIMD VF multiplyAdd(VF a, VF b, VF c) { return fma(a, b, c); }
#else
constexpr bool kFused = false;
/// Of functions that the emulation makes too long to have several copies.
#define MLC_MATH static __attribute__((noinline, unused))
/// Without fused instructions: the product is exact in f64; a sum whose bits beyond f64 go into its last bit (round to
/// odd) rounds to f32 as the exact sum does (Boldo and Melquiond, Emulation of FMA, 2008).
MLC_MATH VF fma(VF a, VF b, VF c) {
  typedef float F4 __attribute__((vector_size(16)));
  typedef double D4 __attribute__((vector_size(32)));
  typedef uint64_t L4 __attribute__((vector_size(32)));
  F4 x[4], y[4], z[4];
  __builtin_memcpy(x, &a, sizeof a);
  __builtin_memcpy(y, &b, sizeof b);
  __builtin_memcpy(z, &c, sizeof c);
  for (int i = 0; i < 4; ++i) {
    D4 product = __builtin_convertvector(x[i], D4) * __builtin_convertvector(y[i], D4);
    D4 term = __builtin_convertvector(z[i], D4), sum = product + term;
    D4 back = sum - product, error = (product - (sum - back)) + (term - back);
    // NaN and infinite sums have no order with 0.
    L4 inexact = (L4)((error < 0) | (error > 0)), even = ~(L4)sum & inexact & 1;
    // Towards the exact sum: away from 0 where the error has the sum's sign.
    L4 odd = (L4)sum + even - ((((L4)sum ^ (L4)error) >> 63 & even) << 1);
    x[i] = __builtin_convertvector((D4)odd, F4);
  }
  __builtin_memcpy(&a, x, sizeof a);
  return a;
}
MLC_SIMD VF multiplyAdd(VF a, VF b, VF c) { return a * b + c; }
#endif

MLC_SIMD VF select(VI mask, VF a, VF b) { return mask ? a : b; }
MLC_SIMD VF maximum(VF a, VF b) { return select(a > b, a, b); }
MLC_SIMD VF minimum(VF a, VF b) { return select(a < b, a, b); }
MLC_SIMD VF toFloat(VI v) { return __builtin_convertvector(v, VF); }
MLC_SIMD VF magnitude(VF v) { return (VF)((VI)v & set1(int32_t(0x7fffffff))); }
/// The nearest integer, ties to even, for |v| < 2^22.
MLC_SIMD VF roundEven(VF v) {
  VF magic = set1(12582912.f);
  return (v + magic) - magic;
}
/// Lanes [begin, end) set.
MLC_SIMD VI laneMask(int64_t begin, int64_t end) {
  const VI lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  int32_t b = int32_t(begin < 0 ? 0 : begin > 16 ? 16 : begin), e = int32_t(end < 0 ? 0 : end > 16 ? 16 : end);
  return (lane >= set1(b)) & (lane < set1(e));
}

/// Lanes 0..7 combined with 8..15, then by four, two and one: one order in every form.
template <typename V, typename Op> MLC_SIMD auto halveLanes(V v, const Op &op) {
  auto a = op(__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7),
              __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15));
  auto b = op(__builtin_shufflevector(a, a, 0, 1, 2, 3), __builtin_shufflevector(a, a, 4, 5, 6, 7));
  auto c = op(b, __builtin_shufflevector(b, b, 2, 3, 0, 1));
  auto d = op(c, __builtin_shufflevector(c, c, 1, 0, 3, 2));
  return d[0];
}
MLC_SIMD float sumLanes(VF v) {
  return halveLanes(v, [](auto x, auto y) __attribute__((always_inline)) { return x + y; });
}
MLC_SIMD float maxLanes(VF v) {
  return halveLanes(v, [](auto x, auto y) __attribute__((always_inline)) { return x > y ? x : y; });
}
MLC_SIMD int32_t sumLanes(VI v) {
  return halveLanes(v, [](auto x, auto y) __attribute__((always_inline)) { return x + y; });
}
MLC_SIMD int32_t maxLanes(VI v) {
  return halveLanes(v, [](auto x, auto y) __attribute__((always_inline)) { return x > y ? x : y; });
}

// ---- Stored forms ----

MLC_SIMD VF loadBf16(const uint8_t *p) {
  typedef uint16_t V16 __attribute__((vector_size(32)));
  V16 v;
  __builtin_memcpy(&v, p, sizeof v);
  typedef uint32_t VU __attribute__((vector_size(64)));
  return (VF)(__builtin_convertvector(v, VU) << 16);
}
MLC_MATH VF loadF16(const uint8_t *p) {
#if defined(__AVX512F__)
  return (VF)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
#elif defined(__AVX2__)
  return join(_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)),
              _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 16))));
#else
  typedef uint16_t V16 __attribute__((vector_size(32)));
  V16 v;
  __builtin_memcpy(&v, p, sizeof v);
  VI bits = __builtin_convertvector(v, VI), rest = bits & 0x7fff, sign = (bits & 0x8000) << 16;
  VI special = (rest << 13) | 0x7f800000;
#if defined(__arm__)
  // NEON of 32 bits takes subnormal f32 for 0, so those of f16 go through their integer.
  VI finite =
      (VI)((rest < 0x400) & (VI)(toFloat(rest) * set1(0x1p-24f))) | ((rest >= 0x400) & ((rest << 13) + (112 << 23)));
#else
  // Exponent and mantissa in f32's place are the value times 2^-112, subnormals included; all ones stay infinite or
  // NaN.
  VI finite = (VI)((VF)(rest << 13) * set1(0x1p112f));
#endif
  special |= (rest > 0x7c00) & 0x400000;
  return (VF)(sign | ((rest >= 0x7c00) & special) | (~(rest >= 0x7c00) & finite));
#endif
}
MLC_SIMD VI loadU8(const uint8_t *p) {
  typedef uint8_t V8 __attribute__((vector_size(16)));
  V8 v;
  __builtin_memcpy(&v, p, sizeof v);
  return __builtin_convertvector(v, VI);
}
MLC_SIMD VI loadI8(const uint8_t *p) {
  typedef int8_t V8 __attribute__((vector_size(16)));
  V8 v;
  __builtin_memcpy(&v, p, sizeof v);
  return __builtin_convertvector(v, VI);
}

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
