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
  for (int64_t row = rowBegin; row < rowEnd; ++row) {
    const float *sums = s.acc + (row - rowBegin) * kStride;
    VF gate = load(sums), up = load(sums + kLanes);
    if (o.bias) {
      gate = gate + loadPart(o.bias + column, left);
      up = up + loadPart(o.bias + o.columns + column, left);
    }
    VF v = activateUsually<Act::silu>(Act(o.activation), gate);
    if (o.expert != LinearOutput::alone)
      v = v * up;
    if (o.quantized)
      store(s.gated + (row - rowBegin) * o.group + at, v);
    else
      storePart(o.out + row * o.stride + column, v, left);
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
