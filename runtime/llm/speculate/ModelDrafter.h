//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A smaller model that drafts, on a session of its own.
//
#pragma once

#include "runtime/llm/speculate/Drafter.h"

namespace mlc {

/// Refuses a draft whose vocabulary is not that of the target, token by token; the error names both files.
Status checkVocabulary(const Model &target, const Model &draft);

class ModelDrafter final : public Drafter {
public:
  /// `draft` is used by nobody else and outlives this; its vocabulary is the target's (checkVocabulary). Refuses a
  /// context that is not that of the target's session. Cancelling the target also ends what the draft reads. All but
  /// the sampler of a generation is allocated here.
  static Result<ModelDrafter *> create(Session &draft, const Session &target);
  static void destroy(ModelDrafter *drafter);

  Status start(const GenerateOptions &options, std::span<const int32_t> text) override;
  Status read(size_t most) override;
  bool begin(std::span<const int32_t> text) override;
  Result<bool> next(double uniform, Draft &draft) override;
  size_t behind() const override { return text.size() - skipped - fed - 1; }
  /// How much of `other` it has read already, from the beginning.
  size_t agreement(std::span<const int32_t> other) const;
  void leaveOut(size_t most) override { skipped += behind() > most ? behind() - most : 0; }
  const Claims &claims() const override;
  double costShare() const override { return share; }

private:
  ModelDrafter(Session &session, const Session &target) : session(session), target(target) {}
  Status keep(size_t length);
  Status settle();
  void know(std::span<const int32_t> settled);
  Result<std::span<const float>> feed(std::span<const int32_t> tokens);

  Session &session;
  const Session &target;
  double share = 0;
  size_t vocab = 0; // Ids that both models know.
  SequenceId sequence = SequenceId::none;
  Sampler sampler;
  float temperature = 0;
  OwnedArray<int32_t> held;        // What the sequence has read.
  size_t fed = 0;                  // Of these, the ones that are still the text's.
  size_t skipped = 0;              // Tokens of the text that were left out, somewhere before the last one read.
  OwnedArray<float> distributions; // [kMaxDraftTokens][vocab]
  OwnedArray<Sampler::Candidate> candidates;
  std::span<const int32_t> text;
  size_t counted = 0; // Tokens of the text that the sampler has seen.
  size_t count = 0;
  int32_t drafted[kMaxDraftTokens] = {};
  bool unknown = false; // The text has a token that the draft does not know.
};

} // namespace mlc
