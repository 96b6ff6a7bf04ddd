//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// How the workers share out units of work.
//
#pragma once

#include <stdint.h>

namespace mlc::cpu {

/// Units [beginOf(i), beginOf(i + 1)) are item i. Even: one each. Halved: for work whose time is that of reading
/// weights, where each item begins its streams through memory anew; a worker's stretch is cut in halves, and of those
/// the last ones again, so that one that is ready sooner helps with little things.
class Shares {
public:
  static Shares even(int64_t units) { return Shares(units, units < 1 ? 1 : units, 1); }
  /// An item has at least `least` units, as long as there are so many.
  static Shares halved(int64_t units, int64_t least, int64_t workers) {
    constexpr int64_t kMostParts = 5;
    int64_t stretches = units / (least < 1 ? 1 : least), parts = 1;
    stretches = stretches < 1 ? 1 : stretches < workers ? stretches : workers;
    while (parts < kMostParts && units / stretches >> parts >= least)
      ++parts;
    return Shares(units, stretches, parts);
  }

  int64_t items() const { return stretches * parts; }
  int64_t beginOf(int64_t item) const {
    const int64_t full = int64_t(1) << (parts - 1);
    return units * (item / parts * full + full - (full >> item % parts)) / (stretches * full);
  }

private:
  Shares(int64_t units, int64_t stretches, int64_t parts) : units(units), stretches(stretches), parts(parts) {}
  int64_t units, stretches, parts;
};

} // namespace mlc::cpu
