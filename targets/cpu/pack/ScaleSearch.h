//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The scale and zero point of one quantization group: those with the least (weighted) squared error among candidates
// that are refined by least squares. Sums have 16 fixed lanes and nothing is contracted: the same answer on every host.
//
#pragma once

#include <cstdint>

namespace mlc::cpu {

/// The integers a group may use: [low, high], value = scale * (q - zero).
struct QuantRange {
  int low, high;
  int middle;      // The zero of symmetric groups.
  bool asymmetric; // A zero in [-128, 127] may be chosen.
};
constexpr QuantRange kInt8Range{1, 255, 128, false};
constexpr QuantRange int4Range(bool asymmetric) { return {0, 15, 8, asymmetric}; }

/// One group, as it is stored. scale 0: every value is 0.
struct GroupScale {
  uint16_t scale = 0; // bf16
  int zero = 0;
};

/// Chooses for values[count]; `importance` (null: all alike) weighs each value's squared error and is finite and not
/// negative. False when a value is not finite.
[[nodiscard]] bool searchScale(const float *values, const float *importance, uint64_t count, const QuantRange &range,
                               GroupScale &group);

/// value / scale as an integer of the range, for a scale of which `inverse` is the inverse.
inline int quantizeValue(float value, float inverse, int zero, const QuantRange &range) {
  float q = value * inverse, lowest = float(range.low - zero), highest = float(range.high - zero);
  q = q < lowest ? lowest : q;
  q = q > highest ? highest : q;
  return int(__builtin_rintf(q)) + zero;
}

} // namespace mlc::cpu
