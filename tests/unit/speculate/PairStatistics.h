//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What a model's sampled texts should look like: the distribution of pairs of neighbouring tokens, and the G-test.
//
#pragma once

#include "runtime/llm/Sampler.h"
#include "tests/unit/session/SessionSupport.h"

#include <cmath>
#include <map>

namespace mlc::test {

/// P(X >= statistic) of a chi-square variable: E. B. Wilson and M. M. Hilferty, "The distribution of chi-square", 1931.
inline double chiSquareTail(double statistic, double freedom) {
  double spread = 2 / (9 * freedom);
  return 0.5 * std::erfc((std::cbrt(statistic / freedom) - (1 - spread)) / std::sqrt(2 * spread));
}

using Pairs = std::map<std::pair<int32_t, int32_t>, double>;

/// p of the G-test; pairs that are expected less than 5 times count together.
inline double gTest(const Pairs &expected, const Pairs &seen, unsigned samples) {
  double g = 0, rest = 0, restSeen = samples;
  unsigned cells = 0;
  auto add = [&](double wanted, double got) {
    g += got > 0 ? 2 * got * std::log(got / wanted) : 0;
    ++cells;
  };
  for (auto [pair, probability] : expected) {
    double wanted = probability * samples;
    if (wanted < 5) {
      rest += wanted;
      continue;
    }
    auto found = seen.find(pair);
    double got = found == seen.end() ? 0 : found->second;
    restSeen -= got;
    add(wanted, got);
  }
  if (rest > 0)
    add(rest, restSeen);
  else if (restSeen > 0)
    return 0; // Something that cannot be.
  return chiSquareTail(g, cells - 1);
}

inline double chanceOf(std::span<const Sampler::Candidate> distribution, int32_t token) {
  for (const Sampler::Candidate &candidate : distribution)
    if (candidate.token == token)
      return double(candidate.probability);
  return 0;
}

/// P(t1, t2) and P(t2, t3) of the target alone, from the logits of every beginning.
struct Truth {
  Pairs first, second;
  Truth(const Model &model, const std::vector<int32_t> &prompt, const SamplingOptions &sampling) {
    auto vocab = int32_t(model.bounds().vocab);
    auto behind = [&](std::vector<int32_t> more) {
      std::vector<int32_t> text = prompt;
      text.insert(text.end(), more.begin(), more.end());
      std::vector<float> logits = plainLogits(model, text);
      Sampler sampler = must(Sampler::create(size_t(vocab), sampling));
      sampler.acceptPrompt(prompt);
      for (int32_t token : more)
        sampler.accept(token);
      auto distribution = must(sampler.distribution(std::span(logits).last(size_t(vocab))));
      std::vector<double> chances;
      for (int32_t token = 0; token < vocab; ++token)
        chances.push_back(chanceOf(distribution, token));
      return chances;
    };
    std::vector<double> one = behind({});
    for (int32_t a = 0; a < vocab; ++a) {
      if (one[size_t(a)] == 0)
        continue;
      std::vector<double> two = behind({a});
      for (int32_t b = 0; b < vocab; ++b) {
        double ab = one[size_t(a)] * two[size_t(b)];
        if (ab == 0)
          continue;
        first[{a, b}] += ab;
        std::vector<double> three = behind({a, b});
        for (int32_t c = 0; c < vocab; ++c)
          if (three[size_t(c)] > 0)
            second[{b, c}] += ab * three[size_t(c)];
      }
    }
  }
};

} // namespace mlc::test
