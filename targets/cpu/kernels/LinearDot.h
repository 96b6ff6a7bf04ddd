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
/// Of the groups from `g` on that share a scale of x: the sums of their offsets.
template <int R, int C>
MLC_SIMD void sharedOffsets(const DotBlock &b, int64_t g, const float *factors, VF (&offsets)[R][C]) {
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c)
      offsets[r][c] = zero();
  for (int64_t last = g + b.together; g < last; ++g, factors += C * 2 * kLanes) {
    VF offset[C];
    for (int c = 0; c < C; ++c)
      offset[c] = load(factors + c * 2 * kLanes + kLanes);
    for (int r = 0; r < R; ++r) {
      VF sum = set1(loadFloat(b.sums + r * b.sumStride + 4 * g));
      for (int c = 0; c < C; ++c)
        offsets[r][c] = fma(offset[c], sum, offsets[r][c]);
    }
  }
}

/// Adds the offsets of group `g`, which has scales of x of its own.
template <int R, int C>
MLC_SIMD void aloneOffsets(const DotBlock &b, int64_t g, const float *factors, const uint8_t *scales) {
  for (int r = 0; r < R; ++r) {
    float sum = loadFloat(b.sums + r * b.sumStride + 4 * g) * loadFloat(scales + r * b.xStride);
    for (int c = 0; c < C; ++c) {
      float *acc = b.acc + r * kStride + c * kLanes;
      store(acc, fma(load(factors + c * 2 * kLanes + kLanes), set1(sum), load(acc)));
    }
  }
}

template <int Bits, int R, int C, Scaling Kind> void dotBlock(const DotBlock &b) {
  constexpr bool kAlone = Kind == Scaling::alone;
  constexpr int64_t kUnits = Bits < 5 ? 2 : 1; // Of 4 quads, up to a flush.
  const int64_t factorStep = kLanes * (b.offsets ? 2 : 1);
  const int32_t zeros = b.offsets ? 0 : -1; // Sums begin with those of the zero, or with nothing.
  const uint8_t *w = b.w, *x = b.x, *scales = b.scales;
  const float *factors = b.factors, *supers = b.supers;
  for (int64_t g = 0; g < b.groups; scales += 4) {
    VF parts[R][C]; // The bits of integers where these are summed.
    for (int r = 0; r < R; ++r)
      for (int c = 0; c < C; ++c)
        parts[r][c] = zero();
    for (int64_t last = kAlone ? g + 1 : g + b.together; g < last; ++g, factors += C * factorStep) {
      DotSum<Bits> sums[R][C];
      VI init[R];
      for (int r = 0; r < R; ++r) {
        init[r] = set1(loadInt(b.sums + r * b.sumStride + 4 * g) & zeros);
        for (int c = 0; c < C; ++c)
          sums[r][c] = sums[r][c].start(init[r]);
      }
      auto unit = [&](int before) __attribute__((always_inline)) {
#pragma GCC unroll 4
        for (int q = 0; q < 4; ++q) {
          VB values[C];
          for (int c = 0; c < C; ++c)
            values[c] = loadBytes(w + q * 64 + c * b.wPanel);
          for (int r = 0; r < R; ++r) {
            int32_t quad = loadInt(x + q * 4 + r * b.xStride);
            for (int c = 0; c < C; ++c) {
              dotQuad(sums[r][c], values[c], quad);
              dotFlush(sums[r][c], before + q + 1);
            }
          }
        }
        w += 256, x += 16;
      };
      for (int64_t u = 0; u < b.units; u += kUnits) {
        if (u % 4 == 0)
          for (int r = 0; r < R; ++r)
            __builtin_prefetch(b.next + (x - b.x) + r * b.xStride);
        unit(0);
        if constexpr (kUnits == 2) {
          if (u + 1 < b.units) {
            unit(4);
          } else {
            for (int r = 0; r < R; ++r)
              for (int c = 0; c < C; ++c)
                dotFlush(sums[r][c], 8);
          }
        }
      }
      for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c) {
          VI isum = dotTotal(sums[r][c], init[r]);
          const float *factor = factors + c * factorStep;
          if constexpr (kAlone)
            parts[r][c] = toFloat(isum);
          else if constexpr (Kind == Scaling::shared)
            parts[r][c] = fma(toFloat(isum), load(factor), parts[r][c]);
          else
            parts[r][c] = (VF)((VI)parts[r][c] + isum * (VI)load(factor));
        }
    }
    const float *first = factors - C * factorStep * (kAlone ? 1 : b.together);
    if constexpr (!kAlone) {
      if constexpr (Kind == Scaling::integers)
        for (int r = 0; r < R; ++r)
          for (int c = 0; c < C; ++c)
            parts[r][c] = toFloat((VI)parts[r][c]);
      if (supers)
        for (int c = 0; c < C; ++c) {
          VF super = load(supers + c * factorStep);
          for (int r = 0; r < R; ++r)
            parts[r][c] = parts[r][c] * super;
        }
      if (b.offsets) {
        VF offsets[R][C];
        sharedOffsets(b, g - b.together, first, offsets);
        for (int c = 0; c < C; ++c) {
          VF super = supers ? load(supers + c * factorStep + kLanes) : set1(1.0f);
          for (int r = 0; r < R; ++r)
            parts[r][c] = fma(offsets[r][c], super, parts[r][c]);
        }
      }
      if (supers)
        supers += C * factorStep;
    }
    for (int r = 0; r < R; ++r) {
      float xScale = loadFloat(scales + r * b.xStride);
      for (int c = 0; c < C; ++c) {
        // The float sums stay in the first cache: the registers are for the integer ones.
        float *acc = b.acc + r * kStride + c * kLanes;
        VF scale = kAlone ? load(first + c * factorStep) * set1(xScale) : set1(xScale);
        store(acc, fma(parts[r][c], scale, load(acc)));
      }
    }
    if (kAlone && b.offsets)
      aloneOffsets<R, C>(b, g - 1, first, scales);
  }
}

