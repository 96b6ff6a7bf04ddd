//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/engine/CostModel.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace mlc::server {

CostModel::Table::Between CostModel::Table::between(int64_t x) {
  if (x <= 0)
    return {0, 0, 0};
  size_t low = std::min(size_t(std::bit_width(uint64_t(x)) - 1), kKnots - 2);
  double begin = double(uint64_t(1) << low), share = (double(x) - begin) / begin;
  return {low, 1 - share, share};
}

double CostModel::Table::at(int64_t x) const {
  Between b = between(x);
  return values[b.low] * b.lowWeight + values[b.low + 1] * b.highWeight;
}

void CostModel::Table::reach(int64_t x, double value) {
  if (x <= seen)
    return;
  double from = seen ? at(seen) : 0;
  for (size_t knot = 0; knot < kKnots; ++knot) {
    auto argument = int64_t(1) << knot;
    if (argument <= seen)
      continue;
    values[knot] = argument >= x ? value * double(argument) / double(x)
                                 : from + (value - from) * double(argument - seen) / double(x - seen);
  }
  seen = x;
}

void CostModel::Table::settle(int64_t x) {
  constexpr double kFall = 0.02, kLeastRise = 1.25;
  Between b = between(x);
  double least = values[b.low] * kLeastRise, &above = values[b.low + 1];
  if (x > 0 && above > least)
    above -= kFall * b.lowWeight * (above - least);
}

double CostModel::predict(const StepShape &shape) const {
  return byTokens.at(shape.tokens) + byRows.at(shape.rows) + perReach * shape.reach;
}

void CostModel::learn(const StepShape &shape, double ms) {
  if (shape.tokens <= 0 || !(ms >= 0))
    return;
  double predicted = predict(shape);
  if (learned++) {
    double excess = predicted > 0 ? ms / predicted - 1 : 0;
    margin += 0.05 * (std::clamp(excess, 0.0, 0.2) - margin);
  } else {
    // A position of attention costs little; that much is corrected where depth matters.
    perReach = ms / 20000;
  }
  // More tokens or rows than ever before: what the rest does not explain is theirs.
  double others = perReach * shape.reach;
  if (shape.rows > byRows.seen && shape.tokens <= byTokens.seen)
    byRows.reach(shape.rows, std::max(ms - others - byTokens.at(shape.tokens), byRows.at(byRows.seen)));
  else if (shape.rows > byRows.seen)
    byRows.reach(shape.rows, std::max(byRows.at(shape.rows), 0.0));
  if (shape.tokens > byTokens.seen) {
    byTokens.reach(shape.tokens, std::max(ms - others - byRows.at(shape.rows), byTokens.at(byTokens.seen)));
    return;
  }
  // One step of the normalised least-mean-squares rule; each weight's share of the error is as its share of the time. A
  // step that something else on the machine held up counts as twice its time at most.
  double error = std::clamp(ms, 0.5 * predicted, 2 * predicted) - predicted;
  double rate = learned < 32 || error > 0 ? 0.5 : 0.15;
  Table::Between tokens = Table::between(shape.tokens), rows = Table::between(shape.rows);
  struct Term {
    double *weight, input;
  } terms[5] = {{&byTokens.values[tokens.low], tokens.lowWeight},
                {&byTokens.values[tokens.low + 1], tokens.highWeight},
                {&byRows.values[rows.low], rows.lowWeight},
                {&byRows.values[rows.low + 1], rows.highWeight},
                {&perReach, shape.reach}};
  double norm = 0;
  for (const Term &term : terms)
    norm += *term.weight * *term.weight * term.input * term.input;
  if (norm <= 0)
    return;
  for (const Term &term : terms) {
    double scale = *term.weight * *term.weight;
    *term.weight = std::max(*term.weight + rate * error * scale * term.input / norm, *term.weight / 4);
  }
  byTokens.settle(shape.tokens);
  byRows.settle(shape.rows);
}

int64_t CostModel::fit(const StepShape &shape, int64_t position, int64_t most, bool all, double budget) const {
  int64_t low = 0, high = most;
  while (low < high) {
    int64_t middle = low + (high - low + 1) / 2;
    StepShape tried = shape;
    tried.add(position, middle, all ? middle : middle == most);
    if (atMost(tried) <= budget)
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

} // namespace mlc::server
