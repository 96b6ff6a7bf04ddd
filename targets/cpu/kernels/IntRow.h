//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// One row of x against panels of integers, from memory: decode reads each weight once.
//
#pragma once

#include "targets/cpu/kernels/IntPanel.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

// Where one row is worth code of its own for every format: elsewhere it goes through unpacked weights as several do.
#if defined(__AVX2__) || defined(__aarch64__)
constexpr bool kRowKernels = true;
#else
constexpr bool kRowKernels = false;
#endif

/// Panels that one row meets together where LinearInt::streams. On Intel's cores with tiles one stream has two thirds
/// of the speed of several, and with x broadcast for one panel alone memory waits for the load ports; on Zen 3 one has
/// three quarters of the speed of four, for whose sums AVX2 has registers.
#if defined(__AVX512F__)
constexpr int kRowPanels = kPanelsOfRow;
#elif defined(__AVX2__) && !defined(__AVXVNNI__)
constexpr int kRowPanels = 4;
#else
constexpr int kRowPanels = 1;
#endif
constexpr int64_t kTogetherAhead = kRowPanels < kPanelsOfRow ? 512 : 1024;

/// How far ahead values are fetched. One stream the hardware fetches by itself: more than a little help disturbs it,
/// but for Intel's cores with tiles.
MLC_SIMD int64_t fetchAheadOf([[maybe_unused]] const LinearInt &a) {
#if defined(__x86_64__)
  if (!a.tiles)
    return kFetchAhead / 4;
#endif
  return kFetchAhead;
}

/// A group's integer sums, or two groups' (Halves): two chains, for one would wait for each product's latency. Of
/// several panels the first alone, where registers are few.
template <int Bits> struct RowSums {
  DotSum<dotBits(Bits)> even, odd;
};
/// Adds the products of a unit, whose quads are the chains' in turns or the halves of.
template <int Bits, bool Halves> MLC_SIMD void addUnit(RowSums<Bits> &sums, const uint8_t *values, const uint8_t *x) {
  VB unit[8];
  loadUnit<Bits>(values, unit);
  for (int q = 0; q < 8; ++q) {
    auto &sum = (Halves ? q >= 4 : q % 2) ? sums.odd : sums.even;
    dotQuad(sum, unit[q], loadInt(x + 4 * q));
    dotFlush(sum, Halves ? q % 4 + 1 : q / 2 + 1);
  }
  if constexpr (dotBits(Bits) == 4) {
    dotFlush(sums.even, 8);
    dotFlush(sums.odd, 8);
  }
}

/// The same of P panels, line by line: from `at` on, while what lies at `fetched` is fetched.
template <int Bits, int P>
MLC_SIMD void addUnits(RowSums<Bits> (&sums)[P], const uint8_t *const (&panel)[P], int64_t at, int64_t fetched,
                       const uint8_t *x) {
  static_assert(Bits == 4 || Bits == 8);
  constexpr bool kOne = P < kPanelsOfRow;
  for (int line = 0; line < Bits; ++line, x += 32 / Bits) {
    auto first = sharedQuad(loadInt(x)), second = first;
    if constexpr (Bits == 4)
      second = sharedQuad(loadInt(x + 4));
#pragma GCC unroll 8
    for (int p = 0; p < P; ++p) {
      __builtin_prefetch(panel[p] + fetched + line * 64);
      VB values = loadBytes(panel[p] + at + line * 64);
      if constexpr (Bits == 4) {
        dotQuad(sums[p].even, values & 15, first);
        dotQuad(kOne ? sums[p].even : sums[p].odd, values >> 4, second);
      } else {
        dotQuad(line % 2 && !kOne ? sums[p].odd : sums[p].even, values, first);
      }
    }
  }
  for (int p = 0; p < P; ++p)
    dotFlush(sums[p].even, 8);
}

/// Formats whose rows share code: int4 and q4_0, int8 and q8_0.
template <int Bits, IntOffset M> constexpr bool kSharesRow = (Bits == 4 || Bits == 8) && M == IntOffset::none;
/// Their scales of group g, of both kinds.
template <int Bits> MLC_SIMD VF eitherScales(const LinearInt &a, const uint8_t *panel, int64_t g) {
  constexpr IntOffset kNone = IntOffset::none;
  return a.format == IntFormat::q4_0 || a.format == IntFormat::q8_0
             ? groupScales<Bits, IntScale::f16, kNone>(a, panel, g)
             : groupScales<Bits, IntScale::bf16, kNone>(a, panel, g);
}

