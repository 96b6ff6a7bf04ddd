//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the products of integers are written to, fetched before their sums are done.
//
#pragma once

#include "targets/cpu/kernels/Linear.h"
#include "targets/cpu/simd/Simd.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

/// Fetches a part of what a block of `count` rows from row `r` on writes to: step `at` of `steps`.
MLC_SIMD void fetchRows(const DotBlock &b, int64_t r, int64_t count, int64_t at, int64_t steps) {
  for (const auto &fetched : b.fetched) {
    if (!fetched.data)
      return;
    for (int64_t i = count * at / steps; i < count * (at + 1) / steps; ++i)
      for (int c = 0; c < kPanelsTogether; ++c)
        __builtin_prefetch(fetched.data + (r + i) * fetched.stride + c * kLanes, 1);
  }
}

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
