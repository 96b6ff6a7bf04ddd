//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A model that is served: its engine, and what turns requests into token ids and constraints.
//
#pragma once

#include "runtime/llm/chat/ChatTemplate.h"
#include "runtime/llm/grammar/Grammar.h"
#include "runtime/server/api/Requests.h"
#include "runtime/server/engine/Engine.h"

namespace mlc::server {

/// What a model answers to and where it comes from.
struct ModelSource {
  std::string name, file;
};

class ServedModel {
public:
  /// Opens the artifact and starts its engine. Error messages begin with the file.
  static Result<std::shared_ptr<ServedModel>> load(const ModelSource &source, const EngineOptions &options,
                                                   const ModelOptions &modelOptions);

  const std::string &name() const { return modelName; }
  Engine &engine() const { return *theEngine; }
  const Model &model() const { return *theModel; }
  int64_t created() const { return since; }
  /// Changes when the answers may: "mlc-" and the artifact's digest.
  const std::string &fingerprint() const { return digest; }

  // The preparing thread alone. All throw ApiError.
  /// A prompt's ids, of the model and within the context.
  std::vector<int32_t> encode(const Prompt &prompt, const std::string &param);
  std::vector<int32_t> encodeText(std::string_view text, const std::string &param, EncodeOptions options);
  std::vector<int32_t> encodeChat(const ChatRequest &request);
  std::string decode(std::span<const int32_t> tokens, bool skipSpecial) const;
  /// Makes the constraints of a request's candidates; empty for none. The grammar is compiled here.
  std::function<Result<std::shared_ptr<TokenConstraint>>()> constraint(const GrammarFields &grammar);

  // Any thread.
  /// The bytes that a token stands for, special ones as they are spelt.
  std::string_view bytes(int32_t token) const;
  bool isSpecial(int32_t token) const;

private:
  const Tokenizer &needTokenizer() const;
  void checkTokens(std::span<const int32_t> tokens, const std::string &param) const;

  std::string modelName, digest;
  int64_t since = 0;
  Owned<Model> theModel;
  std::optional<Encoder> encoder;
  Owned<ChatPrompt> chat;
  std::string noChat; // Why there is none.
  std::shared_ptr<TokenTrie> trie;
  std::vector<uint32_t> ends;
  std::unique_ptr<Engine> theEngine; // Goes first.
};

} // namespace mlc::server
