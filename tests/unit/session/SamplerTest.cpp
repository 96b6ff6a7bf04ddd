//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The sampler against exact probabilities, computed here in another way: sorted, in doubles, from the formulas.
//
#include "runtime/llm/Sampler.h"
#include "runtime/llm/Exponential.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <map>
#include <random>
#include <vector>

using namespace mlc;

namespace {

Sampler makeSampler(size_t vocab, const SamplingOptions &options, std::span<const LogitBias> bias = {}) {
  auto sampler = Sampler::create(vocab, options, bias);
  if (!sampler)
    abort();
  return std::move(*sampler);
}

/// Temperature, top-k, top-p, min-p, each renormalised, over all tokens.
std::vector<double> exact(const std::vector<float> &logits, const SamplingOptions &options) {
  struct Entry {
    size_t token;
    double p;
  };
  std::vector<Entry> entries;
  for (size_t i = 0; i < logits.size(); ++i)
    entries.push_back({i, std::exp(double(logits[i]) / double(options.temperature))});
  std::sort(entries.begin(), entries.end(), [](const Entry &a, const Entry &b) { return a.p > b.p; });
  auto normalise = [&] {
    double sum = 0;
    for (Entry &entry : entries)
      sum += entry.p;
    for (Entry &entry : entries)
      entry.p /= sum;
  };
  if (options.topK && options.topK < entries.size())
    entries.resize(options.topK);
  normalise();
  double reached = 0;
  size_t kept = 0;
  while (kept < entries.size() && reached < double(options.topP))
    reached += entries[kept++].p;
  if (options.topP < 1)
    entries.resize(kept);
  normalise();
  double least = double(options.minP) * entries[0].p;
  std::erase_if(entries, [&](const Entry &entry) { return entry.p < least; });
  normalise();
  std::vector<double> result(logits.size());
  for (Entry &entry : entries)
    result[entry.token] = entry.p;
  return result;
}

SamplingOptions options(float temperature, uint32_t topK, float topP, float minP) {
  SamplingOptions result;
  result.temperature = temperature;
  result.topK = topK;
  result.topP = topP;
  result.minP = minP;
  result.seed = 99;
  return result;
}

} // namespace

TEST(Sampler, DistributionIsExactAndDrawsFollowIt) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0, 2);
  for (SamplingOptions which : {options(1, 0, 1, 0), options(0.5f, 0, 1, 0), options(2, 5, 1, 0),
                                options(1, 0, 0.8f, 0), options(1, 0, 1, 0.1f), options(1.5f, 9, 0.9f, 0.05f),
                                options(1, 1, 1, 0), options(1, 0, 0.01f, 0), options(1, 100, 0.999f, 0)}) {
    std::vector<float> logits(17);
    for (float &logit : logits)
      logit = normal(random);
    Sampler sampler = makeSampler(logits.size(), which);
    std::vector<double> expected = exact(logits, which);
    auto distribution = sampler.distribution(logits);
    ASSERT_TRUE(bool(distribution));
    std::vector<double> given(logits.size());
    for (const Sampler::Candidate &candidate : *distribution)
      given[size_t(candidate.token)] = double(candidate.probability);
    for (size_t i = 0; i < given.size(); ++i)
      EXPECT_NEAR(given[i], expected[i], 1e-6) << "token " << i;

    if (sampler.drawsFromAll()) {
      std::vector<float> weights(logits.size());
      double scale = *sampler.weigh(logits, weights);
      std::span<const Sampler::Candidate> all = *sampler.distribution(logits);
      for (const Sampler::Candidate &candidate : all) {
        EXPECT_EQ(float(weights[size_t(candidate.token)] * scale), candidate.probability);
        EXPECT_EQ(*sampler.chanceOf(candidate.token, logits, {}), candidate.probability);
      }
    }

    constexpr unsigned draws = 20000;
    std::vector<unsigned> counts(logits.size());
    for (unsigned i = 0; i < draws; ++i)
      ++counts[size_t(*sampler.sample(logits))];
    double statistic = 0;
    unsigned freedom = 0;
    for (size_t i = 0; i < counts.size(); ++i) {
      if (expected[i] == 0) {
        EXPECT_EQ(counts[i], 0u);
        continue;
      }
      double mean = expected[i] * draws;
      statistic += (counts[i] - mean) * (counts[i] - mean) / mean;
      ++freedom;
    }
    // Mean plus 4.5 standard deviations of chi-square.
    EXPECT_LT(statistic, freedom - 1 + 4.5 * std::sqrt(2.0 * freedom));
  }
}

