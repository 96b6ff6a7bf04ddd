//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The rule of acceptance on distributions written down by hand, its outcomes enumerated.
//
#include "tests/unit/speculate/SpeculateSupport.h"

#include <array>

using namespace mlc;
using namespace mlc::test;

namespace {

constexpr size_t kVocab = 6;
using Distribution = std::array<double, kVocab>;
using Candidates = std::vector<Sampler::Candidate>;

/// A random distribution of which some tokens are cut, as top-k and top-p do.
Distribution randomDistribution(std::mt19937 &random) {
  Distribution made{};
  double sum = 0;
  do
    for (double &share : made)
      sum += share = random() % 3 ? 0.01 + double(random() % 1000) / 1000 : 0;
  while (sum == 0);
  for (double &share : made)
    share /= sum;
  return made;
}

Candidates candidatesOf(const Distribution &distribution) {
  Candidates made;
  for (size_t i = 0; i < kVocab; ++i)
    if (distribution[i] > 0)
      made.push_back({int32_t(i), 0, float(distribution[i])});
  return made;
}

/// The probabilities of the tokens that drawResidual gives: it is a step function of its uniform number, whose borders
/// are found by bisection.
Distribution residualOf(const Candidates &target, const Draft &draft) {
  Distribution found{};
  auto at = [&](double uniform) { return drawResidual(target, draft, uniform); };
  for (double begin = 0; begin < 1;) {
    int32_t token = at(begin);
    double end = 1;
    if (at(std::nextafter(1.0, 0.0)) != token) {
      // Tokens come in the order of the candidates, so `token` holds one interval.
      double inside = begin;
      while (end - inside > 1e-15) {
        double middle = (inside + end) / 2;
        (at(middle) == token ? inside : end) = middle;
      }
    }
    found[size_t(token)] += end - begin;
    begin = end;
  }
  return found;
}

/// What comes out when the draft has `q`: enumerated over the drafted token, with the functions that Speculator calls.
Distribution outcome(const Distribution &p, const Distribution &q) {
  Candidates target = candidatesOf(p);
  std::array<float, kVocab> row;
  for (size_t i = 0; i < kVocab; ++i)
    row[i] = float(q[i]);
  Distribution out{};
  for (size_t d = 0; d < kVocab; ++d) {
    if (q[d] == 0)
      continue;
    Draft draft{int32_t(d), row, 0};
    double keep = keepProbability(target, draft);
    out[d] += q[d] * keep;
    if (keep == 1)
      continue;
    Distribution residual = residualOf(target, draft);
    for (size_t x = 0; x < kVocab; ++x)
      out[x] += q[d] * (1 - keep) * residual[x];
  }
  return out;
}

} // namespace

TEST(Acceptance, OneTokenHasTheTargetsDistribution) {
  std::mt19937 random(1);
  for (unsigned i = 0; i < 2000; ++i) {
    Distribution p = randomDistribution(random), q = randomDistribution(random), got = outcome(p, q);
    for (size_t x = 0; x < kVocab; ++x)
      ASSERT_NEAR(got[x], p[x], 1e-6) << "pair " << i << ", token " << x;
  }
}

TEST(Acceptance, TwoTokensHaveTheTargetsJointDistribution) {
  std::mt19937 random(2);
  for (unsigned i = 0; i < 200; ++i) {
    // Both models' second distribution depends on the first token.
    Distribution p = randomDistribution(random), q = randomDistribution(random), p2[kVocab], q2[kVocab];
    for (size_t x = 0; x < kVocab; ++x) {
      p2[x] = randomDistribution(random);
      q2[x] = randomDistribution(random);
    }
    // A draft of two: the second is judged where the first stays, else drafted anew behind what came instead.
    double joint[kVocab][kVocab] = {};
    Distribution first = outcome(p, q);
    for (size_t x = 0; x < kVocab; ++x) {
      Distribution second = outcome(p2[x], q2[x]);
      for (size_t y = 0; y < kVocab; ++y)
        joint[x][y] += first[x] * second[y];
    }
    for (size_t x = 0; x < kVocab; ++x)
      for (size_t y = 0; y < kVocab; ++y)
        ASSERT_NEAR(joint[x][y], p[x] * p2[x][y], 1e-6);
  }
}

TEST(Acceptance, ACertainDraftStaysWithTheTargetsProbability) {
  Candidates target = {{4, 0, 0.5f}, {1, 0, 0.3f}, {2, 0, 0.2f}};
  Draft certain{1, {}, 0};
  EXPECT_NEAR(keepProbability(target, certain), 0.3, 1e-7);
  Distribution residual = residualOf(target, certain);
  EXPECT_NEAR(residual[4], 0.5 / 0.7, 1e-6);
  EXPECT_NEAR(residual[2], 0.2 / 0.7, 1e-6);
  EXPECT_EQ(residual[1], 0);
  EXPECT_EQ(keepProbability(target, {3, {}, 0}), 0);
}

TEST(Acceptance, EqualDistributionsNeverFail) {
  Candidates target = {{0, 0, 0.25f}, {1, 0, 0.75f}};
  const float row[] = {0.25f, 0.75f};
  Draft draft{1, row, 0};
  EXPECT_EQ(keepProbability(target, draft), 1);
  // No residual is left; the target's own distribution is as good as any then.
  EXPECT_EQ(drawResidual(target, draft, 0.1), 0);
  EXPECT_EQ(drawResidual(target, draft, 0.9), 1);
}
