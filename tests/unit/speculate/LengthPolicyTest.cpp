//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The length of drafts on a machine whose costs and a text whose acceptance are made up.
//
#include "runtime/llm/speculate/LengthPolicy.h"
#include "runtime/llm/Sampler.h"
#include "runtime/llm/speculate/NgramDrafter.h"

#include <cmath>
#include <gtest/gtest.h>

using namespace mlc;

namespace {

/// Costs in steps of the target of one token.
struct Machine {
  double draft, perToken;
  double verify(unsigned tokens) const { return 1 + perToken * (tokens - 1); }
};

struct Outcome {
  double speedUp;
  double meanLength;
};

/// Generates `count` tokens, of which a drafted one stays with `acceptance(at)`, a function of the text's place.
/// `length` fixes the drafts. `confidence`: the class of all drafted tokens, with what such a draft claims.
template <typename Acceptance>
Outcome play(const Machine &machine, unsigned count, Acceptance acceptance, int length = -1, uint64_t seed = 1,
             unsigned confidence = 3, const Claims &claims = kEvenClaims) {
  LengthPolicy policy;
  VerifyCosts measured;
  DraftEstimate estimate(machine.draft, claims);
  measured.learnPrompt(64, machine.verify(64));
  unsigned made = 0, rounds = 0, draftedInAll = 0;
  size_t behind = 0;
  double time = 0;
  uint64_t draw = 0;
  while (made < count) {
    RoundCosts costs = measured.round();
    double round = 0;
    unsigned drafted = 0, stayed = 0;
    bool tried = false;
    auto stays = [&](unsigned i) { return uniformDraw(seed, draw + i) < acceptance(made + i); };
    unsigned most = length >= 0 ? unsigned(length) : kMaxDraftTokens;
    LengthPolicy::Plan plan;
    if (behind > kShortRead && !policy.affords(estimate.readMs(behind, 1)))
      behind = kShortRead;
    if (length < 0 && !policy.wantsPlain(costs))
      plan = policy.plan(costs, estimate, most, behind, kConfidenceClasses);
    if (length > 0 || plan.length) {
      policy.begin(length >= 0 ? 1 : plan.rate);
      most = length >= 0 ? most : plan.most;
      while (drafted < most && (length >= 0 || policy.goesOn(costs, estimate, drafted, most, kConfidenceClasses))) {
        // Catching up costs a tenth of a token each.
        double cost = machine.draft * (1 + 0.1 * double(drafted ? 0 : behind));
        estimate.learnCost(drafted ? 0 : behind, cost);
        round += cost;
        tried = true;
        if (length < 0 && !policy.keeps(costs, estimate, drafted, most, confidence))
          break;
        ++drafted;
      }
      behind = 0;
    }
    double step = machine.verify(drafted + 1);
    round += step;
    for (bool going = true; going && stayed < drafted;) {
      going = stays(stayed);
      estimate.learn(stayed, confidence, going);
      stayed += going;
    }
    draw += drafted + 1;
    measured.learn(drafted + 1, step);
    policy.learn({drafted > 0, tried, stayed < drafted, 1, stayed + 1, round, measured.at(1)});
    if (!drafted)
      estimate.forget();
    behind += !tried;
    made += stayed + 1;
    time += round;
    rounds += drafted > 0;
    draftedInAll += drafted;
  }
  return {made / time, rounds ? double(draftedInAll) / rounds : 0};
}

} // namespace

TEST(LengthPolicy, ComesCloseToTheBestFixedLength) {
  for (Machine machine : {Machine{0.1, 0.02}, Machine{0.15, 0.1}, Machine{0.3, 0.05}, Machine{0.02, 0.15}})
    for (double chance : {0.95, 0.85, 0.7, 0.5}) {
      double best = 0, adaptive = 0;
      for (int length = 0; length <= int(kMaxDraftTokens); ++length) {
        double rate = 0;
        for (uint64_t seed = 1; seed <= 8; ++seed)
          rate += play(machine, 2000, [=](unsigned) { return chance; }, length, seed).speedUp / 8;
        best = std::max(best, rate);
      }
      for (uint64_t seed = 1; seed <= 8; ++seed)
        adaptive += play(machine, 2000, [=](unsigned) { return chance; }, -1, seed).speedUp / 8;
      EXPECT_GT(adaptive, best * 0.95) << machine.draft << ' ' << machine.perToken << ' ' << chance;
    }
}

