//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// `mlc bench --draft`: generation with drafts beside generation without.
//
#pragma once

#include "runtime/llm/Bench.h"
#include "runtime/run/Generation.h"

namespace mlc::cli {

/// What `mlc bench` takes besides with --draft.
struct DraftBenchArguments {
  DraftArguments draft;
  GenerationArguments generation; // The prompt, and how to sample.

  /// One prompt with a draft, none without; only what --draft measures. `given`: bits of the command's options.
  Parsed check(std::span<const Option> options, uint64_t given);
};

/// A line of text, and an object.
void printSpread(const char *name, const Spread &spread);
void printSpread(JsonWriter &json, const char *key, const Spread &values);

/// Generates options.tokens tokens behind the prompt, with and without the draft in turns, options.repetitions times.
/// The draft keeps what it has measured from one time to the next, as in a server. Errors name the file.
Status benchDraft(const Model &model, const SessionArguments &session, const BenchOptions &options,
                  const DraftBenchArguments &arguments, bool asJson);

} // namespace mlc::cli
