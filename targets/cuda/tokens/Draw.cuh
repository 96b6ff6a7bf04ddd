//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Sampler's draw: a block for a row, grid (rows). Probabilities are integers of 44 bits, so their sums do not depend on
// an order, and a cut or a draw is one search: of the tokens by likelihood, of equals the lowest id first, the last one
// whose sum of those up to it is as large as wanted. Where few tokens can matter they are in registers.
//
#pragma once

#include "targets/cuda/device/Cuda.h"

namespace mlc::cuda {

constexpr int kCandidatesEach = 4, kCandidates = kDrawThreads * kCandidatesEach;
/// How far below the likeliest one candidates begin; the last level is all.
constexpr int kLevels = 4;

MLC_DEVICE uint64_t shuffleXor(uint64_t value, int lanes) {
  uint32_t high = __float_as_uint(shuffleXor(__uint_as_float(uint32_t(value >> 32)), lanes));
  return uint64_t(high) << 32 | __float_as_uint(shuffleXor(__uint_as_float(uint32_t(value)), lanes));
}

/// `value` of all threads of the block, joined.
template <typename Join> MLC_DEVICE uint64_t overBlock(uint64_t value, const Join &join) {
  MLC_SHARED uint64_t partial[kDrawThreads / kWarp];
  for (int lanes = kWarp / 2; lanes; lanes /= 2)
    value = join(value, shuffleXor(value, lanes));
  __syncthreads(); // The last ones have been read.
  if (threadIdx.x % kWarp == 0)
    partial[threadIdx.x / kWarp] = value;
  __syncthreads();
  value = partial[0];
  for (int i = 1; i < kDrawThreads / kWarp; ++i)
    value = join(value, partial[i]);
  return value;
}
MLC_DEVICE uint64_t blockSum(uint64_t value) {
  return overBlock(value, [](uint64_t a, uint64_t b) { return a + b; });
}
MLC_DEVICE uint64_t blockMax(uint64_t value) {
  return overBlock(value, [](uint64_t a, uint64_t b) { return a > b ? a : b; });
}

/// Orders tokens: the larger logit first, of equals the lower id.
MLC_DEVICE uint64_t rankOf(float logit, int64_t token) {
  uint32_t bits = __float_as_uint(logit);
  return uint64_t(bits >> 31 ? ~bits : bits | 0x80000000u) << 32 | uint32_t(~uint32_t(token));
}
MLC_DEVICE float logitOf(uint64_t rank) {
  auto key = uint32_t(rank >> 32);
  return __uint_as_float(key >> 31 ? key & 0x7fffffffu : ~key);
}
MLC_DEVICE int32_t tokenOf(uint64_t rank) { return int32_t(~uint32_t(rank)); }
MLC_DEVICE float noLogit() { return -__uint_as_float(0x7f800000); }

/// A row's logits behind penalties and temperature, as Sampler bounds them: no NaN, no +inf.
struct DrawnRow {
  const float *logits;
  int64_t vocabulary;
  float temperature, most;

  MLC_DEVICE float at(int64_t token) const {
    float logit = temperature > 0 ? logits[token] / temperature : logits[token];
    logit = logit > 3.4e38f ? 3.4e38f : logit;
    return logit == logit ? logit + 0.0f : noLogit(); // -0 is 0.
  }
  MLC_DEVICE float probability(float logit) const { return expf(logit - most); }
  MLC_DEVICE static uint64_t mass(float probability) { return uint64_t(probability * 0x1p44f); }
};

/// The whole row, of which tokens from rank `least` on and of at least `minP` are left.
struct RowSet {
  const DrawnRow &row;
  uint64_t least;
  float minP;

