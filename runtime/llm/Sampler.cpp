//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/Sampler.h"
#include "runtime/llm/Exponential.h"

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
  sampler.neutral =
      bias.empty() && options.repetitionPenalty == 1 && options.presencePenalty == 0 && options.frequencyPenalty == 0;
  MLC_ASSIGN(sampler.generatedCounts, OwnedArray<uint32_t>::create(allocator, vocab, "sampler"));
  MLC_ASSIGN(sampler.marks, OwnedArray<uint8_t>::create(allocator, vocab, "sampler"));
  MLC_ASSIGN(sampler.named, OwnedArray<int32_t>::create(allocator, vocab, "sampler"));
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
    sampler.name(size_t(entry.token));
  }
  return sampler;
}

void Sampler::name(size_t token) {
  if (!(marks[token] & isNamed))
    named[namedCount++] = int32_t(token);
  marks[token] |= isNamed;
}

void Sampler::acceptPrompt(std::span<const int32_t> tokens) {
  for (int32_t token : tokens)
    if (token >= 0 && size_t(token) < vocab()) {
      name(size_t(token));
      marks[size_t(token)] |= prompt;
    }
}

void Sampler::accept(int32_t token) {
  if (token >= 0 && size_t(token) < vocab()) {
    name(size_t(token));
    ++generatedCounts[size_t(token)];
  }
}

void Sampler::retract(int32_t token) {
  if (token >= 0 && size_t(token) < generatedCounts.size() && generatedCounts[size_t(token)])
    --generatedCounts[size_t(token)];
}

// A whole vocabulary goes through blocks that stay in the first cache, whose loops become vectors.
static constexpr size_t kBlock = 256, kLanes = 8;
static constexpr float kMostLogit = 3.4e38f;

/// -inf for NaN, and a finite number for what is larger.
static float bounded(float logit) {
  logit = logit > kMostLogit ? kMostLogit : logit;
  return logit == logit ? logit : -INFINITY;
}

/// The largest number of `logits`; -inf when there is none.
static float largest(std::span<const float> logits) {
  float lanes[kLanes];
  std::fill(lanes, lanes + kLanes, -INFINITY);
  size_t i = 0;
  for (; i + kLanes <= logits.size(); i += kLanes)
    for (size_t lane = 0; lane < kLanes; ++lane)
      lanes[lane] = logits[i + lane] > lanes[lane] ? logits[i + lane] : lanes[lane];
  for (; i < logits.size(); ++i)
    lanes[0] = logits[i] > lanes[0] ? logits[i] : lanes[0];
  return *std::max_element(lanes, lanes + kLanes);
}

/// Numbers that lie so many floats apart.
struct Strided {
  const float *first;
  size_t count, stride;
  float operator[](size_t i) const { return first[i * stride]; }
  Strided part(size_t begin, size_t most) const {
    return {first + begin * stride, std::min(most, count - begin), stride};
  }
};
static Strided probabilitiesOf(std::span<const Sampler::Candidate> candidates) {
  static_assert(sizeof(Sampler::Candidate) == 3 * sizeof(float));
  return {candidates.empty() ? nullptr : &candidates[0].probability, candidates.size(), 3};
}

/// The sum, in lanes.
static double sumOf(Strided values) {
  double lanes[kLanes] = {}, sum = 0;
  size_t i = 0;
  for (; i + kLanes <= values.count; i += kLanes)
    for (size_t lane = 0; lane < kLanes; ++lane)
      lanes[lane] += double(values[i + lane]);
  for (double lane : lanes)
    sum += lane;
  for (; i < values.count; ++i)
    sum += double(values[i]);
  return sum;
}
static double sumOf(std::span<const Sampler::Candidate> candidates) { return sumOf(probabilitiesOf(candidates)); }

/// The place at `uniform`, a number in [0, 1), of weights of which some are above 0.
static size_t placeAt(double uniform, Strided weights) {
  double sum = 0, reached = 0;
  for (size_t first = 0; first < weights.count; first += kBlock)
    sum += sumOf(weights.part(first, kBlock));
  const double wanted = uniform * sum;
  for (size_t first = 0; first < weights.count; first += kBlock) {
    // A block's sum is the same as above, so that the last one is never passed over.
    const Strided block = weights.part(first, kBlock);
    double whole = reached + sumOf(block);
    size_t drawn = kBlock;
    for (size_t i = 0; whole > wanted && i < block.count && reached <= wanted; ++i)
      if (block[i] > 0) {
        reached += double(block[i]);
        drawn = i;
      }
    if (drawn < kBlock)
      return first + drawn;
    reached = whole;
  }
  return weights.count - 1;
}

