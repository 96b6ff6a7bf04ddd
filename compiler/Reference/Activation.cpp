//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// activation, gated_activation, softcap and scale; gather_rows and split, which only move values.
//
#include "compiler/Reference/Activate.h"
#include "compiler/Reference/Frame.h"

#include <cmath>

using namespace mlir;

namespace mlc::reference {

template <typename T> static llvm::Error evaluateActivation(graph::ActivationOp op, Frame<T> &frame) {
  Floats<T> result = frame.floats(op.getInput());
  if (llvm::Error error = frame.admit(op, result.shape))
    return error;
  for (T &x : result.data)
    x = activate(op.getFunction(), x);
  frame.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> static llvm::Error evaluateGatedActivation(graph::GatedActivationOp op, Frame<T> &frame) {
  Floats<T> result = frame.floats(op.getGate());
  const Floats<T> &up = frame.floats(op.getUp());
  if (result.shape != up.shape)
    return failAt(op, "gate and up do not have the same shape");
  if (llvm::Error error = frame.admit(op, result.shape))
    return error;
  for (auto [x, factor] : llvm::zip_equal(result.data, up.data))
    x = activate(op.getFunction(), x) * factor;
  frame.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> static llvm::Error evaluateSoftcap(graph::SoftcapOp op, Frame<T> &frame) {
  Floats<T> result = frame.floats(op.getInput());
  if (llvm::Error error = frame.admit(op, result.shape))
    return error;
  T cap = T(op.getCap().convertToFloat());
  for (T &x : result.data)
    x = cap * std::tanh(x / cap);
  frame.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> static llvm::Error evaluateScale(graph::ScaleOp op, Frame<T> &frame) {
  Floats<T> result = frame.floats(op.getInput());
  if (llvm::Error error = frame.admit(op, result.shape))
    return error;
  for (T &x : result.data)
    x *= T(op.getFactor().convertToFloat());
  frame.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> static llvm::Error evaluateScaleColumns(graph::ScaleColumnsOp op, Frame<T> &frame) {
  Floats<T> result = frame.floats(op.getInput());
  if (llvm::Error error = frame.admit(op, result.shape))
    return error;
  for (int64_t row = 0; row < result.rows(); ++row) {
    T *x = result.row(row);
    for (auto [factor, count] : llvm::zip_equal(op.getFactors(), op.getColumns()))
      for (int64_t i = 0; i < count; ++i)
        *x++ *= T(factor);
  }
  frame.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> static llvm::Error evaluateGatherRows(graph::GatherRowsOp op, Frame<T> &frame) {
  const Floats<T> &input = frame.floats(op.getInput());
  const Integers &rows = frame.integers(op.getRows());
  Shape shape = {int64_t(rows.data.size()), input.columns()};
  if (llvm::Error error = frame.admit(op, shape))
    return error;
  auto result = Floats<T>::filled(shape);
  for (auto [i, row] : llvm::enumerate(rows.data)) {
    if (row < 0 || row >= input.rows())
      return failAt(op, "row " + Twine(row) + " lies outside the input's " + Twine(input.rows()));
    std::copy_n(input.row(row), input.columns(), result.row(i));
  }
  frame.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> static llvm::Error evaluateSplit(graph::SplitOp op, Frame<T> &frame) {
  const Floats<T> &input = frame.floats(op.getInput());
  if (llvm::Error error = frame.admit(op, input.shape))
    return error;
  int64_t begin = 0;
  for (Value piece : op.getResults()) {
    Shape shape = input.shape;
    shape.back() = graph::getColumns(piece.getType());
    if (shape.back() < 0 || begin + shape.back() > input.columns())
      return failAt(op, "the pieces are wider than the input");
    auto result = Floats<T>::filled(shape);
    for (int64_t t = 0; t < input.rows(); ++t)
      std::copy_n(input.row(t) + begin, shape.back(), result.row(t));
    begin += shape.back();
    frame.set(piece, std::move(result));
  }
  return llvm::Error::success();
}

template <typename T> void registerActivation(Evaluators<T> evaluators) {
  evaluators.template add<graph::ActivationOp, evaluateActivation<T>>();
  evaluators.template add<graph::GatedActivationOp, evaluateGatedActivation<T>>();
  evaluators.template add<graph::SoftcapOp, evaluateSoftcap<T>>();
  evaluators.template add<graph::ScaleOp, evaluateScale<T>>();
  evaluators.template add<graph::ScaleColumnsOp, evaluateScaleColumns<T>>();
  evaluators.template add<graph::GatherRowsOp, evaluateGatherRows<T>>();
  evaluators.template add<graph::SplitOp, evaluateSplit<T>>();
}
MLC_REFERENCE_FAMILY(registerActivation)

} // namespace mlc::reference
