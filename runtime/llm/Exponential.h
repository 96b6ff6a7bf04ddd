//===----------------------------------------------------------------------===//
// e^x for probabilities.
//
#pragma once

#include <bit>
#include <cstdint>

namespace mlc {

/// e^x of x <= 0, within 2 ulp, exactly 1 at 0; 0 below -87.3 and of NaN. Without branch or call, so that loops of it
/// become vectors, and the same bits on every machine.
inline float exponential(float x) {
  constexpr float kLeast = -87.3f, kRound = 12582912; // 1.5 * 2^23: adding it leaves an integer in the low bits.
  bool normal = x >= kLeast;
  float limited = normal ? x : 0.0f;
  float shifted = limited * 1.44269504f + kRound, n = shifted - kRound;
  // x = n ln 2 + r; the first product is exact.
  float r = limited - n * 0.693145752f;
  r -= n * 1.42860677e-6f;
  // Taylor's series to r^7.
  float p = 1.98412698e-4f;
  p = p * r + 1.38888889e-3f;
  p = p * r + 8.33333333e-3f;
  p = p * r + 4.16666667e-2f;
  p = p * r + 1.66666667e-1f;
  p = p * r + 0.5f;
  float y = (p * r * r + r + 1) * std::bit_cast<float>((std::bit_cast<uint32_t>(shifted) + 127) << 23);
  return normal ? y : 0.0f;
}

} // namespace mlc
