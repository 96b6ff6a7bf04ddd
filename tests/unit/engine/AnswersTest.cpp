//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Answers of many requests at once are those of each alone.
//
#include "runtime/server/engine/Scores.h"
#include "tests/unit/engine/EngineSupport.h"

#include <atomic>
#include <thread>

namespace mlc::server {
namespace {

using namespace mlc::test;

/// Prompts of all lengths, of which many begin alike.
std::vector<Request> mixedRequests(std::mt19937 &random, size_t count) {
  std::vector<int32_t> shared = randomTokens(random, 90, 67);
  std::vector<Request> requests;
  for (size_t i = 0; i < count; ++i) {
    std::vector<int32_t> prompt;
    if (i % 3)
      prompt.assign(shared.begin(), shared.begin() + ptrdiff_t(random() % shared.size()));
    std::vector<int32_t> own = randomTokens(random, 1 + random() % 60, 67);
    prompt.insert(prompt.end(), own.begin(), own.end());
    Request request = makeRequest(prompt, 1 + random() % 40);
    request.ignoreEnd = i % 2;
    request.fairnessKey = i % 5;
    requests.push_back(std::move(request));
  }
  return requests;
}

Request copyOf(const Request &request) { return request; }

void expectSoloAnswers(const Model &model, EngineOptions options, std::vector<Request> requests) {
  std::unique_ptr<Engine> engine = makeEngine(model, options);
  std::vector<std::shared_ptr<Recorder>> sinks(requests.size());
  // From several threads, as connections do.
  std::vector<std::thread> clients;
  std::atomic<size_t> next{0};
  for (int client = 0; client < 4; ++client)
    clients.emplace_back([&] {
      for (size_t i; (i = next++) < requests.size();)
        sinks[i] = submit(*engine, copyOf(requests[i]));
    });
  for (std::thread &client : clients)
    client.join();
  for (size_t i = 0; i < requests.size(); ++i) {
    Recorder::Choice &choice = sinks[i]->wait().choices[0];
    ASSERT_EQ(choice.ids(), soloAnswer(model, requests[i])) << "request " << i;
    EXPECT_EQ(sinks[i]->done.usage.promptTokens, requests[i].prompt.size());
    EXPECT_EQ(sinks[i]->done.usage.completionTokens, choice.tokens.size() + (choice.end.stopToken >= 0));
    EXPECT_EQ(choice.end.reason,
              choice.tokens.size() == requests[i].maxTokens ? FinishReason::length : FinishReason::stop);
  }
  EXPECT_TRUE(engine->waitIdle(20000));
  EngineStats stats = engine->stats();
  EXPECT_EQ(stats.accepted, requests.size());
  EXPECT_EQ(stats.running + stats.queued, 0u);
  EXPECT_EQ(stats.firstToken.count, requests.size());
}

TEST(EngineAnswers, SixtyFourAtOnceAreGreedyAnswersAlone) {
  ServedModel served;
  std::mt19937 random(1);
  EngineOptions options;
  options.session.threads = 2;
  expectSoloAnswers(*served.model, options, mixedRequests(random, 64));
}

TEST(EngineAnswers, SampledAnswersAreThoseAlone) {
  ServedModel served;
  std::mt19937 random(2);
  std::vector<Request> requests = mixedRequests(random, 24);
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].sampling.temperature = 0.5f + float(i) / 16;
    requests[i].sampling.topK = i % 4 ? 0 : 5;
    requests[i].sampling.topP = i % 3 ? 1 : 0.9f;
    requests[i].sampling.repetitionPenalty = i % 5 ? 1 : 1.3f;
    requests[i].sampling.frequencyPenalty = i % 7 ? 0 : 0.5f;
    requests[i].sampling.seed = i;
  }
  expectSoloAnswers(*served.model, {}, std::move(requests));
}

TEST(EngineAnswers, SmallStepsGiveTheSame) {
  ServedModel served;
  std::mt19937 random(3);
  EngineOptions options;
  options.session.batch = 3;
  options.session.sequences = 5;
  options.stepMs = 0.001; // Every step is as small as it may be.
  expectSoloAnswers(*served.model, options, mixedRequests(random, 24));
}

