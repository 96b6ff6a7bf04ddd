//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A tile of a panel of integers, unpacked for the products of several rows: quads of bytes, or scaled planes, and the
// groups' factors.
//
#pragma once

#include "targets/cpu/kernels/IntPanel.h"
#include "targets/cpu/kernels/ScaledPlanes.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

/// Groups [begin, end) of `panel` and where they go: DotBlock::w, and factors and supers, of two panels interleaved.
/// What lies at `next` (null: the products fetch it) is fetched meanwhile, and as many factors of `nextPanel`.
struct Unpacked {
  const uint8_t *panel, *next, *nextPanel;
  int64_t begin, end;
  uint8_t *quads; // Null: the factors alone are wanted.
  float *factors, *supers;
  bool tiles; // Tiles multiply.
};

// Whether tiles take a format's weights signed, without their zero.
template <int Bits, IntScale S, IntOffset M> constexpr bool kSigned = Bits < 8 && !isSuper(S) && M == IntOffset::none;

template <int Bits, IntScale S, IntOffset M> MLC_SIMD void unpackFactors(const LinearInt &a, const Unpacked &u) {
  const int64_t together = int64_t(1) << a.scaleShift;
  if constexpr (!isSuper(S)) {
    const uint8_t *nextFactors = u.nextPanel + a.scalesOffset;
    const int64_t factorBytes = a.panelBytes - a.scalesOffset;
    for (int64_t i = factorBytes * u.begin / a.groups; i < factorBytes * u.end / a.groups; i += 64)
      fetchLine(nextFactors + i);
  }
  constexpr int64_t kFactors = kLanes * (M != IntOffset::none ? 2 : 1);
  float *factors = u.factors, *supers = u.supers;
  for (int64_t g = u.begin; g < u.end; ++g, factors += kPanelsTogether * kFactors) {
    VF scales;
    if constexpr (kIntegers<Bits, S>)
      scales = (VF)groupFactors<Bits, S, M>(u.panel, g);
    else
      scales = groupScales<Bits, S, M>(a, u.panel, g);
    store(factors, scales);
    if constexpr (M != IntOffset::none)
      store(factors + kLanes, groupOffsets<Bits, M>(a, u.panel, g, scales));
    if constexpr (isSuper(S)) {
      if ((g & (together - 1)) == 0) {
        store(supers, superScales<Bits, M>(u.panel, g));
        if constexpr (M != IntOffset::none)
          store(supers + kLanes, superOffsets<Bits, M>(u.panel, g));
        supers += kPanelsTogether * kFactors;
      }
    }
  }
}

/// Scaled: as planes of (q - zero) * factor, where scales are super.
template <int Bits, IntScale S, IntOffset M, bool Scaled> void unpackPanel(const LinearInt &a, const Unpacked &u) {
  unpackFactors<Bits, S, M>(a, u);
  if (Bits == 8 || !u.quads)
    return;
  [[maybe_unused]] VB zero;
  __builtin_memset(&zero, u.tiles ? 1 << a.zeroShift : 0, sizeof zero);
  const int64_t first = u.begin * a.group;
  for (int64_t column = first; column < u.end * a.group; column += kUnit) {
    VB unit[8];
    if (u.next)
      fetchUnit<Bits, S, M>(u.next, column);
    loadUnit<Bits>(unitAt<Bits, S, M>(u.panel, column), unit);
    if constexpr (Scaled) {
      const uint16_t taken = M == IntOffset::none ? uint16_t(1 << a.zeroShift) : 0;
      for (int half = 0; half < 2; ++half)
        scaleQuads(unit + 4 * half, groupFactors<Bits, S, M>(u.panel, (column + kUnit / 2 * half) / a.group), taken,
                   scaledQuads(u.quads, column - first) + kUnit / 2 * kPanelColumns * half);
    } else {
#if defined(__AVX512F__)
      // Without a branch: nothing is taken off where registers multiply.
      if constexpr (kSigned<Bits, S, M>)
        for (VB &quad : unit)
          quad = quad - zero;
#endif
      __builtin_memcpy(u.quads + (column - first) * kPanelColumns, unit, sizeof unit);
    }
  }
}

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
