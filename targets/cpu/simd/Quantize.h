//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// One group of a row to int8: scale = max|x| / 127, q = round_even(x * (127 / max|x|)). A group whose largest value is
// below f32's useful range becomes zeros with scale 0; one with a value that is not finite zeros with scale NaN, so
// that the row's products are NaN.
//
#pragma once

#include "targets/cpu/simd/Simd.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

/// quantizeGroup; `Full`: no value is missing.
template <bool Full>
MLC_SIMD void quantizeValues(const float *x, int64_t valid, int64_t columns, int64_t sumColumns, uint8_t *out,
                             uint8_t *scale, uint8_t *sums) {
  typedef int8_t V8 __attribute__((vector_size(16)));
  auto part = [&](int64_t i) __attribute__((always_inline)) {
    if constexpr (Full)
      return load(x + i);
    return i < valid ? loadPart(x + i, valid - i) : zero();
  };
  // Magnitudes order as integers do, NaN above infinity: no comparison of floats depends on the form.
  VI largest = {};
  for (int64_t i = 0; i < columns; i += kLanes) {
    VI bits = (VI)magnitude(part(i));
    largest = bits > largest ? bits : largest;
  }
  int32_t bits = maxLanes(largest);
  float amax;
  __builtin_memcpy(&amax, &bits, 4);
  float s = amax / 127.0f, inverse = 127.0f / amax;
  bool usable = bits < 0x7f800000 && inverse <= 3.4028234e38f;
  if (!usable) {
    s = bits < 0x7f800000 ? 0.0f : __builtin_nanf("");
    __builtin_memset(out, 0, size_t(columns));
    __builtin_memset(sums, 0, size_t(columns / sumColumns * 4));
  }
  __builtin_memcpy(scale, &s, 4);
  for (int64_t begin = 0; usable && begin < columns; begin += sumColumns, sums += 4) {
    VI total = {};
    for (int64_t i = begin; i < begin + sumColumns; i += kLanes) {
      // As roundEven: the integer is in the low bits already.
      const VF magic = set1(12582912.f);
      VI q = (VI)(part(i) * set1(inverse) + magic) - (VI)magic;
      total -= q;
      V8 bytes = __builtin_convertvector(q, V8);
      __builtin_memcpy(out + i, &bytes, sizeof bytes);
    }
    int32_t sum = sumLanes(total);
    __builtin_memcpy(sums, &sum, 4);
  }
}

/// Quantizes `valid` values, zeros behind them, to `columns` (a multiple of 16) bytes at `out`; the scale goes to
/// `scale`, and to `sums` the negated sum of every `sumColumns` (a multiple of 16) of the bytes, both of any alignment.
MLC_SIMD void quantizeGroup(const float *x, int64_t valid, int64_t columns, int64_t sumColumns, uint8_t *out,
                            uint8_t *scale, uint8_t *sums) {
  if (valid == columns)
    quantizeValues<true>(x, valid, columns, sumColumns, out, scale, sums);
  else
    quantizeValues<false>(x, valid, columns, sumColumns, out, scale, sums);
}

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
