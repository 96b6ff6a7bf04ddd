//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A tiny model with a tokenizer, a sink that keeps everything, and what the engine's answers are compared with.
//
#pragma once

#include "runtime/llm/Generate.h"
#include "runtime/server/engine/Engine.h"
#include "tests/unit/session/SessionSupport.h"

#include <condition_variable>
#include <map>
#include <mutex>

namespace mlc::test {

constexpr int32_t kEndToken = 2;

/// Texts of `count` tokens: letters and pairs of letters, spaces, a character cut into its bytes, U+2581 whole; token 2
/// is special.
inline std::vector<std::string> tinyTexts(size_t count) {
  std::vector<std::string> texts = {"\xc3", "\xa9", "<end>", " ", "\xe2\x96\x81", "ab", "ba", "aab", "a", "b", "\xff"};
  while (texts.size() < count)
    texts.push_back(std::string(1, char('c' + texts.size() % 20)) + (texts.size() % 3 ? "" : "a"));
  texts.resize(count);
  return texts;
}

/// Tables that decode; they encode nothing.
inline std::unique_ptr<fb::TokenizerT> tinyTokenizer(size_t vocab) {
  auto tables = std::make_unique<fb::TokenizerT>();
  tables->version = tokenizerVersion;
  tables->kind = fb::TokenizerKind::byte_bpe;
  tables->byte_tokens.assign(256, Tokenizer::none);
  tables->token_flags.assign(vocab, 0);
  tables->token_flags[size_t(kEndToken)] = tokenSpecial;
  tables->offsets = {0};
  for (const std::string &text : tinyTexts(vocab)) {
    tables->bytes.insert(tables->bytes.end(), text.begin(), text.end());
    tables->offsets.push_back(uint32_t(tables->bytes.size()));
  }
  return tables;
}

inline TinyOptions servedOptions() {
  TinyOptions options;
  options.sequences = 8;
  return options;
}

struct ServedModel {
  explicit ServedModel(const TinyOptions &options = servedOptions()) {
    TinyModel made = makeTinyModel(options);
    made.metadata.tokenizer = tinyTokenizer(options.vocab);
    bytes = modelBytes(made);
    model = Owned<Model>(must(Model::fromMemory(bytes.span())));
  }
  AlignedBytes bytes;
  Owned<Model> model;
};

/// One token of a choice, owned.
struct SeenToken {
  int32_t token;
  bool scored;
  float logprob;
  std::string bytes;
  uint64_t textOffset;
  std::vector<server::TokenScore> top;
};

class Recorder : public server::Sink {
public:
  struct Choice {
    std::string text;
    std::vector<SeenToken> tokens;
    server::FinishEvent end;
    bool finished = false;
    std::vector<int32_t> ids() const {
      std::vector<int32_t> all;
      for (const SeenToken &token : tokens)
        all.push_back(token.token);
      return all;
    }
  };

  void onPrompt(const server::PromptEvent &event) override {
    std::lock_guard guard(lock);
    promptText = event.text;
    append(prompt, event.tokens);
  }
  bool onTokens(const server::TokensEvent &event) override {
    {
      std::lock_guard guard(lock);
      choices[event.choice].text += event.text;
      append(choices[event.choice].tokens, event.tokens);
      EXPECT_FALSE(isDone) << "tokens after the end";
    }
    return !tokensSeen || tokensSeen(event);
  }
  void onFinish(const server::FinishEvent &event) override {
    std::lock_guard guard(lock);
    EXPECT_FALSE(choices[event.choice].finished);
    choices[event.choice].finished = true;
    choices[event.choice].end = event;
  }
  void onEmbedding(std::span<const float> values) override {
    std::lock_guard guard(lock);
    embedding.assign(values.begin(), values.end());
  }
  void onDone(const server::DoneEvent &event) override {
    std::lock_guard guard(lock);
    EXPECT_FALSE(isDone) << "ended twice";
    done = event;
    message = event.message;
    isDone = true;
    changed.notify_all();
  }
  /// The end of the request; a test that waits a minute has failed.
  Recorder &wait() {
    std::unique_lock guard(lock);
    EXPECT_TRUE(changed.wait_for(guard, std::chrono::seconds(60), [&] { return isDone; })) << "never ended";
    return *this;
  }

  /// Called outside of the recorder's lock.
  std::function<bool(const server::TokensEvent &)> tokensSeen;
  std::map<uint32_t, Choice> choices;
  std::string promptText, message;
  std::vector<SeenToken> prompt;
  std::vector<float> embedding;
  server::DoneEvent done;
  bool isDone = false;

private:
  static void append(std::vector<SeenToken> &to, std::span<const server::TokenInfo> tokens) {
    for (const server::TokenInfo &token : tokens)
      to.push_back({token.token,
                    token.scored,
                    token.logprob,
                    std::string(token.bytes),
                    token.textOffset,
                    {token.top.begin(), token.top.end()}});
  }
  std::mutex lock;
  std::condition_variable changed;
};

inline std::unique_ptr<server::Engine> makeEngine(const Model &model, server::EngineOptions options = {}) {
  return must(server::Engine::create(model, options));
}

/// Submits, or fails the test.
inline std::shared_ptr<Recorder> submit(server::Engine &engine, server::Request request,
                                        server::RequestId *id = nullptr) {
  auto sink = std::make_shared<Recorder>();
  server::Submission submission = engine.submit(std::move(request), sink);
  EXPECT_EQ(int(submission.outcome), int(server::Submission::Outcome::accepted)) << submission.message;
  if (id)
    *id = submission.id;
  return sink;
}

inline server::Request makeRequest(std::vector<int32_t> prompt, uint64_t maxTokens) {
  server::Request request;
  request.prompt = std::move(prompt);
  request.maxTokens = maxTokens;
  return request;
}

/// What a session gives that has nothing else to do.
inline std::vector<int32_t> soloAnswer(const Model &model, const server::Request &request, uint32_t candidate = 0) {
  SessionOptions options;
  options.sequences = 1;
  Owned<Session> session = makeSession(model, options);
  SequenceId sequence = must(session->createSequence(int64_t(request.prompt.size())));
  std::vector<int32_t> tokens;
  GenerateOptions generation;
  generation.maxTokens = request.maxTokens;
  generation.sampling = request.sampling;
  generation.sampling.seed = server::candidateSeed(request.sampling.seed, candidate);
  generation.ignoreEnd = request.ignoreEnd;
  generation.context = &tokens;
  generation.onToken = [](void *context, int32_t token) {
    static_cast<std::vector<int32_t> *>(context)->push_back(token);
    return true;
  };
  must(generate(*session, sequence, request.prompt, generation));
  return tokens;
}

} // namespace mlc::test
