//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Several answers to one prompt: n, best_of, seeds and what is counted.
//
#include "tests/unit/engine/EngineSupport.h"

#include <algorithm>

namespace mlc::server {
namespace {

using namespace mlc::test;

Request sampledRequest(uint64_t seed) {
  std::mt19937 random(uint32_t(seed) + 1);
  Request request = makeRequest(randomTokens(random, 75, 67), 15);
  request.sampling.temperature = 1.5f;
  request.sampling.seed = seed;
  return request;
}

TEST(EngineCandidates, EachIsTheAnswerOfItsSeed) {
  ServedModel served;
  for (uint64_t sequences : {8, 3, 1}) {
    EngineOptions options;
    options.session.sequences = sequences;
    std::unique_ptr<Engine> engine = makeEngine(*served.model, options);
    Request request = sampledRequest(sequences);
    request.n = 6;
    auto sink = submit(*engine, Request(request));
    sink->wait();
    uint64_t generated = 0;
    for (uint32_t i = 0; i < 6; ++i) {
      ASSERT_TRUE(sink->choices[i].finished);
      EXPECT_EQ(sink->choices[i].ids(), soloAnswer(*served.model, request, i)) << sequences << ", " << i;
      generated += sink->choices[i].tokens.size() + (sink->choices[i].end.stopToken >= 0);
    }
    EXPECT_NE(sink->choices[0].ids(), sink->choices[1].ids());
    EXPECT_EQ(sink->done.usage.completionTokens, generated);
    EXPECT_EQ(sink->done.usage.promptTokens, 75u);
    // The prompt went through once, each other candidate fed its last token again; the last new token is never fed.
    uint64_t fed = 0;
    for (auto &[index, choice] : sink->choices)
      fed += choice.tokens.size() - (choice.end.reason == FinishReason::length);
    EXPECT_EQ(engine->stats().processedTokens, 75 + 5 + fed);
  }
}

TEST(EngineCandidates, TheBestAreRankedByMeanLogprob) {
  ServedModel served;
  std::unique_ptr<Engine> engine = makeEngine(*served.model);
  Request request = sampledRequest(9);
  request.n = 5;
  request.ignoreEnd = true;
  request.logprobs = 0;
  auto all = submit(*engine, Request(request));
  all->wait();
  request.n = 2;
  request.bestOf = 5;
  auto best = submit(*engine, Request(request));
  best->wait();
  auto mean = [](const Recorder::Choice &choice) {
    double sum = 0;
    for (const SeenToken &token : choice.tokens)
      sum += double(token.logprob);
    return sum / double(choice.tokens.size());
  };
  std::vector<const Recorder::Choice *> ranked;
  for (auto &[index, choice] : all->choices)
    ranked.push_back(&choice);
  std::sort(ranked.begin(), ranked.end(), [&](auto *a, auto *b) { return mean(*a) > mean(*b); });
  ASSERT_EQ(best->choices.size(), 2u);
  for (uint32_t i = 0; i < 2; ++i) {
    EXPECT_EQ(best->choices[i].ids(), ranked[i]->ids());
    EXPECT_EQ(best->choices[i].text, ranked[i]->text);
    EXPECT_NEAR(best->choices[i].end.meanLogprob, mean(*ranked[i]), 1e-6);
  }
  EXPECT_EQ(best->done.usage.completionTokens, 5u * 15);
}

TEST(EngineCandidates, ShareAScoredPrompt) {
  ServedModel served;
  std::unique_ptr<Engine> engine = makeEngine(*served.model);
  Request request = sampledRequest(5);
  request.n = 3;
  request.echo = true;
  request.promptLogprobs = 1;
  auto sink = submit(*engine, Request(request));
  sink->wait();
  ASSERT_EQ(sink->prompt.size(), 75u);
  EXPECT_TRUE(sink->prompt[74].scored);
  for (uint32_t i = 0; i < 3; ++i)
    EXPECT_EQ(sink->choices[i].ids(), soloAnswer(*served.model, request, i));
}

TEST(EngineCandidates, RankedWithoutLogprobsInTheAnswer) {
  ServedModel served;
  std::unique_ptr<Engine> engine = makeEngine(*served.model);
  Request request = sampledRequest(3);
  request.bestOf = 3;
  auto sink = submit(*engine, std::move(request));
  sink->wait();
  ASSERT_EQ(sink->choices.size(), 1u);
  EXPECT_FALSE(sink->choices[0].tokens[0].scored);
  EXPECT_LT(sink->choices[0].end.meanLogprob, 0);
}

} // namespace
} // namespace mlc::server
