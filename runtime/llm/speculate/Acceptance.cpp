//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/speculate/Acceptance.h"

#include <algorithm>

namespace mlc {

double keepProbability(float chance, const Draft &draft) {
  return std::min(1.0, double(chance) / double(draft.probability(draft.token)));
}

double keepProbability(std::span<const Sampler::Candidate> target, const Draft &draft) {
  auto found = target.end();
  // Where nothing was cut, tokens are their places.
  if (auto place = size_t(draft.token); place < target.size() && target[place].token == draft.token)
    found = target.begin() + ptrdiff_t(place);
  else
    found = std::find_if(target.begin(), target.end(),
                         [&](const Sampler::Candidate &candidate) { return candidate.token == draft.token; });
  if (found == target.end())
    return 0;
  return keepProbability(found->probability, draft);
}

int32_t drawResidual(std::span<const Sampler::Candidate> target, const Draft &draft, double uniform) {
  auto excess = [&](const Sampler::Candidate &candidate) {
    return std::max(0.0, double(candidate.probability) - double(draft.probability(candidate.token)));
  };
  double sum = 0, reached = 0;
  for (const Sampler::Candidate &candidate : target)
    sum += excess(candidate);
  // Only rounding rejects a token of equal distributions.
  if (sum <= 0)
    return Sampler::drawFrom(target, uniform);
  int32_t last = target.front().token;
  for (const Sampler::Candidate &candidate : target) {
    double share = excess(candidate);
    if (share <= 0)
      continue;
    last = candidate.token;
    if ((reached += share) > uniform * sum)
      break;
  }
  return last;
}

double drawFor(Draw what, uint64_t seed, uint64_t place) { return uniformDraw(seed, uint64_t(what) << 62 | place); }

Result<Verdict> judge(Sampler &sampler, std::span<const float> logits, std::span<const uint64_t> allowed,
                      const Draft *draft, uint64_t seed, uint64_t place, Redraw redraw) {
  // The rule as a rule: a list of all tokens is for the few that do not stay.
  if (draft && sampler.drawsFromAll()) {
    MLC_ASSIGN(float chance, sampler.chanceOf(draft->token, logits, allowed));
    if (drawFor(Draw::keep, seed, place) < keepProbability(chance, *draft))
      return Verdict{draft->token, true};
  }
  MLC_ASSIGN(std::span<const Sampler::Candidate> target, sampler.distribution(logits, allowed));
  if (draft) {
    if (drawFor(Draw::keep, seed, place) < keepProbability(target, *draft))
      return Verdict{draft->token, true};
    return Verdict{redraw(target, *draft, drawFor(Draw::token, seed, place)), false};
  }
  if (target.size() == 1)
    return Verdict{target[0].token, false};
  return Verdict{Sampler::drawFrom(target, drawFor(Draw::token, seed, place)), false};
}

} // namespace mlc
