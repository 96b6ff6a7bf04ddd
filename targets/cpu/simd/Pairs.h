//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Products of bf16 pairs: each 32-bit lane holds two values along the sum, the first in its low half.
//
#pragma once

#include "targets/cpu/simd/Simd.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

typedef uint32_t VU __attribute__((vector_size(64)));

/// f32 rounded to the nearest bf16, ties to even, in the upper half of each lane; NaN stays NaN.
MLC_SIMD VU roundBf16(VF v) {
  VU bits = (VU)v, odd = (bits >> 16) & 1;
  VU rounded = bits + 0x7fff + odd, nan = bits | 0x400000;
  VU isNan = (VU)(v != v);
  return ((isNan & nan) | (~isNan & rounded)) & 0xffff0000;
}

/// (acc + x.second * w.second) + x.first * w.first for every lane, each sum rounded once to f32 in every form: products
/// of bf16 are exact. What lies below 2^-126 may count as 0.
MLC_SIMD VF dotPairs(VF acc, VU w, uint32_t x) {
#if defined(__AVX512BF16__)
  return (VF)_mm512_dpbf16_ps((__m512)acc, (__m512bh)w, (__m512bh)_mm512_set1_epi32(int32_t(x)));
#elif defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
  // bfdot rounds in a way of its own; these two round as fused products do.
  bfloat16x8_t pair = vreinterpretq_bf16_u32(vdupq_n_u32(x)), pairs[4];
  float32x4_t sums[4];
  __builtin_memcpy(pairs, &w, sizeof pairs);
  __builtin_memcpy(sums, &acc, sizeof sums);
  for (int i = 0; i < 4; ++i)
    sums[i] = vbfmlalbq_f32(vbfmlaltq_f32(sums[i], pairs[i], pair), pairs[i], pair);
  __builtin_memcpy(&acc, sums, sizeof acc);
  return acc;
#else
  union {
    uint32_t bits;
    float value;
  } first{x << 16}, second{x & 0xffff0000};
  acc = multiplyAdd(set1(second.value), (VF)(w & 0xffff0000), acc);
  return multiplyAdd(set1(first.value), (VF)(w << 16), acc);
#endif
}

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