using DotFn = void (*)(const DotBlock &);
template <int Bits, Scaling Kind> DotFn dotOf(int64_t rows) {
#if defined(__AVX512F__)
  static constexpr DotFn fn[] = {dotBlock<Bits, 1, 2, Kind>, dotBlock<Bits, 2, 2, Kind>, dotBlock<Bits, 3, 2, Kind>,
                                 dotBlock<Bits, 4, 2, Kind>, dotBlock<Bits, 5, 2, Kind>, dotBlock<Bits, 6, 2, Kind>};
#elif defined(__AVXVNNI__) || defined(__aarch64__)
  static constexpr DotFn fn[] = {dotBlock<Bits, 1, 2, Kind>, dotBlock<Bits, 2, 2, Kind>, dotBlock<Bits, 3, 2, Kind>};
#elif defined(__AVX2__)
  static constexpr DotFn fn[] = {dotBlock<Bits, 1, 2, Kind>, dotBlock<Bits, 2, 2, Kind>};
#else
  static constexpr DotFn fn[] = {dotBlock<Bits, 1, 2, Kind>};
#endif
  static_assert(sizeof fn / sizeof *fn == kDotRows);
  return fn[rows - 1];
}

/// Any number of rows against the panels of weights of Bits bits.
template <int Bits, Scaling Kind> void dotRows(const DotBlock &first, int64_t rows) {
  DotBlock b = first;
  if (b.begins)
    __builtin_memset(b.acc, 0, size_t(rows) * kStride * sizeof(float));
  for (int64_t r = 0; r < rows; r += kDotRows) {
    int64_t count = rows - r < kDotRows ? rows - r : kDotRows;
    b.next = r + 2 * kDotRows <= rows ? b.x + kDotRows * b.xStride : b.x;
    dotOf<Bits, Kind>(count)(b);
    b.x += kDotRows * b.xStride;
    b.scales += kDotRows * b.xStride;
    b.sums += kDotRows * b.sumStride;
    b.acc += kDotRows * kStride;
  }
}

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
