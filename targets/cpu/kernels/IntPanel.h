//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Panels of small integers as the forms read them: 32 columns of 16 outputs as 8 quads of bytes, and a group's scales
// and offsets. docs/kernels.md lays out the planes.
//
#pragma once

#include "targets/cpu/kernels/Linear.h"
#include "targets/cpu/simd/Dot.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

constexpr int64_t kUnit = 32; // Columns of one unit.
constexpr int lowBits(int bits) { return bits == 8 ? 8 : bits >= 4 ? 4 : 2; }

/// Where a panel's bytes of column `column` (a multiple of 32) begin in its two planes.
struct Planes {
  const uint8_t *low, *high;
};
template <int Bits> MLC_SIMD Planes planesAt(const LinearInt &a, const uint8_t *panel, int64_t column) {
  return {panel + column * 2 * lowBits(Bits), panel + a.highOffset + column * 2 * (Bits - lowBits(Bits))};
}

/// The 8 quads of a unit, as unsigned bytes.
template <int Bits> MLC_SIMD void loadUnit(Planes p, VB (&quads)[8]) {
  if constexpr (Bits == 8) {
    for (int q = 0; q < 8; ++q)
      quads[q] = loadBytes(p.low + q * 64);
  } else if constexpr (Bits >= 4) {
    for (int i = 0; i < 4; ++i) {
      VB packed = loadBytes(p.low + i * 64);
      quads[2 * i] = packed & 15;
      quads[2 * i + 1] = packed >> 4;
    }
  } else {
    for (int i = 0; i < 2; ++i) {
      VB packed = loadBytes(p.low + i * 64);
      for (int q = 0; q < 4; ++q)
        quads[4 * i + q] = (packed >> (2 * q)) & 3;
    }
  }
  if constexpr (Bits == 6) {
    for (int i = 0; i < 2; ++i) {
      VB packed = loadBytes(p.high + i * 64);
      quads[4 * i] |= (packed << 4) & 0x30;
      quads[4 * i + 1] |= (packed << 2) & 0x30;
      quads[4 * i + 2] |= packed & 0x30;
      quads[4 * i + 3] |= (packed >> 2) & 0x30;
    }
  } else if constexpr (Bits == 5 || Bits == 3) {
    VB packed = loadBytes(p.high);
    for (int q = 0; q < 8; ++q)
      quads[q] |= ((packed >> q) & 1) << lowBits(Bits);
  }
}

constexpr bool isSuper(IntScale s) { return s == IntScale::super || s == IntScale::superSigned; }
/// Of a format whose scales are super: 128 columns of |q - zero| * |factor| * 127 stay below 2^24 with up to 4 bits.
constexpr Scaling superScaling(int bits) { return bits <= 4 ? Scaling::shared : Scaling::integers; }

/// Where scales are super: the integers that group g of a panel has.
template <IntScale S> MLC_SIMD VI groupFactors(const LinearInt &a, const uint8_t *panel, int64_t g) {
  const uint8_t *sub = panel + a.subScalesOffset + g * 16;
  return S == IntScale::superSigned ? loadI8(sub) : loadU8(sub);
}
/// Scales of group g; those integers where they are super.
template <IntScale S> MLC_SIMD VF groupScales(const LinearInt &a, const uint8_t *panel, int64_t g) {
  if constexpr (isSuper(S))
    return toFloat(groupFactors<S>(a, panel, g));
  const uint8_t *at = panel + a.scalesOffset + g * 32;
  return S == IntScale::bf16 ? loadBf16(at) : loadF16(at);
}
/// What super scales are multiplied by.
MLC_SIMD VF superScales(const LinearInt &a, const uint8_t *panel, int64_t g) {
  return loadF16(panel + a.scalesOffset + (g >> a.superShift) * 32);
}

/// What is taken off each weight of group g: w = scale * q - offset. Where it is super, a factor of superOffsets.
template <IntOffset M> MLC_SIMD VF groupOffsets(const LinearInt &a, const uint8_t *panel, int64_t g, VF scales) {
  if constexpr (M == IntOffset::zeroPoint)
    return scales * toFloat(loadI8(panel + a.offsetsOffset + g * 16));
  else if constexpr (M == IntOffset::f16)
    return loadF16(panel + a.offsetsOffset + g * 32);
  else if constexpr (M == IntOffset::super)
    return toFloat(loadU8(panel + a.subOffsetsOffset + g * 16));
  return zero();
}
MLC_SIMD VF superOffsets(const LinearInt &a, const uint8_t *panel, int64_t g) {
  return loadF16(panel + a.offsetsOffset + (g >> a.superShift) * 32);
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