  MLC_DEVICE uint64_t atOrAbove(uint64_t rank, bool counts) const {
    uint64_t sum = 0;
    rank = rank > least ? rank : least;
    for (int64_t token = threadIdx.x; token < row.vocabulary; token += kDrawThreads) {
      float logit = row.at(token), probability = row.probability(logit);
      if (logit > noLogit() && rankOf(logit, token) >= rank && probability >= minP)
        sum += counts ? 1 : DrawnRow::mass(probability);
    }
    return blockSum(sum);
  }
  MLC_DEVICE void keepFrom(uint64_t rank) { least = rank; }
  MLC_DEVICE void keepLikely(float share) { minP = share; }
};

/// The same of the candidates that a block's threads hold.
struct CandidateSet {
  uint64_t rank[kCandidatesEach]; // 0: none.
  uint64_t mass[kCandidatesEach];

  MLC_DEVICE uint64_t atOrAbove(uint64_t from, bool counts) const {
    uint64_t sum = 0;
#pragma unroll
    for (int i = 0; i < kCandidatesEach; ++i)
      if (rank[i] && rank[i] >= from)
        sum += counts ? 1 : mass[i];
    return blockSum(sum);
  }
  MLC_DEVICE void keepFrom(uint64_t least) {
#pragma unroll
    for (int i = 0; i < kCandidatesEach; ++i)
      rank[i] = rank[i] < least ? 0 : rank[i];
  }
  MLC_DEVICE void keepLikely(float share) {
#pragma unroll
    for (int i = 0; i < kCandidatesEach; ++i)
      rank[i] = mass[i] < DrawnRow::mass(share) ? 0 : rank[i];
  }
};

/// The highest rank at or above which lies as much as `wanted`, at least 1 and no more than there is: a token's.
template <typename Set> MLC_DEVICE uint64_t search(const Set &set, bool counts, uint64_t wanted) {
  // Ids have 19 bits, above which ~id has ones.
  uint64_t found = 0;
  for (int bit = 63; bit >= 0; --bit) {
    if (bit == 31) {
      found |= 0xfff80000u;
      bit = 18;
    }
    uint64_t next = found | uint64_t(1) << bit;
    if (set.atOrAbove(next, counts) >= wanted)
      found = next;
  }
  return found;
}

/// `uniform` of `total`, rounded down.
MLC_DEVICE uint64_t shareOf(double uniform, uint64_t total) {
  return __umul64hi(uint64_t(uniform * 0x1p53) << 11, total);
}

/// Of `set`, which holds what the cuts of a row of so many `tokens` and of `mass` leave.
template <typename Set> MLC_DEVICE int32_t drawCut(Set &set, const RowDraw &draw, uint64_t tokens, uint64_t mass) {
  if (draw.topK && draw.topK < tokens) {
    set.keepFrom(search(set, true, draw.topK));
    mass = set.atOrAbove(0, false);
  }
  if (draw.topP < 1) {
    auto wanted = uint64_t(double(draw.topP) * double(mass));
    set.keepFrom(search(set, false, wanted ? wanted : 1));
  }
  if (draw.minP > 0)
    set.keepLikely(draw.minP);
  return tokenOf(search(set, false, shareOf(draw.uniform, set.atOrAbove(0, false)) + 1));
}

/// Where the draw goes through the tokens by their ids.
MLC_DEVICE int32_t drawInOrder(const DrawnRow &row, const RowDraw &draw) {
  auto between = [&](int64_t first, int64_t end) {
    uint64_t sum = 0;
    for (int64_t token = first + threadIdx.x; token < end; token += kDrawThreads)
      if (float probability = row.probability(row.at(token)); probability >= draw.minP)
        sum += DrawnRow::mass(probability);
    return blockSum(sum);
  };
  uint64_t wanted = shareOf(draw.uniform, between(0, row.vocabulary));
  int64_t first = 0, end = row.vocabulary;
  while (end - first > 1) {
    int64_t middle = first + (end - first) / 2;
    uint64_t before = between(first, middle);
    if (before > wanted)
      end = middle;
    else {
      wanted -= before;
      first = middle;
    }
  }
  return int32_t(first);
}

/// Where it goes through them by likelihood: of those that a cut can leave, so many that they reach it, in registers if
/// these hold them.
MLC_DEVICE int32_t drawLikeliest(const DrawnRow &row, const RowDraw &draw) {
  MLC_SHARED uint64_t list[kCandidates];
  MLC_SHARED int listed;
  const float below[kLevels] = {row.most - 4, row.most - 8, row.most - 16, noLogit()};
  uint64_t count[kLevels] = {}, mass[kLevels] = {};
  for (int64_t token = threadIdx.x; token < row.vocabulary; token += kDrawThreads) {
    float logit = row.at(token);
    if (logit == noLogit())
      continue;
    uint64_t each = DrawnRow::mass(row.probability(logit));
#pragma unroll
    for (int level = 0; level < kLevels; ++level)
      if (logit >= below[level]) {
        ++count[level];
        mass[level] += each;
      }
  }
#pragma unroll
  for (int level = 0; level < kLevels; ++level) {
    count[level] = blockSum(count[level]);
    mass[level] = blockSum(mass[level]);
  }
  uint64_t tokens = count[kLevels - 1], chosen = tokens;
  bool cutsK = draw.topK && draw.topK < tokens;
  auto wanted = uint64_t(double(draw.topP) * double(mass[kLevels - 1]));
  float least = noLogit();
#pragma unroll
  for (int level = kLevels - 2; level >= 0; --level)
    if (cutsK ? count[level] >= draw.topK : draw.topP < 1 && mass[level] >= wanted && mass[level]) {
      least = below[level];
      chosen = count[level];
    }
  if (chosen > kCandidates) {
    RowSet set{row, 0, 0};
    return drawCut(set, draw, tokens, mass[kLevels - 1]);
  }
  if (threadIdx.x == 0)
    listed = 0;
  __syncthreads();
  for (int64_t token = threadIdx.x; token < row.vocabulary; token += kDrawThreads)
    if (float logit = row.at(token); logit > noLogit() && logit >= least)
      list[atomicAdd(&listed, 1)] = rankOf(logit, token);
  __syncthreads();
  CandidateSet set;
#pragma unroll
  for (int i = 0; i < kCandidatesEach; ++i) {
    int place = int(threadIdx.x) + i * kDrawThreads;
    set.rank[i] = place < listed ? list[place] : 0;
    set.mass[i] = set.rank[i] ? DrawnRow::mass(row.probability(logitOf(set.rank[i]))) : 0;
  }
  return drawCut(set, draw, tokens, mass[kLevels - 1]);
}

} // namespace mlc::cuda

