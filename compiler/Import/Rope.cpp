//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Import/Rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace mlc {
namespace {

/// theta^(2i / rotaryDim).
std::vector<float> positionFrequencies(const RopeConfig &rope) {
  std::vector<float> result(size_t(rope.rotaryDim) / 2);
  for (size_t i = 0; i < result.size(); ++i)
    result[i] = float(std::pow(rope.theta, double(float(2 * i) / float(rope.rotaryDim))));
  return result;
}

std::vector<float> yarn(const RopeConfig &rope) {
  const double dim = double(rope.rotaryDim);
  auto correctionDim = [&](double rotations) {
    return dim * std::log(double(rope.originalContext) / (rotations * 2 * std::numbers::pi)) /
           (2 * std::log(rope.theta));
  };
  double low = correctionDim(rope.betaFast), high = correctionDim(rope.betaSlow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high)
    high += 0.001;
  std::vector<float> result = positionFrequencies(rope);
  for (size_t i = 0; i < result.size(); ++i) {
    float ramp = std::clamp((float(i) - float(low)) / float(high - low), 0.0f, 1.0f), keep = 1 - ramp;
    float extrapolation = 1.0f / result[i], interpolation = 1.0f / (float(rope.factor) * result[i]);
    result[i] = interpolation * (1 - keep) + extrapolation * keep;
  }
  return result;
}

void llama3(const RopeConfig &rope, std::vector<float> &table) {
  const double context = double(rope.originalContext);
  const double lowWavelength = context / rope.lowFrequencyFactor, highWavelength = context / rope.highFrequencyFactor;
  for (float &frequency : table) {
    float wavelength = float(2 * std::numbers::pi) / frequency;
    if (wavelength > lowWavelength) {
      frequency /= float(rope.factor);
    } else if (wavelength >= highWavelength) {
      float smooth = (float(context) / wavelength - float(rope.lowFrequencyFactor)) /
                     float(rope.highFrequencyFactor - rope.lowFrequencyFactor);
      frequency = (1 - smooth) * frequency / float(rope.factor) + smooth * frequency;
    }
  }
}

} // namespace

double yarnAttentionFactor(double factor, double mscale) {
  return factor <= 1 ? 1 : 0.1 * mscale * std::log(factor) + 1;
}

double longropeAttentionFactor(double factor, int64_t originalContext) {
  return factor <= 1 ? 1 : std::sqrt(1 + std::log(factor) / std::log(double(originalContext)));
}

std::vector<std::vector<float>> inverseFrequencies(const RopeConfig &rope) {
  if (rope.type == fb::RopeScaling::yarn)
    return {yarn(rope)};
  std::vector<float> powers = positionFrequencies(rope);
  if (rope.type == fb::RopeScaling::longrope) {
    std::vector<std::vector<float>> tables(2, std::vector<float>(powers.size()));
    for (size_t i = 0; i < powers.size(); ++i) {
      tables[0][i] = 1.0f / (float(rope.shortFactors[i]) * powers[i]);
      tables[1][i] = 1.0f / (float(rope.longFactors[i]) * powers[i]);
    }
    return tables;
  }
  for (float &value : powers)
    value = 1.0f / value;
  if (rope.type == fb::RopeScaling::linear)
    for (float &value : powers)
      value /= float(rope.factor);
  if (rope.type == fb::RopeScaling::llama3)
    llama3(rope, powers);
  for (size_t i = 0; i < rope.divisors.size(); ++i)
    powers[i] /= rope.divisors[i];
  return {powers};
}

} // namespace mlc
