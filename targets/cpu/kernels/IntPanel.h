//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Panels of small integers as the forms read them: 32 columns of 16 outputs as 8 quads of bytes, and a group's scales
// and offsets. docs/kernels.md lays out the values.
//
#pragma once

#include "targets/cpu/kernels/Linear.h"
#include "targets/cpu/simd/Dot.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

constexpr bool isSuper(IntScale s) { return s == IntScale::super || s == IntScale::superSigned; }
/// Of a format whose scales are super: the columns of a group, and where the parts of 256 columns lie.
constexpr int64_t superGroup(int bits) { return bits == 4 || bits == 5 ? 32 : 16; }
template <int Bits, IntOffset M>
inline constexpr SuperBlock kSuperBlock = superBlock(Bits, superGroup(Bits), M != IntOffset::none);

/// Where the unit of column `column` (a multiple of 32) begins in a panel.
template <int Bits, IntScale S, IntOffset M> MLC_SIMD const uint8_t *unitAt(const uint8_t *panel, int64_t column) {
  if constexpr (isSuper(S)) {
    panel += column / kSuperColumns * kSuperBlock<Bits, M>.bytes + kSuperBlock<Bits, M>.values;
    column %= kSuperColumns;
  }
  return panel + column * 2 * Bits;
}
/// Fetches a unit of a panel and, of super-blocks, its share of the factors before it.
template <int Bits, IntScale S, IntOffset M> MLC_SIMD void fetchUnit(const uint8_t *panel, int64_t column) {
  const uint8_t *unit = unitAt<Bits, S, M>(panel, column);
  for (int i = 0; i < Bits; ++i)
    fetchLine(unit + i * 64);
  if constexpr (isSuper(S)) {
    const int64_t line = column % kSuperColumns / kUnit * 64;
    if (line < kSuperBlock<Bits, M>.values)
      fetchLine(panel + column / kSuperColumns * kSuperBlock<Bits, M>.bytes + line);
  }
}

/// The 8 quads of a unit, as unsigned bytes.
template <int Bits> MLC_SIMD void loadUnit(const uint8_t *unit, VB (&quads)[8]) {
  if constexpr (Bits == 8) {
    for (int q = 0; q < 8; ++q)
      quads[q] = loadBytes(unit + q * 64);
  } else if constexpr (Bits >= 4) {
    for (int i = 0; i < 4; ++i) {
      VB packed = loadBytes(unit + i * 64);
      quads[2 * i] = packed & 15;
      quads[2 * i + 1] = packed >> 4;
    }
  } else {
    for (int i = 0; i < 2; ++i) {
      VB packed = loadBytes(unit + i * 64);
      for (int q = 0; q < 4; ++q)
        quads[4 * i + q] = (packed >> (2 * q)) & 3;
    }
  }
  [[maybe_unused]] const uint8_t *high = unit + lowBits(Bits) * 64;
  if constexpr (Bits == 6) {
    for (int i = 0; i < 2; ++i) {
      VB packed = loadBytes(high + i * 64);
      quads[4 * i] |= (packed << 4) & 0x30;
      quads[4 * i + 1] |= (packed << 2) & 0x30;
      quads[4 * i + 2] |= packed & 0x30;
      quads[4 * i + 3] |= (packed >> 2) & 0x30;
    }
  } else if constexpr (Bits == 5 || Bits == 3) {
    VB packed = loadBytes(high);
    for (int q = 0; q < 8; ++q)
      quads[q] |= ((packed >> q) & 1) << lowBits(Bits);
  }
}

/// Of a format whose scales are super: 128 columns of |q - zero| * |factor| * 127 stay below 2^24 with up to 4 bits.
constexpr Scaling superScaling(int bits) { return bits <= 4 ? Scaling::shared : Scaling::integers; }
template <int Bits, IntScale S> constexpr bool kIntegers = isSuper(S) && superScaling(Bits) == Scaling::integers;

