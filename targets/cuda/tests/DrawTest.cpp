//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The device's draw against the sampler's distribution: a token is right if the number drawn lies in its share.
//
#include "runtime/llm/Sampler.h"
#include "targets/cuda/device/Args.h"
#include "targets/cuda/tests/Random.h"
#include "targets/cuda/tests/emulator/Emulator.h"

#include <gtest/gtest.h>

using namespace mlc;
using namespace mlc::cuda;

extern "C" void mlc_draw(const DrawArgs &args);

namespace {

/// Logits of a text that goes on in few ways or, flat, in many.
std::vector<float> someLogits(size_t vocab, bool flat, unsigned seed) {
  Random random(seed);
  std::vector<float> logits = normals(random, vocab);
  for (float &logit : logits)
    logit *= flat ? 0.3f : 3.0f;
  return logits;
}

Sampler samplerOf(size_t vocab, const SamplingOptions &options, std::span<const LogitBias> bias = {}) {
  auto made = Sampler::create(vocab, options, bias);
  if (!made)
    abort();
  return std::move(*made);
}

/// What the device draws of one row, with `uniform`.
int32_t deviceToken(const Sampler &sampler, std::vector<float> logits, double uniform) {
  std::vector<TokenAdjustment> adjustments(logits.size());
  RowDraw draws[2] = {};
  draws[0].row = -1;
  EXPECT_TRUE(sampler.describe(draws[1], adjustments));
  draws[1].uniform = uniform;
  draws[1].row = 1;
  auto vocab = int64_t(logits.size());
  std::vector<float> rows(2 * logits.size(), NAN);
  std::copy(logits.begin(), logits.end(), rows.begin() + vocab);
  int32_t tokens[2] = {-7, -7};
  DrawArgs args{{rows.data(), vocab}, draws, adjustments.data(), tokens, vocab};
  emulator::launch({2, 1, 1}, kDrawThreads, [&] { mlc_draw(args); });
  EXPECT_EQ(tokens[0], -7);
  return tokens[1];
}

/// The token is the one whose share of the sampler's distribution holds `uniform`, or a neighbour within rounding.
void expectDrawn(Sampler &sampler, const std::vector<float> &logits, double uniform) {
  int32_t token = deviceToken(sampler, logits, uniform);
  auto distribution = sampler.distribution(logits);
  ASSERT_TRUE(distribution) << distribution.error().message();
  double before = 0;
  for (const Sampler::Candidate &each : *distribution) {
    if (each.token == token) {
      EXPECT_LE(before - 2e-6, uniform) << token;
      EXPECT_GE(before + double(each.probability) + 2e-6, uniform) << token;
      return;
    }
    before += double(each.probability);
  }
  ADD_FAILURE() << "token " << token << " cannot be drawn; " << distribution->size() << " can";
}

} // namespace

// Every cut and what they make together, of vocabularies that registers hold and those that they do not, in both
// orders; the ends of the number's range too.
TEST(Draw, IsTheSamplers) {
  struct Cut {
    float temperature;
    uint32_t topK;
    float topP, minP;
  };
  unsigned seed = 0;
  for (size_t vocab : {size_t(1), size_t(33), size_t(700), size_t(5000)})
    for (bool flat : {false, true})
      for (Cut cut : {Cut{0, 0, 1, 0},
                      {1, 0, 1, 0},
                      {0.7f, 0, 1, 0.05f},
                      {1, 40, 1, 0},
                      {1.3f, 0, 0.9f, 0},
                      {1, 50, 0.8f, 0},
                      {0.9f, 3000, 0.95f, 0.02f},
                      {2, 0, 0.999f, 0.3f}}) {
        SCOPED_TRACE(testing::Message() << vocab << (flat ? " flat, " : ", ") << cut.temperature << ", k " << cut.topK
                                        << ", p " << cut.topP << ", min-p " << cut.minP);
        SamplingOptions options;
        options.temperature = cut.temperature;
        options.topK = cut.topK;
        options.topP = cut.topP;
        options.minP = cut.minP;
        Sampler sampler = samplerOf(vocab, options);
        std::vector<float> logits = someLogits(vocab, flat, ++seed);
        double other = uniformDraw(7, seed);
        for (double uniform : {0.0, other, 1 - 0x1p-53})
          if (vocab < 5000 || uniform == other)
            expectDrawn(sampler, logits, uniform);
      }
}

