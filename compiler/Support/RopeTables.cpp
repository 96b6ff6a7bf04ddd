//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Support/RopeTables.h"

#include <cmath>
#include <numbers>

using namespace mlir;

namespace mlc {
namespace {

using Table = SmallVector<float>;

/// Correctly rounded in practice, so the same on every host; powf is not.
float power(float base, float exponent) { return float(std::pow(double(base), double(exponent))); }

/// base^(2i / dim): every step of transformers' expression is one f32 rounding.
Table wavelengths(float base, int64_t dim) {
  Table result(dim / 2);
  for (int64_t i = 0; i < dim / 2; ++i)
    result[i] = power(base, float(2 * i) / float(dim));
  return result;
}

Table reciprocals(Table values) {
  for (float &value : values)
    value = 1.0f / value;
  return values;
}

/// arXiv 2309.00071: frequencies below `slow` turns over the trained context are interpolated, above `fast` kept.
Table yarnTable(graph::RopeAnglesOp op) {
  int64_t dim = op.getRotaryDim();
  double theta = op.getTheta().convertToDouble(), context = double(op.getOriginalContext());
  auto correctionDim = [&](const APFloat &rotations) {
    double turns = rotations.convertToDouble();
    return double(dim) * std::log(context / (turns * 2 * std::numbers::pi)) / (2 * std::log(theta));
  };
  double low = correctionDim(*op.getBetaFast()), high = correctionDim(*op.getBetaSlow());
  if (op.getTruncate().value_or(true)) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, double(dim - 1));
  // transformers keeps the ramp finite in the same way.
  if (low == high)
    high += 0.001;

  float factor = float(op.getFactor().convertToDouble()), start = float(low), width = float(high - low);
  Table table = wavelengths(float(theta), dim);
  for (auto [i, value] : llvm::enumerate(table)) {
    float extrapolated = 1.0f / value, interpolated = 1.0f / (factor * value);
    float keep = 1.0f - std::clamp((float(i) - start) / width, 0.0f, 1.0f);
    value = interpolated * (1.0f - keep) + extrapolated * keep;
  }
  return table;
}

/// Llama 3.1: long waves are slowed by `factor`, short ones kept, those between the two bands blended.
Table llama3Table(graph::RopeAnglesOp op) {
  double context = double(op.getOriginalContext());
  double lowFactor = op.getLowFreqFactor()->convertToDouble(), highFactor = op.getHighFreqFactor()->convertToDouble();
  float factor = float(op.getFactor().convertToDouble());
  float longest = float(context / lowFactor), shortest = float(context / highFactor);
  Table table = reciprocals(wavelengths(float(op.getTheta().convertToDouble()), op.getRotaryDim()));
  for (float &value : table) {
    // torch divides a scalar by a tensor as reciprocal times scalar.
    float wave = (1.0f / value) * float(2 * std::numbers::pi);
    float smooth = ((1.0f / wave) * float(context) - float(lowFactor)) / float(highFactor - lowFactor);
    if (wave > longest)
      value = value / factor;
    else if (!(wave < shortest))
      value = (1.0f - smooth) * value / factor + smooth * value;
  }
  return table;
}

Table longropeTable(graph::RopeAnglesOp op, ArrayRef<double> factors) {
  Table table = wavelengths(float(op.getTheta().convertToDouble()), op.getRotaryDim());
  for (auto [value, factor] : llvm::zip_equal(table, factors))
    value = 1.0f / (float(factor) * value);
  return table;
}

} // namespace

Table ropeDynamicTable(graph::RopeAnglesOp op, int64_t length) {
  int64_t dim = op.getRotaryDim(), context = op.getOriginalContext();
  double theta = op.getTheta().convertToDouble(), factor = op.getFactor().convertToDouble();
  // A single pair has frequency 1 with every base; the exponent would be infinite.
  if (dim == 2)
    return {1.0f};
  double exponent = double(dim) / double(dim - 2);
  if (length <= context)
    return reciprocals(wavelengths(float(theta * std::pow(factor - (factor - 1), exponent)), dim));
  // A length beyond the trained one reaches transformers as a tensor: f32 from here on, the exponent excepted.
  float stretch = float(factor) * float(length) / float(context) - float(factor - 1);
  return reciprocals(wavelengths(float(theta) * float(std::pow(double(stretch), exponent)), dim));
}

SmallVector<Table> ropeTables(graph::RopeAnglesOp op) {
  using graph::RopeScaling;
  float theta = float(op.getTheta().convertToDouble());
  int64_t dim = op.getRotaryDim();
  switch (op.getScaling()) {
  case RopeScaling::none: {
    Table table = reciprocals(wavelengths(theta, dim));
    for (auto [value, factor] : llvm::zip(table, op.getFactors().value_or(ArrayRef<double>())))
      value /= float(factor);
    return {table};
  }
  case RopeScaling::linear: {
    Table table = reciprocals(wavelengths(theta, dim));
    for (float &value : table)
      value /= float(op.getFactor().convertToDouble());
    return {table};
  }
  case RopeScaling::dynamic:
    return {ropeDynamicTable(op, op.getOriginalContext())};
  case RopeScaling::yarn:
    return {yarnTable(op)};
  case RopeScaling::longrope:
    return {longropeTable(op, *op.getShortFactors()), longropeTable(op, *op.getLongFactors())};
  case RopeScaling::llama3:
    return {llama3Table(op)};
  }
  llvm_unreachable("covered switch");
}

} // namespace mlc
