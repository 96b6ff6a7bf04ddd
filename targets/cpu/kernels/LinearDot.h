//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Integer products with vector registers: a few rows of x, whose quads are broadcast, against two panels.
//
#pragma once

#include "targets/cpu/kernels/Linear.h"
#include "targets/cpu/simd/Dot.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

// Rows that the form's registers hold beside two panels.
#if defined(__AVX512F__)
constexpr int kDotRows = 6;
#elif defined(__AVXVNNI__) || defined(__aarch64__)
constexpr int kDotRows = 3;
#elif defined(__AVX2__)
constexpr int kDotRows = 2;
#else
constexpr int kDotRows = 1;
#endif
template <int Bits, int R, int C, bool Offset, bool Shared> void dotBlock(const DotBlock &b) {
  constexpr int64_t kFactors = kLanes * (Offset ? 2 : 1);
  const uint8_t *w = b.w, *x = b.x, *scales = b.scales;
  const float *factors = b.factors;
  for (int64_t g = 0; g < b.groups; scales += 4) {
    VF parts[R][C];
    for (int r = 0; r < R; ++r)
      for (int c = 0; c < C; ++c)
        parts[r][c] = zero();
    for (int64_t last = Shared ? g + b.together : g + 1; g < last; ++g, factors += C * kFactors) {
      DotSum<Bits> sums[R][C];
      VI init[R];
      for (int r = 0; r < R; ++r) {
        init[r] = Offset ? VI{} : set1(loadInt(b.sums + r * b.sumStride + 4 * g));
        for (int c = 0; c < C; ++c)
          sums[r][c] = sums[r][c].start(init[r]);
      }
      for (int64_t u = 0; u < b.units; ++u, w += 256, x += 16) {
        if (u % 4 == 0)
          for (int r = 0; r < R; ++r)
            __builtin_prefetch(b.next + (x - b.x) + r * b.xStride);
        for (int q = 0; q < 4; ++q) {
          VB values[C];
          for (int c = 0; c < C; ++c)
            values[c] = loadBytes(w + q * 64 + c * b.wPanel);
          for (int r = 0; r < R; ++r) {
            int32_t quad = loadInt(x + q * 4 + r * b.xStride);
            for (int c = 0; c < C; ++c) {
              dotQuad(sums[r][c], values[c], quad);
              dotFlush(sums[r][c], int(u % 2) * 4 + q + 1);
            }
          }
        }
      }
      if constexpr (Bits < 5)
        for (int r = 0; r < R; ++r)
          for (int c = 0; c < C; ++c)
            if (b.units % 2)
              dotFlush(sums[r][c], 8);
      for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c) {
          VF sum = toFloat(dotTotal(sums[r][c], init[r])), scale = load(factors + c * kFactors);
          if constexpr (Shared)
            parts[r][c] = fma(sum, scale, parts[r][c]);
          else
            parts[r][c] = sum;
          if constexpr (Shared && Offset)
            parts[r][c] = fma(load(factors + c * kFactors + kLanes), set1(loadFloat(b.sums + r * b.sumStride + 4 * g)),
                              parts[r][c]);
        }
    }
    for (int r = 0; r < R; ++r) {
      float xScale = loadFloat(scales + r * b.xStride);
      for (int c = 0; c < C; ++c) {
        // The float sums stay in the first cache: the registers are for the integer ones.
        float *acc = b.acc + r * kStride + c * kLanes;
        const float *factor = factors + (c - C) * kFactors;
        VF sum;
        if constexpr (Shared)
          sum = fma(parts[r][c], set1(xScale), load(acc));
        else
          sum = fma(parts[r][c], load(factor) * set1(xScale), load(acc));
        if constexpr (Offset && !Shared)
          sum = fma(load(factor + kLanes), set1(loadFloat(b.sums + r * b.sumStride + 4 * (g - 1)) * xScale), sum);
        store(acc, sum);
      }
    }
  }
}

using DotFn = void (*)(const DotBlock &);
template <int Bits, bool Offset, bool Shared> DotFn dotOf(int64_t rows) {
#if defined(__AVX512F__)
  static constexpr DotFn fn[] = {dotBlock<Bits, 1, 2, Offset, Shared>, dotBlock<Bits, 2, 2, Offset, Shared>,
                                 dotBlock<Bits, 3, 2, Offset, Shared>, dotBlock<Bits, 4, 2, Offset, Shared>,
                                 dotBlock<Bits, 5, 2, Offset, Shared>, dotBlock<Bits, 6, 2, Offset, Shared>};
#elif defined(__AVXVNNI__) || defined(__aarch64__)
  static constexpr DotFn fn[] = {dotBlock<Bits, 1, 2, Offset, Shared>, dotBlock<Bits, 2, 2, Offset, Shared>,
                                 dotBlock<Bits, 3, 2, Offset, Shared>};
#elif defined(__AVX2__)
  static constexpr DotFn fn[] = {dotBlock<Bits, 1, 2, Offset, Shared>, dotBlock<Bits, 2, 2, Offset, Shared>};
#else
  static constexpr DotFn fn[] = {dotBlock<Bits, 1, 2, Offset, Shared>};
#endif
  static_assert(sizeof fn / sizeof *fn == kDotRows);
  return fn[rows - 1];
}

/// Any number of rows against the panels of weights of Bits bits.
template <int Bits, bool Offset> void dotRows(const DotBlock &first, int64_t rows, bool shared) {
  DotBlock b = first;
  if (b.begins)
    __builtin_memset(b.acc, 0, size_t(rows) * kStride * sizeof(float));
  for (int64_t r = 0; r < rows; r += kDotRows) {
    int64_t count = rows - r < kDotRows ? rows - r : kDotRows;
    b.next = r + 2 * kDotRows <= rows ? b.x + kDotRows * b.xStride : b.x;
    (shared ? dotOf<Bits, Offset, true>(count) : dotOf<Bits, Offset, false>(count))(b);
    b.x += kDotRows * b.xStride;
    b.scales += kDotRows * b.xStride;
    b.sums += kDotRows * b.sumStride;
    b.acc += kDotRows * kStride;
  }
}

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
