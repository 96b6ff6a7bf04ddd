//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Integer products: 16 columns of 4 unsigned weights each (a quad), against 4 signed activations; exact in every form.
//
#pragma once

#include "targets/cpu/simd/Simd.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

// DotSum: 16 sums over many quads of weights below 2^Bits. `start` opens them at `init`; dotFlush comes after every
// quad with their number since the start, itself a multiple of 4 at the end; `dotTotal`, with the same `init`, closes.

/// The width whose DotSum serves weights of `bits`: one for all where no form gains from fewer bits.
#if defined(__AVX2__) && !defined(__AVXVNNI__) && !defined(__AVX512F__)
constexpr int dotBits(int bits) { return bits < 4 ? 4 : bits == 5 ? 6 : bits; }
#elif defined(__ARM_FEATURE_DOTPROD) && !defined(__ARM_FEATURE_MATMUL_INT8)
constexpr int dotBits(int bits) { return bits < 8 ? 7 : 8; }
#else
constexpr int dotBits(int) { return 8; }
#endif

/// A quad of x that several products share.
#if defined(__AVX512F__)
MLC_SIMD VI sharedQuad(int32_t x) {
  VI held = set1(x);
  __asm__("" : "+v"(held)); // In a register: compilers would load it anew for each product as its memory operand.
  return held;
}
#else
MLC_SIMD int32_t sharedQuad(int32_t x) { return x; }
#endif

#if defined(__AVX512F__)
template <int Bits> struct DotSum {
  VI sum;
  MLC_SIMD DotSum start(VI init) { return {init}; }
};
template <int Bits> MLC_SIMD void dotQuad(DotSum<Bits> &s, VB w, int32_t x) {
  s.sum = (VI)_mm512_dpbusd_epi32((__m512i)s.sum, (__m512i)w, _mm512_set1_epi32(x));
}
template <int Bits> MLC_SIMD void dotQuad(DotSum<Bits> &s, VB w, VI x) {
  s.sum = (VI)_mm512_dpbusd_epi32((__m512i)s.sum, (__m512i)w, (__m512i)x);
}
template <int Bits> MLC_SIMD void dotFlush(DotSum<Bits> &, int) {}
template <int Bits> MLC_SIMD VI dotTotal(const DotSum<Bits> &s, VI) { return s.sum; }

#elif defined(__AVX2__)
MLC_SIMD __m256i byteHalf(VB w, int half) {
  __m256i h[2];
  __builtin_memcpy(h, &w, sizeof h);
  return h[half];
}
MLC_SIMD __m256i intHalf(VI v, int half) { return byteHalf((VB)v, half); }
#if defined(__AVXVNNI__)
template <int Bits> struct DotSum {
  __m256i part[2];
  MLC_SIMD DotSum start(VI init) { return {{intHalf(init, 0), intHalf(init, 1)}}; }
};
template <int Bits> MLC_SIMD void dotQuad(DotSum<Bits> &s, VB w, int32_t x) {
  for (int i = 0; i < 2; ++i)
    s.part[i] = _mm256_dpbusd_avx_epi32(s.part[i], byteHalf(w, i), _mm256_set1_epi32(x));
}
template <int Bits> MLC_SIMD void dotFlush(DotSum<Bits> &, int) {}
template <int Bits> MLC_SIMD VI dotTotal(const DotSum<Bits> &s, VI) { return joinInt(s.part[0], s.part[1]); }
#else
// Sums of products stay in 16 bits while they fit: 8 quads of 4 bits, 4 of 5, 2 of 6; they are widened by a flush.
template <int Bits> struct DotSum {
  __m256i part[2], narrow[2];
  MLC_SIMD DotSum start(VI init) {
    return {{intHalf(init, 0), intHalf(init, 1)}, {_mm256_setzero_si256(), _mm256_setzero_si256()}};
  }
};
template <int Bits> MLC_SIMD void dotQuad(DotSum<Bits> &s, VB w, int32_t x) {
  for (int i = 0; i < 2; ++i)
    s.narrow[i] = _mm256_add_epi16(s.narrow[i], _mm256_maddubs_epi16(byteHalf(w, i), _mm256_set1_epi32(x)));
}
template <int Bits> MLC_SIMD void dotFlush(DotSum<Bits> &s, int quads) {
  constexpr int kFit = Bits <= 4 ? 8 : Bits == 5 ? 4 : 2;
  if (quads % kFit)
    return;
  for (int i = 0; i < 2; ++i) {
    s.part[i] = _mm256_add_epi32(s.part[i], _mm256_madd_epi16(s.narrow[i], _mm256_set1_epi16(1)));
    s.narrow[i] = _mm256_setzero_si256();
  }
}
template <int Bits> MLC_SIMD VI dotTotal(const DotSum<Bits> &s, VI) { return joinInt(s.part[0], s.part[1]); }
// Pairs of products of 8 bits fit 16 when both have signs: weights lose their zero of 128 on the way, and so what the
// sums begin with.
template <> struct DotSum<8> {
  __m256i part[2];
  MLC_SIMD DotSum start(VI) { return {{_mm256_setzero_si256(), _mm256_setzero_si256()}}; }
};
MLC_SIMD void dotQuad(DotSum<8> &s, VB w, int32_t x) {
  for (int i = 0; i < 2; ++i) {
    __m256i value = _mm256_xor_si256(byteHalf(w, i), _mm256_set1_epi8(-128));
    __m256i products = _mm256_maddubs_epi16(_mm256_abs_epi8(value), _mm256_sign_epi8(_mm256_set1_epi32(x), value));
    s.part[i] = _mm256_add_epi32(s.part[i], _mm256_madd_epi16(products, _mm256_set1_epi16(1)));
  }
}
MLC_SIMD void dotFlush(DotSum<8> &, int) {}
MLC_SIMD VI dotTotal(const DotSum<8> &s, VI) { return joinInt(s.part[0], s.part[1]); }
#endif

