//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The generation loop, perplexity and bench on a tiny model.
//
#include "runtime/llm/Generate.h"
#include "runtime/llm/Bench.h"
#include "runtime/llm/Perplexity.h"
#include "runtime/llm/Samples.h"
#include "tests/unit/session/SessionSupport.h"

#include <cmath>
#include <pthread.h>

using namespace mlc;
using namespace mlc::test;

namespace {

struct Collected {
  std::vector<int32_t> tokens;
  std::vector<float> logits;
  size_t stopAfter = SIZE_MAX;
};

GenerateOptions collecting(Collected &into, uint64_t maxTokens) {
  GenerateOptions options;
  options.maxTokens = maxTokens;
  options.ignoreEnd = true;
  options.context = &into;
  options.onToken = [](void *context, int32_t token) {
    Collected &into = *static_cast<Collected *>(context);
    into.tokens.push_back(token);
    return into.tokens.size() < into.stopAfter;
  };
  return options;
}

GenerateOptions withLogits(GenerateOptions options) {
  options.onLogits = [](void *context, std::span<const float> row) -> Status {
    auto &logits = static_cast<Collected *>(context)->logits;
    logits.insert(logits.end(), row.begin(), row.end());
    return {};
  };
  return options;
}

const std::vector<int32_t> kPrompt{5, 9, 1, 33, 60, 2, 17, 8, 8, 41, 12, 3, 0, 66, 7, 30, 31, 32, 4, 11};

} // namespace

/// `rows` below the batch: a prompt whose every position's logits are wanted goes in smaller steps.
static void greedyIsTheArgmax(unsigned rows) {
  TinyOptions options;
  options.rows = rows;
  TestModel tiny(options);
  Owned<Session> session = makeSession(*tiny.model);
  Collected collected;
  GenerateResult result =
      must(generate(*session, must(session->createSequence()), kPrompt, withLogits(collecting(collected, 30))));
  EXPECT_EQ(result.finish, FinishReason::length);
  EXPECT_EQ(result.tokens, 30u);
  EXPECT_EQ(result.promptTokens, kPrompt.size());
  EXPECT_EQ(result.decodeSteps, 29u);
  std::vector<int32_t> all = kPrompt;
  all.insert(all.end(), collected.tokens.begin(), collected.tokens.end() - 1);
  std::vector<float> plain = plainLogits(*tiny.model, all);
  ASSERT_EQ(collected.logits.size(), plain.size()); // P + N - 1 rows.
  EXPECT_EQ(memcmp(collected.logits.data(), plain.data(), plain.size() * sizeof(float)), 0);
  for (size_t i = 0; i < collected.tokens.size(); ++i) {
    auto row = plain.begin() + ptrdiff_t((kPrompt.size() - 1 + i) * options.vocab);
    EXPECT_EQ(std::max_element(row, row + options.vocab) - row, collected.tokens[i]);
  }
}

TEST(Generate, GreedyIsTheArgmaxOfThePlainRun) {
  greedyIsTheArgmax(16);
  greedyIsTheArgmax(3);
}

TEST(Generate, StopsAtEveryEndToken) {
  TestModel tiny;
  Owned<Session> session = makeSession(*tiny.model);
  Collected free;
  must(generate(*session, must(session->createSequence()), kPrompt, collecting(free, 10)));
  // The same model, where the fourth token that it generates ends a turn, and so does another one.
  TinyModel changed = makeTinyModel();
  size_t first = 0;
  while (free.tokens[first] != free.tokens[3])
    ++first;
  changed.metadata.model->end_tokens = {66, uint32_t(free.tokens[3])};
  AlignedBytes bytes = modelBytes(changed);
  Owned<Model> model(must(Model::fromMemory(bytes.span())));
  EXPECT_TRUE(model->isEndToken(66));
  EXPECT_FALSE(model->isEndToken(2));
  Owned<Session> ending = makeSession(*model);
  Collected collected;
  GenerateOptions options = collecting(collected, 10);
  options.ignoreEnd = false;
  GenerateResult result = must(generate(*ending, must(ending->createSequence()), kPrompt, options));
  EXPECT_EQ(result.finish, FinishReason::stop);
  EXPECT_EQ(collected.tokens, std::vector<int32_t>(free.tokens.begin(), free.tokens.begin() + ptrdiff_t(first)));
  Collected past;
  result = must(generate(*ending, must(ending->createSequence()), kPrompt, collecting(past, 10)));
  EXPECT_EQ(past.tokens, free.tokens);
}

