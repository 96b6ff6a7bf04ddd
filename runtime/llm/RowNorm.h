//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The normaliser of a row of logits, in f64.
//
#pragma once

#include <cmath>
#include <cstddef>
#include <span>

namespace mlc {

/// log of the sum of exp over a row, and the first of its largest entries.
struct RowNorm {
  double logSum;
  size_t best;
};

inline RowNorm normOf(std::span<const float> row) {
  size_t best = 0;
  for (size_t i = 1; i < row.size(); ++i)
    if (row[i] > row[best])
      best = i;
  double sum = 0;
  for (float logit : row)
    sum += std::exp(double(logit) - double(row[best]));
  return {double(row[best]) + std::log(sum), best};
}

} // namespace mlc
