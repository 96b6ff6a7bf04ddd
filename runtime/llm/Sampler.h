//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// From logits to a token. In this order: logit bias and penalties, temperature, top-k, top-p, min-p. Its random numbers
// are Philox4x32-10 of (seed, draw number), so that a run can be repeated on any machine and a draw can be replayed.
//
#pragma once

#include "runtime/core/Memory.h"
#include "runtime/exec/Draw.h"

namespace mlc {

struct LogitBias {
  int32_t token;
  float bias;
};

struct SamplingOptions {
  float temperature = 0;       // 0: greedy, ties to the lowest id.
  uint32_t topK = 0;           // 0: off.
  float topP = 1;              // 1: off; the fewest tokens whose probabilities reach it.
  float minP = 0;              // 0: off; tokens less likely than minP times the likeliest are dropped.
  float repetitionPenalty = 1; // Of every token of the prompt and of the answer: l > 0 ? l / p : l * p.
  float presencePenalty = 0;   // Subtracted once from each generated token.
  float frequencyPenalty = 0;  // Subtracted from each generated token as often as it was generated.
  uint64_t seed = 0;
};

/// One uniform number in [0, 1) with 53 bits, a function of its arguments alone.
double uniformDraw(uint64_t seed, uint64_t draw);

class Sampler {
public:
  struct Candidate {
    int32_t token;
    float logit; // After penalties and temperature.
    float probability;
  };

  /// Names the option that is out of range.
  static Status checkOptions(const SamplingOptions &options);
  static Result<Sampler> create(size_t vocab, const SamplingOptions &options, std::span<const LogitBias> bias = {},
                                const Allocator &allocator = systemAllocator());
  /// One without candidates of its own, of which many share some: sample() and distribution() need useCandidates().
  static Result<Sampler> createSharing(size_t vocab, const SamplingOptions &options,
                                       std::span<const LogitBias> bias = {},
                                       const Allocator &allocator = systemAllocator());
  /// Room for `vocab` candidates, for the next calls; the caller's.
  void useCandidates(std::span<Candidate> room) { candidates = room; }

  size_t vocab() const { return generatedCounts.size(); }

  /// Tokens that only the repetition penalty counts.
  void acceptPrompt(std::span<const int32_t> tokens);
  /// A token of the answer.
  void accept(int32_t token);
  /// Takes an accept() of this token back.
  void retract(int32_t token);
  /// The next token; the caller accepts it. NaN counts as -inf; an error when no logit is left. `allowed`: bit t % 64
  /// of word t / 64 says whether token t may be drawn (TokenConstraint); empty: all may.
  Result<int32_t> sample(std::span<const float> logits, std::span<const uint64_t> allowed = {});
  /// What sample() draws from, most likely first (in token order when nothing was cut); valid until the next call.
  Result<std::span<const Candidate>> distribution(std::span<const float> logits,
                                                  std::span<const uint64_t> allowed = {});
  /// Whether distribution() cuts nothing: then every token has a chance, which the next three compute without a list.
  bool drawsFromAll() const {
    return options.temperature > 0 && (!options.topK || options.topK >= vocab()) && options.topP >= 1 &&
           options.minP <= 0;
  }
  /// Writes what tokens' probabilities are to each other to `weights`, of vocab(), and returns what makes them
  /// probabilities: float(weight * scale) is what distribution() says.
  Result<double> weigh(std::span<const float> logits, std::span<float> weights) const;
  /// The token at `uniform`, a number in [0, 1), of such weights.
  static int32_t drawFrom(std::span<const float> weights, double uniform);
  /// What distribution() says of `token`; 0 where it is not among them.
  Result<float> chanceOf(int32_t token, std::span<const float> logits, std::span<const uint64_t> allowed) const;
  /// The same draw as a device does it, but for `uniform` and the row, with what bias and penalties say of single
  /// tokens. False, and nothing is written, where `room` does not hold that.
  bool describe(RowDraw &draw, std::span<TokenAdjustment> room) const;
  /// The number of the next sample(), for who draws in its place, then calls skipDraw().
  double nextUniform() const { return uniformDraw(options.seed, draws); }
  void skipDraw() { ++draws; }
  /// The candidate of a distribution at `uniform`, a number in [0, 1).
  static int32_t drawFrom(std::span<const Candidate> distribution, double uniform);

private:
  void name(size_t token);
  Result<Candidate> likeliest(std::span<const float> logits, std::span<const uint64_t> allowed) const;
  float adjusted(std::span<const float> logits, size_t token) const;
  void adjustBlock(std::span<const float> logits, std::span<const uint64_t> allowed, size_t first, size_t count,
                   float *block) const;
  Status checkSizes(std::span<const float> logits, std::span<const uint64_t> allowed) const;
  template <typename Each>
  void inAdjustedBlocks(std::span<const float> logits, std::span<const uint64_t> allowed, const Each &each) const;
  float highest(std::span<const float> logits, std::span<const uint64_t> allowed) const;
  template <typename Each>
  double exponentiateAll(std::span<const float> logits, std::span<const uint64_t> allowed, float most,
                         const Each &each) const;
  std::span<const Candidate> wholeDistribution(std::span<const float> logits, std::span<const uint64_t> allowed,
                                               float most);
  size_t takeLikeliest(std::span<const float> logits, std::span<const uint64_t> allowed);
  size_t takeAbove(std::span<const float> logits, std::span<const uint64_t> allowed, float least, float most);
  size_t takeMass(std::span<const float> logits, std::span<const uint64_t> allowed, float most, double &wanted);

  SamplingOptions options;
  bool neutral = true; // Neither bias nor penalties.
  OwnedArray<Candidate> ownCandidates;
  std::span<Candidate> candidates;      // The own ones, or those of useCandidates().
  OwnedArray<float> biases;             // Empty without logit bias.
  OwnedArray<uint32_t> generatedCounts; // Per token.
  enum Mark : uint8_t { prompt = 1, isNamed = 2 };
  OwnedArray<uint8_t> marks;
  OwnedArray<int32_t> named; // Tokens that a bias or a penalty may change, each once.
  size_t namedCount = 0;
  uint64_t draws = 0; // Tokens drawn so far: the next one's place.
};

} // namespace mlc
