//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/speculate/LengthPolicy.h"

#include <algorithm>
#include <cmath>

namespace mlc {

namespace {

// A step of one more token is cheap as long as nobody knows better: weights are read once for all of them.
constexpr double kStepGrowth = 0.04;
constexpr float kRecentMemory = 0.96f, kMemory = 0.98f, kIdleMemory = 0.98f;
// The budget, in plain steps: at the start, more where a draft stands for the first plain step, for each token, at
// most, and the deepest debt that is remembered.
constexpr double kBudgetStart = 1, kBudgetFirstDraft = 0.5, kBudgetPerToken = 0.008, kBudgetMost = 8, kBudgetLeast = -4;
// What a round may cost more than a plain step, in plain steps above the budget.
constexpr double kMostAtRisk = 4;
// The first draft of all: tokens in any case, and more as long as all stay with this chance. Any rate will do.
constexpr unsigned kFirstDraft = 2;
constexpr double kFirstChance = 0.7, kFirstRate = 1e-6;
// What is assumed of a place in a draft and of a claim counts as much as so many drafted tokens.
constexpr double kPositionWeight = 6, kClaimWeight = 3;

} // namespace

double VerifyCosts::at(unsigned tokens) const {
  if (!seen[tokens])
    return line(tokens);
  double known = ms[tokens];
  return tokens == 1 ? known : known - std::max(0.0, known - line(tokens)) / (seen[tokens] + 1);
}

/// By the others that were measured; those without are ms[tokens] themselves.
double VerifyCosts::line(unsigned tokens) const {
  unsigned below = tokens - 1;
  while (below > 0 && !seen[below])
    --below;
  size_t above = tokens + 1;
  while (above < kMaxDraftTokens + 2 && !seen[above])
    ++above;
  double aboveMs = above < kMaxDraftTokens + 2 ? ms[above] : promptMs;
  if (above == kMaxDraftTokens + 2)
    above = promptTokens;
  if (!below)
    return seen[tokens] ? ms[tokens] : aboveMs;
  if (above > below)
    return ms[below] + std::max(0.0, aboveMs - ms[below]) * double(tokens - below) / double(above - below);
  // Beyond all that was measured, the slope of the largest two, and never none.
  unsigned before = below - 1;
  while (before > 0 && !seen[before])
    --before;
  double slope = before ? (ms[below] - ms[before]) / double(below - before) : 0;
  return ms[below] + std::max(slope, kStepGrowth * ms[below] / double(below)) * double(tokens - below);
}

RoundCosts VerifyCosts::round() const {
  RoundCosts costs;
  for (unsigned drafted = 0; drafted <= kMaxDraftTokens; ++drafted)
    costs.ms[drafted] = at(drafted + 1);
  costs.unknown = !largest;
  costs.plainUnknown = !seen[1];
  costs.reach = unsigned(std::min(2 * std::max(size_t(largest), promptTokens), size_t(kMaxDraftTokens)));
  return costs;
}

void VerifyCosts::learnPrompt(size_t tokens, double measured) {
  // Short ones cost what plain steps cost.
  if (tokens < 2)
    return;
  promptTokens = tokens;
  promptMs = measured;
}

void VerifyCosts::learn(unsigned tokens, double measured) {
  // The first step after a prompt finds cold caches.
  if (tokens == 1 && ++plainSteps == 2)
    measured = std::min(measured, ms[1]);
  if (!seen[tokens]++) {
    ms[tokens] = measured;
    largest = std::max(largest, tokens);
    return;
  }
  // One step that the system held up says little.
  double ratio = std::clamp(measured / std::max(ms[tokens], 1e-9), 0.5, 2.0) - 1;
  // What slows one kind of step (a longer context, a busy machine) slows the others too.
  for (unsigned i = 0; i < kMaxDraftTokens + 2; ++i)
    ms[i] *= 1 + (i == tokens ? 0.25 : 0.05) * ratio;
}

void DraftEstimate::Tally::add(bool success, float memory) {
  stayed = stayed * memory + (success ? 1.0f : 0.0f);
  tried = tried * memory + 1;
}

double DraftEstimate::acceptance(unsigned position, unsigned confidence) const {
  double rate = positions[position].rate(recent.rate(kPriorAcceptance, 2), kPositionWeight);
  if (confidence >= kConfidenceClasses)
    return rate;
  // How drafts fare in this text moves all claims; the root, because other classes may have made the difference.
  double odds = std::sqrt(rate / (1 - rate) * (1 - kPriorAcceptance) / kPriorAcceptance);
  double claim = claims[confidence] * odds / (claims[confidence] * odds + 1 - claims[confidence]);
  return classes[confidence].rate(claim, kClaimWeight);
}

void DraftEstimate::learn(unsigned position, unsigned confidence, bool stayed) {
  recent.add(stayed, kRecentMemory);
  positions[position].add(stayed, kMemory);
  classes[confidence].add(stayed, kMemory);
}

void DraftEstimate::forget() {
  auto fade = [](Tally &tally) {
    tally.stayed *= kIdleMemory;
    tally.tried *= kIdleMemory;
  };
  fade(recent);
  for (Tally &tally : positions)
    fade(tally);
  for (Tally &tally : classes)
    fade(tally);
}

double DraftEstimate::readMs(size_t tokens, double plainMs) const {
  return double(tokens) * (read >= 0 ? read : 0.2 * tokenMs(plainMs));
}

static void mixIn(double &known, double measured) {
  known = known < 0 ? measured : known + 0.15 * (std::min(measured, 3 * known) - known);
}

void DraftEstimate::learnCost(size_t behind, double ms) {
  // One token more is what follows every draft that stayed whole.
  if (behind <= 1)
    mixIn(token, ms);
  else if (token >= 0)
    mixIn(read, std::max(0.0, ms - token) / double(behind));
}

void DraftEstimate::learnRead(size_t tokens, double ms) {
  // A few tokens cost nearly what one does, which says nothing about many.
  if (tokens >= kShortRead / 2)
    mixIn(read, ms / double(tokens));
}

LengthPolicy::Plan LengthPolicy::plan(const RoundCosts &costs, const DraftEstimate &estimate, unsigned most,
                                      size_t behind, unsigned confidence) const {
  if (costs.unknown) {
    while (most > 1 && most * estimate.costShare() > kMostAtRisk)
      --most;
    return {most, most, kFirstRate};
  }
  double plain = costs.plain(), token = estimate.tokenMs(plain), read = estimate.readMs(behind, plain);
  Plan best{0, 0, costs.plainRate()};
  double expected = 1 + costs.others, stays = 1, first = estimate.acceptance(0, confidence);
  most = std::min(most, costs.reach);
  for (unsigned m = 1; m <= most; ++m) {
    expected += stays *= estimate.acceptance(m - 1, confidence);
    double cost = m * token + costs.ms[m];
    // All of it is lost when the first token does not stay. Reading is paid once for many rounds.
    if (read + (cost - plain) * (1 - first) > budget || cost - plain > kMostAtRisk * plain + budget)
      break;
    best.most = m;
    if (double rate = expected / (costs.before + cost); rate > best.rate) {
      best.length = m;
      best.rate = rate;
    }
  }
  return best;
}

bool LengthPolicy::wantsPlain(const RoundCosts &costs) const {
  // The less there is to win, the more a wrong cost of plain steps would mislead, and the less measuring it costs.
  bool unmeasured = !costs.unknown && (!begun || (fell && costs.plainUnknown));
  return unmeasured || roundsSincePlain >= (won < 1.2 ? 16u : 64u);
}

/// What the best continuation behind `drafted` tokens brings above its cost, in tokens.
double LengthPolicy::worth(const RoundCosts &costs, const DraftEstimate &estimate, unsigned drafted, unsigned most,
                           unsigned confidence) const {
  double best = 0, gain = 0, stays = reach, token = estimate.tokenMs(costs.plain());
  most = std::min(most, costs.reach);
  for (unsigned m = 1; drafted + m <= most; ++m) {
    gain += stays *= estimate.acceptance(drafted + m - 1, confidence);
    best = std::max(best, gain - wanted * (m * token + costs.ms[drafted + m] - costs.ms[drafted]));
  }
  return best;
}

bool LengthPolicy::goesOn(const RoundCosts &costs, const DraftEstimate &estimate, unsigned drafted, unsigned most,
                          unsigned confidence) const {
  if (costs.unknown)
    return drafted < kFirstDraft || reach >= kFirstChance;
  return worth(costs, estimate, drafted, most, confidence) > 0;
}

bool LengthPolicy::keeps(const RoundCosts &costs, const DraftEstimate &estimate, unsigned drafted, unsigned most,
                         unsigned confidence) {
  reach *= estimate.acceptance(drafted, confidence);
  double cost = wanted * (costs.ms[drafted + 1] - costs.ms[drafted]);
  bool worthIt = costs.unknown ? drafted < kFirstDraft || reach >= kFirstChance
                               : reach + worth(costs, estimate, drafted + 1, most, kConfidenceClasses) > cost;
  expectedTokens += worthIt ? reach : 0;
  return worthIt;
}

void LengthPolicy::learn(const Round &round) {
  double plain = round.plainMs, perToken = plain / round.sequences;
  if (!begun)
    budget = (kBudgetStart + (round.drafted ? kBudgetFirstDraft : 0)) * plain;
  begun = true;
  fell = round.fell;
  budget += kBudgetPerToken * perToken * round.tokens;
  // A round that the system held up is no reason to give up.
  if (round.tried)
    budget += perToken * round.tokens - std::min(round.ms, 4 * plain + 2 / wanted);
  budget = std::clamp(budget, kBudgetLeast * plain, kBudgetMost * plain);
  if (round.drafted) {
    ++roundsSincePlain;
    won = wanted * perToken;
  } else {
    roundsSincePlain = 0;
  }
}

} // namespace mlc
