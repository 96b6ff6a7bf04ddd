//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Products and look-ups: linear, embedding, quantize_rows.
//
#include "compiler/Reference/Activate.h"
#include "compiler/Reference/Frame.h"
#include "compiler/Reference/Rounding.h"
#include "runtime/core/Float16.h"

#include <bit>
#include <cmath>

using namespace mlir;

namespace mlc::reference {

template <typename T> static llvm::Error evaluateEmbedding(graph::EmbeddingOp op, Frame<T> &frame) {
  graph::WeightOp weight = graph::lookupWeight(op, op.getWeightAttr());
  llvm::Expected<ArrayRef<float>> table = frame.weights().floats(weight);
  if (!table)
    return table.takeError();
  const Integers &ids = frame.integers(op.getIds());
  int64_t columns = weight.getTensorType().getDimSize(1), vocabulary = weight.getTensorType().getDimSize(0);
  T scale = T(op.getScale().convertToFloat());
  Shape shape = {int64_t(ids.data.size()), columns};
  if (llvm::Error error = frame.admit(op, shape))
    return error;
  auto result = Floats<T>::filled(shape);
  for (auto [t, id] : llvm::enumerate(ids.data)) {
    if (id < 0 || id >= vocabulary)
      return failAt(op, "token " + Twine(id) + " lies outside the " + Twine(vocabulary) + " rows of " + op.getWeight());
    for (int64_t i = 0; i < columns; ++i)
      result.row(t)[i] = scale * T((*table)[id * columns + i]);
  }
  frame.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

float quantizeGroup(ArrayRef<float> values, int8_t *codes) {
  uint32_t largest = 0;
  for (float value : values)
    largest = std::max(largest, std::bit_cast<uint32_t>(value) & 0x7fffffff);
  float amax = std::bit_cast<float>(largest), inverse = 127.0f / amax;
  std::fill_n(codes, values.size(), int8_t(0));
  if (largest >= 0x7f800000)
    return std::numeric_limits<float>::quiet_NaN();
  if (!(inverse <= std::numeric_limits<float>::max()))
    return 0;
  for (auto [i, value] : llvm::enumerate(values))
    codes[i] = int8_t(std::nearbyint(value * inverse));
  return amax / 127.0f;
}

template <typename T> static QuantizedRows quantizeRows(const Floats<T> &input, int64_t group) {
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

template <typename T> static llvm::Error evaluateQuantizeRows(graph::QuantizeRowsOp op, Frame<T> &frame) {
  const Floats<T> &input = frame.floats(op.getInput());
  int64_t group = op.getResult().getType().getGroup();
  if (group < 1)
    return failAt(op, "needs a positive group");
  if (llvm::Error error = frame.admit(op, input.shape))
    return error;
  frame.set(op.getResult(), quantizeRows(input, group));
  return llvm::Error::success();
}

/// gate(a) * b of the halves of the columns.
template <typename T> static Floats<T> gateHalves(graph::Activation gate, const Floats<T> &product) {
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
static void multiply(const Floats<T> &input, ArrayRef<float> weight, int64_t outputs, int64_t offset,
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

/// y[:, offset + n] = fma(sum of a group's integer products, scale_x * scale_w, y) over the groups in order, from 0;
/// with offsets, fma(offset_w, -sum of the group's x * scale_x, y) after each.
template <typename T>
static void multiplyQuantized(const QuantizedRows &input, const QuantizedWeight &weight, int64_t offset,
                              Floats<T> &result) {
  for (int64_t t = 0; t < input.rows; ++t)
    for (int64_t n = 0; n < weight.rows; ++n) {
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
      result.row(t)[offset + n] = sum;
    }
}

template <typename T> static llvm::Error evaluateLinear(graph::LinearOp op, Frame<T> &frame) {
  bool quantizedInput = isa<graph::QuantizedType>(op.getInput().getType());
  Shape shape;
  if (quantizedInput)
    shape = {frame.quantized(op.getInput()).rows};
  else
    shape.assign(frame.shape(op.getInput()).begin(), std::prev(frame.shape(op.getInput()).end()));
  shape.push_back(graph::getColumns(op.getResult().getType()) * (op.getGate() ? 2 : 1));
  if (llvm::Error error = frame.admit(op, shape))
    return error;
  auto result = Floats<T>::filled(shape);
  Floats<T> rounded;
  if (op.getBf16()) {
    rounded = frame.floats(op.getInput());
    for (T &value : rounded.data)
      value = T(bf16ToF32(f32ToBf16(float(value))));
  }
  int64_t offset = 0;
  for (auto [i, name] : llvm::enumerate(op.getWeights())) {
    graph::WeightOp weight = graph::lookupWeight(op, cast<FlatSymbolRefAttr>(name));
    int64_t outputs = weight.getTensorType().getDimSize(0), columns = weight.getTensorType().getDimSize(1);
    if (quantizedInput) {
      llvm::Expected<const QuantizedWeight *> values = frame.weights().quantized(weight);
      if (!values)
        return values.takeError();
      multiplyQuantized(frame.quantized(op.getInput()), **values, offset, result);
    } else {
      if (frame.floats(op.getInput()).columns() != columns)
        return failAt(op, "the input does not have the weight's " + Twine(columns) + " columns");
      llvm::Expected<ArrayRef<float>> values = frame.weights().floats(weight);
      if (!values)
        return values.takeError();
      multiply(op.getBf16() ? rounded : frame.floats(op.getInput()), *values, outputs, offset, result);
    }
    if (op.getBiases()) {
      graph::WeightOp bias = graph::lookupWeight(op, cast<FlatSymbolRefAttr>((*op.getBiases())[i]));
      llvm::Expected<ArrayRef<float>> values = frame.weights().floats(bias);
      if (!values)
        return values.takeError();
      for (int64_t t = 0; t < result.rows(); ++t)
        for (int64_t n = 0; n < outputs; ++n)
          result.row(t)[offset + n] += T((*values)[n]);
    }
    offset += outputs;
  }
  if (op.getResidual()) {
    const Floats<T> &residual = frame.floats(op.getResidual());
    if (residual.shape != result.shape)
      return failAt(op, "the residual does not have the result's shape");
    for (auto [y, r] : llvm::zip_equal(result.data, residual.data))
      y += r;
  }
  if (op.getGate())
    result = gateHalves(*op.getGate(), result);
  if (auto quantized = dyn_cast<graph::QuantizedType>(op.getResult().getType())) {
    if (quantized.getGroup() < 1)
      return failAt(op, "needs a positive group");
    frame.set(op.getResult(), quantizeRows(result, quantized.getGroup()));
    return llvm::Error::success();
  }
  frame.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> void registerLinear(Evaluators<T> evaluators) {
  evaluators.template add<graph::EmbeddingOp, evaluateEmbedding<T>>();
  evaluators.template add<graph::QuantizeRowsOp, evaluateQuantizeRows<T>>();
  evaluators.template add<graph::LinearOp, evaluateLinear<T>>();
}
MLC_REFERENCE_FAMILY(registerLinear)

} // namespace mlc::reference
