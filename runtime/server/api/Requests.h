//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the endpoints take, checked: types, ranges, and which fields go together. Whether token ids are the model's and
// a prompt fits is checked where the model is.
//
#pragma once

#include "runtime/llm/Sampler.h"
#include "runtime/server/api/Fields.h"

#include <variant>

namespace mlc::server {

struct GrammarFields {
  enum class Kind : uint8_t { none, gbnf, jsonSchema, jsonObject } kind = Kind::none;
  std::string text;
  const char *param = ""; // The field it came in.
};

/// What completions and chat completions share.
struct GenerationFields {
  std::string model;
  SamplingOptions sampling;
  std::vector<LogitBias> bias;
  uint32_t n = 1, bestOf = 0;
  int32_t logprobs = -1;
  std::vector<std::string> stops;
  uint64_t maxTokens = 16;
  bool stream = false, includeUsage = false, ignoreEnd = false;
  GrammarFields grammar;
  double deadlineMs = 0;
  std::string user; // Requests of different users take turns.
};

using Prompt = std::variant<std::string, std::vector<int32_t>>;

struct CompletionRequest : GenerationFields {
  std::vector<Prompt> prompts;
  bool echo = false;
};

struct ChatRequest : GenerationFields {
  std::string messages, variables; // JSON, as the chat template takes them.
  bool addGenerationPrompt = true;
};

struct EmbeddingRequest {
  std::string model, user;
  std::vector<Prompt> inputs;
  bool base64 = false, last = false;
  int64_t dimensions = 0; // 0: the model's.
};

struct TokenizeRequest {
  std::string model, text;
  bool addSpecial = true, parseSpecial = true, pieces = false;
};

struct DetokenizeRequest {
  std::string model;
  std::vector<int32_t> tokens;
  bool skipSpecial = false;
};

// Each throws ApiError.
CompletionRequest readCompletion(const Json &body, bool lenient);
ChatRequest readChat(const Json &body, bool lenient);
EmbeddingRequest readEmbedding(const Json &body, bool lenient);
TokenizeRequest readTokenize(const Json &body, bool lenient);
DetokenizeRequest readDetokenize(const Json &body, bool lenient);

// Parts of them.
constexpr size_t kMaxPrompts = 2048;
/// A string, a list of strings, a list of ids or a list of lists of ids.
std::vector<Prompt> readPrompts(const Json &value, const std::string &param);
std::vector<int32_t> readTokens(const Json &value, const std::string &param);
/// Everything in GenerationFields that has the same name and meaning in both; maxTokens and logprobs are not among it.
void readGeneration(Fields &fields, GenerationFields &out);

} // namespace mlc::server
