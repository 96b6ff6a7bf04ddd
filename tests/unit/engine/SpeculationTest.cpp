//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Answers with drafts are those without: bit for bit at temperature 0, in distribution above.
//
#include "runtime/server/engine/Speculation.h"
#include "tests/unit/engine/EngineSupport.h"
#include "tests/unit/speculate/PairStatistics.h"
#include "tests/unit/speculate/SpeculateSupport.h"
#include "tests/unit/support/Sanitized.h"

using namespace mlc;
using namespace mlc::server;
using namespace mlc::test;

namespace {

/// A served model and a draft that is right about half the time.
struct DraftedModel {
  explicit DraftedModel(const TinyOptions &options = servedOptions(), float noise = 0.6f) : target(options) {
    TinyModel made = makeTinyModel(options);
    made.metadata.tokenizer = tinyTokenizer(options.vocab);
    addNoise(made, noise);
    bytes = modelBytes(made);
    draft = Owned<Model>(must(Model::fromMemory(bytes.span())));
  }
  EngineOptions options(unsigned tokens, bool model = true, bool ngram = false) const {
    EngineOptions options;
    options.draft = {model ? draft.get() : nullptr, ngram, tokens};
    return options;
  }
  ServedModel target;
  AlignedBytes bytes;
  Owned<Model> draft;
};

/// Everything that a client may see of the answers to `requests` at once.
std::vector<std::shared_ptr<Recorder>> answers(const Model &model, const EngineOptions &options,
                                               const std::vector<Request> &requests, EngineStats *stats = nullptr) {
  std::unique_ptr<Engine> engine = makeEngine(model, options);
  std::vector<std::shared_ptr<Recorder>> sinks;
  for (const Request &request : requests)
    sinks.push_back(submit(*engine, Request(request)));
  for (auto &sink : sinks)
    sink->wait();
  if (stats)
    *stats = engine->stats();
  return sinks;
}

void expectSame(Recorder &seen, Recorder &wanted) {
  EXPECT_EQ(seen.done.reason, wanted.done.reason) << seen.message;
  EXPECT_EQ(seen.done.usage.completionTokens, wanted.done.usage.completionTokens);
  ASSERT_EQ(seen.choices.size(), wanted.choices.size());
  for (auto &[index, choice] : wanted.choices) {
    Recorder::Choice &other = seen.choices[index];
    EXPECT_EQ(other.ids(), choice.ids());
    EXPECT_EQ(other.text, choice.text);
    EXPECT_EQ(other.end.reason, choice.end.reason);
    EXPECT_EQ(other.end.stopIndex, choice.end.stopIndex);
    EXPECT_EQ(other.end.stopToken, choice.end.stopToken);
    EXPECT_EQ(other.end.meanLogprob, choice.end.meanLogprob);
    for (size_t i = 0; i < choice.tokens.size(); ++i) {
      EXPECT_EQ(other.tokens[i].logprob, choice.tokens[i].logprob);
      EXPECT_EQ(other.tokens[i].textOffset, choice.tokens[i].textOffset);
    }
  }
}

/// Long and short prompts, stop texts, stop tokens, scores, penalties and several candidates.
std::vector<Request> greedyRequests(size_t count) {
  std::mt19937 random(3);
  std::vector<Request> requests;
  for (size_t i = 0; i < count; ++i) {
    Request request = makeRequest(randomTokens(random, 1 + random() % 60, 67), 1 + random() % 90);
    request.ignoreEnd = i % 3 == 0;
    request.logprobs = i % 2 ? 2 : -1;
    if (i % 4 == 1)
      request.stops = {"ab", "ec"};
    if (i % 5 == 2)
      request.stopTokens = {11, 12};
    if (i % 6 == 3)
      request.sampling.repetitionPenalty = 1.2f;
    request.n = i % 7 == 4 ? 3 : 1;
    requests.push_back(std::move(request));
  }
  return requests;
}

} // namespace

TEST(EngineSpeculation, GreedyAnswersAreThoseWithoutADraft) {
  for (bool hybrid : {false, true}) {
    TinyOptions tiny = servedOptions();
    tiny.ssmHeads = hybrid ? 4 : 0;
    DraftedModel models(tiny);
    std::vector<Request> requests = greedyRequests(24);
    auto wanted = answers(*models.target.model, {}, requests);
    EXPECT_EQ(wanted[0]->choices[0].ids(), soloAnswer(*models.target.model, requests[0]));
    struct {
      unsigned tokens;
      bool model, ngram;
    } cases[] = {{1, true, false}, {4, true, false}, {15, true, false},
                 {3, false, true}, {5, true, true},  {0, true, true}};
    for (auto [tokens, model, ngram] : cases) {
      SCOPED_TRACE(testing::Message() << tokens << " tokens, model " << model << ", n-grams " << ngram);
      EngineStats stats;
      auto seen = answers(*models.target.model, models.options(tokens, model, ngram), requests, &stats);
      for (size_t i = 0; i < requests.size(); ++i) {
        SCOPED_TRACE(i);
        expectSame(*seen[i], *wanted[i]);
      }
      EXPECT_EQ(stats.draftFailures, 0u);
      if (!tokens)
        continue; // The clock may say that drafts do not pay.
      EXPECT_GT(stats.draftedTokens, 20u);
      EXPECT_GT(stats.acceptedTokens, 0u);
      EXPECT_LT(stats.acceptedTokens, stats.draftedTokens);
    }
  }
}

