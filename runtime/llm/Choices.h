//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// How likely a model finds each of some ways to go on: what multiple-choice benchmarks compare.
//
#pragma once

#include "runtime/llm/Session.h"

namespace mlc {

/// `tokens` are those of the whole text; the last ones, from `scored` (>= 1) on, are the choice's own.
struct Choice {
  std::span<const int32_t> tokens;
  size_t scored;
};

/// Scores the choices of one question after another. What the choices begin with alike is fed once and forked; so is
/// what a question begins with like the one before it. Nothing is shared where the RoPE form depends on a text's
/// length, and little where the session has one sequence. Uses the session's sequences; the session outlives it.
class ChoiceScorer {
public:
  static Result<ChoiceScorer> create(Session &session);
  ChoiceScorer(ChoiceScorer &&other) noexcept;
  ChoiceScorer &operator=(ChoiceScorer &&other) = delete;
  ~ChoiceScorer();

  /// logLikelihoods[i] = sum over the tokens t of choice i from `scored` on of log p(t | what stands before it), nats.
  Status score(std::span<const Choice> choices, std::span<double> logLikelihoods);
  /// Tokens fed so far.
  uint64_t tokensFed() const { return fed; }

private:
  struct Lane {
    SequenceId sequence;
    size_t choice, at; // The next token to feed; all are fed before the choice's last.
    bool live;
  };
  explicit ChoiceScorer(Session &session) : session(&session) {}
  Status scoreTogether(std::span<const Choice> choices, std::span<double> logLikelihoods);
  Status advance(std::span<const int32_t> prefix, int64_t formLength, std::span<const float> &last);
  Status start(Lane &lane, std::span<const int32_t> prefix, int64_t formLength);
  Status branch(std::span<const Choice> choices, size_t shared, int64_t formLength, std::span<double> logLikelihoods);
  Status stepLanes(std::span<const Choice> choices, std::span<double> logLikelihoods);
  void drop(SequenceId &sequence);

  Session *session;
  SequenceId sequence = SequenceId::none; // Holds the first `heldCount` tokens of `held`.
  size_t heldCount = 0;
  OwnedArray<int32_t> held, rows;
  OwnedArray<Lane> lanes;
  OwnedArray<StepSegment> segments;
  OwnedArray<uint32_t> laneOf;
  uint64_t fed = 0;
};

} // namespace mlc