#elif defined(__ARM_FEATURE_DOTPROD)
template <int Bits> struct DotSum {
  int32x4_t part[4];
  MLC_SIMD DotSum start(VI init) {
    DotSum s;
#if !defined(__ARM_FEATURE_MATMUL_INT8)
    // sdot takes signed weights: those of 8 bits lose their zero of 128 on the way, and so what the sums begin with.
    if constexpr (Bits == 8)
      init = VI{};
#endif
    __builtin_memcpy(s.part, &init, sizeof s.part);
    return s;
  }
};
template <int Bits> MLC_SIMD void dotQuad(DotSum<Bits> &s, VB w, int32_t x) {
  int8x16_t xs = vreinterpretq_s8_s32(vdupq_n_s32(x));
#if defined(__ARM_FEATURE_MATMUL_INT8)
  uint8x16_t quads[4];
  __builtin_memcpy(quads, &w, sizeof quads);
  for (int i = 0; i < 4; ++i)
    s.part[i] = vusdotq_s32(s.part[i], quads[i], xs);
#else
  if constexpr (Bits == 8)
    w ^= 0x80;
  int8x16_t quads[4];
  __builtin_memcpy(quads, &w, sizeof quads);
  for (int i = 0; i < 4; ++i)
    s.part[i] = vdotq_s32(s.part[i], quads[i], xs);
#endif
}
template <int Bits> MLC_SIMD void dotFlush(DotSum<Bits> &, int) {}
template <int Bits> MLC_SIMD VI dotTotal(const DotSum<Bits> &s, VI) {
  VI total;
  __builtin_memcpy(&total, s.part, sizeof total);
  return total;
}

#else
template <int Bits> struct DotSum {
  VI sum;
  MLC_SIMD DotSum start(VI init) { return {init}; }
};
template <int Bits> MLC_SIMD void dotQuad(DotSum<Bits> &s, VB w, int32_t x) {
  typedef uint16_t VU16 __attribute__((vector_size(64)));
  typedef int16_t VI16 __attribute__((vector_size(64)));
  // Bytes 0 and 2 of each quad, and 1 and 3, as 16-bit lanes; a product of 255 and -128 fits them.
  VI16 even = (VI16)((VU16)w & 255), odd = (VI16)((VU16)w >> 8);
  int32_t x0 = int8_t(x), x1 = int8_t(x >> 8), x2 = int8_t(x >> 16), x3 = int8_t(x >> 24);
  VI xEven = set1(int32_t((uint32_t(x2) << 16) | (x0 & 0xffff)));
  VI xOdd = set1(int32_t((uint32_t(x3) << 16) | (x1 & 0xffff)));
#if defined(__x86_64__)
  __m128i e[4], o[4], total[4];
  __builtin_memcpy(e, &even, sizeof e);
  __builtin_memcpy(o, &odd, sizeof o);
  __builtin_memcpy(total, &s.sum, sizeof total);
  for (int i = 0; i < 4; ++i) {
    __m128i products =
        _mm_add_epi32(_mm_madd_epi16(e[i], _mm_set1_epi32(xEven[0])), _mm_madd_epi16(o[i], _mm_set1_epi32(xOdd[0])));
    total[i] = _mm_add_epi32(total[i], products);
  }
  __builtin_memcpy(&s.sum, total, sizeof total);
#else
  VI evens = (VI)(even * (VI16)xEven), odds = (VI)(odd * (VI16)xOdd);
  s.sum += (evens << 16 >> 16) + (evens >> 16) + (odds << 16 >> 16) + (odds >> 16);
#endif
}
template <int Bits> MLC_SIMD void dotFlush(DotSum<Bits> &, int) {}
template <int Bits> MLC_SIMD VI dotTotal(const DotSum<Bits> &s, VI) { return s.sum; }
#endif

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
