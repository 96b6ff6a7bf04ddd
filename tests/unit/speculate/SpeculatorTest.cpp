//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Generations with a draft against those without, token by token; what the sequence holds afterwards; the edges.
//
#include "tests/unit/speculate/SpeculateSupport.h"
#include "tests/unit/support/Sanitized.h"

#include <algorithm>

using namespace mlc;
using namespace mlc::test;

namespace {

// AddressSanitizer is ten times as slow.
constexpr unsigned kPrompts = kAddressSanitized ? 3 : 9;
const std::vector<int32_t> kPrompt{5, 9, 1, 33, 60, 2, 17, 8, 8, 41, 12, 3, 0, 66, 7, 30, 31, 32, 4, 11};

struct Case {
  const char *name;
  TinyOptions target, draft;
  float noise;
};

TinyOptions hybrid() {
  TinyOptions options = hybridOptions();
  options.batch = options.rows = 24;
  return options;
}
TinyOptions dense(unsigned window = 0) {
  TinyOptions options;
  options.batch = options.rows = 24;
  options.window = window;
  return options;
}

std::vector<Case> cases() {
  TinyOptions ssm = hybrid();
  ssm.attention = false;
  TinyOptions other = dense();
  other.seed = 9;
  return {{"dense", dense(), dense(), 0.1f},    {"window", dense(20), dense(20), 0.1f},
          {"hybrid", hybrid(), hybrid(), 0.1f}, {"recurrent", ssm, ssm, 0.1f},
          {"mixed", hybrid(), dense(), 0},      {"unlike", dense(), other, 0}};
}

/// The same generation with and without the draft: tokens, logits, outcome, and what the sequence holds.
void compare(Pair &pair, std::span<const int32_t> prompt, const SamplingOptions &sampling, uint64_t maxTokens,
             bool ignoreEnd = true) {
  Answer plain, drafted;
  SequenceId alone = must(pair.target->createSequence()), fast = must(pair.target->createSequence());
  for (auto [answer, sequence] : {std::pair(&plain, alone), std::pair(&drafted, fast)}) {
    GenerateOptions options = answer->options(maxTokens, true);
    options.sampling = sampling;
    options.ignoreEnd = ignoreEnd;
    answer->result = answer == &plain ? must(generate(*pair.target, sequence, prompt, options))
                                      : must(pair.speculator.generate(sequence, prompt, options));
  }
  ASSERT_EQ(plain.tokens, drafted.tokens);
  ASSERT_EQ(plain.logits.size(), drafted.logits.size());
  ASSERT_EQ(memcmp(plain.logits.data(), drafted.logits.data(), plain.logits.size() * sizeof(float)), 0);
  EXPECT_EQ(plain.result.finish, drafted.result.finish);
  EXPECT_EQ(plain.result.tokens, drafted.result.tokens);
  EXPECT_EQ(plain.result.decodeSteps, drafted.result.decodeSteps);
  EXPECT_EQ(must(pair.target->length(alone)), must(pair.target->length(fast)));
  // Both go on alike.
  if (must(pair.target->length(alone)) < int64_t(pair.target->context())) {
    std::vector<int32_t> more{7};
    EXPECT_EQ(feedAll(*pair.target, alone, more), feedAll(*pair.target, fast, more));
  }
  must(pair.target->destroySequence(alone));
  must(pair.target->destroySequence(fast));
}

} // namespace

TEST(Speculator, GreedyIsBitwiseThePlainRun) {
  for (const Case &which : cases()) {
    SCOPED_TRACE(which.name);
    TestModel target(which.target);
    NoisyModel draft(which.draft, which.noise);
    for (unsigned tokens : {0u, 1u, 4u, 16u}) {
      SCOPED_TRACE(tokens);
      Pair pair(*target.model, *draft.model, fixedDraft(tokens));
      std::mt19937 random(tokens + 1);
      for (unsigned i = 0; i < kPrompts && !testing::Test::HasFatalFailure(); ++i)
        compare(pair, randomTokens(random, 1 + random() % 30, which.target.vocab), {}, 60);
      const SpeculationStats &stats = pair.speculator.stats();
      EXPECT_LE(stats.accepted, stats.drafted);
      EXPECT_LE(stats.rollbacks, stats.rounds);
      uint64_t rounds = 0, drafted = 0, stayed = 0;
      for (unsigned n = 0; n <= kMaxDraftTokens; ++n) {
        rounds += n ? stats.lengths[n] : 0;
        drafted += n * stats.lengths[n];
        stayed += n ? stats.stayed[n - 1] : 0;
      }
      EXPECT_EQ(rounds, stats.rounds);
      EXPECT_EQ(drafted, stats.drafted);
      EXPECT_EQ(stayed, stats.accepted);
      if (tokens && which.noise > 0) {
        EXPECT_GT(stats.accepted, 0u);
        EXPECT_GT(stats.rollbacks, 0u);
      }
    }
  }
}

