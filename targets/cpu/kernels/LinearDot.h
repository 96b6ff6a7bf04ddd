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

/// Fetches what follows, beside the columns from `column` on: the next rows' x, and a part of the weights.
template <int R> MLC_SIMD void fetchBeside(const DotBlock &b, int64_t column) {
  for (int r = 0; r < R; ++r)
    __builtin_prefetch(b.next + column + r * b.xStride);
  // One stream, panel after panel.
  int64_t at = b.aheadBegin + column / 64 * b.aheadStep;
  for (const int64_t end = at + b.aheadStep; at < end; at += 64)
    fetchLine(b.ahead + at + (at < b.aheadBytes ? 0 : b.aheadGap));
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

// Whether nibbles are unpacked beside their products, for every block of rows: it costs nothing there, while what is
// unpacked before has to be stored (Zen 4: a store takes the time of one or two products).
#if defined(__AVX512F__)
constexpr bool kUnpacksBeside = true;
/// The lower or the upper nibbles: one of two quads.
MLC_SIMD VB loadHalf(const uint8_t *p, int high) {
  VB packed = loadBytes(p);
  return high ? packed >> 4 : packed & 15;
}

/// R rows against C panels. A group is scaled among the next one's products, which fill the multipliers meanwhile
/// (Zen 4: 1.05 to 1.1 times the speed).
template <int Bits, int R, int C, Scaling Kind, bool Packed> [[gnu::noinline]] void dotBlock(const DotBlock &block) {
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
    auto quads = [&]<int Count, bool Scales>() __attribute__((always_inline)) {
      if (((x - b.x) & 63) == 0)
        fetchBeside<R>(b, x - b.x);
#pragma GCC unroll 4
      for (int q = 0; q < Count; ++q) {
        VB values[C];
        for (int c = 0; c < C; ++c)
          values[c] = Packed ? loadHalf(w + q / 2 * 64 + c * b.wPanel, q % 2) : loadBytes(w + q * 64 + c * b.wPanel);
        for (int r = 0; r < R; ++r) {
          int32_t quad = loadInt(x + q * 4 + r * b.xStride);
          for (int c = 0; c < C; ++c)
            dotQuad(sums[r][c], values[c], quad);
        }
        // Compilers would gather the products behind the scaling.
        for (int r = 0; r < R; ++r)
          for (int c = 0; c < C; ++c)
            asm volatile("" : "+v"(sums[r][c].sum));
        if constexpr (Scales)
#pragma GCC unroll 4
          for (int i = q * R * C / 4; i < (q + 1) * R * C / 4; ++i)
            scale(i);
      }
      w += Count * (Packed ? 32 : 64), x += Count * 4;
      if (Packed && ((x - b.x) & (kSuperColumns - 1)) == 0)
        w += b.wGap;
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
        quads.template operator()<4, true>();
        u = 2;
      }
    }
    if (g)
      close(g);
    if (g == b.groups)
      return;
    for (; u < 2 * b.units; ++u)
      quads.template operator()<2, false>();
    for (int r = 0; r < R; ++r)
      for (int c = 0; c < C; ++c)
        late[r][c] = sums[r][c].sum;
  }
}
#else
constexpr bool kUnpacksBeside = false;

/// Where sums of 16 bits leave few registers, compilers may not add products in trees.
template <int Bits> MLC_SIMD void addInOrder([[maybe_unused]] DotSum<Bits> &sum) {
#if defined(__AVX2__) && !defined(__AVXVNNI__)
  if constexpr (Bits < 8)
    asm("" : "+x"(sum.narrow[0]), "+x"(sum.narrow[1]));
#endif
}

template <int Bits, int R, int C, Scaling Kind, bool> [[gnu::noinline]] void dotBlock(const DotBlock &block) {
  const DotBlock b = block; // What is stored might be a part of it.
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
              addInOrder(sums[r][c]);
              dotFlush(sums[r][c], before + q + 1);
            }
          }
        }
        w += 256, x += 16;
      };
      for (int64_t u = 0; u < b.units; u += kUnits) {
        if (((x - b.x) & 63) == 0)
          fetchBeside<R>(b, x - b.x);
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

/// Rows of the next block of `left`, at least 2 where a block may have 3 and more: a row alone costs as much as two.
constexpr int64_t blockRows(int64_t left, int most) {
  if (left > most + 1)
    return most;
  return left == most + 1 || (left == 5 && most == 6) ? (left + 1) / 2 : left;
}
/// Whether blocks of R rows come up.
constexpr bool isBlock(int rows, int most) { return blockRows(rows, most) == rows && (rows > 1 || most < 3); }

using DotFn = void (*)(const DotBlock &);
/// How a format's rows are multiplied: what takes a block of them, as many as blockRows has chosen.
struct DotCode {
  DotFn (*block)(int64_t rows);
  int most;
};
template <int Bits, int R, Scaling Kind, bool Packed> DotFn dotOf(int64_t rows) {
  if constexpr (isBlock(R, dotRowsOf(Kind)))
    if (rows == R)
      return dotBlock<Bits, R, 2, Kind, Packed>;
  if constexpr (R > 1)
    return dotOf<Bits, R - 1, Kind, Packed>(rows);
  return nullptr;
}
template <int Bits, Scaling Kind, bool Packed>
inline constexpr DotCode kDotCode = {dotOf<Bits, dotRowsOf(Kind), Kind, Packed>, dotRowsOf(Kind)};

/// Several rows (any number without kRowKernels) against two panels.
[[gnu::noinline]] static void dotRows(const DotCode &code, const DotBlock &first, int64_t rows) {
  DotBlock b = first;
  if (b.begins)
    __builtin_memset(b.acc, 0, size_t(rows) * kStride * sizeof(float));
  // Weights are fetched evenly: a core drops what it has no place for.
  const int64_t parts = (b.groups * b.units * 16 + 63) / 64, all = parts * ((rows + code.most - 1) / code.most);
  b.aheadStep = ((2 * b.aheadBytes + all - 1) / all + 63) & ~int64_t(63);
  for (int64_t r = 0; r < rows;) {
    const int64_t count = blockRows(rows - r, code.most);
    b.next = r + count + code.most <= rows ? b.x + count * b.xStride : b.x;
    fetchRows(b, r, count, 0, 1);
    code.block(count)(b);
    r += count;
    b.x += count * b.xStride;
    b.scales += count * b.xStride;
    b.sums += count * b.sumStride;
    b.acc += count * kStride;
    b.aheadBegin += parts * b.aheadStep;
    if (b.aheadBegin >= 2 * b.aheadBytes)
      b.aheadStep = 0;
  }
}

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
