//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Arithmetic of the f32-exact kernel: powers of 2 to one unit in the last place, products and sums of two terms.
//
#pragma once

#include "targets/cuda/attention/Sequence.h"
#include "targets/cuda/attention/simt/Simt.h"

namespace mlc::attention {

/// 2^(x + low) for x <= 0 (a little more is fine) and |low| far below 1; from -126 down it stays 2^-126. Relative error
/// 8e-8: a minimax polynomial of degree 6 on [-1/2, 1/2] (2e-9 off) and the last rounding. NaN stays NaN.
MLC_DEVICE float exp2Exact(float x, float low = 0) {
  x = maxOrNaN(x, -126.0f);
  const float magic = 12582912.0f + 127; // 1.5 * 2^23: the sum's last bits are the rounded x plus the exponent's bias
  const float shifted = x + magic;
  const float part = x - (shifted - magic) + low;
  float power = 0x1.41fbbcp-13f;
  power = fmaf(power, part, 0x1.5f3e52p-10f);
  power = fmaf(power, part, 0x1.3b2d4cp-7f);
  power = fmaf(power, part, 0x1.c6aee8p-5f);
  power = fmaf(power, part, 0x1.ebfbdcp-3f);
  power = fmaf(power, part, 0x1.62e43p-1f);
  power = fmaf(power, part, 1.0f);
  return power * floatOf(bitsOf(shifted) << 23);
}

/// high + low, the unevaluated sum of two floats.
struct Pair {
  float high, low;
};

/// a + b without error (Knuth).
MLC_DEVICE Pair twoSum(float a, float b) {
  const float sum = a + b, other = sum - a;
  return {sum, (a - (sum - other)) + (b - other)};
}

/// A sum of products in two terms. The high term carries a constant so large that its exponent never changes, so what a
/// product adds to it is known without error, and the rest goes to the low term: four operations a product where the
/// general form needs ten.
struct AnchoredSum {
  float high, low;

  MLC_DEVICE void add(float a, float b) {
    const float next = fmaf(a, b, high);
    low += fmaf(a, b, -(next - high));
    high = next;
  }
  MLC_DEVICE Pair value(float anchor) const { return {high - anchor, low}; }
};

/// The anchor for sums of products of two vectors, given their sums of squares: by Cauchy and Schwarz no partial sum
/// exceeds the root of their product. 1.5 * 2^(e + 2), for a root below 2^e; 2^-100 at least. Not finite if the vectors
/// are not.
MLC_DEVICE float anchorOf(float squaresA, float squaresB) {
  const int a = int(bitsOf(squaresA) >> 23), b = int(bitsOf(squaresB) >> 23); // biased: squares < 2^(a - 126)
  const int e = (a + b - 252 + 1) >> 1;                                       // of the root, rounded up
  const int biased = e + 2 + 127;
  const float anchor = floatOf(uint32_t(most(27, least(biased, 254))) << 23 | 0x400000);
  return a >= 255 || b >= 255 ? squaresA + squaresB : anchor;
}

} // namespace mlc::attention
