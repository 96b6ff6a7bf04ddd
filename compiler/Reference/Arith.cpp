//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The arith dialect, on scalars and tensors.
//
#include "compiler/Reference/Elementwise.h"
#include "compiler/Reference/Rounding.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

#include <cmath>

using namespace mlir;

namespace mlc::reference {

//===--- Floats ---===//

template <typename T, T (*function)(T, T)> static llvm::Error binaryFloat(Operation *op, Frame<T> &frame) {
  const Floats<T> &a = frame.floats(op->getOperand(0)), &b = frame.floats(op->getOperand(1));
  Type type = resultElement(op);
  return mapElements<T>(op, frame, [&](size_t i) { return roundTo(type, function(elementAt(a, i), elementAt(b, i))); });
}

template <typename T> static T addFloats(T a, T b) { return a + b; }
template <typename T> static T subtractFloats(T a, T b) { return a - b; }
template <typename T> static T multiplyFloats(T a, T b) { return a * b; }
template <typename T> static T divideFloats(T a, T b) { return a / b; }
/// maximumf and minimumf hand NaN on; maxnumf and minnumf prefer the number.
template <typename T> static T maximumFloat(T a, T b) {
  return std::isnan(a) || std::isnan(b) ? a + b : (a > b || (a == b && !std::signbit(a)) ? a : b);
}
template <typename T> static T minimumFloat(T a, T b) {
  return std::isnan(a) || std::isnan(b) ? a + b : (a < b || (a == b && std::signbit(a)) ? a : b);
}

template <typename T> static llvm::Error evaluateNegF(arith::NegFOp op, Frame<T> &frame) {
  const Floats<T> &input = frame.floats(op.getOperand());
  return mapElements<T>(op, frame, [&](size_t i) { return -input.data[i]; });
}

/// `value` as `type` holds it: f32, too, where it is computed in more (the network has f64 elsewhere).
template <typename T> static T convertTo(Type type, T value) {
  return type.isF32() ? T(float(value)) : roundTo(type, value);
}

/// extf and truncf: the value as the result type holds it.
template <typename T> static llvm::Error convertFloat(Operation *op, Frame<T> &frame) {
  const Floats<T> &input = frame.floats(op->getOperand(0));
  Type type = resultElement(op);
  return mapElements<T>(op, frame, [&](size_t i) { return convertTo(type, input.data[i]); });
}

static bool compareFloats(arith::CmpFPredicate predicate, double a, double b) {
  using P = arith::CmpFPredicate;
  bool unordered = std::isnan(a) || std::isnan(b);
  switch (predicate) {
  case P::AlwaysFalse:
    return false;
  case P::AlwaysTrue:
    return true;
  case P::ORD:
    return !unordered;
  case P::UNO:
    return unordered;
  case P::OEQ:
    return a == b;
  case P::UEQ:
    return unordered || a == b;
  case P::ONE:
    return !unordered && a != b;
  case P::UNE:
    return a != b;
  case P::OLT:
    return a < b;
  case P::ULT:
    return unordered || a < b;
  case P::OLE:
    return a <= b;
  case P::ULE:
    return unordered || a <= b;
  case P::OGT:
    return a > b;
  case P::UGT:
    return unordered || a > b;
  case P::OGE:
    return a >= b;
  case P::UGE:
    return unordered || a >= b;
  }
  llvm_unreachable("covered switch");
}
template <typename T> static llvm::Error evaluateCmpF(arith::CmpFOp op, Frame<T> &frame) {
  const Floats<T> &a = frame.floats(op.getLhs()), &b = frame.floats(op.getRhs());
  return mapElements<int64_t>(
      op, frame, [&](size_t i) { return int64_t(compareFloats(op.getPredicate(), elementAt(a, i), elementAt(b, i))); });
}

//===--- Integers ---===//

static unsigned bitsOf(Type type) { return type.isIndex() ? 64 : type.getIntOrFloatBitWidth(); }

/// `value` as `type` holds it: sign-extended, i1 as 0 or 1.
static int64_t wrap(Type type, int64_t value) {
  unsigned bits = bitsOf(type);
  if (bits <= 1)
    return value & int64_t(bits);
  return bits >= 64 ? value : llvm::SignExtend64(uint64_t(value), bits);
}
static uint64_t asUnsigned(Type type, int64_t value) {
  unsigned bits = bitsOf(type);
  return bits >= 64 ? uint64_t(value) : uint64_t(value) & ((uint64_t(1) << bits) - 1);
}

/// nullopt: the result is not defined.
using IntegerFunction = std::optional<int64_t> (*)(Type type, int64_t a, int64_t b);

template <typename T, IntegerFunction function> static llvm::Error binaryInteger(Operation *op, Frame<T> &frame) {
  const Integers &a = frame.integers(op->getOperand(0)), &b = frame.integers(op->getOperand(1));
  Type type = resultElement(op);
  if (bitsOf(type) > 64)
    return failAt(op, "integers wider than 64 bits have no evaluation");
  bool undefined = false;
  llvm::Error error = mapElements<int64_t>(op, frame, [&](size_t i) {
    std::optional<int64_t> result = function(type, elementAt(a, i), elementAt(b, i));
    undefined |= !result;
    return wrap(type, result.value_or(0));
  });
  if (error)
    return error;
  return undefined ? failAt(op, "division by zero, or a shift beyond the width") : llvm::Error::success();
}

static std::optional<int64_t> addIntegers(Type, int64_t a, int64_t b) { return int64_t(uint64_t(a) + uint64_t(b)); }
static std::optional<int64_t> subtractIntegers(Type, int64_t a, int64_t b) {
  return int64_t(uint64_t(a) - uint64_t(b));
}
static std::optional<int64_t> multiplyIntegers(Type, int64_t a, int64_t b) {
  return int64_t(uint64_t(a) * uint64_t(b));
}
static std::optional<int64_t> divideSigned(Type, int64_t a, int64_t b) {
  if (b == 0)
    return std::nullopt;
  return b == -1 ? int64_t(-uint64_t(a)) : a / b;
}
static std::optional<int64_t> floorDivide(Type, int64_t a, int64_t b) {
  if (b == 0)
    return std::nullopt;
  return b == -1 ? int64_t(-uint64_t(a)) : a / b - (a % b != 0 && (a < 0) != (b < 0));
}
static std::optional<int64_t> ceilDivide(Type, int64_t a, int64_t b) {
  if (b == 0)
    return std::nullopt;
  return b == -1 ? int64_t(-uint64_t(a)) : a / b + (a % b != 0 && (a < 0) == (b < 0));
}
static std::optional<int64_t> remainderSigned(Type, int64_t a, int64_t b) {
  if (b == 0)
    return std::nullopt;
  return b == -1 ? 0 : a % b;
}
static std::optional<int64_t> divideUnsigned(Type type, int64_t a, int64_t b) {
  if (b == 0)
    return std::nullopt;
  return int64_t(asUnsigned(type, a) / asUnsigned(type, b));
}
static std::optional<int64_t> remainderUnsigned(Type type, int64_t a, int64_t b) {
  if (b == 0)
    return std::nullopt;
  return int64_t(asUnsigned(type, a) % asUnsigned(type, b));
}
static std::optional<int64_t> andIntegers(Type, int64_t a, int64_t b) { return a & b; }
static std::optional<int64_t> orIntegers(Type, int64_t a, int64_t b) { return a | b; }
static std::optional<int64_t> xorIntegers(Type, int64_t a, int64_t b) { return a ^ b; }
static std::optional<int64_t> shiftLeft(Type type, int64_t a, int64_t b) {
  if (b < 0 || b >= int64_t(bitsOf(type)))
    return std::nullopt;
  return int64_t(uint64_t(a) << b);
}
static std::optional<int64_t> shiftRightSigned(Type type, int64_t a, int64_t b) {
  if (b < 0 || b >= int64_t(bitsOf(type)))
    return std::nullopt;
  return a >> b;
}
static std::optional<int64_t> shiftRightUnsigned(Type type, int64_t a, int64_t b) {
  if (b < 0 || b >= int64_t(bitsOf(type)))
    return std::nullopt;
  return int64_t(asUnsigned(type, a) >> b);
}
static std::optional<int64_t> maximumSigned(Type, int64_t a, int64_t b) { return std::max(a, b); }
static std::optional<int64_t> minimumSigned(Type, int64_t a, int64_t b) { return std::min(a, b); }

static std::optional<int64_t> maximumUnsigned(Type type, int64_t a, int64_t b) {
  return asUnsigned(type, a) < asUnsigned(type, b) ? b : a;
}
static std::optional<int64_t> minimumUnsigned(Type type, int64_t a, int64_t b) {
  return asUnsigned(type, a) < asUnsigned(type, b) ? a : b;
}

static bool compareIntegers(arith::CmpIPredicate predicate, Type type, int64_t a, int64_t b) {
  using P = arith::CmpIPredicate;
  uint64_t ua = asUnsigned(type, a), ub = asUnsigned(type, b);
  switch (predicate) {
  case P::eq:
    return a == b;
  case P::ne:
    return a != b;
  case P::slt:
    return a < b;
  case P::sle:
    return a <= b;
  case P::sgt:
    return a > b;
  case P::sge:
    return a >= b;
  case P::ult:
    return ua < ub;
  case P::ule:
    return ua <= ub;
  case P::ugt:
    return ua > ub;
  case P::uge:
    return ua >= ub;
  }
  llvm_unreachable("covered switch");
}
template <typename T> static llvm::Error evaluateCmpI(arith::CmpIOp op, Frame<T> &frame) {
  const Integers &a = frame.integers(op.getLhs()), &b = frame.integers(op.getRhs());
  Type type = getElementTypeOrSelf(op.getLhs().getType());
  return mapElements<int64_t>(op, frame, [&](size_t i) {
    return int64_t(compareIntegers(op.getPredicate(), type, elementAt(a, i), elementAt(b, i)));
  });
}

/// index_cast, extsi, trunci: the value as the result type holds it. An i1 is negative where it is signed.
template <typename T> static llvm::Error convertSigned(Operation *op, Frame<T> &frame) {
  const Integers &input = frame.integers(op->getOperand(0));
  Type type = resultElement(op), from = getElementTypeOrSelf(op->getOperand(0).getType());
  return mapElements<int64_t>(op, frame,
                              [&](size_t i) { return wrap(type, bitsOf(from) == 1 ? -input.data[i] : input.data[i]); });
}
template <typename T> static llvm::Error convertUnsigned(Operation *op, Frame<T> &frame) {
  const Integers &input = frame.integers(op->getOperand(0));
  Type type = resultElement(op), from = getElementTypeOrSelf(op->getOperand(0).getType());
  return mapElements<int64_t>(op, frame, [&](size_t i) { return wrap(type, asUnsigned(from, input.data[i])); });
}
template <typename T> static llvm::Error evaluateSIToFP(arith::SIToFPOp op, Frame<T> &frame) {
  const Integers &input = frame.integers(op.getIn());
  Type type = resultElement(op), from = getElementTypeOrSelf(op.getIn().getType());
  return mapElements<T>(
      op, frame, [&](size_t i) { return convertTo(type, T(bitsOf(from) == 1 ? -input.data[i] : input.data[i])); });
}
template <typename T> static llvm::Error evaluateUIToFP(arith::UIToFPOp op, Frame<T> &frame) {
  const Integers &input = frame.integers(op.getIn());
  Type type = resultElement(op), from = getElementTypeOrSelf(op.getIn().getType());
  return mapElements<T>(op, frame, [&](size_t i) { return convertTo(type, T(asUnsigned(from, input.data[i]))); });
}
template <typename T> static llvm::Error evaluateFPToSI(arith::FPToSIOp op, Frame<T> &frame) {
  const Floats<T> &input = frame.floats(op.getIn());
  Type type = resultElement(op);
  for (T x : input.data)
    if (!(std::abs(x) < T(0x1p62)) || wrap(type, int64_t(x)) != int64_t(x))
      return failAt(op, "a value does not fit the result type");
  return mapElements<int64_t>(op, frame, [&](size_t i) { return int64_t(input.data[i]); });
}

template <typename T> static llvm::Error evaluateFPToUI(arith::FPToUIOp op, Frame<T> &frame) {
  const Floats<T> &input = frame.floats(op.getIn());
  Type type = resultElement(op);
  for (T x : input.data)
    if (!(x > T(-1) && x < T(0x1p64)) || asUnsigned(type, int64_t(uint64_t(x))) != uint64_t(x))
      return failAt(op, "a value does not fit the result type");
  return mapElements<int64_t>(op, frame, [&](size_t i) { return wrap(type, int64_t(uint64_t(input.data[i]))); });
}

template <typename T> static T toFloat(APFloat value) {
  bool inexact;
  value.convert(APFloat::IEEEdouble(), APFloat::rmNearestTiesToEven, &inexact);
  return T(value.convertToDouble());
}

/// The bits of a value as `type` has them, and back.
static int64_t bitsOfFloat(Type type, double value) {
  APFloat exact(value);
  bool inexact;
  exact.convert(cast<FloatType>(type).getFloatSemantics(), APFloat::rmNearestTiesToEven, &inexact);
  return exact.bitcastToAPInt().getSExtValue();
}
template <typename T> static T floatOfBits(Type type, int64_t bits) {
  unsigned width = type.getIntOrFloatBitWidth();
  APFloat value(cast<FloatType>(type).getFloatSemantics(), APInt(64, uint64_t(bits)).trunc(width));
  return toFloat<T>(value);
}

template <typename T> static llvm::Error evaluateBitcast(arith::BitcastOp op, Frame<T> &frame) {
  Type from = getElementTypeOrSelf(op.getIn().getType()), to = resultElement(op);
  if (from.isF64() != to.isF64() && !std::is_same_v<T, double>)
    return failAt(op, "the bits of an f64 are not kept where all is computed in f32; use --f64");
  auto bits = [&](size_t i) {
    return isa<FloatType>(from) ? bitsOfFloat(from, frame.floats(op.getIn()).data[i])
                                : frame.integers(op.getIn()).data[i];
  };
  if (isa<FloatType>(to))
    return mapElements<T>(op, frame, [&](size_t i) { return floatOfBits<T>(to, bits(i)); });
  return mapElements<int64_t>(op, frame, [&](size_t i) { return wrap(to, bits(i)); });
}

//===--- Constants and select ---===//

template <typename T> static llvm::Error evaluateConstant(arith::ConstantOp op, Frame<T> &frame) {
  if (auto value = dyn_cast<FloatAttr>(op.getValue())) {
    frame.set(op.getResult(), Floats<T>::scalar(toFloat<T>(value.getValue())));
    return llvm::Error::success();
  }
  if (auto value = dyn_cast<IntegerAttr>(op.getValue())) {
    if (bitsOf(value.getType()) > 64)
      return failAt(op, "integers wider than 64 bits have no evaluation");
    frame.set(op.getResult(), Integers::scalar(wrap(value.getType(), value.getValue().getSExtValue())));
    return llvm::Error::success();
  }
  auto elements = dyn_cast<DenseElementsAttr>(op.getValue());
  if (!elements)
    return failAt(op, "a constant of this kind has no evaluation");
  ArrayRef<int64_t> shape = elements.getType().getShape();
  Type type = elements.getElementType();
  if (llvm::Error error = frame.admit(op, shape))
    return error;
  if (isa<FloatType>(type)) {
    auto result = Floats<T>::filled(shape);
    for (auto [x, value] : llvm::zip(result.data, elements.getValues<APFloat>()))
      x = toFloat<T>(value);
    frame.set(op.getResult(), std::move(result));
    return llvm::Error::success();
  }
  if (!type.isIntOrIndex() || bitsOf(type) > 64)
    return failAt(op, "a constant of this element type has no evaluation");
  auto result = Integers::filled(shape);
  for (auto [x, value] : llvm::zip(result.data, elements.getValues<APInt>()))
    x = wrap(type, value.getSExtValue());
  frame.set(op.getResult(), std::move(result));
  return llvm::Error::success();
}

template <typename T> static llvm::Error evaluateSelect(arith::SelectOp op, Frame<T> &frame) {
  const Integers &condition = frame.integers(op.getCondition());
  // Values of any type may be chosen whole by a scalar.
  if (condition.shape.empty()) {
    frame.set(op.getResult(), frame.ref(condition.data.front() ? op.getTrueValue() : op.getFalseValue()));
    return llvm::Error::success();
  }
  auto choose = [&](const auto &a, const auto &b) {
    using E = std::decay_t<decltype(a.data.front())>;
    return mapElements<E>(op, frame, [&](size_t i) { return condition.data[i] ? elementAt(a, i) : elementAt(b, i); });
  };
  if (frame.isFloat(op.getTrueValue()))
    return choose(frame.floats(op.getTrueValue()), frame.floats(op.getFalseValue()));
  return choose(frame.integers(op.getTrueValue()), frame.integers(op.getFalseValue()));
}

template <typename T> void registerArith(Evaluators<T> evaluators) {
  evaluators.add("arith.addf", binaryFloat<T, addFloats<T>>);
  evaluators.add("arith.subf", binaryFloat<T, subtractFloats<T>>);
  evaluators.add("arith.mulf", binaryFloat<T, multiplyFloats<T>>);
  evaluators.add("arith.divf", binaryFloat<T, divideFloats<T>>);
  evaluators.add("arith.maximumf", binaryFloat<T, maximumFloat<T>>);
  evaluators.add("arith.minimumf", binaryFloat<T, minimumFloat<T>>);
  evaluators.add("arith.maxnumf", binaryFloat<T, std::fmax>);
  evaluators.add("arith.minnumf", binaryFloat<T, std::fmin>);
  evaluators.add("arith.remf", binaryFloat<T, std::fmod>);
  evaluators.add("arith.extf", convertFloat<T>);
  evaluators.add("arith.truncf", convertFloat<T>);
  evaluators.template add<arith::NegFOp, evaluateNegF<T>>();
  evaluators.template add<arith::CmpFOp, evaluateCmpF<T>>();

  evaluators.add("arith.addi", binaryInteger<T, addIntegers>);
  evaluators.add("arith.subi", binaryInteger<T, subtractIntegers>);
  evaluators.add("arith.muli", binaryInteger<T, multiplyIntegers>);
  evaluators.add("arith.divsi", binaryInteger<T, divideSigned>);
  evaluators.add("arith.floordivsi", binaryInteger<T, floorDivide>);
  evaluators.add("arith.ceildivsi", binaryInteger<T, ceilDivide>);
  evaluators.add("arith.remsi", binaryInteger<T, remainderSigned>);
  evaluators.add("arith.divui", binaryInteger<T, divideUnsigned>);
  evaluators.add("arith.remui", binaryInteger<T, remainderUnsigned>);
  evaluators.add("arith.andi", binaryInteger<T, andIntegers>);
  evaluators.add("arith.ori", binaryInteger<T, orIntegers>);
  evaluators.add("arith.xori", binaryInteger<T, xorIntegers>);
  evaluators.add("arith.shli", binaryInteger<T, shiftLeft>);
  evaluators.add("arith.shrsi", binaryInteger<T, shiftRightSigned>);
  evaluators.add("arith.shrui", binaryInteger<T, shiftRightUnsigned>);
  evaluators.add("arith.maxsi", binaryInteger<T, maximumSigned>);
  evaluators.add("arith.minsi", binaryInteger<T, minimumSigned>);
  evaluators.add("arith.maxui", binaryInteger<T, maximumUnsigned>);
  evaluators.add("arith.minui", binaryInteger<T, minimumUnsigned>);
  evaluators.template add<arith::CmpIOp, evaluateCmpI<T>>();

  evaluators.add("arith.index_cast", convertSigned<T>);
  evaluators.add("arith.extsi", convertSigned<T>);
  evaluators.add("arith.trunci", convertSigned<T>);
  evaluators.add("arith.index_castui", convertUnsigned<T>);
  evaluators.add("arith.extui", convertUnsigned<T>);
  evaluators.template add<arith::SIToFPOp, evaluateSIToFP<T>>();
  evaluators.template add<arith::UIToFPOp, evaluateUIToFP<T>>();
  evaluators.template add<arith::FPToSIOp, evaluateFPToSI<T>>();
  evaluators.template add<arith::FPToUIOp, evaluateFPToUI<T>>();
  evaluators.template add<arith::BitcastOp, evaluateBitcast<T>>();
  evaluators.template add<arith::ConstantOp, evaluateConstant<T>>();
  evaluators.template add<arith::SelectOp, evaluateSelect<T>>();
}
MLC_REFERENCE_FAMILY(registerArith)

} // namespace mlc::reference
