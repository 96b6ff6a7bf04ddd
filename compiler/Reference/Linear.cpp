//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Products and look-ups: linear, embedding, quantize_rows.
//
#include "compiler/Reference/Frame.h"
#include "compiler/Reference/Products.h"

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
  if (op.getBf16())
    rounded = roundedToBf16(frame.floats(op.getInput()));
  int64_t offset = 0;
  for (auto [i, name] : llvm::enumerate(op.getWeights())) {
    graph::WeightOp weight = graph::lookupWeight(op, cast<FlatSymbolRefAttr>(name));
    int64_t outputs = weight.getTensorType().getDimSize(0), columns = weight.getTensorType().getDimSize(1);
    if (quantizedInput) {
      llvm::Expected<const QuantizedWeight *> values = frame.weights().quantized(weight);
      if (!values)
        return values.takeError();
      multiplyQuantized(frame.quantized(op.getInput()), **values, 0, outputs, offset, result);
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