TEST(EngineAnswers, LogprobsAreTheModelsOwn) {
  ServedModel served;
  std::mt19937 random(4);
  Request request = makeRequest(randomTokens(random, 30, 67), 12);
  request.ignoreEnd = true;
  request.logprobs = 3;
  request.echo = true;
  request.promptLogprobs = 2;
  request.sampling.temperature = 1;
  request.sampling.presencePenalty = 1;
  request.bias = {{5, 4.0f}};
  std::unique_ptr<Engine> engine = makeEngine(*served.model);
  auto other = submit(*engine, makeRequest(randomTokens(random, 40, 67), 60));
  auto sink = submit(*engine, copyOf(request));
  sink->wait();
  other->wait();
  ASSERT_EQ(sink->prompt.size(), 30u);
  ASSERT_EQ(sink->choices[0].tokens.size(), 12u);
  std::vector<int32_t> all = request.prompt;
  for (const SeenToken &token : sink->choices[0].tokens)
    all.push_back(token.token);
  std::vector<float> plain = plainLogits(*served.model, all);
  EXPECT_FALSE(sink->prompt[0].scored);
  uint64_t offset = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    bool inPrompt = i < request.prompt.size();
    const SeenToken &token = inPrompt ? sink->prompt[i] : sink->choices[0].tokens[i - request.prompt.size()];
    ASSERT_EQ(token.token, all[i]);
    EXPECT_GE(token.textOffset, offset);
    offset = token.textOffset;
    if (!i)
      continue;
    RowScore expected = scoreRow(std::span(plain).subspan((i - 1) * 67, 67), all[i], inPrompt ? 2 : 3);
    ASSERT_TRUE(token.scored) << i;
    ASSERT_EQ(token.logprob, expected.logprob) << i;
    ASSERT_EQ(token.top.size(), expected.top.size());
    for (size_t k = 0; k < expected.top.size(); ++k) {
      EXPECT_EQ(token.top[k].token, expected.top[k].token);
      EXPECT_EQ(token.top[k].logprob, expected.top[k].logprob);
    }
  }
}

TEST(EngineAnswers, ScoresOfARow) {
  std::vector<float> logits = {1, 3, NAN, 3, -INFINITY, 2};
  RowScore score = scoreRow(logits, 5, 4);
  ASSERT_EQ(score.top.size(), 4u);
  EXPECT_EQ(score.top[0].token, 1);
  EXPECT_EQ(score.top[1].token, 3);
  EXPECT_EQ(score.top[2].token, 5);
  double sum = std::exp(1.0) + 2 * std::exp(3.0) + std::exp(2.0);
  EXPECT_NEAR(score.logprob, 2 - std::log(sum), 1e-6);
  EXPECT_NEAR(score.top[0].logprob, 3 - std::log(sum), 1e-6);
  EXPECT_EQ(scoreRow(logits, 4, 0).logprob, -INFINITY);
}

TEST(EngineAnswers, APromptIsScoredWithoutAnAnswer) {
  ServedModel served;
  std::mt19937 random(5);
  Request request = makeRequest(randomTokens(random, 50, 67), 0);
  request.echo = true;
  request.promptLogprobs = 0;
  std::unique_ptr<Engine> engine = makeEngine(*served.model);
  for (bool scored : {true, false}) {
    Request asked = copyOf(request);
    asked.promptLogprobs = scored ? 0 : -1;
    auto sink = submit(*engine, std::move(asked));
    sink->wait();
    EXPECT_EQ(sink->done.reason, FinishReason::length);
    EXPECT_EQ(sink->done.usage.completionTokens, 0u);
    ASSERT_EQ(sink->prompt.size(), 50u);
    EXPECT_EQ(sink->prompt[49].scored, scored);
    EXPECT_TRUE(sink->choices[0].tokens.empty());
    EXPECT_FALSE(sink->promptText.empty());
  }
}

/// A constraint that allows `tokens` in turn, then the end.
class Fixed : public TokenConstraint {
public:
  virtual ~Fixed() = default;
  Fixed(std::vector<int32_t> tokens, bool endToken) : tokens(std::move(tokens)), endToken(endToken) {}
  Status mask(std::span<uint64_t> allowed) override {
    if (at == tokens.size() && !endToken)
      return Error(ErrorCode::InvalidArgument, "nothing can follow");
    int32_t next = at == tokens.size() ? kEndToken : tokens[at];
    std::fill(allowed.begin(), allowed.end(), 0);
    allowed[size_t(next) / 64] |= uint64_t(1) << (next % 64);
    return {};
  }
  Status accept(int32_t) override {
    ++at;
    return {};
  }
  bool canEnd() const override { return at == tokens.size(); }

private:
  std::vector<int32_t> tokens;
  bool endToken;
  size_t at = 0;
};

