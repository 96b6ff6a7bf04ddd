//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Drafts for the answers in progress: each has a drafter of its own, all draft models are one session. A step that
// takes answers alone also takes as many drafted tokens of each as are expected to pay by what the engine's steps cost.
//
#pragma once

#include "runtime/llm/speculate/Drafters.h"
#include "runtime/server/engine/CostModel.h"
#include "runtime/server/engine/Engine.h"
#include "runtime/server/engine/Job.h"

namespace mlc::server {

/// What drafts for one answer.
struct DraftSlot {
  Drafters drafters;
  Drafting drafting;
  bool taken = false;
};

/// A lane's share of a step.
struct Piece {
  Lane *lane;
  size_t count;
  /// Rows of logits: of every token, of the last, or none.
  size_t rows;
  /// Of `count`, the drafted ones; each has a row.
  unsigned drafted = 0;
};

class Speculation {
public:
  /// Null where `options` ask for no draft. Refuses a draft of another vocabulary or context and more draft tokens than
  /// a step takes. A slot for each of the target's sequences.
  static Result<std::unique_ptr<Speculation>> create(const EngineOptions &options, Session &target);

  /// Gives an answer that begins its drafter: of the free ones that which has read most of it before.
  Status attach(Lane &lane);
  void detach(Lane &lane);
  /// Adds drafted tokens to pieces that are answers, a token each; `shape` is theirs and grows with them. `boundMs`: of
  /// the step.
  Status draft(std::span<Piece> pieces, StepShape &shape, const CostModel &cost, double boundMs);
  /// The step over what draft() gave is over: `tokens` came out in `stepMs`.
  void learn(unsigned tokens, double stepMs);

private:
  explicit Speculation(Session &target) : target(target) {}
  Status readOn(std::span<const Piece> pieces, double ms);
  RoundCosts costsOf(const Lane &lane, const StepShape &shape, const CostModel &cost, double boundMs) const;

  Session &target;
  Owned<Session> session;
  std::vector<std::unique_ptr<DraftSlot>> slots; // Go before the session.
  LengthPolicy policy;
  unsigned most = 0; // Tokens of a draft.
  bool automatic = true;
  // Of the round in progress.
  struct Drafted {
    DraftSlot *slot;
    bool any;
  };
  std::vector<Drafted> inRound;
  unsigned sequences = 0;
  double draftMs = 0, plainMs = 0;
};

} // namespace mlc::server
