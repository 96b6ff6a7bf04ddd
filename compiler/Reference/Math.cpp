//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The math dialect's float functions, on scalars and tensors.
//
#include "compiler/Reference/Elementwise.h"
#include "compiler/Reference/Rounding.h"

#include <cmath>

using namespace mlir;

namespace mlc::reference {

template <typename T, T (*function)(T)> static llvm::Error unaryFloat(Operation *op, Frame<T> &frame) {
  const Floats<T> &input = frame.floats(op->getOperand(0));
  Type type = resultElement(op);
  return mapElements<T>(op, frame, [&](size_t i) { return roundTo(type, function(input.data[i])); });
}

template <typename T> static llvm::Error evaluatePowF(Operation *op, Frame<T> &frame) {
  const Floats<T> &base = frame.floats(op->getOperand(0)), &exponent = frame.floats(op->getOperand(1));
  Type type = resultElement(op);
  return mapElements<T>(
      op, frame, [&](size_t i) { return roundTo(type, T(std::pow(elementAt(base, i), elementAt(exponent, i)))); });
}

template <typename T> static llvm::Error evaluateFma(Operation *op, Frame<T> &frame) {
  const Floats<T> &a = frame.floats(op->getOperand(0)), &b = frame.floats(op->getOperand(1));
  const Floats<T> &c = frame.floats(op->getOperand(2));
  Type type = resultElement(op);
  return mapElements<T>(
      op, frame, [&](size_t i) { return roundTo(type, std::fma(elementAt(a, i), elementAt(b, i), elementAt(c, i))); });
}

template <typename T> static llvm::Error evaluateAtan2(Operation *op, Frame<T> &frame) {
  const Floats<T> &y = frame.floats(op->getOperand(0)), &x = frame.floats(op->getOperand(1));
  Type type = resultElement(op);
  return mapElements<T>(op, frame,
                        [&](size_t i) { return roundTo(type, T(std::atan2(elementAt(y, i), elementAt(x, i)))); });
}

template <typename T> static T reciprocalRoot(T x) { return T(1) / std::sqrt(x); }

template <typename T> void registerMath(Evaluators<T> evaluators) {
  evaluators.add("math.absf", unaryFloat<T, std::fabs>);
  evaluators.add("math.ceil", unaryFloat<T, std::ceil>);
  evaluators.add("math.cos", unaryFloat<T, std::cos>);
  evaluators.add("math.erf", unaryFloat<T, std::erf>);
  evaluators.add("math.exp", unaryFloat<T, std::exp>);
  evaluators.add("math.exp2", unaryFloat<T, std::exp2>);
  evaluators.add("math.expm1", unaryFloat<T, std::expm1>);
  evaluators.add("math.floor", unaryFloat<T, std::floor>);
  evaluators.add("math.log", unaryFloat<T, std::log>);
  evaluators.add("math.log1p", unaryFloat<T, std::log1p>);
  evaluators.add("math.log2", unaryFloat<T, std::log2>);
  evaluators.add("math.round", unaryFloat<T, std::round>);
  evaluators.add("math.roundeven", unaryFloat<T, std::nearbyint>);
  evaluators.add("math.rsqrt", unaryFloat<T, reciprocalRoot<T>>);
  evaluators.add("math.sin", unaryFloat<T, std::sin>);
  evaluators.add("math.sqrt", unaryFloat<T, std::sqrt>);
  evaluators.add("math.tanh", unaryFloat<T, std::tanh>);
  evaluators.add("math.trunc", unaryFloat<T, std::trunc>);
  evaluators.add("math.acos", unaryFloat<T, std::acos>);
  evaluators.add("math.acosh", unaryFloat<T, std::acosh>);
  evaluators.add("math.asin", unaryFloat<T, std::asin>);
  evaluators.add("math.asinh", unaryFloat<T, std::asinh>);
  evaluators.add("math.atan", unaryFloat<T, std::atan>);
  evaluators.add("math.atanh", unaryFloat<T, std::atanh>);
  evaluators.add("math.cosh", unaryFloat<T, std::cosh>);
  evaluators.add("math.sinh", unaryFloat<T, std::sinh>);
  evaluators.add("math.tan", unaryFloat<T, std::tan>);
  evaluators.add("math.powf", evaluatePowF<T>);
  evaluators.add("math.atan2", evaluateAtan2<T>);
  evaluators.add("math.fma", evaluateFma<T>);
}
MLC_REFERENCE_FAMILY(registerMath)

} // namespace mlc::reference
