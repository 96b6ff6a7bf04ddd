//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What makes the forms agree to the bit: the portable fma rounds as the fused instruction does, pairs of bf16 products
// as vdpbf16ps does.
//
#include "targets/cpu/simd/Pairs.h"
#include "targets/cpu/simd/Softmax.h"
#include "targets/cpu/tests/TestSupport.h"

#include <bit>
#include <cmath>

using namespace mlc;
using namespace mlc::test;
namespace simd = mlc::cpu::MLC_ISA_NS;

namespace {

uint32_t bitsOf(float x) { return std::bit_cast<uint32_t>(x); }

/// Of any exponent in [-range, range], or a special value.
float anyFloat(Random &random, int range) {
  const float special[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1e-45f, -1e-40f, 3e38f};
  if (range > 120 && random() % 16 == 0)
    return special[random() % std::size(special)];
  return std::ldexp(1.0f + float(random() % (1u << 23)) * 0x1p-23f, int(uniform(random, -range, range))) *
         (random() % 2 ? 1.0f : -1.0f);
}

/// bf16 of any exponent in [-range, range], as its bits in the upper half.
float anyBf16(Random &random, int range) { return std::bit_cast<float>(bitsOf(anyFloat(random, range)) & 0xffff0000); }

/// Two sums, the odd element's first.
float twoSums(float acc, const float (&w)[2], const float (&x)[2]) {
  return std::fma(x[0], w[0], std::fma(x[1], w[1], acc));
}

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512bf16"))) void instruction(float *acc, const uint32_t *w, uint32_t x) {
  __m512 sum = _mm512_loadu_ps(acc);
  sum = _mm512_dpbf16_ps(sum, (__m512bh)_mm512_loadu_si512(w), (__m512bh)_mm512_set1_epi32(int(x)));
  _mm512_storeu_ps(acc, sum);
}
#endif

} // namespace

TEST(Simd, FmaRoundsOnce) {
  Random random(41);
  for (int trial = 0; trial < 12000; ++trial) {
    simd::VF a, b, c;
    // Near each other, so that digits cancel; over the whole range; sums that lie close to the middle of two values.
    int range = trial % 3 == 0 ? 2 : trial % 3 == 1 ? 30 : 126;
    for (int i = 0; i < simd::kLanes; ++i) {
      a[i] = anyFloat(random, range);
      b[i] = anyFloat(random, range);
      c[i] = trial % 4 == 3 ? -a[i] * b[i] * (1.0f + float(random() % 3) * 0x1p-23f) : anyFloat(random, range);
      if (trial % 5 == 4) {
        a[i] = std::ldexp(1.0f, int(uniform(random, -26, -23))) * (random() % 2 ? 1.0f : -1.0f);
        b[i] = 1.0f + float(random() % 4) * 0x1p-23f;
        c[i] = 1.0f + float(random() % 8) * 0x1p-23f;
      }
    }
    simd::VF got = simd::fma(a, b, c);
    for (int i = 0; i < simd::kLanes; ++i) {
      float expected = std::fma(a[i], b[i], c[i]);
      if (std::isnan(expected))
        ASSERT_TRUE(std::isnan(got[i])) << a[i] << " * " << b[i] << " + " << c[i];
      else
        ASSERT_EQ(bitsOf(got[i]), bitsOf(expected)) << a[i] << " * " << b[i] << " + " << c[i];
    }
  }
}

// The order of a pair and its two roundings: what every form of the bf16 products relies on.
TEST(Simd, PairsSumOddFirst) {
  Random random(43);
  for (int trial = 0; trial < 3000; ++trial) {
    float x[2] = {anyBf16(random, 12), anyBf16(random, 12)};
    simd::VF acc;
    simd::VU w;
    float pairs[simd::kLanes][2];
    for (int i = 0; i < simd::kLanes; ++i) {
      acc[i] = anyFloat(random, 12);
      pairs[i][0] = anyBf16(random, 12);
      pairs[i][1] = trial % 3 ? anyBf16(random, 12) : -pairs[i][0];
      w[i] = bitsOf(pairs[i][0]) >> 16 | bitsOf(pairs[i][1]);
    }
    uint32_t packed = bitsOf(x[0]) >> 16 | bitsOf(x[1]);
    simd::VF got = simd::dotPairs(acc, w, packed);
    for (int i = 0; i < simd::kLanes; ++i)
      ASSERT_EQ(bitsOf(got[i]), bitsOf(twoSums(acc[i], pairs[i], x)));
#if defined(__x86_64__)
    if (machineRuns(Isa::avx512bf16)) {
      float sums[simd::kLanes];
      uint32_t weights[simd::kLanes];
      memcpy(sums, &acc, sizeof sums);
      memcpy(weights, &w, sizeof weights);
      instruction(sums, weights, packed);
      for (int i = 0; i < simd::kLanes; ++i)
        ASSERT_EQ(bitsOf(sums[i]), bitsOf(got[i])) << "vdpbf16ps sums in another way than the other forms";
    }
#endif
  }
#if defined(__x86_64__)
  if (!machineRuns(Isa::avx512bf16))
    GTEST_SKIP() << "this machine has no vdpbf16ps: only the other forms were held to its order";
#endif
}

TEST(Simd, PowersOfTwo) {
  for (float x : {0.0f, -1.0f, -5.0f, -126.0f}) {
    EXPECT_EQ(simd::exp2Short(simd::set1(x))[3], std::exp2(x));
    EXPECT_EQ(simd::exp2Below(simd::set1(x))[3], std::exp2(x));
  }
  for (float x : {-126.001f, -1000.0f, -3e38f, -INFINITY}) {
    EXPECT_EQ(simd::exp2Short(simd::set1(x))[0], 0.0f);
    EXPECT_EQ(simd::exp2Below(simd::set1(x))[0], 0.0f);
  }
  EXPECT_TRUE(std::isnan(simd::exp2Short(simd::set1(NAN))[0]));
  EXPECT_TRUE(std::isnan(simd::exp2Below(simd::set1(NAN))[0]));
  Random random(47);
  for (int trial = 0; trial < 3000; ++trial) {
    float x = -std::ldexp(float(random() % (1u << 24)) * 0x1p-24f, int(uniform(random, -10, 6)));
    double expected = std::exp2(double(x));
    ASSERT_NEAR(double(simd::exp2Short(simd::set1(x))[0]), expected, 3e-6 * expected) << x;
    ASSERT_NEAR(double(simd::exp2Below(simd::set1(x))[0]), expected, 1.3e-7 * expected) << x;
  }
}
