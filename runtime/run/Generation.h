//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What a generation takes and gives, whoever computes it: `mlc run` and `mlc interpret` share it.
//
#pragma once

#include "runtime/llm/Generate.h"
#include "runtime/run/Draft.h"

#include <optional>

namespace mlc::cli {

/// The options that both commands have.
struct GenerationArguments {
  const char *prompt = nullptr, *promptFile = nullptr, *tokens = nullptr, *logits = nullptr;
  uint64_t maxTokens = 256, topK = 0;
  bool ignoreEnd = false, json = false;
  SamplingOptions sampling;

  /// Combinations that no table sees: one prompt at most, options in range, standard input only when it is no terminal
  /// or `chat` reads it.
  Parsed check(const char *command, bool chat = false);
};

#define MLC_GENERATION_OPTIONS(ARGUMENTS)                                                                              \
  {"prompt", "TEXT", "the prompt", OptionKind::text, &(ARGUMENTS).prompt},                                             \
      {"prompt-file", "F", "the prompt is the text of F (less one final newline)", OptionKind::text,                   \
       &(ARGUMENTS).promptFile},                                                                                       \
      {"tokens", "1,2,3", "the prompt as token ids, taken as they are", OptionKind::text, &(ARGUMENTS).tokens},        \
      {"max-tokens", "N", "most new tokens (default 256; 0: until the context is full)", OptionKind::count,            \
       &(ARGUMENTS).maxTokens},                                                                                        \
      {"temperature", "T", "0, the default, is greedy", OptionKind::real, &(ARGUMENTS).sampling.temperature},          \
      {"top-k", "K", "sample from the K likeliest tokens", OptionKind::count, &(ARGUMENTS).topK, 0, 1 << 24},          \
      {"top-p", "P", "sample from the fewest tokens that reach P together", OptionKind::real,                          \
       &(ARGUMENTS).sampling.topP},                                                                                    \
      {"min-p", "P", "drop tokens less likely than P times the likeliest", OptionKind::real,                           \
       &(ARGUMENTS).sampling.minP},                                                                                    \
      {"repeat-penalty", "R", "penalty of tokens that were there before (1: none)", OptionKind::real,                  \
       &(ARGUMENTS).sampling.repetitionPenalty},                                                                       \
      {"seed", "N", "of the sampling (default 0)", OptionKind::count, &(ARGUMENTS).sampling.seed},                     \
      {"logits", "F.npy", "write the logits of every position, [n, vocab] f32", OptionKind::text,                      \
       &(ARGUMENTS).logits},                                                                                           \
      {"ignore-eos", nullptr, "go on past end tokens", OptionKind::flag, &(ARGUMENTS).ignoreEnd}, {                    \
    "json", nullptr, "one JSON object on stdout", OptionKind::flag, &(ARGUMENTS).json                                  \
  }

/// Where the tokens go: text or ids on stdout, or both kept for --json; logits into the file.
class GenerationOutput {
public:
  /// `tokenizer` may be null; it and `arguments` outlive this.
  GenerationOutput(const Tokenizer *tokenizer, const GenerationArguments &arguments);
  /// The text goes on where the prompt ends: a leading space stays, half a character is completed.
  Status open(std::span<const int32_t> prompt, size_t vocab);
  /// False when nobody takes the text any more.
  bool token(int32_t id);
  Status logits(std::span<const float> row) { return npy.row(row); }
  /// The end of the text, the file of logits, the JSON object; an error when not all of it was taken. `speculation` may
  /// be null.
  Status finish(const GenerateResult &result, double loadMs, const SpeculationStats *speculation = nullptr);

private:
  TextSink sink();
  Status printJson(const GenerateResult &result, double loadMs, const SpeculationStats *speculation) const;

  const GenerationArguments &arguments;
  std::optional<Decoder> decoder;
  Buffer<int32_t> ids;
  Buffer<char> kept;
  NpyWriter npy;
  int writeError = 0; // errno of the first write to stdout that failed.
  bool lost = false;  // No memory for something that --json would print.
};

/// The prompt's ids from whichever option gives them, else from standard input. `file` names the model for messages.
Status readPrompt(const char *file, const Tokenizer *tokenizer, const GenerationArguments &arguments,
                  Buffer<int32_t> &ids);

} // namespace mlc::cli
