//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cpu/pack/ScaleSearch.h"

#include "runtime/core/Float16.h"

#include <cstring>
#include <initializer_list>

namespace mlc::cpu {

namespace {

typedef float Lanes __attribute__((vector_size(64)));

inline float sumLanes(const Lanes &v) {
  float sum = 0;
  for (int i = 0; i < 16; ++i)
    sum += v[i];
  return sum;
}

/// Weighted sums over a group, of values u = v / amax and their integers q (zero taken off).
struct Sums {
  float uq = 0, qq = 0;      // For a scale through the origin.
  float w = 0, u = 0, q = 0; // Also needed where the zero point is free.
};

/// What the columns' errors cost; normalised to at most 1, so that no sum overflows.
struct Importance {
  const float *values = nullptr;
  float normalise = 1;
};

/// A group and the best scale so far. Weighted: squared errors count by importance.
template <bool Weighted> class Search {
public:
  Search(const float *values, Importance importance, uint64_t count, float amax, const QuantRange &range)
      : values(values), importance(importance), count(count), amax(amax), normalise(1.0f / amax), range(range) {}

  void symmetric() {
    if (range.high - range.low > 15) {
      for (float divisor : {127.0f, 126.5f, 127.5f})
        tryScale(amax / divisor, range.middle);
      refine(1);
      return;
    }
    // Either sign: -8 reaches one step further than 7, so the largest value decides which side gets it. By 6, 6.25,
    // ..., 9, 9.5, ..., 12: where a few large values matter little, clipping them pays.
    float bestGain = 0, bestScale = 0;
    for (int step = 0; step <= 18; ++step)
      for (float sign : {1.0f, -1.0f}) {
        float divisor = sign * (step < 12 ? 6.0f + 0.25f * float(step) : 3.0f + 0.5f * float(step));
        Sums sums = sumsAt(divisor, range.middle);
        // What the least-squares scale for these integers takes off the error.
        float gain = sums.uq * sums.uq / sums.qq;
        if (sums.qq > 0 && gain > bestGain) {
          bestGain = gain;
          bestScale = sums.uq / sums.qq;
        }
      }
    tryScale(bestScale * amax, range.middle);
    refine(2);
  }

  void asymmetric(float low, float high) {
    for (int step = 0; step <= 12; ++step) {
      float shrink = 1.02f - 0.03f * float(step), centre = low * 0.5f + high * 0.5f;
      float scale = (high * 0.5f - low * 0.5f) * shrink / 7.5f;
      tryZero(scale, 7.5f - centre / scale);
    }
    // Scale and zero together by least squares, for the integers that the best so far gives.
    for (int round = 0; round < 3 && found; ++round) {
      Sums sums = sumsAt<true>(amax / bestScale, bestZero);
      float slope = sums.w * sums.qq - sums.q * sums.q;
      if (!(slope > 0))
        break;
      float scale = (sums.w * sums.uq - sums.u * sums.q) / slope;
      float offset = (sums.u - scale * sums.q) / sums.w;
      tryZero(scale * amax, float(bestZero) - offset / scale);
      refine(1);
    }
  }

  void result(GroupScale &group) const {
    group.scale = found ? f32ToBf16(bestScale) : uint16_t(0);
    group.zero = found ? bestZero : range.middle;
  }

private:
  void load(uint64_t i, Lanes &v, Lanes &w) const {
    uint64_t left = count - i;
    v = w = Lanes{};
    memcpy(&v, values + i, left < 16 ? size_t(left) * 4 : 64);
    if constexpr (Weighted) {
      memcpy(&w, importance.values + i, left < 16 ? size_t(left) * 4 : 64);
      w = w * importance.normalise;
    } else if (left >= 16)
      w = w + 1.0f;
    else
      for (uint64_t lane = 0; lane < left; ++lane)
        w[lane] = 1.0f;
  }

  /// Rounds v * inverse to an integer of the range, the zero taken off.
  struct Rounder {
    Rounder(const QuantRange &range, int zero, float inverse)
        : lowest(Lanes{} + float(range.low - zero)), highest(Lanes{} + float(range.high - zero)), inverse(inverse) {}
    Lanes operator()(const Lanes &v) const {
      Lanes q = v * inverse;
      q = q < lowest ? lowest : q;
      q = q > highest ? highest : q;
      // Adding 1.5 * 2^23 rounds to the nearest even integer.
      return (q + 12582912.f) - 12582912.f;
    }
    Lanes lowest, highest;
    float inverse;
  };

  template <bool Offset = false> Sums sumsAt(float divisor, int zero) const {
    Rounder round(range, zero, divisor);
    Lanes uq = {}, qq = {}, sw = {}, su = {}, sq = {};
    for (uint64_t i = 0; i < count; i += 16) {
      Lanes v, w;
      load(i, v, w);
      Lanes u = v * normalise, q = round(u), wq = Weighted || Offset ? w * q : q;
      uq += wq * u;
      qq += wq * q;
      if constexpr (Offset) {
        sw += w;
        su += w * u;
        sq += wq;
      }
    }
    return {sumLanes(uq), sumLanes(qq), sumLanes(sw), sumLanes(su), sumLanes(sq)};
  }

  /// Takes `scale`, rounded to bf16, if its error is the least so far.
  void tryScale(float scale, int zero) {
    scale = bf16ToF32(f32ToBf16(scale));
    if (!(__builtin_fabsf(scale) > 1e-37f) || !(__builtin_fabsf(scale) < 3e38f))
      return;
    Rounder round(range, zero, 1.0f / scale);
    Lanes error = {};
    for (uint64_t i = 0; i < count; i += 16) {
      Lanes v, w;
      load(i, v, w);
      Lanes difference = (v - round(v) * scale) * normalise;
      error += Weighted ? w * difference * difference : difference * difference;
    }
    float total = sumLanes(error);
    if (found && !(total < bestError))
      return;
    found = true;
    bestError = total;
    bestScale = scale;
    bestZero = zero;
  }

  void tryZero(float scale, float zero) {
    zero = __builtin_rintf(zero);
    if (zero >= -128 && zero <= 127)
      tryScale(scale, int(zero));
  }

  /// The scale that fits the best candidate's integers in the least-squares sense, as one more candidate, and again.
  void refine(int rounds) {
    for (int round = 0; round < rounds && found; ++round) {
      Sums sums = sumsAt(amax / bestScale, bestZero);
      float before = bestScale;
      if (sums.qq > 0)
        tryScale(sums.uq / sums.qq * amax, bestZero);
      if (bestScale == before)
        return;
    }
  }

  const float *values;
  Importance importance;
  uint64_t count;
  float amax, normalise;
  const QuantRange &range;
  float bestError = 0, bestScale = 0;
  int bestZero = 0;
  bool found = false;
};

template <bool Weighted>
void search(const float *values, Importance importance, uint64_t count, float amax, float low, float high,
            const QuantRange &range, GroupScale &group) {
  Search<Weighted> search(values, importance, count, amax, range);
  search.symmetric();
  if (range.asymmetric && high > low)
    search.asymmetric(low, high);
  search.result(group);
}

} // namespace

bool searchScale(const float *values, const float *importance, uint64_t count, const QuantRange &range,
                 GroupScale &group) {
  float amax = 0, low = values[0], high = values[0], heaviest = 0;
  for (uint64_t i = 0; i < count; ++i) {
    if (!(__builtin_fabsf(values[i]) <= 3.4028234e38f))
      return false;
    amax = __builtin_fabsf(values[i]) > amax ? __builtin_fabsf(values[i]) : amax;
    low = values[i] < low ? values[i] : low;
    high = values[i] > high ? values[i] : high;
    if (importance && importance[i] > heaviest)
      heaviest = importance[i];
  }
  group = {0, range.middle};
  if (!(amax > 1e-35f)) // Below, a scale's inverse leaves f32's range.
    return true;
  // Columns that never see anything say nothing about what matters.
  if (heaviest > 1e-35f)
    search<true>(values, {importance, 1.0f / heaviest}, count, amax, low, high, range, group);
  else
    search<false>(values, {}, count, amax, low, high, range, group);
  return true;
}

} // namespace mlc::cpu
