//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Transforms/Network/ShiftedBytes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;

namespace mlc::graph {

Value repeated(Value value) {
  Operation *op = value.getDefiningOp();
  if (isa_and_nonnull<tensor::ExpandShapeOp, tensor::CollapseShapeOp>(op))
    return op->getOperand(0);
  auto generic = dyn_cast_or_null<linalg::GenericOp>(op);
  if (!generic || generic.getNumDpsInputs() != 1 || generic->getNumResults() != 1)
    return {};
  Block &body = generic.getRegion().front();
  return body.getTerminator()->getOperand(0) == body.getArgument(0) ? generic.getInputs()[0] : Value();
}

static std::optional<double> numberOf(Value value, unsigned depth) {
  // Deeper than a scale or zero point is written; products share operands, so that a chain of them doubles at each
  // step.
  constexpr unsigned kMostSteps = 12;
  DenseElementsAttr values;
  if (matchPattern(value, m_Constant(&values))) {
    if (!values.isSplat())
      return std::nullopt;
    if (isa<FloatType>(values.getElementType()))
      return values.getSplatValue<APFloat>().convertToDouble();
    return double(values.getSplatValue<APInt>().getSExtValue());
  }
  if (depth == kMostSteps)
    return std::nullopt;
  if (Value from = repeated(value))
    return numberOf(from, depth + 1);
  Operation *op = value.getDefiningOp();
  if (isa_and_nonnull<arith::ExtSIOp, arith::SIToFPOp>(op))
    return numberOf(op->getOperand(0), depth + 1);
  if (!isa_and_nonnull<arith::MulFOp, arith::DivFOp>(op) || !getElementTypeOrSelf(value).isF32())
    return std::nullopt;
  std::optional<double> a = numberOf(op->getOperand(0), depth + 1);
  std::optional<double> b = a ? numberOf(op->getOperand(1), depth + 1) : std::nullopt;
  if (!b)
    return std::nullopt;
  return isa<arith::MulFOp>(op) ? float(*a) * float(*b) : float(*a) / float(*b);
}

std::optional<double> numberOf(Value value) { return numberOf(value, 0); }

std::optional<ShiftedBytes> ShiftedBytes::of(Value shifted) {
  ShiftedBytes found{shifted, {}, {}, {}, false};
  if (auto difference = shifted.getDefiningOp<arith::SubIOp>()) {
    found.wide = difference.getLhs();
    found.zero = difference.getRhs();
  }
  DenseIntElementsAttr numbers;
  if (matchPattern(found.wide, m_Constant(&numbers))) {
    found.isUnsigned = llvm::any_of(numbers, [](const APInt &number) { return number.getSignificantBits() > 8; });
    if (found.isUnsigned && llvm::any_of(numbers, [](const APInt &number) { return number.getActiveBits() > 8; }))
      return std::nullopt;
    found.constant = numbers.mapValues(IntegerType::get(shifted.getContext(), 8),
                                       [](const APInt &number) { return number.trunc(8); });
    return found;
  }
  Operation *widened = found.wide.getDefiningOp();
  found.isUnsigned = isa_and_nonnull<arith::ExtUIOp>(widened);
  if (!isa_and_nonnull<arith::ExtSIOp, arith::ExtUIOp>(widened) ||
      !getElementTypeOrSelf(widened->getOperand(0)).isInteger(8))
    return std::nullopt;
  found.values = widened->getOperand(0);
  return found;
}

Value ShiftedBytes::get(Structured &s) const {
  return values ? values : s.b.create<arith::ConstantOp>(constant).getResult();
}

Value ShiftedBytes::centered(Structured &s) const {
  Value bytes = get(s);
  if (!isUnsigned)
    return bytes;
  auto type = cast<ShapedType>(bytes.getType());
  Value half = s.b.create<arith::ConstantOp>(DenseElementsAttr::get(type, s.b.getI8IntegerAttr(-128)));
  return s.b.create<arith::XOrIOp>(bytes, half);
}

} // namespace mlc::graph
