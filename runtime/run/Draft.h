//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// `--draft`: what opens a draft beside a model, and what speculation tells about itself.
//
#pragma once

#include "runtime/llm/speculate/Drafters.h"
#include "runtime/llm/speculate/Speculator.h"
#include "runtime/run/Common.h"

#include <optional>

namespace mlc::cli {

struct DraftArguments {
  const char *draft = nullptr, *draftTokens = nullptr;
  unsigned fixed = 0; // The number that --draft-tokens gives; 0: auto.

  bool wanted() const;
  /// The draft's artifact; empty with ngram alone.
  std::string_view file() const;
  bool ngram() const;
  /// Reads --draft-tokens.
  Parsed check();
};

#define MLC_DRAFT_OPTIONS(ARGUMENTS)                                                                                   \
  {"draft", "D.mlca|ngram|none", "a smaller model, or the text itself (ngram), drafts tokens; D.mlca,ngram: both",     \
   OptionKind::text, &(ARGUMENTS).draft},                                                                              \
  {                                                                                                                    \
    "draft-tokens", "auto|N", "tokens of a draft, 1 to 16 (default auto: as many as pay)", OptionKind::text,           \
        &(ARGUMENTS).draftTokens                                                                                       \
  }

void warnOfLargeDraft(const Model &target, const Model &draft);

/// The draft's model and session, if one is wanted, and what speculates with them.
class DraftSession {
public:
  /// Errors name the file. `target` outlives this; the draft runs on its threads.
  Status open(Session &target, const SessionArguments &session, const DraftArguments &arguments);
  bool active() const { return speculator.has_value(); }
  /// With the draft where there is one.
  Result<GenerateResult> generate(Session &target, SequenceId sequence, std::span<const int32_t> prompt,
                                  const GenerateOptions &options);
  const SpeculationStats *stats() const { return active() ? &speculator->stats() : nullptr; }

private:
  Owned<Model> model;
  Owned<Session> session;
  Drafters drafters;
  std::optional<Speculator> speculator;
};

/// The object `speculation`.
void printSpeculation(JsonWriter &json, const SpeculationStats &stats);

} // namespace mlc::cli
