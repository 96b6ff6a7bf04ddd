//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Integer products with vector registers: a few rows of x, whose quads are broadcast, against two panels.
//
#pragma once

#include "targets/cpu/kernels/FetchRows.h"
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
/// And beside the sums of groups that share a scale.
#if defined(__AVX512F__)
constexpr int dotRowsOf(Scaling kind) { return kind == Scaling::alone ? kDotRows : 4; }
#else
constexpr int dotRowsOf(Scaling) { return kDotRows; }
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

/// The group's integer sums join those of the groups that share its scale of x: as floats, or (integers) as the bits of
/// integers.
template <Scaling Kind> MLC_SIMD VF addGroup(VF part, VI isum, VF factor) {
  if constexpr (Kind == Scaling::integers)
    return (VF)((VI)part + isum * (VI)factor);
  else
    return fma(toFloat(isum), factor, part);
}

/// Groups [g - together, g), whose factors begin at `first`, to DotBlock::acc; their sums begin anew.
template <int R, int C, Scaling Kind>
MLC_SIMD void closeGroups(const DotBlock &b, int64_t g, const float *first, const float *supers, const uint8_t *scales,
                          VF (&parts)[R][C]) {
  const int64_t factorStep = kLanes * (b.offsets ? 2 : 1);
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
  for (int r = 0; r < R; ++r) {
    VF xScale = set1(loadFloat(scales + r * b.xStride));
    for (int c = 0; c < C; ++c) {
      float *acc = b.acc + r * kStride + c * kLanes;
      store(acc, fma(parts[r][c], xScale, load(acc)));
      parts[r][c] = zero();
    }
  }
}

/// Adds a group that has a scale of x of its own. The float sums stay in the first cache: the registers are for the
/// integer ones.
MLC_SIMD void closeAlone(float *acc, VI isum, VF factor, float xScale) {
  store(acc, fma(toFloat(isum), factor * set1(xScale), load(acc)));
}

#if defined(__AVX512F__)
/// R rows against C panels. A group is scaled among the next one's products, which fill the multipliers meanwhile
/// (Zen 4: 1.05 to 1.1 times the speed).
template <int Bits, int R, int C, Scaling Kind> [[gnu::noinline]] void dotBlock(const DotBlock &block) {
  constexpr bool kAlone = Kind == Scaling::alone;
  const DotBlock b = block; // What is stored might be a part of it.
  const int64_t factorStep = kLanes * (b.offsets ? 2 : 1);
  VI zeros = set1(b.offsets ? 0 : -1); // Sums begin with those of the zero, or with nothing.
  asm("" : "+v"(zeros));               // By vectors: scalars come late.
  const uint8_t *w = b.w, *x = b.x, *scales = b.scales;
  const float *factors = b.factors, *supers = b.supers; // Of the group before, as the scales.
  VI late[R][C];                                        // Its sums.
  VF parts[R][C];
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c)
      parts[r][c] = zero();
  auto scale = [&](int i) __attribute__((always_inline)) {
    const int r = i / C, c = i % C;
    VF factor = load(factors + c * factorStep);
    if constexpr (kAlone)
      closeAlone(b.acc + r * kStride + c * kLanes, late[r][c], factor, loadFloat(scales + r * b.xStride));
    else
      parts[r][c] = addGroup<Kind>(parts[r][c], late[r][c], factor);
  };
  // After the groups before `g`.
  auto close = [&](int64_t g) __attribute__((always_inline)) {
    factors += C * factorStep;
    if constexpr (kAlone) {
      if (b.offsets)
        aloneOffsets<R, C>(b, g - 1, factors - C * factorStep, scales);
    } else {
      if ((g & (b.together - 1)) != 0)
        return;
      closeGroups<R, C, Kind>(b, g, factors - C * factorStep * b.together, supers, scales, parts);
      supers += supers ? C * factorStep : 0;
    }
    scales += 4;
  };
  for (int64_t g = 0;; ++g) {
    DotSum<Bits> sums[R][C];
    auto unit = [&](bool scales) __attribute__((always_inline)) {
      if (((x - b.x) & 63) == 0)
        for (int r = 0; r < R; ++r)
          __builtin_prefetch(b.next + (x - b.x) + r * b.xStride);
#pragma GCC unroll 4
      for (int q = 0; q < 4; ++q) {
        VB values[C];
        for (int c = 0; c < C; ++c)
          values[c] = loadBytes(w + q * 64 + c * b.wPanel);
        for (int r = 0; r < R; ++r) {
          int32_t quad = loadInt(x + q * 4 + r * b.xStride);
          for (int c = 0; c < C; ++c)
            dotQuad(sums[r][c], values[c], quad);
        }
        // Compilers would gather the products behind the scaling.
        for (int r = 0; r < R; ++r)
          for (int c = 0; c < C; ++c)
            asm volatile("" : "+v"(sums[r][c].sum));
        if (scales)
#pragma GCC unroll 4
          for (int i = q * R * C / 4; i < (q + 1) * R * C / 4; ++i)
            scale(i);
      }
      w += 256, x += 16;
    };
    int64_t u = 0;
    if (g == b.groups) {
#pragma GCC unroll 12
      for (int i = 0; i < R * C; ++i)
        scale(i);
    } else {
      for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c)
          sums[r][c] = sums[r][c].start(set1(loadInt(b.sums + r * b.sumStride + 4 * g)) & zeros);
      if (g) {
        unit(true);
        u = 1;
      }
    }
    if (g)
      close(g);
    if (g == b.groups)
      return;
    for (; u < b.units; ++u)
      unit(false);
    for (int r = 0; r < R; ++r)
      for (int c = 0; c < C; ++c)
        late[r][c] = sums[r][c].sum;
  }
}
#else
template <int Bits, int R, int C, Scaling Kind> [[gnu::noinline]] void dotBlock(const DotBlock &b) {
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
            closeAlone(b.acc + r * kStride + c * kLanes, isum, load(factor), loadFloat(scales + r * b.xStride));
          else
            parts[r][c] = addGroup<Kind>(parts[r][c], isum, load(factor));
        }
    }
    if constexpr (!kAlone) {
      closeGroups<R, C, Kind>(b, g, factors - C * factorStep * b.together, supers, scales, parts);
      supers += supers ? C * factorStep : 0;
    } else if (b.offsets) {
      aloneOffsets<R, C>(b, g - 1, factors - C * factorStep, scales);
    }
  }
}
#endif

/// At most R rows.
template <int Bits, int R, Scaling Kind> MLC_SIMD void dotSome(const DotBlock &b, int64_t rows) {
  if (rows == R)
    dotBlock<Bits, R, 2, Kind>(b);
  else if constexpr (R > 1)
    dotSome<Bits, R - 1, Kind>(b, rows);
}

/// Any number of rows against the panels of weights of Bits bits.
template <int Bits, Scaling Kind> void dotRows(const DotBlock &first, int64_t rows) {
  constexpr int kRows = dotRowsOf(Kind);
  DotBlock b = first;
  if (b.begins)
    __builtin_memset(b.acc, 0, size_t(rows) * kStride * sizeof(float));
  for (int64_t r = 0; r < rows; r += kRows) {
    int64_t count = rows - r < kRows ? rows - r : kRows;
    b.next = r + 2 * kRows <= rows ? b.x + kRows * b.xStride : b.x;
    fetchRows(b, r, count, 0, 1);
    dotSome<Bits, kRows, Kind>(b, count);
    b.x += kRows * b.xStride;
    b.scales += kRows * b.xStride;
    b.sums += kRows * b.sumStride;
    b.acc += kRows * kStride;
  }
}

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
