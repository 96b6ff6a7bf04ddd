//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// How fast a model runs, beside the ceilings of the machine measured in the same run.
//
#pragma once

#include "runtime/llm/Ceilings.h"
#include "runtime/llm/Session.h"

namespace mlc {

struct BenchOptions {
  uint64_t prompt = 512, tokens = 128, depth = 0;
  unsigned repetitions = 5;
};

constexpr unsigned kMaxBenchRepetitions = 100;

struct Spread {
  double median = 0, min = 0, max = 0;
};
/// Of at least one value; sorts them.
Spread spreadOf(std::span<double> values);

struct BenchResult {
  Spread promptTokensPerSecond, tokensPerSecond;
  uint64_t weightBytesPerToken = 0;
  Ceilings ceilings;
  double fractionOfBandwidth = 0;  // Median over the repetitions, each beside the bandwidth measured just before it.
  uint64_t stateBytesPerToken = 0; // Of recurrent states: read by every token, written by one of a page.
  /// A snapshot, a rollback of one token and the snapshot's release, and by how much a step behind them is longer than
  /// the same step without.
  Spread snapshotUs;
  double snapshotStepFraction = 0;
  double fractionOfPeak = 0; // 2 * weights * tokens/s of the prompt over the int8 peak.
};

/// Uses one sequence of the session. Prompt and generated tokens are each timed behind options.depth tokens alone: the
/// generated ones do not stand behind the prompt.
Result<BenchResult> bench(Session &session, const BenchOptions &options);

} // namespace mlc
