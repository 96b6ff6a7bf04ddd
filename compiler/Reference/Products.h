//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The products of linear and moe, and what goes before and after them.
//
#pragma once

#include "compiler/Reference/Activate.h"
#include "compiler/Reference/Rounding.h"
#include "compiler/Reference/Value.h"
#include "compiler/Reference/Weights.h"
#include "runtime/core/Float16.h"

#include <cmath>

namespace mlc::reference {

/// Each row in groups of `group` columns, as quantize_rows does.
template <typename T> QuantizedRows quantizeRows(const Floats<T> &input, int64_t group) {
  QuantizedRows result;
  result.rows = input.rows();
  result.columns = input.columns();
  result.group = group;
  result.codes.resize(input.data.size());
  result.scales.resize(result.rows * result.groups());
  std::vector<float> values;
  for (int64_t row = 0; row < result.rows; ++row)
    for (int64_t g = 0; g < result.groups(); ++g) {
      int64_t begin = g * result.group, end = std::min(result.columns, begin + result.group);
      values.assign(input.row(row) + begin, input.row(row) + end);
      result.scales[row * result.groups() + g] =
          quantizeGroup(values, result.codes.data() + row * result.columns + begin);
    }
  return result;
}

/// gate(a) * b of the halves of the columns.
template <typename T> Floats<T> gateHalves(graph::Activation gate, const Floats<T> &product) {
  Shape shape = product.shape;
  int64_t columns = shape.back() /= 2;
  auto result = Floats<T>::filled(shape);
  for (int64_t t = 0; t < product.rows(); ++t)
    for (int64_t n = 0; n < columns; ++n)
      result.row(t)[n] = activate(gate, product.row(t)[n]) * product.row(t)[columns + n];
  return result;
}

/// y[:, offset + n] = sum over k of x[:, k] w[n, k].
template <typename T>
void multiply(const Floats<T> &input, llvm::ArrayRef<float> weight, int64_t outputs, int64_t offset,
              Floats<T> &result) {
  int64_t columns = input.columns();
  // Four rows at a time share a pass over a weight row; each keeps its own sum in the order of k.
  for (int64_t n = 0; n < outputs; ++n) {
    const float *w = weight.data() + n * columns;
    int64_t t = 0;
    for (; t + 4 <= input.rows(); t += 4) {
      T sums[4] = {};
      const T *rows[4] = {input.row(t), input.row(t + 1), input.row(t + 2), input.row(t + 3)};
      for (int64_t k = 0; k < columns; ++k)
        for (int r = 0; r < 4; ++r)
          sums[r] += rows[r][k] * T(w[k]);
      for (int r = 0; r < 4; ++r)
        result.row(t + r)[offset + n] = sums[r];
    }
    for (; t < input.rows(); ++t) {
      T sum = 0;
      for (int64_t k = 0; k < columns; ++k)
        sum += input.row(t)[k] * T(w[k]);
      result.row(t)[offset + n] = sum;
    }
  }
}

/// Rows [first, first + count) of the weight: y[:, offset + n] = fma(sum of a group's integer products,
/// scale_x * scale_w, y) over the groups in order, from 0; with offsets, fma(offset_w, -sum of the group's x * scale_x,
/// y) after each.
template <typename T>
void multiplyQuantized(const QuantizedRows &input, const QuantizedWeight &weight, int64_t first, int64_t count,
                       int64_t column, Floats<T> &result) {
  for (int64_t t = 0; t < input.rows; ++t)
    for (int64_t n = first; n < first + count; ++n) {
      // Groups that share a scale of x are summed before it multiplies.
      T sum = 0, part = 0;
      int64_t together = std::max<int64_t>(1, input.group / weight.group);
      for (int64_t g = 0; g < weight.groups; ++g) {
        int64_t end = std::min(weight.columns, (g + 1) * weight.group), product = 0, codes = 0;
        for (int64_t k = g * weight.group; k < end; ++k) {
          product += int64_t(input.codes[t * input.columns + k]) * weight.codes[n * weight.columns + k];
          codes += input.codes[t * input.columns + k];
        }
        T scaleX = T(input.scales[t * input.groups() + g * weight.group / input.group]);
        T scale = T(weight.scales[n * weight.groups + g]), offset = T(weight.offsets[n * weight.groups + g]);
        if (together == 1) {
          sum = std::fma(T(product), scaleX * scale, sum);
          if (offset != 0)
            sum = std::fma(offset, T(-codes) * scaleX, sum);
          continue;
        }
        part = std::fma(T(product), scale, part);
        if (offset != 0)
          part = std::fma(offset, T(-codes), part);
        if ((g + 1) % together == 0) {
          sum = std::fma(part, scaleX, sum);
          part = 0;
        }
      }
      result.row(t)[column + n - first] = sum;
    }
}

/// Every value rounded to bf16.
template <typename T> Floats<T> roundedToBf16(Floats<T> rows) {
  for (T &value : rows.data)
    value = T(bf16ToF32(f32ToBf16(float(value))));
  return rows;
}

} // namespace mlc::reference
