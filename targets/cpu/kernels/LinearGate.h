//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The end of a gated `linear`: activation(gate) * up, in f32 or quantized.
//
#pragma once

#include "targets/cpu/kernels/LinearOutput.h"
#include "targets/cpu/simd/Activation.h"
#include "targets/cpu/simd/Quantize.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

/// Rows [rowBegin, rowEnd) of the columns of panel `panel`, from its sums and those of its pair.
[[gnu::noinline]] void writeGated(const LinearOutput &o, int64_t rowBegin, int64_t rowEnd, int64_t panel,
                                  const LinearScratch &s) {
  int64_t column = panel * kPanelColumns, left = o.columns - column;
  int64_t at = o.quantized ? column % o.group : 0;
  // Locals: a store of a vector could otherwise change them.
  const VF gateBias = o.bias ? loadPart(o.bias + column, left) : zero(),
           upBias = o.bias ? loadPart(o.bias + o.columns + column, left) : zero();
  const float *sums = s.acc;
  float *out = o.quantized ? s.gated + at : o.out + rowBegin * o.stride + column;
  const int64_t outStride = o.quantized ? o.group : o.stride, some = o.quantized ? kLanes : left;
  const bool biased = o.bias, alone = o.expert == LinearOutput::alone;
  const Act act = Act(o.activation);
  for (int64_t row = rowBegin; row < rowEnd; ++row, sums += kStride, out += outStride) {
    VF gate = load(sums), up = load(sums + kLanes);
    if (biased) {
      gate = gate + gateBias;
      up = up + upBias;
    }
    VF v = activateUsually<Act::silu>(act, gate);
    if (!alone)
      v = v * up;
    storePart(out, v, some);
  }
  if (!o.quantized || (at + kPanelColumns < o.group && panel + 1 < o.gatePanels))
    return;
  int64_t begin = column - at, group = begin / o.group, valid = at + (left < kPanelColumns ? left : kPanelColumns);
  for (int64_t row = rowBegin; row < rowEnd; ++row) {
    uint8_t *out = o.quantized + row * o.stride;
    quantizeGroup(s.gated + (row - rowBegin) * o.group, valid, o.group, o.sumGroup, out + begin,
                  out + o.scalesOffset + 4 * group, out + o.sumsOffset + 4 * group * (o.group / o.sumGroup));
  }
}

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