TEST(EngineAnswers, AConstraintDecides) {
  ServedModel served;
  std::unique_ptr<Engine> engine = makeEngine(*served.model);
  for (bool endToken : {true, false})
    for (float temperature : {0.0f, 1.0f}) {
      Request request = makeRequest({7, 8, 9}, 20);
      request.n = 2;
      request.sampling.temperature = temperature;
      request.constraint = [=]() -> Result<std::shared_ptr<TokenConstraint>> {
        return std::shared_ptr<TokenConstraint>(std::make_shared<Fixed>(std::vector<int32_t>{5, 66, 8}, endToken));
      };
      auto sink = submit(*engine, std::move(request));
      sink->wait();
      for (uint32_t choice = 0; choice < 2; ++choice) {
        EXPECT_EQ(sink->choices[choice].ids(), (std::vector<int32_t>{5, 66, 8}));
        EXPECT_EQ(sink->choices[choice].end.reason, FinishReason::stop);
      }
    }
  // Fails closed.
  Request request = makeRequest({7, 8, 9}, 20);
  request.constraint = []() -> Result<std::shared_ptr<TokenConstraint>> {
    struct Broken : Fixed {
      Broken() : Fixed({5, 6}, false) {}
      bool canEnd() const override { return false; }
    };
    return std::shared_ptr<TokenConstraint>(std::make_shared<Broken>());
  };
  auto sink = submit(*engine, std::move(request));
  sink->wait();
  EXPECT_EQ(sink->done.reason, FinishReason::error);
  EXPECT_EQ(sink->message, "nothing can follow");
}

TEST(EngineAnswers, EmbeddingsAreFinalHiddenStates) {
  // The head's rows times the last position's state are its logits.
  for (fb::WeightFormat format : {fb::WeightFormat::rows_f32, fb::WeightFormat::panel_f32}) {
    TinyOptions tiny = servedOptions();
    tiny.format = format;
    ServedModel served(tiny);
    std::mt19937 random(6);
    std::vector<int32_t> prompt = randomTokens(random, 40, 67);
    std::unique_ptr<Engine> engine = makeEngine(*served.model);
    must(engine->embeddingSupport());
    ASSERT_EQ(engine->embeddingSize(), tiny.hidden);
    auto embed = [&](Pooling pooling, size_t tokens) {
      Request request = makeRequest({prompt.begin(), prompt.begin() + ptrdiff_t(tokens)}, 1);
      request.kind = RequestKind::embed;
      request.pooling = pooling;
      auto sink = submit(*engine, std::move(request));
      EXPECT_EQ(sink->wait().done.reason, FinishReason::stop);
      return sink->embedding;
    };
    std::vector<double> mean(tiny.hidden, 0);
    for (size_t i = 1; i <= prompt.size(); ++i) {
      std::vector<float> last = embed(Pooling::last, i);
      ASSERT_EQ(last.size(), tiny.hidden);
      for (size_t k = 0; k < last.size(); ++k)
        mean[k] += double(last[k]) / double(prompt.size());
    }
    std::vector<float> pooled = embed(Pooling::mean, prompt.size());
    for (size_t k = 0; k < pooled.size(); ++k)
      EXPECT_NEAR(double(pooled[k]), mean[k], 1e-6);
    if (format != fb::WeightFormat::rows_f32)
      continue;
    TinyModel made = makeTinyModel(tiny);
    const fb::ConstantT *head = nullptr;
    for (const auto &constant : made.metadata.constants)
      if (constant->name.find("head") != std::string::npos)
        head = constant.get();
    ASSERT_NE(head, nullptr);
    std::vector<float> last = embed(Pooling::last, prompt.size()), logits = plainLogits(*served.model, prompt);
    auto *weights = reinterpret_cast<const float *>(made.weights.data() + head->offset);
    for (size_t token = 0; token < 67; ++token) {
      double sum = 0;
      for (size_t k = 0; k < last.size(); ++k)
        sum += double(weights[token * tiny.hidden + k]) * double(last[k]);
      EXPECT_NEAR(sum, double(logits[39 * 67 + token]), 1e-4);
    }
  }
}

} // namespace
} // namespace mlc::server
