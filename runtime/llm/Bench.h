//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// How fast a model runs, beside the ceilings of the machine measured in the same run.
//
#pragma once

#include "runtime/llm/Session.h"

namespace mlc {

struct BenchOptions {
  uint64_t prompt = 512, tokens = 128, depth = 0;
  unsigned repetitions = 5;
};

struct Spread {
  double median = 0, min = 0, max = 0;
};

struct BenchResult {
  Spread promptTokensPerSecond, tokensPerSecond;
  uint64_t weightBytesPerToken = 0;
  double readBandwidthGbS = 0, fractionOfBandwidth = 0;
  double int8PeakGopS = 0, fractionOfPeak = 0; // 2 * weights * tokens/s of the prompt over the peak.
};

/// Uses one sequence of the session; options.depth tokens come before what is timed.
Result<BenchResult> bench(Session &session, const BenchOptions &options);

/// GB/s of reading a buffer far beyond the caches with all threads.
Result<double> measureReadBandwidth(WorkerPool &pool);
/// 10^9 int8 multiplies and adds a second in registers with all threads (vpdpbusd, vpmaddubsw or portable).
double measureInt8Peak(WorkerPool &pool);

} // namespace mlc
