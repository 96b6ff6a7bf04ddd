//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Weights multiplied by their group's integer factor, as tiles take them: bytes of the low and of the high half of 16
// bits, so that one product of tiles runs over groups with different factors. The low plane is unsigned, the high one
// signed: w = low + 256 * high.
//
#pragma once

#include "targets/cpu/kernels/Linear.h"
#include "targets/cpu/simd/Simd.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

constexpr int64_t kScaledColumns = 64;                          // Of one product.
constexpr int64_t kPlaneBytes = kScaledColumns * kPanelColumns; // Of one plane of them.
constexpr int64_t kScaledGroup = 128;                           // Columns that share a scale of x.

/// Where the low quads of `column` (a multiple of 4) lie; the high ones follow kPlaneBytes behind.
MLC_SIMD uint8_t *scaledQuads(uint8_t *quads, int64_t column) {
  return quads + column / kScaledColumns * 2 * kPlaneBytes + column % kScaledColumns * kPanelColumns;
}

/// (q - zero) * factor of four quads, whose 16 outputs have a factor each.
MLC_SIMD void scaleQuads(const VB *quads, VI factors, uint16_t zero, uint8_t *low) {
  typedef uint16_t VU16 __attribute__((vector_size(64)));
  const VU16 factor = (VU16)((factors & 0xffff) | (factors << 16)), taken = factor * zero;
  for (int i = 0; i < 4; ++i, low += 64) {
    // Columns 0 and 2 of a quad, and 1 and 3.
    const VU16 even = ((VU16)quads[i] & 0xff) * factor - taken, odd = ((VU16)quads[i] >> 8) * factor - taken;
    const VU16 lows = (even & 0xff) | (odd << 8), highs = (even >> 8) | (odd & 0xff00);
    __builtin_memcpy(low, &lows, sizeof lows);
    __builtin_memcpy(low + kPlaneBytes, &highs, sizeof highs);
  }
}

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