MLC_KERNEL_OF(mlc_draw, DrawArgs, kDrawThreads) {
  begin();
  const RowDraw draw = args.draws[blockIdx.x];
  if (draw.row < 0)
    return;
  float *logits = args.logits.data + draw.row * args.logits.stride;
  for (uint32_t i = threadIdx.x; i < draw.adjustments; i += kDrawThreads) {
    const TokenAdjustment &each = args.adjustments[draw.firstAdjustment + i];
    float logit = logits[each.token] + each.bias;
    if (each.generated || each.inPrompt)
      logit = logit > 0 ? logit / draw.repetitionPenalty : logit * draw.repetitionPenalty;
    if (each.generated)
      logit -= draw.presencePenalty + draw.frequencyPenalty * float(each.generated);
    logits[each.token] = logit;
  }
  __syncthreads();
  DrawnRow row{logits, args.vocabulary, draw.temperature, 0};
  uint64_t best = 0;
  for (int64_t token = threadIdx.x; token < row.vocabulary; token += kDrawThreads) {
    uint64_t rank = rankOf(row.at(token), token);
    best = rank > best ? rank : best;
  }
  best = blockMax(best);
  row.most = logitOf(best);
  int32_t token = tokenOf(best);
  if (row.most == noLogit())
    token = -1;
  else if (draw.temperature > 0)
    token = draw.topK || draw.topP < 1 ? drawLikeliest(row, draw) : drawInOrder(row, draw);
  if (threadIdx.x == 0)
    args.tokens[blockIdx.x] = token;
}