TEST(LengthPolicy, BeatsAnyFixedLengthOnAMixedText) {
  Machine machine{0.12, 0.03};
  // Code, prose, noise.
  auto mixed = [](unsigned at) { return at / 300 % 3 == 0 ? 0.97 : at / 300 % 3 == 1 ? 0.7 : 0.15; };
  double best = 0;
  for (int length = 0; length <= int(kMaxDraftTokens); ++length)
    best = std::max(best, play(machine, 9000, mixed, length).speedUp);
  EXPECT_GT(play(machine, 9000, mixed).speedUp, best * 1.07);
}

TEST(LengthPolicy, BeginsLongWhereTheDraftIsSure) {
  // An answer of a few rounds: whoever begins with short drafts has lost a good part of it.
  Machine machine{0.19, 0.065};
  Claims claims = {0.4f, 0.5f, 0.6f, 0.75f, 0.85f, 0.9f, 0.95f, 0.98f};
  auto always = [](unsigned) { return 1.0; };
  double best = 0;
  for (int length = 0; length <= int(kMaxDraftTokens); ++length)
    best = std::max(best, play(machine, 256, always, length).speedUp);
  EXPECT_GT(play(machine, 256, always, -1, 1, 7, claims).speedUp, best * 0.97);
  // What the draft itself doubts is not verified, so nearly nothing is lost.
  auto never = [](unsigned) { return 0.0; };
  EXPECT_GT(play(machine, 256, never, -1, 1, 0, claims).speedUp, 0.985);
  // Nor is much lost on one that is sure and wrong; the more a drafted token costs, the shorter the first draft.
  for (double cost : {0.05, 0.19, 0.5, 0.9})
    EXPECT_GT(play({cost, 0.065}, 256, never, -1, 1, 7, claims).speedUp, 0.97) << cost;
}

// Before anything was measured two tokens are drafted, more where the draft is sure; a plain step is measured when one
// of them does not stay, not before.
TEST(LengthPolicy, MeasuresAsItDrafts) {
  Claims claims = {0.4f, 0.5f, 0.6f, 0.75f, 0.85f, 0.9f, 0.95f, 0.98f};
  for (auto [confidence, first] : {std::pair{0u, 2u}, {4u, 2u}, {7u, 16u}}) {
    LengthPolicy policy;
    VerifyCosts measured;
    DraftEstimate estimate(0.2, claims);
    measured.learnPrompt(64, 4);
    RoundCosts costs = measured.round();
    ASSERT_FALSE(policy.wantsPlain(costs));
    LengthPolicy::Plan plan = policy.plan(costs, estimate, kMaxDraftTokens, 0, kConfidenceClasses);
    policy.begin(plan.rate);
    unsigned drafted = 0;
    while (drafted < plan.most && policy.goesOn(costs, estimate, drafted, plan.most, kConfidenceClasses) &&
           policy.keeps(costs, estimate, drafted, plan.most, confidence))
      ++drafted;
    EXPECT_EQ(drafted, first) << confidence;
    measured.learn(drafted + 1, 1.1);
    policy.learn({true, true, false, 1, drafted + 1, 1.5, measured.at(1)});
    EXPECT_FALSE(policy.wantsPlain(measured.round()));
    policy.learn({true, true, true, 1, 1, 1.5, measured.at(1)});
    EXPECT_TRUE(policy.wantsPlain(measured.round()));
    measured.learn(1, 1);
    EXPECT_FALSE(policy.wantsPlain(measured.round()));
  }
  // Whose costs are known, but nobody's drafts: plain first.
  RoundCosts known;
  EXPECT_TRUE(LengthPolicy().wantsPlain(known));
}

