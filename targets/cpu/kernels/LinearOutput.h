//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The end of `linear`: a worker's scratch, and what becomes of the sums.
//
#pragma once

#include "targets/cpu/kernels/Linear.h"
#include "targets/cpu/simd/Activation.h"
#include "targets/cpu/simd/Simd.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

/// The parts of a worker's scratch (linearScratchBytes).
struct LinearScratch {
  float *acc;     // [rowTile][32]: the sums of two panels.
  uint8_t *tile;  // Unpacked weights.
  float *factors; // Their scales and offsets.
  float *supers;  // DotBlock::supers.
  float *gated;   // [rowTile][group]: one group of columns before it is quantized.
  LinearScratch(uint8_t *scratch, int64_t rowTile) {
    acc = reinterpret_cast<float *>(scratch);
    tile = scratch + rowTile * kPanelsTogether * kPanelColumns * 4;
    factors = reinterpret_cast<float *>(tile + kLinearTileBytes);
    supers = factors + kLinearFactors;
    gated = supers + kLinearSupers;
  }
};

/// As writeOutput, for the experts of a mixture.
[[gnu::noinline]] void writeExpert(const LinearOutput &o, int64_t rowBegin, int64_t rowEnd, int64_t panel,
                                   int64_t panels, const LinearScratch &s) {
  bool scatter = o.expert == LinearOutput::scatter, multiply = o.expert == LinearOutput::multiply;
  for (int64_t row = rowBegin; row < rowEnd; ++row)
    for (int64_t p = 0; p < panels; ++p) {
      int64_t n = (panel + p) * kPanelColumns, left = o.columns - n;
      VF v = load(s.acc + (row - rowBegin) * kStride + p * kLanes);
      float *out = o.out + (scatter ? o.targets[row] : row) * o.stride + n;
      if (scatter)
        v = fma(set1(o.factors[row]), v, loadPart(out, left));
      else if (multiply)
        v = activateUsually<Act::silu>(Act(o.activation), loadPart(out, left)) * v;
      else
        v = activateUsually<Act::silu>(Act(o.activation), v);
      storePart(out, v, left);
    }
}

/// Rows [rowBegin, rowEnd) of the columns of `panels` panels from `panel` on, from their sums; without a gate.
static void writeOutput(const LinearOutput &o, int64_t rowBegin, int64_t rowEnd, int64_t panel, int64_t panels,
                        const LinearScratch &s) {
  if (o.expert)
    return writeExpert(o, rowBegin, rowEnd, panel, panels, s);
  for (int64_t row = rowBegin; row < rowEnd; ++row)
    for (int64_t p = 0; p < panels; ++p) {
      int64_t n = (panel + p) * kPanelColumns, left = o.columns - n;
      VF v = load(s.acc + (row - rowBegin) * kStride + p * kLanes);
      if (o.bias)
        v = v + loadPart(o.bias + n, left);
      if (o.residual)
        v = v + loadPart(o.residual + row * o.residualStride + n, left);
      storePart(o.out + row * o.stride + n, v, left);
    }
}

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