/// The super-block of group g of a panel, and that group's place in it.
struct SuperPlace {
  const uint8_t *block;
  int64_t group;
};
template <int Bits, IntOffset M> MLC_SIMD SuperPlace superPlace(const uint8_t *panel, int64_t g) {
  constexpr int64_t kGroups = kSuperColumns / superGroup(Bits);
  return {panel + g / kGroups * kSuperBlock<Bits, M>.bytes, g % kGroups};
}
/// Where scales are super: the integers that group g of a panel has.
template <int Bits, IntScale S, IntOffset M> MLC_SIMD VI groupFactors(const uint8_t *panel, int64_t g) {
  SuperPlace at = superPlace<Bits, M>(panel, g);
  const uint8_t *sub = at.block + kSuperBlock<Bits, M>.subScales + at.group * 16;
  return S == IntScale::superSigned ? loadI8(sub) : loadU8(sub);
}
/// Scales of group g; those integers where they are super.
template <int Bits, IntScale S, IntOffset M>
MLC_SIMD VF groupScales(const LinearInt &a, const uint8_t *panel, int64_t g) {
  if constexpr (isSuper(S))
    return toFloat(groupFactors<Bits, S, M>(panel, g));
  const uint8_t *at = panel + a.scalesOffset + g * 32;
  return S == IntScale::bf16 ? loadBf16(at) : loadF16(at);
}
/// What super scales are multiplied by.
template <int Bits, IntOffset M> MLC_SIMD VF superScales(const uint8_t *panel, int64_t g) {
  return loadF16(superPlace<Bits, M>(panel, g).block);
}

/// What is taken off each weight of group g: w = scale * q - offset. Where it is super, a factor of superOffsets.
template <int Bits, IntOffset M>
MLC_SIMD VF groupOffsets(const LinearInt &a, const uint8_t *panel, int64_t g, VF scales) {
  if constexpr (M == IntOffset::zeroPoint) {
    return scales * toFloat(loadI8(panel + a.offsetsOffset + g * 16));
  } else if constexpr (M == IntOffset::f16) {
    return loadF16(panel + a.offsetsOffset + g * 32);
  } else if constexpr (M == IntOffset::super) {
    SuperPlace at = superPlace<Bits, M>(panel, g);
    return toFloat(loadU8(at.block + kSuperBlock<Bits, M>.subOffsets + at.group * 16));
  }
  return zero();
}
template <int Bits, IntOffset M> MLC_SIMD VF superOffsets(const uint8_t *panel, int64_t g) {
  return loadF16(superPlace<Bits, M>(panel, g).block + kSuperBlock<Bits, M>.offsets);
}

/// Calls fn.template operator()<Bits, S, M>() for the panel's format.
template <typename Fn> MLC_SIMD auto withFormat(IntFormat format, const Fn &fn) {
  switch (format) {
  case IntFormat::int8:
    return fn.template operator()<8, IntScale::bf16, IntOffset::none>();
  case IntFormat::int4:
    return fn.template operator()<4, IntScale::bf16, IntOffset::none>();
  case IntFormat::int4Asymmetric:
    return fn.template operator()<4, IntScale::bf16, IntOffset::zeroPoint>();
  case IntFormat::q4_0:
    return fn.template operator()<4, IntScale::f16, IntOffset::none>();
  case IntFormat::q4_1:
    return fn.template operator()<4, IntScale::f16, IntOffset::f16>();
  case IntFormat::q5_0:
    return fn.template operator()<5, IntScale::f16, IntOffset::none>();
  case IntFormat::q5_1:
    return fn.template operator()<5, IntScale::f16, IntOffset::f16>();
  case IntFormat::q8_0:
    return fn.template operator()<8, IntScale::f16, IntOffset::none>();
  case IntFormat::q2_k:
    return fn.template operator()<2, IntScale::super, IntOffset::super>();
  case IntFormat::q3_k:
    return fn.template operator()<3, IntScale::superSigned, IntOffset::none>();
  case IntFormat::q4_k:
    return fn.template operator()<4, IntScale::super, IntOffset::super>();
  case IntFormat::q5_k:
    return fn.template operator()<5, IntScale::super, IntOffset::super>();
  case IntFormat::q6_k:
    break;
  }
  return fn.template operator()<6, IntScale::superSigned, IntOffset::none>();
}

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