/// Calls each(block) for blocks of `all`, in order.
template <typename T, typename Each> static void inBlocks(std::span<T> all, const Each &each) {
  for (size_t first = 0; first < all.size(); first += kBlock)
    each(all.subspan(first, std::min(kBlock, all.size() - first)));
}

/// The logit after bias, penalties and temperature; never NaN nor +inf.
float Sampler::adjusted(std::span<const float> logits, size_t token) const {
  float logit = logits[token];
  if (biases.size())
    logit += biases[token];
  uint32_t count = generatedCounts[token];
  if (count || marks[token] & prompt)
    logit = logit > 0 ? logit / options.repetitionPenalty : logit * options.repetitionPenalty;
  if (count)
    logit -= options.presencePenalty + options.frequencyPenalty * float(count);
  return bounded(options.temperature > 0 ? logit / options.temperature : logit);
}

bool Sampler::describe(RowDraw &draw, std::span<TokenAdjustment> room) const {
  size_t used = 0;
  for (size_t i = 0; i < namedCount && !neutral; ++i) {
    auto token = size_t(named[i]);
    TokenAdjustment each{named[i], biases.size() ? biases[token] : 0, generatedCounts[token],
                         uint32_t(marks[token] & prompt)};
    if (each.bias == 0 && !each.generated && (!each.inPrompt || options.repetitionPenalty == 1))
      continue;
    if (used == room.size())
      return false;
    room[used++] = each;
  }
  draw.temperature = options.temperature;
  // As many as there are is no cut.
  draw.topK = options.topK < vocab() ? options.topK : 0;
  draw.topP = options.topP;
  draw.minP = options.minP;
  draw.repetitionPenalty = options.repetitionPenalty;
  draw.presencePenalty = options.presencePenalty;
  draw.frequencyPenalty = options.frequencyPenalty;
  draw.adjustments = uint32_t(used);
  return true;
}

static bool isAllowed(std::span<const uint64_t> allowed, size_t token) {
  return allowed.empty() || allowed[token / 64] >> (token % 64) & 1;
}

static Error nothingLeft() { return Error(ErrorCode::Internal, "no logit is a number above -infinity"); }

/// What a temperature of 0 draws.
Result<Sampler::Candidate> Sampler::likeliest(std::span<const float> logits, std::span<const uint64_t> allowed) const {
  Candidate best = {-1, -INFINITY, 1};
  if (neutral && allowed.empty()) {
    const float *block = nullptr;
    inBlocks(logits, [&](std::span<const float> each) {
      if (float most = bounded(largest(each)); most > best.logit) {
        best.logit = most;
        block = each.data();
      }
    });
    while (block && bounded(*block) != best.logit)
      ++block;
    best.token = block ? int32_t(block - logits.data()) : -1;
  } else
    for (size_t i = 0; i < logits.size(); ++i)
      if (float logit = adjusted(logits, i); logit > best.logit && isAllowed(allowed, i))
        best = {int32_t(i), logit, 1};
  if (best.token < 0)
    return nothingLeft();
  return best;
}

/// The adjusted logits of tokens [first, first + count); -inf for what may not be drawn.
void Sampler::adjustBlock(std::span<const float> logits, std::span<const uint64_t> allowed, size_t first, size_t count,
                          float *block) const {
  const float *from = logits.data() + first;
  const float temperature = options.temperature;
  if (neutral)
    for (size_t i = 0; i < count; ++i)
      block[i] = bounded(from[i] / temperature);
  else
    for (size_t i = 0; i < count; ++i)
      block[i] = adjusted(logits, first + i);
  for (size_t i = 0; i < count && !allowed.empty(); ++i)
    block[i] = isAllowed(allowed, first + i) ? block[i] : -INFINITY;
}

/// Calls each(first token, adjusted logits) for every block of the vocabulary.
template <typename Each>
void Sampler::inAdjustedBlocks(std::span<const float> logits, std::span<const uint64_t> allowed,
                               const Each &each) const {
  float block[kBlock];
  for (size_t first = 0; first < logits.size(); first += kBlock) {
    size_t count = std::min(kBlock, logits.size() - first);
    adjustBlock(logits, allowed, first, count, block);
    each(first, std::span<float>(block, count));
  }
}

float Sampler::highest(std::span<const float> logits, std::span<const uint64_t> allowed) const {
  float most = -INFINITY;
  inAdjustedBlocks(logits, allowed, [&](size_t, std::span<float> block) { most = std::max(most, largest(block)); });
  return most;
}

