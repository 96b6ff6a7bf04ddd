//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// How many tokens to draft. Everything is measured as the text goes: what a step of n tokens costs the target, what a
// token costs the draft, and how likely the draft's tokens stay, by position and by the draft's confidence. With E(m)
// the tokens expected of a round of m drafted ones and C(m) its time, the best rate is rho = max E(m) / C(m), m = 0
// among them; a draft goes on as long as what another token is expected to bring is worth more than rho times its time
// (optimal stopping of a renewal reward process). docs/speculation.md derives it. Where nothing was measured yet, a
// step over two drafted tokens is, or over some more of which the draft is sure; a plain one as soon as a token does
// not stay.
//
// Speculation that loses is paid from a budget: a share of the time of plain decoding, and what it won lately. With the
// budget spent the text goes on plainly; old observations count less and less, so that drafts are tried again later.
//
#pragma once

#include "runtime/llm/speculate/Drafter.h"

#include <algorithm>

namespace mlc {

/// What the steps of a round would take, by the tokens drafted for one sequence. Others may share the step.
struct RoundCosts {
  /// Milliseconds of a step with so many drafted tokens of this sequence.
  double ms[kMaxDraftTokens + 1] = {};
  /// Most drafted tokens that are worth a try: further on costs are too uncertain.
  unsigned reach = 0;
  /// No step was measured yet; none without a draft.
  bool unknown = false, plainUnknown = false;
  /// Of the other sequences of the step: the tokens expected of it, and milliseconds of drafting that they took.
  double others = 0, before = 0;

  double plain() const { return ms[0]; }
  /// Tokens per millisecond without a draft of this sequence.
  double plainRate() const { return (1 + others) / (before + ms[0]); }
};

/// Milliseconds of a target's step by its number of tokens.
class VerifyCosts {
public:
  /// Of one sequence alone. Its reach is twice what was measured, so that no guess is far off.
  RoundCosts round() const;
  /// What was never measured lies on a line through the nearest ones that were. What was measured a few times and is
  /// above that line is drawn towards it: first times are slow ones, and what looks dear is not tried again.
  double at(unsigned tokens) const;
  void learn(unsigned tokens, double measured);
  /// A step over `tokens` of a prompt, which computes logits of its last token alone.
  void learnPrompt(size_t tokens, double measured);

private:
  double line(unsigned tokens) const;

  double ms[kMaxDraftTokens + 2] = {};
  unsigned seen[kMaxDraftTokens + 2] = {}; // How often.
  unsigned largest = 0;                    // Of those seen.
  unsigned plainSteps = 0;
  size_t promptTokens = 0; // 0: none were seen.
  double promptMs = 0;
};

/// What is known of one drafter.
class DraftEstimate {
public:
  /// `costShare`, `claims`: of the Drafter, until something is measured.
  explicit DraftEstimate(double costShare = 0, const Claims &claims = kEvenClaims) : share(costShare), claims(claims) {}

  /// The chance that the token at `position` (from 0) stays when all before it did. `confidence`: kConfidenceClasses
  /// where it is not known yet.
  double acceptance(unsigned position, unsigned confidence) const;
  void learn(unsigned position, unsigned confidence, bool stayed);
  /// A step passed without a draft of this kind: what is known becomes a little less certain.
  void forget();
  /// A drafted token's cost in plain steps, as the Drafter says.
  double costShare() const { return share; }
  /// Milliseconds of one drafted token, and of `tokens` that are read before the first.
  double tokenMs(double plainMs) const { return token >= 0 ? token : share * plainMs; }
  double readMs(size_t tokens, double plainMs) const;
  void learnCost(size_t behind, double ms);
  /// `tokens` were read ahead of a draft in `ms`.
  void learnRead(size_t tokens, double ms);

private:
  /// Successes of trials, the old ones discounted.
  struct Tally {
    float stayed = 0, tried = 0;
    void add(bool success, float memory);
    double rate(double prior, double weight) const { return (stayed + prior * weight) / (tried + weight); }
  };
  Tally recent, positions[kMaxDraftTokens], classes[kConfidenceClasses];
  double share, token = -1, read = -1;
  Claims claims;
};

class LengthPolicy {
public:
  struct Plan {
    unsigned length = 0; // 0: do not draft.
    unsigned most = 0;   // What the budget bears, should confidence ask for more than `length`.
    double rate = 0;     // Expected tokens per millisecond.
  };

  /// A round of at most `most` drafted tokens, with `behind` tokens to read before. `confidence`: of all of them,
  /// where it is known.
  Plan plan(const RoundCosts &costs, const DraftEstimate &estimate, unsigned most, size_t behind,
            unsigned confidence) const;
  /// Whether a plain step has to be measured (again) before the next round.
  bool wantsPlain(const RoundCosts &costs) const;

  /// Whether the budget bears `ms` that may be in vain.
  bool affords(double ms) const { return ms <= budget / 2; }

  /// Begins a draft of a round that is to reach `rate`.
  void begin(double rate) {
    wanted = rate;
    reach = expectedTokens = 1;
  }
  /// Whether to draft another token behind `drafted`.
  bool goesOn(const RoundCosts &costs, const DraftEstimate &estimate, unsigned drafted, unsigned most,
              unsigned confidence) const;
  /// Whether the token just drafted behind `drafted` others is worth its place in the target's step.
  bool keeps(const RoundCosts &costs, const DraftEstimate &estimate, unsigned drafted, unsigned most,
             unsigned confidence);
  /// Tokens that the sequence is expected to get of the round, by what keeps() has seen.
  double expected() const { return expectedTokens; }

  /// What a round came to.
  struct Round {
    bool drafted = false; // Tokens were verified,
    bool tried = false;   // or at least a drafter was asked.
    bool fell = false;    // One that was verified did not stay.
    unsigned sequences = 1;
    unsigned tokens = 1; // That came out.
    double ms = 0;       // All of it,
    double plainMs = 0;  // and a step without drafts.
  };
  void learn(const Round &round);

private:
  double worth(const RoundCosts &costs, const DraftEstimate &estimate, unsigned drafted, unsigned most,
               unsigned confidence) const;

  double wanted = 0; // Tokens per millisecond, of the round in progress.
  double reach = 1;  // The chance that all drafted so far stay.
  double expectedTokens = 1;
  double budget = 0;  // Milliseconds that may be lost.
  double won = 1;     // The last round's planned rate over the plain one.
  bool begun = false; // A round was learnt,
  bool fell = false;  // and of the last one a token did not stay.
  unsigned roundsSincePlain = 0;
};

} // namespace mlc
