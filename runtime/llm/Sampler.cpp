//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/Sampler.h"

#include <algorithm>
#include <cmath>

namespace mlc {

// Philox4x32-10: J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
double uniformDraw(uint64_t seed, uint64_t draw) {
  uint32_t counter[4] = {uint32_t(draw), uint32_t(draw >> 32), 0, 0};
  uint32_t key[2] = {uint32_t(seed), uint32_t(seed >> 32)};
  for (unsigned round = 0; round < 10; ++round) {
    uint64_t first = uint64_t(0xD2511F53) * counter[0], second = uint64_t(0xCD9E8D57) * counter[2];
    uint32_t next[4] = {uint32_t(second >> 32) ^ counter[1] ^ key[0], uint32_t(second),
                        uint32_t(first >> 32) ^ counter[3] ^ key[1], uint32_t(first)};
    std::copy(next, next + 4, counter);
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return double((uint64_t(counter[1]) << 32 | counter[0]) >> 11) * 0x1p-53;
}

Status Sampler::checkOptions(const SamplingOptions &options) {
  auto refuse = [](const char *option, float value, const char *range) {
    return Error(ErrorCode::InvalidArgument, "%s %g: choose %s", option, double(value), range);
  };
  // Negated comparisons refuse NaN too.
  if (!(options.temperature >= 0) || !std::isfinite(options.temperature))
    return refuse("temperature", options.temperature, "0 (greedy) or more");
  if (!(options.topP > 0 && options.topP <= 1))
    return refuse("top-p", options.topP, "above 0, at most 1");
  if (!(options.minP >= 0 && options.minP <= 1))
    return refuse("min-p", options.minP, "0 to 1");
  if (!(options.repetitionPenalty > 0) || !std::isfinite(options.repetitionPenalty))
    return refuse("repeat-penalty", options.repetitionPenalty, "above 0 (1: off)");
  if (!std::isfinite(options.presencePenalty))
    return refuse("presence penalty", options.presencePenalty, "a finite number");
  if (!std::isfinite(options.frequencyPenalty))
    return refuse("frequency penalty", options.frequencyPenalty, "a finite number");
  return {};
}

Result<Sampler> Sampler::create(size_t vocab, const SamplingOptions &options, std::span<const LogitBias> bias,
                                const Allocator &allocator) {
  MLC_ASSIGN(Sampler sampler, createSharing(vocab, options, bias, allocator));
  MLC_ASSIGN(sampler.ownCandidates, OwnedArray<Candidate>::create(allocator, vocab, "sampler"));
  sampler.candidates = sampler.ownCandidates.span();
  return sampler;
}

Result<Sampler> Sampler::createSharing(size_t vocab, const SamplingOptions &options, std::span<const LogitBias> bias,
                                       const Allocator &allocator) {
  MLC_TRY(checkOptions(options));
  Sampler sampler;
  sampler.options = options;
  MLC_ASSIGN(sampler.generatedCounts, OwnedArray<uint32_t>::create(allocator, vocab, "sampler"));
  MLC_ASSIGN(sampler.inPrompt, OwnedArray<uint8_t>::create(allocator, vocab, "sampler"));
  if (!bias.empty()) {
    MLC_ASSIGN(sampler.biases, OwnedArray<float>::create(allocator, vocab, "sampler"));
  }
  for (const LogitBias &entry : bias) {
    if (entry.token < 0 || size_t(entry.token) >= vocab)
      return Error(ErrorCode::OutOfRange, "logit bias of token id %d, outside the vocabulary of %zu", entry.token,
                   vocab);
    if (std::isnan(entry.bias))
      return Error(ErrorCode::InvalidArgument, "logit bias of token id %d is not a number", entry.token);
    sampler.biases[size_t(entry.token)] += entry.bias;
  }
  return sampler;
}

void Sampler::acceptPrompt(std::span<const int32_t> tokens) {
  for (int32_t token : tokens)
    if (token >= 0 && size_t(token) < inPrompt.size())
      inPrompt[size_t(token)] = 1;
}

void Sampler::accept(int32_t token) {
  if (token >= 0 && size_t(token) < generatedCounts.size())
    ++generatedCounts[size_t(token)];
}

void Sampler::retract(int32_t token) {
  if (token >= 0 && size_t(token) < generatedCounts.size() && generatedCounts[size_t(token)])
    --generatedCounts[size_t(token)];
}

/// The logit after bias, penalties and temperature; never NaN nor +inf.
float Sampler::adjusted(std::span<const float> logits, size_t token) const {
  float logit = logits[token];
  if (biases.size())
    logit += biases[token];
  uint32_t count = generatedCounts[token];
  if (count || inPrompt[token])
    logit = logit > 0 ? logit / options.repetitionPenalty : logit * options.repetitionPenalty;
  if (count)
    logit -= options.presencePenalty + options.frequencyPenalty * float(count);
  if (options.temperature > 0)
    logit /= options.temperature;
  if (std::isnan(logit))
    return -INFINITY;
  return std::min(logit, 3.4e38f);
}

static bool isAllowed(std::span<const uint64_t> allowed, size_t token) {
  return allowed.empty() || allowed[token / 64] >> (token % 64) & 1;
}

static Error nothingLeft() { return Error(ErrorCode::Internal, "no logit is a number above -infinity"); }

/// What a temperature of 0 draws.
Result<Sampler::Candidate> Sampler::likeliest(std::span<const float> logits, std::span<const uint64_t> allowed) const {
  Candidate best = {-1, -INFINITY, 1};
  for (size_t i = 0; i < logits.size(); ++i)
    if (float logit = adjusted(logits, i); logit > best.logit && isAllowed(allowed, i))
      best = {int32_t(i), logit, 1};
  if (best.token < 0)
    return nothingLeft();
  return best;
}

Result<std::span<const Sampler::Candidate>> Sampler::distribution(std::span<const float> logits,
                                                                  std::span<const uint64_t> allowed) {
  if (logits.size() != vocab() || candidates.size() < vocab())
    return Error(ErrorCode::InvalidArgument, "%zu logits and room for %zu candidates for a vocabulary of %zu",
                 logits.size(), candidates.size(), vocab());
  if (!allowed.empty() && allowed.size() * 64 < vocab())
    return Error(ErrorCode::InvalidArgument, "a mask of %zu words for a vocabulary of %zu", allowed.size(), vocab());
  if (options.temperature == 0) {
    MLC_ASSIGN(candidates[0], likeliest(logits, allowed));
    return std::span<const Candidate>(candidates.first(1));
  }
  size_t kept = 0;
  float highest = -INFINITY;
  for (size_t i = 0; i < vocab(); ++i) {
    float logit = adjusted(logits, i);
    if (logit == -INFINITY || !isAllowed(allowed, i))
      continue;
    highest = std::max(highest, logit);
    candidates[kept++] = {int32_t(i), logit, 0};
  }
  if (!kept)
    return nothingLeft();

  // `less` puts the likeliest first; of equals the lowest id.
  auto less = [](const Candidate &a, const Candidate &b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
  };
  Candidate *begin = candidates.data();
  if (options.topK && options.topK < kept) {
    std::nth_element(begin, begin + options.topK, begin + kept, less);
    kept = options.topK;
    std::sort(begin, begin + kept, less);
  }
  double sum = 0;
  for (size_t i = 0; i < kept; ++i)
    sum += candidates[i].probability = std::exp(candidates[i].logit - highest);

  if (options.topP < 1) {
    // A heap gives the likeliest one after the other; most of the vocabulary is never sorted.
    auto more = [&](const Candidate &a, const Candidate &b) { return less(b, a); };
    std::make_heap(begin, begin + kept, more);
    double reached = 0, wanted = double(options.topP) * sum;
    size_t taken = 0;
    do {
      std::pop_heap(begin, begin + (kept - taken), more);
      reached += begin[kept - ++taken].probability;
    } while (taken < kept && reached < wanted);
    std::reverse(begin, begin + kept);
    kept = taken;
  }
  if (options.minP > 0) {
    float least = options.minP; // Of the likeliest, whose unnormalised probability is exp(0).
    kept =
        size_t(std::remove_if(begin, begin + kept, [&](const Candidate &c) { return c.probability < least; }) - begin);
  }
  sum = 0;
  for (size_t i = 0; i < kept; ++i)
    sum += candidates[i].probability;
  for (size_t i = 0; i < kept; ++i)
    candidates[i].probability = float(candidates[i].probability / sum);
  return std::span<const Candidate>(begin, kept);
}

int32_t Sampler::drawFrom(std::span<const Candidate> distribution, double uniform) {
  double sum = 0, reached = 0;
  for (const Candidate &candidate : distribution)
    sum += candidate.probability;
  double wanted = uniform * sum;
  for (const Candidate &candidate : distribution)
    if ((reached += candidate.probability) > wanted)
      return candidate.token;
  return distribution.back().token;
}

Result<int32_t> Sampler::sample(std::span<const float> logits, std::span<const uint64_t> allowed) {
  MLC_ASSIGN(std::span<const Candidate> kept, distribution(logits, allowed));
  uint64_t place = draws++;
  return kept.size() == 1 ? kept[0].token : drawFrom(kept, uniformDraw(options.seed, place));
}

} // namespace mlc
