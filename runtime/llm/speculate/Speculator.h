//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Speculative decoding: a drafter proposes tokens, the target reads them all in one step, and a rule keeps those that
// leave the target's distribution as it is. With temperature 0 the tokens are those of generate(), bit for bit.
//
#pragma once

#include "runtime/llm/speculate/Drafting.h"

namespace mlc {

struct SpeculationOptions {
  /// Tokens of every draft, at most kMaxDraftTokens; 0: as many as pay.
  unsigned draftTokens = 0;
  /// What is drawn where a drafted token did not stay. Anything but drawResidual is wrong: tests show that they notice.
  Redraw redraw = drawResidual;
  /// Milliseconds, which the lengths follow that are chosen.
  double (*clock)() = monotonicMs;
};

/// Counts of all generations so far.
struct SpeculationStats {
  uint64_t rounds = 0;    // Steps of the target that verified at least one drafted token.
  uint64_t drafted = 0;   // Tokens that were verified.
  uint64_t accepted = 0;  // Of these, the ones that stayed.
  uint64_t rollbacks = 0; // Rounds in which one did not.
  /// By place in the draft: how often its token was judged (all before it had stayed), and stayed.
  uint64_t judged[kMaxDraftTokens] = {}, stayed[kMaxDraftTokens] = {};
  /// Rounds by drafted tokens; [0]: plain steps.
  uint64_t lengths[kMaxDraftTokens + 1] = {};
  /// Of drafting, without the prompt; of the target's steps that verified; of its plain ones; of the draft's prompt; of
  /// going back.
  double draftMs = 0, verifyMs = 0, plainMs = 0, draftPromptMs = 0, rollbackMs = 0;

  double meanAccepted() const { return rounds ? double(accepted) / double(rounds) : 0; }
};

class Speculator {
public:
  /// `target` and the drafters, at most Drafting::kMostDrafters, outlive it. Refuses more draft tokens than the
  /// target's steps take. Nothing is allocated afterwards but the samplers of a generation.
  static Result<Speculator> create(Session &target, std::span<Drafter *const> drafters,
                                   const SpeculationOptions &options = {});
  /// As generate() of Generate.h, and the sequence ends up the same. Of several drafters each round takes the one that
  /// promises more. GenerateOptions::history lets the draft see what the sequence holds already.
  ///
  /// The numbers drawn for a token are functions of the seed and the token's place, so a run with a fixed number of
  /// draft tokens repeats; one that follows the clock repeats with temperature 0 only.
  Result<GenerateResult> generate(SequenceId sequence, std::span<const int32_t> prompt, const GenerateOptions &options);
  const SpeculationStats &stats() const { return counts; }

private:
  struct Round;
  Speculator(Session &target, const SpeculationOptions &options) : target(&target), options(options) {}
  Result<LogitsView> verify(SequenceId sequence, const Round &round, unsigned &drafted);
  Result<unsigned> judgeAll(Round &round, LogitsView logits, unsigned drafted);
  void count(unsigned drafted, unsigned stayed, double ms);

  Session *target;
  SpeculationOptions options;
  Drafting drafting;
  unsigned longest = 0; // Draft that a step of the target takes.
  VerifyCosts costs;
  LengthPolicy policy;
  SpeculationStats counts;
  OwnedArray<int32_t> text, rows;
};

} // namespace mlc
