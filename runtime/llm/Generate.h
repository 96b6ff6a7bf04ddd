//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The generation loop: the prompt in steps of at most `batch` tokens, then one token a step until an end token, the
// token limit, the context or a cancellation.
//
#pragma once

#include "runtime/llm/Sampler.h"
#include "runtime/llm/StepDrawing.h"

namespace mlc {

enum class FinishReason : uint8_t { stop = 0, length = 1, cancelled = 2 };
/// "stop", "length" or "cancelled".
const char *finishReasonName(FinishReason reason);

struct GenerateOptions {
  uint64_t maxTokens = 0; // New tokens; 0: until the context is full.
  bool ignoreEnd = false; // Goes on past end tokens (and then hands them over).
  SamplingOptions sampling;
  std::span<const LogitBias> bias;
  /// What the sequence holds already, for the repetition penalty.
  std::span<const int32_t> history;
  /// Each new token, end tokens left out; false cancels. May be null.
  bool (*onToken)(void *context, int32_t token) = nullptr;
  /// Logits of every position fed, in order: prompt + new - 1 rows. May be null.
  Status (*onLogits)(void *context, std::span<const float> row) = nullptr;
  void *context = nullptr;
};

struct GenerateResult {
  FinishReason finish = FinishReason::length;
  uint64_t promptTokens = 0, tokens = 0; // New tokens without the end token.
  uint64_t decodeSteps = 0;
  double promptMs = 0, firstTokenMs = 0, generateMs = 0;
  double promptTokensPerSecond() const { return promptMs > 0 ? double(promptTokens) * 1e3 / promptMs : 0; }
  double tokensPerSecond() const { return generateMs > 0 ? double(decodeSteps) * 1e3 / generateMs : 0; }
};

/// Continues `sequence` with `prompt` (at least one token). Session::requestCancel ends it with
/// FinishReason::cancelled. firstTokenMs is from the call to the first token; generateMs covers the steps after it.
Result<GenerateResult> generate(Session &session, SequenceId sequence, std::span<const int32_t> prompt,
                                const GenerateOptions &options);

/// Feeds `tokens` and gives the logits of the last one, valid until the next step, or what `draws` makes of them; hands
/// those of all to options.onLogits where it is given, and then draws nothing. `rows`: room for Session::maxRows()
/// numbers. Without tokens: no logits.
Result<LogitsView> feedPrompt(Session &session, SequenceId sequence, std::span<const int32_t> tokens,
                              const GenerateOptions &options, std::span<int32_t> rows, const StepDraws &draws = {});

/// Whether `prompt` can follow what `sequence` holds: not empty, ids of the vocabulary, inside the context.
Status checkPrompt(const Session &session, SequenceId sequence, std::span<const int32_t> prompt);

/// Cancellation is an outcome of a generation, every other error stays one.
Result<GenerateResult> cancelledOr(const Error &error, GenerateResult result);

/// Milliseconds of the monotonic clock.
double monotonicMs();

} // namespace mlc