TEST(Sampler, ExponentialIsCloseAndOneAtZero) {
  EXPECT_EQ(exponential(0.0f), 1.0f);
  EXPECT_EQ(exponential(-87.4f), 0.0f);
  EXPECT_EQ(exponential(-INFINITY), 0.0f);
  EXPECT_EQ(exponential(NAN), 0.0f);
  for (float x = -1e-6f; x > -87.3f; x = x * 1.0007f - 1e-5f)
    ASSERT_NEAR(exponential(x) / std::exp(double(x)), 1, 2.4e-7) << x;
}

// Of a vocabulary of many blocks: every draw is the token at which the sum of those before passes the number.
TEST(Sampler, DrawsFromManyBlocks) {
  for (size_t vocab : {1u, 255u, 256u, 257u, 5003u}) {
    std::mt19937 random{unsigned(vocab)};
    std::normal_distribution<float> normal(0, 3);
    std::vector<float> logits(vocab);
    for (float &logit : logits)
      logit = normal(random);
    if (vocab > 300) {
      logits[17] = -INFINITY;
      logits[vocab - 1] = -200; // No probability that f32 can say.
    }
    SamplingOptions options;
    options.temperature = 0.8f;
    Sampler sampler = makeSampler(vocab, options);
    auto kept = *sampler.distribution(logits);
    std::vector<double> expected = exact(logits, options);
    double total = 0;
    for (const Sampler::Candidate &candidate : kept) {
      ASSERT_NEAR(candidate.probability, expected[size_t(candidate.token)],
                  4e-6 * expected[size_t(candidate.token)] + 1e-37);
      total += candidate.probability;
    }
    EXPECT_EQ(kept.size(), vocab > 300 ? vocab - 1 : vocab);
    double before = 0;
    for (const Sampler::Candidate &candidate : kept) {
      double share = candidate.probability;
      if (share / total > 1e-9)
        ASSERT_EQ(Sampler::drawFrom(kept, (before + share / 2) / total), candidate.token) << vocab;
      before += share;
    }
    EXPECT_EQ(Sampler::drawFrom(kept, 0), kept[0].token);
    EXPECT_GT(expected[size_t(Sampler::drawFrom(kept, 1 - 0x1p-53))], 1e-30);
  }
}

// Cuts leave of many blocks what sorting all of them leaves, the flat distributions among them of which no threshold
// leaves few.
TEST(Sampler, CutsOverManyBlocks) {
  std::mt19937 random(3);
  for (float spread : {0.01f, 1.0f, 8.0f})
    for (SamplingOptions which :
         {options(1, 40, 1, 0), options(0.7f, 0, 0.95f, 0), options(1, 0, 0.5f, 0), options(1, 300, 0.9f, 0.01f),
          options(1.3f, 0, 1, 0.2f), options(1, 0, 0.9999f, 0), options(1, 5002, 1, 0), options(2, 0, 0.8f, 0.3f)}) {
      std::normal_distribution<float> normal(0, spread);
      std::vector<float> logits(5003);
      for (float &logit : logits)
        logit = normal(random);
      Sampler sampler = makeSampler(logits.size(), which);
      auto kept = *sampler.distribution(logits);
      std::vector<double> expected = exact(logits, which), given(logits.size());
      for (const Sampler::Candidate &candidate : kept)
        given[size_t(candidate.token)] = candidate.probability;
      // The last one that a sum reaches may be another where rounding decides.
      double apart = 0, least = 1;
      for (double p : expected)
        least = p > 0 ? std::min(least, p) : least;
      for (size_t i = 0; i < given.size(); ++i)
        apart += std::abs(given[i] - expected[i]);
      EXPECT_LT(apart, 4 * least + 2e-5) << spread << " " << which.topK << " " << which.topP << " " << which.minP;
    }
}

// With neither bias nor penalties the likeliest is found block by block: the lowest id of equals, NaN never.
TEST(Sampler, GreedyOverManyBlocks) {
  std::vector<float> logits(1000, -5);
  SamplingOptions options;
  Sampler sampler = makeSampler(logits.size(), options);
  logits[0] = NAN;
  EXPECT_EQ(*sampler.sample(logits), 1);
  logits[700] = logits[900] = 2;
  EXPECT_EQ(*sampler.sample(logits), 700);
  logits[300] = INFINITY;
  logits[299] = 3.4e38f;
  EXPECT_EQ(*sampler.sample(logits), 299);
  std::vector<uint64_t> allowed(16);
  allowed[900 / 64] = uint64_t(1) << (900 % 64);
  EXPECT_EQ(*sampler.sample(logits, allowed), 900);
  std::fill(logits.begin(), logits.end(), -INFINITY);
  EXPECT_FALSE(sampler.sample(logits));
}

TEST(Sampler, PhiloxIsItsReference) {
  // The published known answers of Philox4x32-10, counter and key zero: 6627e8d5 e169c58d.
  EXPECT_EQ(uniformDraw(0, 0), double((uint64_t(0xe169c58d) << 32 | 0x6627e8d5) >> 11) * 0x1p-53);
}