TEST(Speculator, GreedyWithPenaltiesToo) {
  TestModel target(dense());
  NoisyModel draft(dense(), 0.1f);
  SamplingOptions sampling;
  sampling.repetitionPenalty = 1.3f;
  sampling.presencePenalty = 0.4f;
  sampling.frequencyPenalty = 0.3f;
  Pair pair(*target.model, *draft.model, fixedDraft(5));
  std::mt19937 random(3);
  for (unsigned i = 0; i < 20 && !testing::Test::HasFatalFailure(); ++i)
    compare(pair, randomTokens(random, 1 + random() % 30, 67), sampling, 70);
  EXPECT_GT(pair.speculator.stats().accepted, 0u);
}

TEST(Speculator, PromptLookupAndBoth) {
  TestModel target(dense());
  NoisyModel draftModel(dense(), 0.1f);
  Owned<Session> session = makeSession(*target.model), draft = makeSession(*draftModel.model);
  Owned<ModelDrafter> model(must(ModelDrafter::create(*draft, *session)));
  NgramDrafter ngram;
  Drafter *drafters[] = {model.get(), &ngram};
  for (auto used : {std::span<Drafter *const>(drafters).last(1), std::span<Drafter *const>(drafters)})
    for (unsigned tokens : {0u, 6u}) {
      Speculator speculator = must(Speculator::create(*session, used, fixedDraft(tokens)));
      for (unsigned i = 0; i < 4; ++i) {
        // A greedy text of a tiny model soon repeats itself.
        Answer plain, fast;
        SequenceId one = must(session->createSequence()), two = must(session->createSequence());
        std::span<const int32_t> prompt = std::span(kPrompt).subspan(i);
        must(generate(*session, one, prompt, plain.options(150)));
        must(speculator.generate(two, prompt, fast.options(150)));
        EXPECT_EQ(plain.tokens, fast.tokens);
        must(session->destroySequence(one));
        must(session->destroySequence(two));
      }
      EXPECT_GT(speculator.stats().accepted, 0u);
    }
}

TEST(Speculator, EndsWhereThePlainRunEnds) {
  TestModel plainModel(dense());
  Owned<Session> session = makeSession(*plainModel.model);
  Answer free;
  must(generate(*session, must(session->createSequence()), kPrompt, free.options(40)));
  for (size_t at : {0u, 1u, 5u, 11u}) {
    // The token at this place ends the text, or one like it before.
    TinyModel changed = makeTinyModel(dense());
    changed.metadata.model->end_tokens = {uint32_t(free.tokens[at])};
    AlignedBytes bytes = modelBytes(changed);
    Owned<Model> target(must(Model::fromMemory(bytes.span())));
    NoisyModel draft(dense(), 0.05f);
    for (unsigned tokens : {1u, 4u, 16u}) {
      Pair pair(*target, *draft.model, fixedDraft(tokens));
      compare(pair, kPrompt, {}, 40, /*ignoreEnd=*/false);
      Pair same(*target, *target, fixedDraft(tokens));
      compare(same, kPrompt, {}, 40, /*ignoreEnd=*/false);
    }
  }
}

TEST(Speculator, TheContextAndTheLimitEndIt) {
  TestModel target(dense());
  SessionOptions bounds;
  bounds.context = kPrompt.size() + 9;
  for (unsigned tokens : {0u, 3u, 16u}) {
    Pair pair(*target.model, *target.model, fixedDraft(tokens), bounds);
    compare(pair, kPrompt, {}, 0);
    for (uint64_t most : {1u, 2u, 3u, 10u, 50u})
      compare(pair, kPrompt, {}, most);
    Answer answer;
    SequenceId sequence = must(pair.target->createSequence());
    GenerateResult result = must(pair.speculator.generate(sequence, kPrompt, answer.options(0)));
    EXPECT_EQ(answer.tokens.size(), 10u); // The last one needs no position.
    EXPECT_EQ(must(pair.target->length(sequence)), int64_t(bounds.context));
    EXPECT_EQ(result.finish, FinishReason::length);
    EXPECT_STREQ(pair.speculator.generate(sequence, kPrompt, answer.options(1)).error().message(),
                 "a prompt of 20 tokens after 29 does not fit the context of 29");
  }
}

TEST(Speculator, ASmallPoolShortensDrafts) {
  // One page of 64 positions a layer: the last step has no room for a draft, but for its token.
  TestModel target(dense());
  SessionOptions bounds, small;
  Pair pair(*target.model, *target.model, fixedDraft(16), bounds);
  small.kvMemory = pair.target->kvBytes() / 16; // 4 sequences of 256 positions are 16 pages a layer.
  Owned<Session> tight = makeSession(*target.model, small);
  Drafter *drafters[] = {pair.drafter.get()};
  Speculator speculator = must(Speculator::create(*tight, drafters, fixedDraft(16)));
  Answer plain, fast;
  SequenceId sequence = must(tight->createSequence());
  must(generate(*tight, sequence, kPrompt, plain.options(64 - kPrompt.size() + 1)));
  must(tight->rollback(sequence, 0));
  GenerateOptions options = fast.options(100);
  auto result = speculator.generate(sequence, kPrompt, options);
  ASSERT_FALSE(bool(result)); // As without a draft, at the same token.
  EXPECT_EQ(result.error().code(), ErrorCode::OutOfMemory);
  EXPECT_EQ(fast.tokens, plain.tokens);
}