TEST(Generate, TheContextEndsIt) {
  TestModel tiny;
  SessionOptions bounds;
  bounds.context = kPrompt.size() + 3;
  Owned<Session> session = makeSession(*tiny.model, bounds);
  Collected collected;
  SequenceId sequence = must(session->createSequence());
  GenerateResult result = must(generate(*session, sequence, kPrompt, collecting(collected, 0)));
  EXPECT_EQ(result.finish, FinishReason::length);
  EXPECT_EQ(collected.tokens.size(), 4u); // The last one needs no position.
  EXPECT_EQ(must(session->length(sequence)), int64_t(bounds.context));
  auto full = generate(*session, sequence, kPrompt, collecting(collected, 1));
  EXPECT_EQ(full.error().code(), ErrorCode::OutOfRange);
  EXPECT_STREQ(full.error().message(), "a prompt of 20 tokens after 23 does not fit the context of 23");
  int32_t unknown[] = {1, 67};
  SequenceId other = must(session->createSequence());
  EXPECT_STREQ(generate(*session, other, unknown, {}).error().message(), "token id 67 is outside the vocabulary of 67");
  EXPECT_STREQ(generate(*session, other, {}, {}).error().message(), "the prompt is empty; give at least one token");
}

TEST(Generate, CancelledByTheCallbackOrAnotherThread) {
  TestModel tiny;
  Owned<Session> session = makeSession(*tiny.model);
  Collected collected;
  collected.stopAfter = 3;
  GenerateResult result = must(generate(*session, must(session->createSequence()), kPrompt, collecting(collected, 10)));
  EXPECT_EQ(result.finish, FinishReason::cancelled);
  EXPECT_EQ(collected.tokens.size(), 3u);

  pthread_t canceller;
  ASSERT_EQ(pthread_create(
                &canceller, nullptr,
                [](void *session) -> void * {
                  static_cast<Session *>(session)->requestCancel();
                  return nullptr;
                },
                session.get()),
            0);
  SequenceId sequence = must(session->createSequence());
  Collected endless;
  // Tokens until the flag is seen; each generation ends at the context.
  for (;;) {
    result = must(generate(*session, sequence, kPrompt, collecting(endless, 0)));
    if (result.finish == FinishReason::cancelled)
      break;
    must(session->rollback(sequence, 0));
  }
  pthread_join(canceller, nullptr);
  session->clearCancel();
  must(session->rollback(sequence, 0));
  Collected again;
  EXPECT_EQ(must(generate(*session, sequence, kPrompt, collecting(again, 2))).finish, FinishReason::length);
}

TEST(Generate, SampledRunsRepeat) {
  TestModel tiny;
  auto run = [&](uint64_t seed, unsigned threads) {
    SessionOptions bounds;
    bounds.threads = threads;
    Owned<Session> session = makeSession(*tiny.model, bounds);
    Collected collected;
    GenerateOptions options = collecting(collected, 40);
    options.sampling.temperature = 1.5f;
    options.sampling.seed = seed;
    must(generate(*session, must(session->createSequence()), kPrompt, options));
    return collected.tokens;
  };
  EXPECT_EQ(run(1, 1), run(1, 3));
  EXPECT_NE(run(1, 1), run(2, 1));
}

TEST(Samples, AreThoseOfTheirSeeds) {
  for (const TinyOptions &tinyOptions : {TinyOptions(), hybridOptions()}) {
    TestModel tiny(tinyOptions);
    Owned<Session> session = makeSession(*tiny.model);
    for (size_t promptSize : {size_t(1), kPrompt.size()}) {
      std::span<const int32_t> prompt = std::span(kPrompt).first(promptSize);
      struct Taken {
        std::vector<int32_t> tokens[11];
        unsigned ended = 0;
      } taken;
      SamplesOptions options;
      options.count = 11; // Of 4 at a time.
      options.generation.maxTokens = 9;
      options.generation.sampling.temperature = 1.5f;
      options.generation.sampling.seed = 3;
      options.context = &taken;
      options.onToken = [](void *context, uint64_t sample, int32_t token) {
        static_cast<Taken *>(context)->tokens[sample].push_back(token);
        return true;
      };
      options.onEnd = [](void *context, uint64_t, FinishReason) { ++static_cast<Taken *>(context)->ended; };
      EXPECT_EQ(must(generateSamples(*session, prompt, options)), FinishReason::length);
      EXPECT_EQ(taken.ended, 11u);
      EXPECT_EQ(session->kvBytesUsed() + session->recurrentBytesUsed(), 0u);
      for (unsigned i = 0; i < 11; ++i) {
        Collected alone;
        GenerateOptions one = collecting(alone, 9);
        one.ignoreEnd = false;
        one.sampling = options.generation.sampling;
        one.sampling.seed += i;
        SequenceId sequence = must(session->createSequence());
        must(generate(*session, sequence, prompt, one));
        must(session->destroySequence(sequence));
        EXPECT_EQ(taken.tokens[i], alone.tokens);
      }
    }
  }
}

