//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The machine's ceilings that a result is held against, measured with all threads of a pool: reading memory, products
// in registers. Other work on the machine can only lower them, so the best of several passes counts.
//
#pragma once

#include "runtime/core/Memory.h"
#include "runtime/core/WorkerPool.h"

namespace mlc {

struct Ceilings {
  double readBandwidthGbS = 0; // 10^9 bytes a second, out of a buffer far beyond the caches.
  double int8PeakGopS = 0;     // 10^9 multiplies and adds a second; the same below.
  double f32PeakGflopS = 0;
  double bf16PeakGflopS = 0; // 0: this CPU has no bf16 products.
};

/// The read bandwidth, again and again out of one buffer: some machines' changes from one second to the next, so what
/// is held against it is measured beside it.
class BandwidthMeter {
public:
  /// OutOfMemory when there is no room for the buffer. `pool` outlives it.
  static Result<BandwidthMeter> create(WorkerPool &pool);

  /// 10^9 bytes a second, the best of so many passes: at least 3, for as many ways to read.
  double measure(unsigned passes);

private:
  WorkerPool *pool = nullptr;
  size_t bytes = 0;
  OwnedArray<uint8_t> buffer;
};

/// Those of products, in half a second.
Ceilings measurePeaks(WorkerPool &pool);
double measureInt8Peak(WorkerPool &pool);
double measureF32Peak(WorkerPool &pool);
double measureBf16Peak(WorkerPool &pool);

} // namespace mlc