TEST(Sampler, SeedsRepeatAndDiffer) {
  std::vector<float> logits(50, 0);
  auto draw = [&](uint64_t seed) {
    SamplingOptions which = options(1, 0, 1, 0);
    which.seed = seed;
    Sampler sampler = makeSampler(logits.size(), which);
    std::vector<int32_t> tokens;
    for (int i = 0; i < 20; ++i)
      tokens.push_back(*sampler.sample(logits));
    return tokens;
  };
  EXPECT_EQ(draw(7), draw(7));
  EXPECT_NE(draw(7), draw(8));
}

TEST(Sampler, GreedyTiesGoToTheLowestId) {
  Sampler sampler = makeSampler(4, {});
  EXPECT_EQ(*sampler.sample(std::vector<float>{1, 3, 3, 2}), 1);
  SamplingOptions two = options(1, 2, 1, 0);
  auto kept = *makeSampler(4, two).distribution(std::vector<float>{3, 1, 3, 3});
  ASSERT_EQ(kept.size(), 2u);
}

TEST(Sampler, TiesAtTheCutKeepTheLowestIds) {
  Sampler sampler = makeSampler(4, options(1, 2, 1, 0));
  auto kept = *sampler.distribution(std::vector<float>{3, 1, 3, 3});
  ASSERT_EQ(kept.size(), 2u);
  EXPECT_EQ(kept[0].token, 0);
  EXPECT_EQ(kept[1].token, 2);
}

TEST(Sampler, NotNumbersAreNeverDrawn) {
  float nan = NAN, infinity = INFINITY;
  for (float temperature : {0.0f, 1.0f, 1e-30f}) {
    Sampler sampler = makeSampler(4, options(temperature, 0, 1, 0));
    EXPECT_EQ(*sampler.sample(std::vector<float>{nan, -infinity, 2, nan}), 2);
    EXPECT_EQ(*sampler.sample(std::vector<float>{nan, infinity, 2, nan}), 1);
    EXPECT_FALSE(bool(sampler.sample(std::vector<float>{nan, nan, -infinity, nan})));
    EXPECT_FALSE(bool(sampler.sample(std::vector<float>{1, 2, 3})));
  }
}

TEST(Sampler, PenaltiesAndBias) {
  SamplingOptions which;
  which.repetitionPenalty = 2;
  which.presencePenalty = 0.5f;
  which.frequencyPenalty = 0.25f;
  LogitBias bias[] = {{3, 1.0f}, {3, 0.5f}};
  Sampler sampler = makeSampler(4, which, bias);
  auto best = [&](std::vector<float> logits) {
    auto kept = sampler.distribution(logits);
    return std::pair<int32_t, float>((*kept)[0].token, (*kept)[0].logit);
  };
  EXPECT_EQ(best({4, 3, 0, 0}), std::pair(0, 4.0f));
  int32_t prompt[] = {0};
  sampler.acceptPrompt(prompt);
  EXPECT_EQ(best({4, 1, 0, -9}), std::pair(0, 2.0f));      // Divided, not otherwise penalised.
  EXPECT_EQ(best({-4, -9, -9, -20}), std::pair(0, -8.0f)); // Multiplied below zero.
  sampler.accept(1);
  sampler.accept(1);
  EXPECT_EQ(best({0, 8, 0, 0}), std::pair(1, 8.0f / 2 - 0.5f - 2 * 0.25f));
  EXPECT_EQ(best({0, 0, 0, 3}), std::pair(3, 4.5f));
}

TEST(Sampler, OptionsOutOfRangeAreNamed) {
  auto message = [](auto change) {
    SamplingOptions which;
    change(which);
    Status checked = Sampler::checkOptions(which);
    return std::string(checked ? "" : checked.error().message());
  };
  EXPECT_EQ(message([](SamplingOptions &o) { o.temperature = -1; }), "temperature -1: choose 0 (greedy) or more");
  EXPECT_EQ(message([](SamplingOptions &o) { o.temperature = NAN; }), "temperature nan: choose 0 (greedy) or more");
  EXPECT_EQ(message([](SamplingOptions &o) { o.topP = 0; }), "top-p 0: choose above 0, at most 1");
  EXPECT_EQ(message([](SamplingOptions &o) { o.minP = 1.5f; }), "min-p 1.5: choose 0 to 1");
  EXPECT_EQ(message([](SamplingOptions &o) { o.repetitionPenalty = 0; }), "repeat-penalty 0: choose above 0 (1: off)");
  LogitBias bias[] = {{4, 1}};
  EXPECT_FALSE(bool(Sampler::create(4, {}, bias)));
}
