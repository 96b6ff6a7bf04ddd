//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The end of `linear`: sums, then bias, then residual, each rounded.
//
#pragma once

#include "targets/cpu/simd/Simd.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

/// Columns [column, column + columns) of output row `row` from their sums; those beyond n are dropped.
template <typename Linear>
MLC_SIMD void writeOutput(const Linear &a, int64_t row, int64_t column, int64_t columns, const float *sums) {
  for (int64_t c = 0; c < columns; c += kLanes) {
    int64_t n = column + c, left = a.n - n;
    VF v = load(sums + c);
    if (a.bias)
      v = v + loadPart(a.bias + n, left);
    if (a.residual)
      v = v + loadPart(a.residual + row * a.residualStride + n, left);
    storePart(a.out + row * a.outStride + n, v, left);
  }
}

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