TEST(Perplexity, IsTheMeanOfThePlainRun) {
  TinyOptions options;
  TestModel tiny(options);
  std::mt19937 random(3);
  std::vector<int32_t> tokens = randomTokens(random, 100, options.vocab);
  auto nllOf = [&](size_t begin, size_t end, size_t scored) {
    std::vector<float> logits = plainLogits(*tiny.model, std::span(tokens).subspan(begin, end - begin));
    double sum = 0;
    for (size_t i = scored; i < end; ++i) {
      const float *row = logits.data() + (i - 1 - begin) * options.vocab;
      double total = 0;
      for (unsigned j = 0; j < options.vocab; ++j)
        total += std::exp(double(row[j]));
      sum += std::log(total) - double(row[tokens[i]]);
    }
    return sum;
  };
  Owned<Session> session = makeSession(*tiny.model);
  PerplexityResult whole = must(perplexity(*session, nullptr, tokens));
  EXPECT_EQ(whole.tokens, 99u);
  EXPECT_NEAR(whole.nll, nllOf(0, 100, 1) / 99, 1e-9);
  EXPECT_NEAR(whole.perplexity, std::exp(whole.nll), 1e-9);
  PerplexityOptions windows;
  windows.context = 40;
  windows.stride = 30; // [0,40) [30,70) [60,100)
  PerplexityResult strided = must(perplexity(*session, nullptr, tokens, windows));
  EXPECT_EQ(strided.tokens, 99u);
  EXPECT_NEAR(strided.nll, (nllOf(0, 40, 1) + nllOf(30, 70, 40) + nllOf(60, 100, 70)) / 99, 1e-9);
  windows.stride = 0; // [0,40) [40,80) [80,100): the first token of a window has nothing before it.
  EXPECT_EQ(must(perplexity(*session, nullptr, tokens, windows)).tokens, 97u);
  windows.stride = 41;
  EXPECT_FALSE(bool(perplexity(*session, nullptr, tokens, windows)));
}

TEST(Perplexity, DivergenceFromItselfIsNought) {
  TinyOptions options;
  TestModel tiny(options);
  options.seed = 2;
  TestModel other(options);
  std::mt19937 random(3);
  std::vector<int32_t> tokens = randomTokens(random, 50, options.vocab);
  Owned<Session> session = makeSession(*tiny.model), same = makeSession(*tiny.model), far = makeSession(*other.model);
  PerplexityResult none = must(perplexity(*session, same.get(), tokens));
  EXPECT_NEAR(none.meanKl, 0, 1e-12);
  EXPECT_EQ(none.topAgreement, 1);
  PerplexityResult some = must(perplexity(*session, far.get(), tokens));
  EXPECT_GT(some.meanKl, 0.1);
  EXPECT_GE(some.p99Kl, some.meanKl);
  EXPECT_LT(some.topAgreement, 0.5);
}

TEST(Bench, MeasuresAndLeavesNothing) {
  TestModel tiny;
  Owned<Session> session = makeSession(*tiny.model);
  BenchOptions options;
  options.prompt = 40;
  options.tokens = 5;
  options.depth = 10;
  options.repetitions = 2;
  BenchResult result = must(bench(*session, options));
  EXPECT_GT(result.tokensPerSecond.median, 0);
  EXPECT_LE(result.promptTokensPerSecond.min, result.promptTokensPerSecond.max);
  EXPECT_GT(result.ceilings.readBandwidthGbS, 0);
  EXPECT_GT(result.ceilings.int8PeakGopS, 0);
  EXPECT_GT(result.ceilings.f32PeakGflopS, 0);
  // Every matrix but the embedding table, in f32, and the norms.
  EXPECT_GT(result.weightBytesPerToken, 100000u);
  EXPECT_EQ(session->kvBytesUsed(), 0u);
  options.depth = 250;
  EXPECT_FALSE(bool(bench(*session, options)));
}
