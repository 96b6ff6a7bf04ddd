//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// rms_norm, add_rms_norm and gated_rms_norm.
//
#include "compiler/Reference/Activate.h"
#include "compiler/Reference/Frame.h"

#include <cmath>

using namespace mlir;

namespace mlc::reference {

/// y = x / sqrt(mean(x^2) + eps) * (weight + offset) over every group of the weight's width.
template <typename T, typename Op>
static llvm::Expected<Floats<T>> normed(Op op, const Floats<T> &input, Frame<T> &frame) {
  llvm::Expected<ArrayRef<float>> weight = frame.weights().floats(graph::lookupWeight(op, op.getWeightAttr()));
  if (!weight)
    return weight.takeError();
  int64_t width = weight->size();
  if (input.columns() % width)
    return failAt(op, "the weight's width does not divide the row");
  if (llvm::Error error = frame.admit(op, input.shape))
    return error;
  T eps = T(op.getEps().convertToFloat()), offset = T(op.getOffset().convertToFloat());
  Floats<T> result = input;
  for (int64_t begin = 0; begin < int64_t(input.data.size()); begin += width) {
    const T *x = input.data.data() + begin;
    T squares = 0;
    for (int64_t i = 0; i < width; ++i)
      squares += x[i] * x[i];
    T root = std::sqrt(squares / T(width) + eps);
    for (int64_t i = 0; i < width; ++i)
      result.data[begin + i] = x[i] / root * (T((*weight)[i]) + offset);
  }
  return result;
}

template <typename T> static llvm::Error evaluateRmsNorm(graph::RmsNormOp op, Frame<T> &frame) {
  llvm::Expected<Floats<T>> result = normed<T>(op, frame.floats(op.getInput()), frame);
  if (!result)
    return result.takeError();
  frame.set(op.getResult(), std::move(*result));
  return llvm::Error::success();
}

template <typename T> static llvm::Error evaluateAddRmsNorm(graph::AddRmsNormOp op, Frame<T> &frame) {
  const Floats<T> &residual = frame.floats(op.getResidual());
  Floats<T> sum = frame.floats(op.getInput());
  if (sum.shape != residual.shape)
    return failAt(op, "the residual does not have the input's shape");
  for (auto [x, r] : llvm::zip_equal(sum.data, residual.data))
    x += r;
  llvm::Expected<Floats<T>> result = normed<T>(op, sum, frame);
  if (!result)
    return result.takeError();
  frame.set(op.getSum(), std::move(sum));
  frame.set(op.getResult(), std::move(*result));
  return llvm::Error::success();
}

template <typename T> static llvm::Error evaluateGatedRmsNorm(graph::GatedRmsNormOp op, Frame<T> &frame) {
  const Floats<T> &gate = frame.floats(op.getGate());
  Floats<T> result = frame.floats(op.getInput());
  if (result.shape != gate.shape)
    return failAt(op, "the gate does not have the input's shape");
  llvm::Expected<ArrayRef<float>> weight = frame.weights().floats(graph::lookupWeight(op, op.getWeightAttr()));
  if (!weight)
    return weight.takeError();
  if (llvm::Error error = frame.admit(op, result.shape))
    return error;
  T eps = T(op.getEps().convertToFloat());
  int64_t group = op.getGroup(), columns = result.columns();
  for (int64_t begin = 0; begin < int64_t(result.data.size()); begin += group) {
    T *y = result.data.data() + begin;
    const T *g = gate.data.data() + begin;
    T squares = 0;
    for (int64_t i = 0; i < group; ++i) {
      if (!op.getNormBeforeGate())
        y[i] *= activate<T>(op.getFunction(), g[i]);
      squares += y[i] * y[i];
    }
    T root = std::sqrt(squares / T(group) + eps);
    for (int64_t i = 0; i < group; ++i) {
      y[i] = y[i] / root * T((*weight)[begin % columns + i]);
      if (op.getNormBeforeGate())
        y[i] *= activate<T>(op.getFunction(), g[i]);
    }
  }
  frame.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> void registerNorm(Evaluators<T> evaluators) {
  evaluators.template add<graph::RmsNormOp, evaluateRmsNorm<T>>();
  evaluators.template add<graph::AddRmsNormOp, evaluateAddRmsNorm<T>>();
  evaluators.template add<graph::GatedRmsNormOp, evaluateGatedRmsNorm<T>>();
}
MLC_REFERENCE_FAMILY(registerNorm)

} // namespace mlc::reference
