//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Prefixes that were processed are not processed again, and answers stay those of a request alone.
//
#include "runtime/server/engine/PrefixCache.h"
#include "tests/unit/engine/EngineSupport.h"

namespace mlc::server {
namespace {

using namespace mlc::test;

TEST(EnginePrefix, ASecondTurnProcessesTheNewTokensAlone) {
  for (unsigned window : {0u, 32u}) {
    TinyOptions tiny = servedOptions();
    tiny.window = window;
    ServedModel served(tiny);
    std::unique_ptr<Engine> engine = makeEngine(*served.model);
    std::mt19937 random(21);
    Request first = makeRequest(randomTokens(random, 100, 67), 30);
    first.ignoreEnd = true;
    auto turn = submit(*engine, Request(first));
    turn->wait();
    EXPECT_EQ(turn->done.usage.cachedTokens, 0u);
    EXPECT_EQ(engine->stats().processedTokens, 100u + 29);

    std::vector<int32_t> history = first.prompt, answer = turn->choices[0].ids();
    history.insert(history.end(), answer.begin(), answer.end());
    std::vector<int32_t> question = randomTokens(random, 11, 67);
    history.insert(history.end(), question.begin(), question.end());
    Request second = makeRequest(history, 20);
    second.ignoreEnd = true;
    auto next = submit(*engine, Request(second));
    next->wait();
    // All but the last token of the answer, which had not been fed.
    EXPECT_EQ(next->done.usage.cachedTokens, 129u);
    EXPECT_EQ(next->done.usage.promptTokens, history.size());
    EXPECT_EQ(engine->stats().processedTokens, 129u + (history.size() - 129) + 19);
    EXPECT_EQ(next->choices[0].ids(), soloAnswer(*served.model, second));
    EXPECT_EQ(engine->stats().cacheHits, 1u);
  }
}

TEST(EnginePrefix, ReuseGoesToTheTokenAndLeavesOne) {
  ServedModel served;
  std::unique_ptr<Engine> engine = makeEngine(*served.model);
  std::mt19937 random(22);
  std::vector<int32_t> prompt = randomTokens(random, 90, 67);
  submit(*engine, makeRequest(prompt, 1))->wait();
  // The same again: the last token is fed for its logits.
  auto same = submit(*engine, makeRequest(prompt, 1));
  EXPECT_EQ(same->wait().done.usage.cachedTokens, 89u);
  // Another end.
  std::vector<int32_t> other = prompt;
  other[77] = (other[77] + 1) % 67;
  auto cut = submit(*engine, makeRequest(other, 5));
  EXPECT_EQ(cut->wait().done.usage.cachedTokens, 77u);
  EXPECT_EQ(cut->choices[0].ids(), soloAnswer(*served.model, makeRequest(other, 5)));
  // Neither taken from nor added to.
  Request apart = makeRequest(prompt, 1);
  apart.usePrefixCache = false;
  EXPECT_EQ(submit(*engine, std::move(apart))->wait().done.usage.cachedTokens, 0u);
  Request scored = makeRequest(prompt, 1);
  scored.echo = true;
  scored.promptLogprobs = 0;
  EXPECT_EQ(submit(*engine, std::move(scored))->wait().done.usage.cachedTokens, 0u);
}

TEST(EnginePrefix, RequestsThatComeTogetherShare) {
  ServedModel served;
  EngineOptions options;
  options.cacheEntries = 0; // From live sequences alone.
  std::unique_ptr<Engine> engine = makeEngine(*served.model, options);
  std::mt19937 random(23);
  std::vector<int32_t> system = randomTokens(random, 128, 67);
  std::vector<Request> requests;
  std::vector<std::shared_ptr<Recorder>> sinks;
  for (int32_t i = 0; i < 6; ++i) {
    std::vector<int32_t> prompt = system;
    prompt.insert(prompt.end(), {i, 50, 51});
    requests.push_back(makeRequest(prompt, 30));
    requests.back().ignoreEnd = true;
    sinks.push_back(submit(*engine, Request(requests.back())));
  }
  uint64_t cached = 0;
  for (size_t i = 0; i < sinks.size(); ++i) {
    EXPECT_EQ(sinks[i]->wait().choices[0].ids(), soloAnswer(*served.model, requests[i]));
    cached += sinks[i]->done.usage.cachedTokens;
  }
  EXPECT_GE(cached, 4u * 128);
}

TinyOptions hybridServed(unsigned checkpointEvery) {
  TinyOptions tiny = hybridOptions();
  tiny.sequences = 8;
  tiny.batch = tiny.rows = 64;
  tiny.checkpointEvery = checkpointEvery;
  return tiny;
}

/// 110 tokens, and 75 whose first 70 are the same.
struct Branching {
  explicit Branching(const ServedModel &served) {
    const auto vocab = unsigned(served.model->bounds().vocab);
    std::mt19937 random(25);
    first = randomTokens(random, 110, vocab);
    second = {first.begin(), first.begin() + 75};
    second[70] = (second[70] + 1) % int32_t(vocab);
  }
  std::vector<int32_t> first, second;
};

// Recurrent states are kept at the end of a prompt and at checkpoints: what two prompts share up to the last one is not
// processed again.
TEST(EnginePrefix, CheckpointsOfHybridsAreReused) {
  const std::pair<unsigned, uint32_t> expected[] = {{0, 0}, {16, 64}, {32, 64}, {48, 48}};
  for (auto [every, cached] : expected) {
    SCOPED_TRACE(every);
    ServedModel served(hybridServed(every));
    std::unique_ptr<Engine> engine = makeEngine(*served.model);
    Branching prompts(served);
    submit(*engine, makeRequest(prompts.first, 1))->wait();
    Request other = makeRequest(prompts.second, 12);
    other.ignoreEnd = true;
    auto answer = submit(*engine, Request(other));
    EXPECT_EQ(answer->wait().done.usage.cachedTokens, cached);
    EXPECT_EQ(answer->choices[0].ids(), soloAnswer(*served.model, other));
    EXPECT_EQ(engine->stats().processedTokens, 110u + (75 - cached) + 11);
    // The whole of an earlier prompt needs none.
    std::vector<int32_t> longer = prompts.first;
    longer.push_back(3);
    auto next = submit(*engine, makeRequest(longer, 1));
    EXPECT_EQ(next->wait().done.usage.cachedTokens, 110u);
    EXPECT_EQ(next->choices[0].ids(), soloAnswer(*served.model, makeRequest(longer, 1)));
  }
}

TEST(EnginePrefix, CheckpointsOfARunningRequestAreShared) {
  ServedModel served(hybridServed(32));
  EngineOptions options;
  options.cacheEntries = 0; // From live sequences alone.
  std::unique_ptr<Engine> engine = makeEngine(*served.model, options);
  Branching prompts(served);
  Request running = makeRequest(prompts.first, 30);
  running.ignoreEnd = true;
  Request other = makeRequest(prompts.second, 5);
  other.ignoreEnd = true;
  // Submitted once the first has its prompt behind it, before it goes on.
  std::shared_ptr<Recorder> late;
  auto sink = std::make_shared<Recorder>();
  sink->tokensSeen = [&](const TokensEvent &) {
    if (!late)
      late = submit(*engine, Request(other));
    return true;
  };
  Request copy = running;
  ASSERT_EQ(int(engine->submit(std::move(copy), sink).outcome), int(Submission::Outcome::accepted));
  EXPECT_EQ(sink->wait().choices[0].ids(), soloAnswer(*served.model, running));
  ASSERT_TRUE(late);
  EXPECT_EQ(late->wait().done.usage.cachedTokens, 64u);
  EXPECT_EQ(late->choices[0].ids(), soloAnswer(*served.model, other));
}

TEST(EnginePrefix, TheLeastRecentlyUsedGoesFirst) {
  ServedModel served;
  SessionOptions options;
  options.snapshots = 3;
  Owned<Session> session = makeSession(*served.model, options);
  std::mt19937 random(24);
  std::vector<std::vector<int32_t>> texts;
  {
    PrefixCache cache(*session, 2);
    auto add = [&](std::vector<int32_t> tokens, uint64_t form = 0) {
      SequenceId sequence = must(session->createSequence());
      for (size_t i = 0; i < tokens.size(); i += 16) {
        StepSegment segment{sequence, std::span(tokens).subspan(i, std::min<size_t>(16, tokens.size() - i))};
        (void)must(session->step({&segment, 1}, {}));
      }
      cache.insert(sequence, tokens, form);
      must(session->destroySequence(sequence));
      texts.push_back(std::move(tokens));
    };
    add(randomTokens(random, 40, 67));
    add(randomTokens(random, 40, 67));
    EXPECT_EQ(cache.find(texts[0], 0).tokens, 40u);
    EXPECT_EQ(cache.find(texts[0], 1).tokens, 0u); // Another form of RoPE.
    add(randomTokens(random, 40, 67));
    EXPECT_EQ(cache.find(texts[0], 0).tokens, 40u);
    EXPECT_EQ(cache.find(texts[2], 0).tokens, 40u);
    EXPECT_LE(cache.find(texts[1], 0).tokens, 1u);
    EXPECT_EQ(cache.evictions(), 1u);
    // A longer one takes the place of what it begins with.
    std::vector<int32_t> longer = texts[2];
    longer.resize(60, 7);
    add(longer);
    EXPECT_EQ(cache.size(), 2u);
    EXPECT_EQ(cache.find(texts[0], 0).tokens, 40u);
    EXPECT_EQ(cache.find(longer, 0).tokens, 60u);
    // One that is held already adds nothing.
    add({longer.begin(), longer.begin() + 20});
    EXPECT_EQ(cache.size(), 2u);
    EXPECT_EQ(cache.find(longer, 0).tokens, 60u);
    EXPECT_TRUE(cache.evict() && cache.evict());
    EXPECT_FALSE(cache.evict());
    EXPECT_EQ(session->kvBytesUsed(), 0u);
    add(randomTokens(random, 5, 67));
  }
  EXPECT_EQ(session->kvBytesUsed(), 0u);
}

} // namespace
} // namespace mlc::server
