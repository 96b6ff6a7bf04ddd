//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The machine's ceilings that a result is held against, measured with all threads of a pool: reading memory, products
// in registers. Other work on the machine can only lower them, so the best of several passes counts.
//
#pragma once

#include "runtime/core/WorkerPool.h"

namespace mlc {

struct Ceilings {
  double readBandwidthGbS = 0; // 10^9 bytes a second, out of a buffer far beyond the caches.
  double int8PeakGopS = 0;     // 10^9 multiplies and adds a second; the same below.
  double f32PeakGflopS = 0;
  double bf16PeakGflopS = 0; // 0: this CPU has no bf16 products.
};

/// All of them, in about a second. OutOfMemory when there is no room for the buffer.
Result<Ceilings> measureCeilings(WorkerPool &pool);

Result<double> measureReadBandwidth(WorkerPool &pool);
double measureInt8Peak(WorkerPool &pool);
double measureF32Peak(WorkerPool &pool);
double measureBf16Peak(WorkerPool &pool);

} // namespace mlc
