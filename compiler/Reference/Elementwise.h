//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Elementwise evaluation of generic ops. Operands have one shape, or are scalars: in the body of a structured op a
// value stands for its whole iteration space, while its constants stay scalars.
//
#pragma once

#include "compiler/Reference/Frame.h"

#include "mlir/IR/TypeUtilities.h"

namespace mlc::reference {

/// The shape that `operands` share, admitted.
template <typename T>
llvm::Expected<Shape> commonShape(mlir::Operation *op, mlir::ValueRange operands, Frame<T> &frame) {
  Shape shape;
  for (mlir::Value operand : operands) {
    const Shape &each = frame.shape(operand);
    if (!each.empty() && !shape.empty() && each != shape)
      return failAt(op, "its operands do not have one shape");
    if (shape.empty())
      shape = each;
  }
  if (llvm::Error error = frame.admit(op, shape))
    return error;
  return shape;
}

template <typename E> E elementAt(const Dense<E> &values, size_t i) {
  return values.shape.empty() ? values.data.front() : values.data[i];
}

/// result[i] = function(i), of the shape that all operands share.
template <typename E, typename T, typename F>
llvm::Error mapElements(mlir::Operation *op, Frame<T> &frame, F &&function) {
  llvm::Expected<Shape> shape = commonShape(op, op->getOperands(), frame);
  if (!shape)
    return shape.takeError();
  auto result = Dense<E>::filled(*shape);
  for (size_t i = 0; i < result.data.size(); ++i)
    result.data[i] = function(i);
  frame.set(op->getResult(0), std::move(result));
  return llvm::Error::success();
}

inline mlir::Type resultElement(mlir::Operation *op) { return mlir::getElementTypeOrSelf(op->getResult(0).getType()); }

} // namespace mlc::reference
