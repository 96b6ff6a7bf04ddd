//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/engine/Scores.h"

#include <algorithm>
#include <cmath>

namespace mlc::server {

RowScore scoreRow(std::span<const float> logits, int32_t token, size_t alternatives) {
  RowScore score;
  float highest = -INFINITY;
  for (float logit : logits)
    highest = logit > highest ? logit : highest;
  double sum = 0;
  for (float logit : logits)
    if (logit > -INFINITY)
      sum += double(std::exp(logit - highest));
  double norm = double(highest) + std::log(sum);
  auto logprob = [&](float logit) { return logit > -INFINITY ? float(double(logit) - norm) : -INFINITY; };
  score.logprob = logprob(logits[size_t(token)]);

  // Sorted, and never longer than asked: what is below its last costs one comparison.
  score.top.reserve(alternatives + 1);
  for (size_t i = 0; i < logits.size() && alternatives; ++i) {
    float logit = logits[i];
    if (!(logit > -INFINITY) || (score.top.size() == alternatives && !(logit > score.top.back().logprob)))
      continue;
    auto place = std::upper_bound(score.top.begin(), score.top.end(), logit,
                                  [](float value, const TokenScore &other) { return value > other.logprob; });
    score.top.insert(place, {int32_t(i), logit});
    if (score.top.size() > alternatives)
      score.top.pop_back();
  }
  for (TokenScore &entry : score.top)
    entry.logprob = logprob(entry.logprob);
  return score;
}

} // namespace mlc::server