TEST(Draw, BiasAndPenalties) {
  for (float temperature : {0.0f, 0.8f}) {
    SamplingOptions options;
    options.temperature = temperature;
    options.topP = 0.95f;
    options.repetitionPenalty = 1.3f;
    options.presencePenalty = 0.4f;
    options.frequencyPenalty = 0.2f;
    const LogitBias bias[] = {{3, 5}, {4, -100}, {5, INFINITY}, {5, -INFINITY}, {6, 1}, {6, 1}};
    Sampler sampler = samplerOf(60, options, bias);
    const int32_t prompt[] = {1, 3, 9, 9, 20}, answer[] = {9, 9, 30, 6, 40};
    sampler.acceptPrompt(prompt);
    for (int32_t token : answer)
      sampler.accept(token);
    sampler.retract(40);
    for (unsigned seed = 0; seed < 12; ++seed)
      expectDrawn(sampler, someLogits(60, seed % 2, seed), uniformDraw(1, seed));
  }
}

// Of equals the lowest ids; -0 and 0 are equal.
TEST(Draw, TiesGoByTheLowestId) {
  std::vector<float> logits(100, -1);
  logits[70] = logits[20] = logits[90] = 0;
  logits[50] = -0.0f;
  SamplingOptions options;
  EXPECT_EQ(deviceToken(samplerOf(100, options), logits, 0.9), 20);
  options.temperature = 1;
  options.topK = 3;
  EXPECT_EQ(deviceToken(samplerOf(100, options), logits, 0.999), 70);
  EXPECT_EQ(deviceToken(samplerOf(100, options), logits, 0.5), 50);
  // A hundred alike, of which two reach top-p.
  std::fill(logits.begin(), logits.end(), 2.0f);
  options.topK = 0;
  options.topP = 0.02f;
  EXPECT_EQ(deviceToken(samplerOf(100, options), logits, 0.999), 1);
}

TEST(Draw, WhatIsNoNumberIsNeverDrawn) {
  for (float temperature : {0.0f, 1.0f})
    for (float topP : {1.0f, 0.5f}) {
      SamplingOptions options;
      options.temperature = temperature;
      options.topP = topP;
      std::vector<float> logits(40, NAN);
      EXPECT_EQ(deviceToken(samplerOf(40, options), logits, 0.3), -1);
      std::fill(logits.begin(), logits.end(), -INFINITY);
      EXPECT_EQ(deviceToken(samplerOf(40, options), logits, 0.3), -1);
      logits[11] = -1e30f;
      logits[12] = NAN;
      EXPECT_EQ(deviceToken(samplerOf(40, options), logits, 0.3), 11);
      // Beyond every finite number, yet two of them.
      logits[9] = logits[30] = INFINITY;
      EXPECT_EQ(deviceToken(samplerOf(40, options), logits, 0.3), 9);
    }
}

// What a sampler says of single tokens: each once, and none that nothing changes.
TEST(Draw, AdjustmentsAreListedOnce) {
  SamplingOptions options;
  options.presencePenalty = 1;
  const LogitBias bias[] = {{4, 2}, {4, -2}, {7, 3}};
  Sampler sampler = samplerOf(50, options, bias);
  const int32_t prompt[] = {1, 2, 3};
  sampler.acceptPrompt(prompt);
  for (int32_t token : {2, 2, 9, 10})
    sampler.accept(token);
  sampler.retract(10);
  RowDraw draw{};
  TokenAdjustment room[4];
  EXPECT_FALSE(sampler.describe(draw, std::span(room).first(2)));
  ASSERT_TRUE(sampler.describe(draw, room));
  ASSERT_EQ(draw.adjustments, 3u);
  EXPECT_EQ(room[0].token, 7);
  EXPECT_EQ(room[0].bias, 3);
  EXPECT_EQ(room[1].token, 2);
  EXPECT_EQ(room[1].generated, 2u);
  EXPECT_EQ(room[1].inPrompt, 1u);
  EXPECT_EQ(room[2].token, 9);
  // Neither bias nor penalties: nothing is listed.
  Sampler plain = samplerOf(50, {});
  plain.accept(3);
  ASSERT_TRUE(plain.describe(draw, {}));
  EXPECT_EQ(draw.adjustments, 0u);
}