TEST(EngineSpeculation, AConstraintDecides) {
  // Drafts know nothing of it: what it forbids does not stay.
  struct Even final : TokenConstraint {
    Status mask(std::span<uint64_t> allowed) override {
      std::fill(allowed.begin(), allowed.end(), seen % 3 ? 0x5555555555555555 : ~uint64_t(0));
      return {};
    }
    Status accept(int32_t token) override {
      if (seen++ % 3 && token % 2)
        return Error(ErrorCode::InvalidArgument, "an odd token");
      return {};
    }
    bool canEnd() const override { return true; }
    unsigned seen = 0;
  };
  DraftedModel models;
  std::vector<Request> requests;
  for (int32_t i = 0; i < 6; ++i) {
    requests.push_back(makeRequest({7, 8, i}, 60));
    requests.back().ignoreEnd = true;
    requests.back().constraint = []() -> Result<std::shared_ptr<TokenConstraint>> {
      return std::shared_ptr<TokenConstraint>(std::make_shared<Even>());
    };
  }
  EngineStats stats;
  auto wanted = answers(*models.target.model, {}, requests);
  auto seen = answers(*models.target.model, models.options(4), requests, &stats);
  for (size_t i = 0; i < requests.size(); ++i)
    expectSame(*seen[i], *wanted[i]);
  EXPECT_GT(stats.acceptedTokens, 0u);
}

TEST(EngineSpeculation, SampledAnswersHaveTheTargetsDistribution) {
  constexpr unsigned kRequests = kAddressSanitized ? 16 : 60, kCandidates = 128;
  TinyOptions tiny = smallestOptions();
  tiny.hidden = 16;
  tiny.inner = 24;
  tiny.sequences = 4;
  TestModel target(tiny);
  NoisyModel draft(tiny, 0.9f);
  EngineOptions options;
  options.draft = {draft.model.get(), false, 3};
  std::vector<Request> requests;
  const std::vector<int32_t> prompt{5, 2, 9};
  for (unsigned i = 0; i < kRequests; ++i) {
    requests.push_back(makeRequest(prompt, 5));
    requests.back().ignoreEnd = true;
    requests.back().n = kCandidates;
    requests.back().sampling.temperature = 1;
    requests.back().sampling.topK = 7;
    requests.back().sampling.seed = 1000 + i;
  }
  EngineStats stats;
  Pairs first, second;
  for (auto &sink : answers(*target.model, options, requests, &stats))
    for (auto &[index, choice] : sink->choices) {
      std::vector<int32_t> ids = choice.ids();
      ASSERT_EQ(ids.size(), 5u);
      ++first[{ids[0], ids[1]}];
      ++second[{ids[1], ids[2]}];
    }
  Truth truth(*target.model, prompt, requests[0].sampling);
  double p = gTest(truth.first, first, kRequests * kCandidates),
         q = gTest(truth.second, second, kRequests * kCandidates);
  printf("  p = %.3f, %.3f; %llu of %llu stayed\n", p, q, (unsigned long long)stats.acceptedTokens,
         (unsigned long long)stats.draftedTokens);
  EXPECT_GT(p, 0.001);
  EXPECT_GT(q, 0.001);
  EXPECT_GT(stats.acceptedTokens, stats.draftedTokens / 4);
  EXPECT_LT(stats.acceptedTokens, stats.draftedTokens * 9 / 10);
}

TEST(EngineSpeculation, LittleMemoryIsSharedOut) {
  DraftedModel models;
  EngineOptions options = models.options(6);
  Owned<Session> probe = makeSession(*models.target.model);
  options.session.kvMemory = probe->kvBytes() * 6 / 32;
  std::mt19937 random(8);
  std::vector<Request> requests;
  for (int i = 0; i < 12; ++i) {
    requests.push_back(makeRequest(randomTokens(random, 20 + random() % 100, 67), 40 + random() % 80));
    requests.back().ignoreEnd = true;
  }
  EngineStats stats;
  auto sinks = answers(*models.target.model, options, requests, &stats);
  for (size_t i = 0; i < sinks.size(); ++i)
    EXPECT_EQ(sinks[i]->choices[0].ids(), soloAnswer(*models.target.model, requests[i])) << i;
  EXPECT_GT(stats.acceptedTokens, 0u);
  EXPECT_LE(stats.kvBytesUsed, stats.kvBytes);
}

TEST(EngineSpeculation, RefusesADraftThatDoesNotFit) {
  DraftedModel models;
  auto refusal = [](const Model &target, const EngineOptions &options) {
    auto made = Engine::create(target, options);
    return made ? std::string() : std::string(made.error().message());
  };
  const Model &target = *models.target.model;
  EXPECT_NE(refusal(target, models.options(17)).find("17 draft tokens"), std::string::npos);
  EXPECT_NE(refusal(target, models.options(16)).find("--batch"), std::string::npos);
  TinyOptions other = servedOptions();
  other.context = 128;
  DraftedModel shorter(other);
  EXPECT_NE(refusal(target, shorter.options(0)).find("--context 128"), std::string::npos);
  other = servedOptions();
  other.vocab = 70;
  DraftedModel more(other);
  EXPECT_NE(refusal(target, more.options(0)).find("vocabulary"), std::string::npos);
}
