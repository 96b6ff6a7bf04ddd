//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Scores of a page as products of bytes, where the form has instructions for them: rows of q are int8 codes with a
// scale, keys are codes as the page stores them. Sums are integers, so every form's scores have the same bits.
//
#pragma once

#include "targets/cpu/kernels/Attention.h"
#include "targets/cpu/simd/Dot.h"
#include "targets/cpu/simd/Quantize.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

#if defined(__AVX512VNNI__)
constexpr bool kByteProducts = true;
constexpr int kByteRows = 6, kByteColumns = 4; // Rows and vectors that registers hold.
#elif defined(__ARM_FEATURE_DOTPROD)
constexpr bool kByteProducts = true;
constexpr int kByteRows = 4, kByteColumns = 1;
#else
constexpr bool kByteProducts = false;
constexpr int kByteRows = 1, kByteColumns = 1;
#endif

MLC_SIMD int64_t keyQuads(int64_t headDim) { return (headDim + 3) / 4; }

/// Four rows of 64 bytes side by side: [64][4].
MLC_SIMD void storeQuads(VB a, VB b, VB c, VB d, uint8_t *out) {
#if defined(__AVX512BW__)
  __m512i low = _mm512_unpacklo_epi8((__m512i)a, (__m512i)b), high = _mm512_unpackhi_epi8((__m512i)a, (__m512i)b);
  __m512i low2 = _mm512_unpacklo_epi8((__m512i)c, (__m512i)d), high2 = _mm512_unpackhi_epi8((__m512i)c, (__m512i)d);
  // Lane l of q[j] has positions 16 l + 4 j on.
  __m512i q[4] = {_mm512_unpacklo_epi16(low, low2), _mm512_unpackhi_epi16(low, low2),
                  _mm512_unpacklo_epi16(high, high2), _mm512_unpackhi_epi16(high, high2)};
  __m512i even = _mm512_shuffle_i32x4(q[0], q[1], 0x44), odd = _mm512_shuffle_i32x4(q[2], q[3], 0x44);
  __m512i even2 = _mm512_shuffle_i32x4(q[0], q[1], 0xee), odd2 = _mm512_shuffle_i32x4(q[2], q[3], 0xee);
  _mm512_storeu_si512(out, _mm512_shuffle_i32x4(even, odd, 0x88));
  _mm512_storeu_si512(out + 64, _mm512_shuffle_i32x4(even, odd, 0xdd));
  _mm512_storeu_si512(out + 128, _mm512_shuffle_i32x4(even2, odd2, 0x88));
  _mm512_storeu_si512(out + 192, _mm512_shuffle_i32x4(even2, odd2, 0xdd));
#elif defined(__aarch64__)
  uint8x16_t rows[4][4];
  __builtin_memcpy(rows[0], &a, sizeof a);
  __builtin_memcpy(rows[1], &b, sizeof b);
  __builtin_memcpy(rows[2], &c, sizeof c);
  __builtin_memcpy(rows[3], &d, sizeof d);
  for (int v = 0; v < 4; ++v) {
    uint8x16x4_t part = {{rows[0][v], rows[1][v], rows[2][v], rows[3][v]}};
    vst4q_u8(out + 64 * v, part);
  }
#else
  VB rows[4] = {a, b, c, d};
  for (int p = 0; p < 64; ++p)
    for (int i = 0; i < 4; ++i)
      out[4 * p + i] = rows[i][p];
#endif
}

/// K of a page, [headDim][64] codes, to quads of code + 128: [keyQuads(headDim)][64][4].
MLC_SIMD void storeKeyQuads(const uint8_t *page, int64_t headDim, uint8_t *out) {
  for (int64_t d = 0; d < headDim; d += 4, out += 256) {
    auto row = [&](int64_t i) __attribute__((always_inline)) {
      return (d + i < headDim ? loadBytes(page + (d + i) * kAttentionPage) : VB{}) ^ 0x80;
    };
    storeQuads(row(0), row(1), row(2), row(3), out);
  }
}

/// scores[r][p] = (sum over d of q[r][d] * k[d][p]) * queryScales[r] * keyScales[p] for the 64 positions of a page.
struct ByteScores {
  const uint8_t *q; // int8 rows.
  int64_t qStride;
  const float *queryScales;
  const int32_t *querySums; // Negated sums of the rows.
  const uint8_t *keys;      // Quads.
  const float *keyScales;
  int64_t quads;
  float *scores;
};

template <int R> static void scoreBlock(const ByteScores &b) {
  // Locals: a store of a vector could otherwise change the members.
  const uint8_t *const q = b.q;
  const float *const queryScales = b.queryScales;
  const int64_t stride = b.qStride, quads = b.quads;
  for (int64_t column = 0; column < kAttentionPage; column += kByteColumns * kLanes) {
    DotSum<8> sums[R][kByteColumns];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
      for (int c = 0; c < kByteColumns; ++c)
        sums[r][c] = DotSum<8>::start(set1(128 * b.querySums[r]));
    const uint8_t *keys = b.keys + 4 * column;
    for (int64_t d = 0; d < quads; ++d, keys += 4 * kAttentionPage) {
      VB k[kByteColumns];
      for (int c = 0; c < kByteColumns; ++c)
        k[c] = loadBytes(keys + 64 * c);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        int32_t x = loadInt(q + r * stride + 4 * d);
        for (int c = 0; c < kByteColumns; ++c)
          dotQuad(sums[r][c], k[c], x);
      }
    }
    const float *const keyScales = b.keyScales + column;
    float *const scores = b.scores + column;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
      for (int c = 0; c < kByteColumns; ++c) {
        VI sum = dotTotal(sums[r][c], set1(128 * b.querySums[r]));
        store(scores + r * kAttentionPage + c * kLanes,
              toFloat(sum) * set1(queryScales[r]) * load(keyScales + c * kLanes));
      }
  }
}

template <int... R> struct ScoreBlocks {
  static constexpr void (*fn[])(const ByteScores &) = {scoreBlock<R>...};
};

[[maybe_unused]] static void scoreBytes(ByteScores b, int64_t rows) {
#if defined(__AVX512VNNI__)
  using Blocks = ScoreBlocks<1, 2, 3, 4, 5, 6>;
#else
  using Blocks = ScoreBlocks<1, 2, 3, 4>;
#endif
  Blocks::fn[rows - 1](b);
}

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
