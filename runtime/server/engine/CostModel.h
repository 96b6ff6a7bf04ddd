//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// How long a step takes, learned from the steps that ran: tables over its tokens and its rows of logits, and a cost of
// attention. What was never measured is taken as proportional to the largest that was, which is too much rather than
// too little; what was taken for too much falls until it is tried again.
//
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace mlc::server {

/// What a step's time depends on.
struct StepShape {
  int64_t tokens = 0, rows = 0;
  /// Sum over its tokens of the positions that each attends to.
  double reach = 0;

  /// Adds `count` tokens of a sequence that holds `position`, and `wanted` rows of logits.
  void add(int64_t position, int64_t count, int64_t wanted) {
    tokens += count;
    rows += wanted;
    reach += double(count) * double(position) + double(count) * double(count + 1) / 2;
  }
};

class CostModel {
public:
  /// In ms, and what it is at most by the errors made so far.
  double predict(const StepShape &shape) const;
  double atMost(const StepShape &shape) const { return predict(shape) * (1 + margin); }
  void learn(const StepShape &shape, double ms);
  /// The most tokens, up to `most`, that a sequence at `position` can add to `shape` within `budget` ms; 0: none.
  /// `all`: each wants its logits, else the last one does when all of `most` fit.
  int64_t fit(const StepShape &shape, int64_t position, int64_t most, bool all, double budget) const;

private:
  /// A piecewise linear function that is 0 at 0, with knots at powers of two.
  struct Table {
    static constexpr size_t kKnots = 16;
    std::array<double, kKnots> values{};
    int64_t seen = 0; // The largest argument that was measured.

    /// Weights of the two knots beside x.
    struct Between {
      size_t low;
      double lowWeight, highWeight;
    };
    static Between between(int64_t x);
    double at(int64_t x) const;
    /// The knots between the largest argument so far and x get a line, those above a proportion.
    void reach(int64_t x, double value);
    /// After a measurement at x: the knot above comes down a little, so that more is tried some day.
    void settle(int64_t x);
  };

  Table byTokens, byRows;
  double perReach = 0;
  /// A mean of how far steps exceeded what was predicted, relative.
  double margin = 0.1;
  uint64_t learned = 0;
};

} // namespace mlc::server