TEST(LengthPolicy, NeverLosesMuch) {
  for (Machine machine : {Machine{0.1, 0.05}, Machine{0.5, 0.1}, Machine{0.9, 0.3}, Machine{0.05, 1.0}})
    for (double chance : {0.0, 0.05, 0.2, 0.4})
      for (unsigned count : {256u, 1000u, 4000u})
        for (uint64_t seed = 1; seed <= 5; ++seed)
          EXPECT_GT(play(
                        machine, count, [=](unsigned) { return chance; }, -1, seed)
                        .speedUp,
                    0.98)
              << machine.draft << ' ' << machine.perToken << ' ' << chance << ' ' << count;
}

TEST(LengthPolicy, TriesAgain) {
  // Nothing stays at first, then nearly everything.
  Machine machine{0.1, 0.03};
  auto late = [](unsigned at) { return at < 1000 ? 0.0 : 0.95; };
  Outcome outcome = play(machine, 4000, late);
  Outcome easy = play(machine, 3000, [](unsigned) { return 0.95; });
  // As fast as it can be from some point soon after.
  EXPECT_GT(outcome.speedUp, 4000 / (1000 * 1.05 + 3000 / easy.speedUp + 250));
}

TEST(VerifyCosts, LineBetweenAndBeyond) {
  VerifyCosts costs;
  costs.learn(1, 10);
  EXPECT_EQ(costs.at(1), 10);
  EXPECT_GT(costs.at(5), 10);
  EXPECT_LT(costs.at(5), 13);
  costs.learn(5, 18);
  EXPECT_NEAR(costs.at(3), 14, 1e-9);
  EXPECT_NEAR(costs.at(7), 22, 1e-9);
  // Where nothing else is known, a prompt says what many tokens cost.
  VerifyCosts prompted;
  prompted.learnPrompt(64, 400);
  EXPECT_EQ(prompted.round().reach, kMaxDraftTokens);
  prompted.learn(1, 85);
  EXPECT_NEAR(prompted.at(17), 85 + 5 * 16, 1e-9);
  // The first time is half believed where it is above the line, and whole where it is below.
  EXPECT_TRUE(VerifyCosts().round().unknown);
  EXPECT_FALSE(prompted.round().unknown);
  prompted.learn(17, 200);
  EXPECT_NEAR(prompted.at(17), (200 + 85 + 5 * 16) / 2.0, 1e-9);
  EXPECT_NEAR(prompted.at(9), 142.5, 1e-9);
  for (int i = 0; i < 30; ++i)
    prompted.learn(17, 200);
  EXPECT_GT(prompted.at(17), 198);
  prompted.learn(9, 100);
  EXPECT_EQ(prompted.at(9), 100);
  // One slow step is not believed at once.
  costs.learn(5, 1000);
  EXPECT_LT(costs.at(5), 25);
}

TEST(NgramDrafter, ContinuesTheLatestLongestAgreement) {
  NgramDrafter drafter;
  auto draft = [&](std::vector<int32_t> text, unsigned count) {
    std::vector<int32_t> tokens;
    Draft next;
    if (drafter.begin(text))
      while (tokens.size() < count && *drafter.next(0, next))
        tokens.push_back(next.token);
    return tokens;
  };
  using Tokens = std::vector<int32_t>;
  EXPECT_EQ(draft({1, 2, 3, 4, 9, 2, 3}, 3), (Tokens{4, 9, 2}));
  EXPECT_EQ(draft({7, 2, 3, 4, 1, 2, 3, 5, 1, 2, 3}, 2), (Tokens{5, 1})); // Three agree, two elsewhere.
  EXPECT_EQ(draft({2, 3, 4, 8, 2, 3, 5, 8, 9, 2, 3}, 1), (Tokens{5}));    // The later of two.
  EXPECT_EQ(draft({1, 2, 1, 2, 1, 2}, 5), (Tokens{1, 2, 1, 2, 1}));       // Over its own end.
  EXPECT_EQ(draft({1, 2, 3, 4}, 3), (Tokens{}));
  EXPECT_EQ(draft({4, 1, 4}, 3), (Tokens{})); // One token alone is no agreement.
  EXPECT_EQ(draft({4}, 3), (Tokens{}));
  EXPECT_EQ(draft(Tokens(100, 6), 40).size(), size_t(kMaxDraftTokens));
}
