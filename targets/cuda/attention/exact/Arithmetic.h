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

/// 2^(shifted - magic + part), the former a whole number (exp2Exact()).
MLC_DEVICE float exp2Parts(float shifted, float part) {
  float power = 0x1.41fbbcp-13f;
  power = fmaf(power, part, 0x1.5f3e52p-10f);
  power = fmaf(power, part, 0x1.3b2d4cp-7f);
  power = fmaf(power, part, 0x1.c6aee8p-5f);
  power = fmaf(power, part, 0x1.ebfbdcp-3f);
  power = fmaf(power, part, 0x1.62e43p-1f);
  power = fmaf(power, part, 1.0f);
  return power * floatOf(bitsOf(shifted) << 23);
}
/// 1.5 * 2^23 and an exponent's bias: added to a number, it leaves that rounded, as an exponent, in the last bits.
constexpr float kExponentMagic = 12582912.0f + 127;

/// 2^x for x <= 0 (a little more is fine); from -126 down it stays 2^-126. Relative error 8e-8: a minimax polynomial of
/// degree 6 on [-1/2, 1/2] (2e-9 off) and the last rounding. NaN stays NaN.
MLC_DEVICE float exp2Exact(float x) {
  x = maxOrNaN(x, -126.0f);
  const float shifted = x + kExponentMagic;
  return exp2Parts(shifted, x - (shifted - kExponentMagic));
}
/// The same of x + low, |low| far below 1.
MLC_DEVICE float exp2Exact(float x, float low) {
  x = maxOrNaN(x, -126.0f);
  const float shifted = x + kExponentMagic;
  return exp2Parts(shifted, x - (shifted - kExponentMagic) + low);
}

/// a / b, given 1 / b: the nearest float but for ties.
MLC_DEVICE float divide(float a, float b, float inverse) {
  const float quotient = a * inverse, rest = fmaf(-quotient, b, a);
  return rest == rest ? fmaf(rest, inverse, quotient) : quotient; // the rest of an infinity is NaN
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

/// A sum of products in two terms. The high term carries a constant, the anchor, so large that its exponent never
/// changes, so what a product adds to it is known without error, and the rest goes to the low term: four operations a
/// product where the general form needs ten.
struct AnchoredSum {
  float high, low;

  MLC_DEVICE void add(float a, float b) {
    const float next = fmaf(a, b, high);
    low += fmaf(a, b, -(next - high));
    high = next;
  }
  /// Replaces the anchor by a larger one.
  MLC_DEVICE void move(float from, float to) {
    const float sum = high - from; // no error
    high = sum + to;
    low += sum - (high - to);
  }
  MLC_DEVICE Pair value(float anchor) const { return {high - anchor, low}; }
};

/// The anchor for sums of at most `bound`: 1.5 * 2^(e + 2), for a bound below 2^e; 2^-99 at least. Not finite if the
/// bound is not.
MLC_DEVICE float anchorOf(float bound) {
  const int biased = int(bitsOf(bound) >> 23) + 3; // bound < 2^(biased - 129)
  const float anchor = floatOf(uint32_t(most(28, least(biased, 254))) << 23 | 0x400000);
  return bound <= 0x1.fffffep127f ? anchor : bound;
}

/// tanh(x) in double, within 2e-12; NaN stays NaN.
MLC_DEVICE double tanhExact(double x) {
  // tanh |x| = (1 - u) / (1 + u), u = 2^y.
  const double y = fmax(-2.8853900817779268 * fabs(x), -126.0), magic = 6755399441055744.0; // 1.5 * 2^52
  const double rounded = y + magic - magic, part = y - rounded;
  // Taylor's series of 2^part, part in [-1/2, 1/2]: the first term left out is 7e-13.
  const double terms[] = {7.0549116208011233e-9, 1.0178086009239699e-7, 1.3215486790144309e-6, 1.5252733804059840e-5,
                          1.5403530393381609e-4, 1.3333558146428443e-3, 9.6181291076284772e-3, 5.5504108664821580e-2,
                          0.24022650695910071,   0.69314718055994531};
  double power = terms[0];
  MLC_UNROLL_ALL
  for (int i = 1; i < 10; ++i)
    power = fma(power, part, terms[i]);
  power = fma(power, part, 1.0);
  const double u = power * double(floatOf(uint32_t(int(rounded) + 127) << 23)), divisor = 1 + u;
  // The quotient's reciprocal by Newton's method: a division has a slow path with memory of its own.
  double inverse = double(reciprocalFast(float(divisor)));
  inverse = fma(inverse, fma(-divisor, inverse, 1.0), inverse);
  inverse = fma(inverse, fma(-divisor, inverse, 1.0), inverse);
  const double size = (1 - u) * inverse;
  return x < 0 ? -size : x != x ? x : size;
}

} // namespace mlc::attention