/// One row against P panels, several only where kSharesRow; those that come next lie `next` bytes behind them. Values
/// are read before factors, for which so many groups' integer sums wait: one stream has up to 1.5 times the speed of
/// two in turns (Zen 4).
template <int Bits, IntScale S, IntOffset M, int P>
void dotRow(const LinearInt &a, const uint8_t *x, const uint8_t *const *panels, int64_t next, float *sums) {
  constexpr int64_t kWaiting = 256 / P;
  VF acc[P] = {}, part[P] = {}, offset[P] = {};
  VI waiting[P][kWaiting];
  const uint8_t *panel[P];
  for (int p = 0; p < P; ++p)
    panel[p] = panels[p];
  const int64_t together = int64_t(1) << a.scaleShift;
  // Where these panels' values end, the next ones' are fetched.
  const int64_t ahead = P > 1 ? kTogetherAhead : fetchAheadOf(a), gap = next - a.scalesOffset;
  // Factors at once, if some are wanted before all values are read.
  if (a.groups > kWaiting)
    for (int p = 0; p < P; ++p)
      for (int64_t i = a.scalesOffset; i < a.panelBytes; i += 64)
        fetchLine(panel[p] + i);
  int64_t column = 0;
  for (int64_t g = 0; g < a.groups;) {
    const int64_t first = g, last = a.groups - g >= kWaiting ? g + kWaiting : a.groups;
    for (int64_t group = first; group < last; ++group) {
      RowSums<Bits> isum[P];
      VI init{};
      if constexpr (M == IntOffset::none)
        init = set1(loadInt(x + a.xSums + 4 * group)) << int(a.zeroShift);
      for (RowSums<Bits> &sum : isum) {
        sum.even = sum.even.start(init);
        sum.odd = sum.odd.start(VI{});
      }
      for (int64_t end = column + a.group; column < end; column += kUnit) {
        const int64_t at = column * 2 * Bits, fetched = at + ahead + (at + ahead >= a.scalesOffset ? gap : 0);
        if constexpr (P > 1) {
          addUnits<Bits>(isum, panel, at, fetched, x + column);
        } else {
          for (int i = 0; i < Bits; ++i)
            fetchLine(panel[0] + fetched + i * 64);
          addUnit<Bits, false>(isum[0], panel[0] + at, x + column);
        }
      }
      for (int p = 0; p < P; ++p)
        waiting[p][group - first] = dotTotal(isum[p].even, init) + dotTotal(isum[p].odd, VI{});
    }
    for (; g < last; ++g) {
      float xScale = loadFloat(x + a.xScales + 4 * (g >> a.scaleShift)), negated = 0;
      if constexpr (M != IntOffset::none)
        negated = float(loadInt(x + a.xSums + 4 * g));
      const bool ends = ((g + 1) & (together - 1)) == 0;
      for (int p = 0; p < P; ++p) {
        VF isum = toFloat(waiting[p][g - first]),
           scales = kSharesRow<Bits, M> ? eitherScales<Bits>(a, panel[p], g) : groupScales<Bits, S, M>(a, panel[p], g);
        if (together == 1) {
          acc[p] = fma(isum, scales * set1(xScale), acc[p]);
          if constexpr (M != IntOffset::none)
            acc[p] = fma(groupOffsets<Bits, M>(a, panel[p], g, scales), set1(negated * xScale), acc[p]);
          continue;
        }
        part[p] = fma(isum, scales, part[p]);
        if constexpr (M != IntOffset::none)
          offset[p] = fma(groupOffsets<Bits, M>(a, panel[p], g, scales), set1(negated), offset[p]);
        if (!ends)
          continue;
        if constexpr (M != IntOffset::none)
          part[p] = part[p] + offset[p];
        acc[p] = fma(part[p], set1(xScale), acc[p]);
        part[p] = offset[p] = zero();
      }
    }
  }
  for (int p = 0; p < P; ++p)
    store(sums + p * kLanes, acc[p]);
}

/// The same of super-blocks, each of which meets two scales of x.
template <int Bits, IntScale S, IntOffset M>
void dotSuperRow(const LinearInt &a, const uint8_t *x, const uint8_t *const *panels, int64_t, float *sums) {
  constexpr SuperBlock kBlock = kSuperBlock<Bits, M>;
  constexpr bool kHalves = superGroup(Bits) < kUnit, kOffsets = M != IntOffset::none;
  constexpr int64_t kScaled = 128; // Columns that share a scale of x.
  const uint8_t *xSums = x + a.xSums, *xScale = x + a.xScales;
  const int64_t ahead = fetchAheadOf(a);
  VF acc = zero();
  const uint8_t *panel = *panels;
  for (const uint8_t *end = panel + a.panelBytes; panel < end; panel += kBlock.bytes)
    for (int64_t begin = 0; begin < kSuperColumns; begin += kScaled, xScale += 4) {
      VI integers{};
      VF part = zero(), offset = zero();
      auto addGroup = [&](int64_t g, VI isum) __attribute__((always_inline)) {
        if constexpr (kIntegers<Bits, S>)
          integers += isum * groupFactors<Bits, S, M>(panel, g);
        else
          part = fma(toFloat(isum), groupScales<Bits, S, M>(a, panel, g), part);
        if constexpr (kOffsets)
          offset = fma(groupOffsets<Bits, M>(a, panel, g, zero()), set1(float(loadInt(xSums))), offset);
        xSums += 4;
      };
      for (int64_t column = begin; column < begin + kScaled; column += kUnit, x += kUnit) {
        RowSums<Bits> isum;
        VI init[2] = {};
        if constexpr (!kOffsets) {
          init[0] = set1(loadInt(xSums)) << int(a.zeroShift);
          if constexpr (kHalves)
            init[1] = set1(loadInt(xSums + 4)) << int(a.zeroShift);
        }
        isum.even = isum.even.start(init[0]);
        isum.odd = isum.odd.start(init[1]);
        fetchUnit<Bits, S, M>(panel + ahead, column);
        addUnit<Bits, kHalves>(isum, unitAt<Bits, S, M>(panel, column), x);
        VI first = dotTotal(isum.even, init[0]), second = dotTotal(isum.odd, init[1]);
        const int64_t g = column / superGroup(Bits);
        if constexpr (kHalves) {
          addGroup(g, first);
          addGroup(g + 1, second);
        } else {
          addGroup(g, first + second);
        }
      }
      part = (kIntegers<Bits, S> ? toFloat(integers) : part) * superScales<Bits, M>(panel, 0);
      if constexpr (kOffsets)
        part = fma(offset, superOffsets<Bits, M>(panel, 0), part);
      acc = fma(part, set1(loadFloat(xScale)), acc);
    }
  store(sums, acc);
}

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