/// Turns a block into exponentials above `most`, and adds them to `lanes`.
static void exponentiate(std::span<float> block, float most, double *lanes) {
  for (float &value : block)
    value = exponential(value - most);
  size_t i = 0;
  for (; i + kLanes <= block.size(); i += kLanes)
    for (size_t lane = 0; lane < kLanes; ++lane)
      lanes[lane] += double(block[i + lane]);
  for (; i < block.size(); ++i)
    lanes[0] += double(block[i]);
}
static double total(const double *lanes) {
  double sum = 0;
  for (size_t lane = 0; lane < kLanes; ++lane)
    sum += lanes[lane];
  return sum;
}

/// Calls each(first token, exponentials above `most`) for every block of the vocabulary; the sum of all.
template <typename Each>
double Sampler::exponentiateAll(std::span<const float> logits, std::span<const uint64_t> allowed, float most,
                                const Each &each) const {
  double lanes[kLanes] = {};
  inAdjustedBlocks(logits, allowed, [&](size_t first, std::span<float> block) {
    exponentiate(block, most, lanes);
    each(first, block);
  });
  return total(lanes);
}

/// The likeliest one first; of equals the lowest id.
static bool likelier(const Sampler::Candidate &a, const Sampler::Candidate &b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

/// The likeliest options.topK tokens, in order, and what exp(logit) is of the likeliest's; how many there are.
size_t Sampler::takeLikeliest(std::span<const float> logits, std::span<const uint64_t> allowed) {
  size_t kept = 0;
  Candidate *begin = candidates.data(); // A heap, the least likely one in front.
  inAdjustedBlocks(logits, allowed, [&](size_t first, std::span<float> block) {
    if (kept == options.topK && largest(block) <= begin->logit)
      return;
    for (size_t i = 0; i < block.size(); ++i) {
      if (kept == options.topK) {
        if (block[i] <= begin->logit)
          continue;
        std::pop_heap(begin, begin + kept--, likelier);
      }
      if (block[i] == -INFINITY)
        continue;
      begin[kept++] = {int32_t(first + i), block[i], 0};
      std::push_heap(begin, begin + kept, likelier);
    }
  });
  std::sort_heap(begin, begin + kept, likelier);
  for (Candidate &candidate : candidates.first(kept))
    candidate.probability = exponential(candidate.logit - begin->logit);
  return kept;
}

/// The tokens whose logits are at least `least`, in their order, and their exponentials above `most`; how many.
size_t Sampler::takeAbove(std::span<const float> logits, std::span<const uint64_t> allowed, float least, float most) {
  size_t kept = 0;
  inAdjustedBlocks(logits, allowed, [&](size_t first, std::span<float> block) {
    if (largest(block) < least)
      return;
    // What is left out is written over by the next.
    for (size_t i = 0; i < block.size(); ++i) {
      candidates[kept] = {int32_t(first + i), block[i], exponential(block[i] - most)};
      kept += block[i] >= least && block[i] > -INFINITY;
    }
  });
  return kept;
}

/// The same of so many that they reach top-p, and a number that their sum is to reach; the likeliest ones as a rule.
size_t Sampler::takeMass(std::span<const float> logits, std::span<const uint64_t> allowed, float most, double &wanted) {
  wanted = double(options.topP) * exponentiateAll(logits, allowed, most, [](size_t, std::span<float>) {});
  for (float below : {4.0f, 8.0f, 16.0f})
    if (size_t kept = takeAbove(logits, allowed, most - below, most); sumOf(candidates.first(kept)) >= wanted)
      return kept;
  return takeAbove(logits, allowed, -INFINITY, most);
}

/// The distribution where nothing is cut: candidates are written once, for a vocabulary of them is larger than a cache.
std::span<const Sampler::Candidate> Sampler::wholeDistribution(std::span<const float> logits,
                                                               std::span<const uint64_t> allowed, float most) {
  // The exponentials wait in the last third of the candidates' room, where each is read before it is written over.
  static_assert(sizeof(Candidate) == 3 * sizeof(float));
  uint8_t *waiting = reinterpret_cast<uint8_t *>(candidates.data()) + 2 * vocab() * sizeof(float);
  double sum = exponentiateAll(logits, allowed, most, [&](size_t first, std::span<float> block) {
    memcpy(waiting + first * sizeof(float), block.data(), block.size_bytes());
  });
  double scale = 1 / sum;
  size_t kept = 0;
  inAdjustedBlocks(logits, allowed, [&](size_t first, std::span<float> block) {
    float exponentials[kBlock];
    memcpy(exponentials, waiting + first * sizeof(float), block.size_bytes());
    for (size_t i = 0; i < block.size(); ++i) {
      candidates[kept] = {int32_t(first + i), block[i], float(exponentials[i] * scale)};
      kept += block[i] > -INFINITY;
    }
  });
  return candidates.first(kept);
}

Status Sampler::checkSizes(std::span<const float> logits, std::span<const uint64_t> allowed) const {
  if (logits.size() != vocab())
    return Error(ErrorCode::InvalidArgument, "%zu logits for a vocabulary of %zu", logits.size(), vocab());
  if (!allowed.empty() && allowed.size() * 64 < vocab())
    return Error(ErrorCode::InvalidArgument, "a mask of %zu words for a vocabulary of %zu", allowed.size(), vocab());
  return {};
}

Result<double> Sampler::weigh(std::span<const float> logits, std::span<float> weights) const {
  MLC_TRY(checkSizes(logits, {}));
  float most = highest(logits, {});
  if (most == -INFINITY)
    return nothingLeft();
  return 1 / exponentiateAll(logits, {}, most, [&](size_t first, std::span<float> block) {
           std::copy(block.begin(), block.end(), weights.begin() + ptrdiff_t(first));
         });
}

Result<float> Sampler::chanceOf(int32_t token, std::span<const float> logits, std::span<const uint64_t> allowed) const {
  MLC_TRY(checkSizes(logits, allowed));
  float most = highest(logits, allowed);
  if (most == -INFINITY)
    return nothingLeft();
  float weight = 0;
  double sum = exponentiateAll(logits, allowed, most, [&](size_t first, std::span<float> block) {
    if (size_t place = size_t(token) - first; size_t(token) >= first && place < block.size())
      weight = block[place];
  });
  return float(weight * (1 / sum));
}

Result<std::span<const Sampler::Candidate>> Sampler::distribution(std::span<const float> logits,
                                                                  std::span<const uint64_t> allowed) {
  MLC_TRY(checkSizes(logits, allowed));
  if (candidates.size() < vocab())
    return Error(ErrorCode::InvalidArgument, "room for %zu candidates for a vocabulary of %zu", candidates.size(),
                 vocab());
  if (options.temperature == 0) {
    MLC_ASSIGN(candidates[0], likeliest(logits, allowed));
    return std::span<const Candidate>(candidates.first(1));
  }
  bool cutsK = options.topK && options.topK < vocab(), cutsP = options.topP < 1;
  float most = cutsK ? 0 : highest(logits, allowed);
  if (most == -INFINITY)
    return nothingLeft();
  if (!cutsK && !cutsP && options.minP <= 0)
    return wholeDistribution(logits, allowed, most);
  double wanted = 0;
  // Rounding of the logarithm lets a few more through, which are looked at again.
  size_t kept = cutsK   ? takeLikeliest(logits, allowed)
                : cutsP ? takeMass(logits, allowed, most, wanted)
                        : takeAbove(logits, allowed, most + std::log(options.minP) - 0.001f, most);
  if (!kept)
    return nothingLeft();
  Candidate *begin = candidates.data();
  if (cutsP) {
    if (cutsK)
      wanted = double(options.topP) * sumOf(candidates.first(kept));
    // A heap gives the likeliest one after the other; most of a vocabulary is never sorted.
    auto less = [](const Candidate &a, const Candidate &b) { return likelier(b, a); };
    std::make_heap(begin, begin + kept, less);
    double reached = 0;
    size_t taken = 0;
    do {
      std::pop_heap(begin, begin + (kept - taken), less);
      reached += double(begin[kept - ++taken].probability);
    } while (taken < kept && reached < wanted);
    std::reverse(begin, begin + kept);
    kept = taken;
  }
  if (options.minP > 0) {
    float least = options.minP; // Of the likeliest, whose unnormalised probability is exp(0).
    kept =
        size_t(std::remove_if(begin, begin + kept, [&](const Candidate &c) { return c.probability < least; }) - begin);
  }
  double scale = 1 / sumOf(candidates.first(kept));
  for (Candidate &candidate : candidates.first(kept))
    candidate.probability = float(candidate.probability * scale);
  return std::span<const Candidate>(begin, kept);
}

int32_t Sampler::drawFrom(std::span<const Candidate> distribution, double uniform) {
  return distribution[placeAt(uniform, probabilitiesOf(distribution))].token;
}

int32_t Sampler::drawFrom(std::span<const float> weights, double uniform) {
  return int32_t(placeAt(uniform, {weights.data(), weights.size(), 1}));
}

Result<int32_t> Sampler::sample(std::span<const float> logits, std::span<const uint64_t> allowed) {
  MLC_ASSIGN(std::span<const Candidate> kept, distribution(logits, allowed));
  double uniform = nextUniform();
  skipDraw();
  return kept.size() == 1 ? kept[0].token : drawFrom(kept, uniform);
}

} // namespace mlc
