//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The drafts of one text: of several drafters each round takes the one that promises more, and what is measured of each
// is kept here.
//
#pragma once

#include "runtime/llm/speculate/LengthPolicy.h"

namespace mlc {

/// Most tokens of a draft of which `target` can verify all in one step; `wanted`, when it is not 0. Refuses what it
/// cannot.
Result<unsigned> longestDraft(const Session &target, unsigned wanted);

class Drafting {
public:
  static constexpr size_t kMostDrafters = 2;

  Drafting() = default;
  /// The drafters outlive it. At most kMostDrafters. `clock`: milliseconds.
  explicit Drafting(std::span<Drafter *const> drafters, double (*clock)() = monotonicMs);

  /// Before a generation; `text` as in Drafter::start.
  Status start(const GenerateOptions &options, std::span<const int32_t> text);
  /// Begins a round: `text` is what is settled now; as Drafter::begin.
  void begin(std::span<const int32_t> text);
  /// What the drafters are behind is read: at most `most` tokens of each.
  Status read(size_t most);
  /// Most tokens that a drafter is behind, and what reading so many takes.
  size_t behind() const;
  double readMs(size_t tokens, double plainMs) const;
  /// Leaves out all but the last `most` of them.
  void leaveOut(size_t most);

  struct Limits {
    unsigned most = 0;     // Tokens of a draft.
    bool automatic = true; // As many as pay; else as many as the drafter has.
  };
  /// Drafts behind the text of begin() and gives how many there are. `place`: of the first one in the answer.
  Result<unsigned> draft(LengthPolicy &policy, const RoundCosts &costs, uint64_t seed, uint64_t place,
                         const Limits &limits);
  const Draft &operator[](unsigned i) const { return drafts[i]; }
  /// Whether a drafter was asked in this round.
  bool tried() const { return source; }

  /// The i-th drafted token was judged.
  void learn(unsigned i, bool stayed) { source->estimate.learn(i, drafts[i].confidence, stayed); }
  /// The round is over; what did not draft in it is known a little less.
  void endRound(bool drafted);

private:
  struct Source {
    Drafter *drafter = nullptr;
    DraftEstimate estimate;
    bool ready = false; // Has something to propose.
  };
  std::span<Source> all() { return {sources, count}; }
  std::span<const Source> all() const { return {sources, count}; }

  Source sources[kMostDrafters];
  size_t count = 0;
  double (*clock)() = monotonicMs;
  Source *source = nullptr; // Of the round in progress.
  Draft drafts[kMaxDraftTokens];
};

} // namespace mlc