TEST(Speculator, CancelledByTheCallback) {
  TestModel target(dense());
  for (size_t after = 1; after < 12; ++after) {
    Pair pair(*target.model, *target.model, fixedDraft(4));
    Answer answer, plain;
    answer.stopAfter = plain.stopAfter = after;
    SequenceId sequence = must(pair.target->createSequence()), other = must(pair.target->createSequence());
    GenerateResult result = must(pair.speculator.generate(sequence, kPrompt, answer.options(30, true)));
    GenerateResult wanted = must(generate(*pair.target, other, kPrompt, plain.options(30, true)));
    EXPECT_EQ(result.finish, FinishReason::cancelled);
    EXPECT_EQ(result.tokens, wanted.tokens);
    EXPECT_EQ(answer.tokens, plain.tokens);
    EXPECT_EQ(answer.logits, plain.logits);
    EXPECT_EQ(must(pair.target->length(sequence)), must(pair.target->length(other)));
  }
  Pair pair(*target.model, *target.model, fixedDraft(4));
  pair.target->requestCancel();
  Answer answer;
  EXPECT_EQ(must(pair.speculator.generate(must(pair.target->createSequence()), kPrompt, answer.options(30))).finish,
            FinishReason::cancelled);
}

TEST(Speculator, SeedsRepeat) {
  TestModel target(dense());
  NoisyModel draft(dense(), 0.3f);
  auto run = [&](uint64_t seed, unsigned threads) {
    SessionOptions bounds;
    bounds.threads = threads;
    Pair pair(*target.model, *draft.model, fixedDraft(3), bounds);
    Answer answer;
    GenerateOptions options = answer.options(60);
    options.sampling.temperature = 1.5f;
    options.sampling.seed = seed;
    must(pair.speculator.generate(must(pair.target->createSequence()), kPrompt, options));
    return answer.tokens;
  };
  EXPECT_EQ(run(1, 1), run(1, 3));
  EXPECT_NE(run(1, 1), run(2, 1));
}

TEST(Speculator, GoesOnWithASequence) {
  TestModel target(dense());
  NoisyModel draft(dense(), 0.05f);
  Pair pair(*target.model, *draft.model, fixedDraft(4));
  Answer all, first, second;
  SequenceId whole = must(pair.target->createSequence()), parts = must(pair.target->createSequence());
  must(generate(*pair.target, whole, kPrompt, all.options(40)));
  must(pair.speculator.generate(parts, kPrompt, first.options(20)));
  // What the sequence holds: the prompt and all but the last new token.
  std::vector<int32_t> history = kPrompt;
  history.insert(history.end(), first.tokens.begin(), first.tokens.end() - 1);
  GenerateOptions options = second.options(20);
  options.history = history;
  must(pair.speculator.generate(parts, std::span(first.tokens).last(1), options));
  first.tokens.insert(first.tokens.end(), second.tokens.begin(), second.tokens.end());
  EXPECT_EQ(all.tokens, first.tokens);
  EXPECT_GT(pair.speculator.stats().accepted, 10u);
}

TEST(Speculator, WhatCannotBeIsRefused) {
  TestModel target(dense());
  Owned<Session> session = makeSession(*target.model);
  NgramDrafter ngram;
  Drafter *drafters[] = {&ngram, &ngram, &ngram};
  auto message = [](Session &session, std::span<Drafter *const> drafters, unsigned tokens) {
    auto made = Speculator::create(session, drafters, fixedDraft(tokens));
    return made ? std::string("no error") : std::string(made.error().message());
  };
  EXPECT_EQ(message(*session, std::span(drafters).first(1), 17),
            "17 draft tokens: choose 1 to 16, or leave it to what is measured");
  EXPECT_EQ(message(*session, drafters, 1), "3 drafters: give 1 to 2");
  TinyOptions narrow = dense();
  narrow.batch = narrow.rows = 4;
  TestModel small(narrow);
  Owned<Session> steps = makeSession(*small.model);
  EXPECT_EQ(message(*steps, std::span(drafters).first(1), 4),
            std::string(small.model->name()) +
                ": its steps take 4 tokens, a draft at most one less; compile it with a larger --batch");
  EXPECT_EQ(message(*steps, std::span(drafters).first(1), 3), "no error");

  SessionOptions shorter;
  shorter.context = 100;
  Owned<Session> draft = makeSession(*target.model, shorter);
  std::string name = target.model->name();
  EXPECT_EQ(failure(ModelDrafter::create(*draft, *session), ErrorCode::InvalidArgument),
            name + ": a context of 100, and " + name +
                " has 256; compile it for the same, or lower both with --context 100");
  TinyOptions fewer = dense();
  fewer.vocab = 66;
  TestModel other(fewer);
  EXPECT_EQ(failure(checkVocabulary(*target.model, *other.model), ErrorCode::InvalidArgument),
            std::string(other.model->name()) + ": a vocabulary of 66 tokens, and " + name +
                " has 67; a draft needs the target's vocabulary");
  EXPECT_TRUE(bool(checkVocabulary(*target.model, *target.model)));
}
