//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What an engine counts, for /metrics: taken as one consistent copy at any time.
//
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace mlc::server {

/// Counts of times by fixed upper bounds in seconds, as Prometheus has them.
struct Histogram {
  static constexpr std::array<double, 18> kBounds = {0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,
                                                     0.15,  0.25,   0.5,   1,    2.5,  5,    10,   30,   60};
  /// counts[i]: values <= kBounds[i] and above the bound before; the last one: all others. Not cumulative.
  std::array<uint64_t, kBounds.size() + 1> counts{};
  double sum = 0;
  uint64_t count = 0;

  void add(double seconds);
};

struct EngineStats {
  // Counters, from the engine's start.
  uint64_t accepted = 0;
  uint64_t refusedFull = 0;  // The queue was full.
  uint64_t finished[5] = {}; // By FinishReason.
  uint64_t promptTokens = 0, cachedTokens = 0, completionTokens = 0;
  uint64_t processedTokens = 0; // Through the model, what was computed again included.
  uint64_t steps = 0;
  uint64_t cacheLookups = 0, cacheHits = 0, cacheEvictions = 0;
  uint64_t preemptions = 0; // Sequences that gave their memory up and were computed again.
  // Of speculation; 0 without a draft.
  uint64_t draftedTokens = 0, acceptedTokens = 0;
  uint64_t draftFailures = 0; // Answers that went on without a draft because it failed.

  // Now.
  uint64_t queued = 0, running = 0;          // Requests.
  uint64_t sequences = 0, sequencesUsed = 0; // Slots.
  uint64_t cacheEntries = 0;
  uint64_t kvBytes = 0, kvBytesUsed = 0; // Of the pool; what the cache keeps included.
  bool draining = false;

  Histogram firstToken;  // From submit to the first token.
  Histogram interToken;  // Between two tokens of a choice.
  Histogram queueTime;   // From submit to the first step.
  Histogram requestTime; // From submit to the end.
  Histogram stepTime;
};

} // namespace mlc::server
