//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The rule that makes speculation exact: whether a drafted token stays, and what is drawn in its place. With p the
// target's distribution and q the draft's, both behind the same sampling transforms, a token d drawn from q stays with
// probability min(1, p(d) / q(d)), else max(0, p - q), normalised, gives another one: what comes out is distributed as
// p (Y. Leviathan et al., "Fast inference from transformers via speculative decoding", ICML 2023, theorem 1).
//
#pragma once

#include "runtime/llm/Sampler.h"

namespace mlc {

/// A drafted token, and the distribution that it was drawn from.
struct Draft {
  int32_t token = 0;
  /// By token id, times `scale`; tokens beyond its end have no probability. Empty: the draft would give `token` alone.
  std::span<const float> distribution;
  /// How sure the draft was, by the distribution alone (never by the token drawn): 0 is least sure.
  unsigned confidence = 0;
  double scale = 1; // Of `distribution`, to probabilities.

  /// The draft's probability of any token.
  float probability(int32_t other) const {
    if (distribution.empty())
      return other == token ? 1.0f : 0.0f;
    return size_t(other) < distribution.size() ? float(distribution[size_t(other)] * scale) : 0.0f;
  }
};

/// The probability that the drafted token stays. `target`: what Sampler::distribution gives at its position.
double keepProbability(std::span<const Sampler::Candidate> target, const Draft &draft);
/// The same by the probability that the target gives it.
double keepProbability(float chance, const Draft &draft);

/// A token of the residual max(0, p - q) at `uniform` in [0, 1).
int32_t drawResidual(std::span<const Sampler::Candidate> target, const Draft &draft, double uniform);
using Redraw = int32_t (*)(std::span<const Sampler::Candidate> target, const Draft &draft, double uniform);

/// What a token's random number is for. Where nothing is drafted it is that of Sampler::sample().
enum class Draw : uint64_t { token = 0, draft = 1, keep = 2 };
/// A number in [0, 1) for the token at `place` of an answer, from 0.
double drawFor(Draw what, uint64_t seed, uint64_t place);

/// What stands at a place of the answer.
struct Verdict {
  int32_t token = 0;
  bool stays = false; // It is the drafted one, and the next may be judged.
};

/// Judges `draft` by the target's logits at its place and draws another token where it does not stay; null: there is
/// none, so one is drawn. `allowed` as in Sampler::sample(). The caller accepts the token.
Result<Verdict> judge(Sampler &sampler, std::span<const float> logits, std::span<const uint64_t> allowed,
                      const Draft *draft, uint64_t seed, uint64_t place, Redraw redraw = drawResidual);

} // namespace mlc
