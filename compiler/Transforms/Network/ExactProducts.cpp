//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Transforms/Network/ExactProducts.h"
#include "compiler/Transforms/Network/Structured.h"

#include "mlir/IR/Matchers.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace mlc::graph {

namespace {

/// Values from `low` to `high`.
struct IntegerRange {
  int64_t low, high;
  /// The largest absolute value; the bounds are far from the ends of i64.
  int64_t magnitude() const { return std::max(-low, high); }
};

/// Bounds of sums stay far from the ends of i64: whatever has more than this is not short.
constexpr int64_t kMostMagnitude = 1 << 20;
/// More ops between extensions and a product are no quantized model's.
constexpr unsigned kMostSteps = 64;

/// `steps`: values that may still be looked at.
std::optional<IntegerRange> rangeOf(Value value, unsigned &steps);

std::optional<IntegerRange> ofConstant(Attribute constant, bool isSigned = true) {
  auto number = [&](const APInt &each) { return isSigned ? each.getSExtValue() : int64_t(each.getZExtValue()); };
  if (auto scalar = dyn_cast<IntegerAttr>(constant))
    return IntegerRange{number(scalar.getValue()), number(scalar.getValue())};
  auto dense = dyn_cast<DenseIntElementsAttr>(constant);
  if (!dense || dense.empty())
    return std::nullopt;
  IntegerRange range{number(*dense.begin()), number(*dense.begin())};
  for (const APInt &each : dense.getValues<APInt>())
    range = {std::min(range.low, number(each)), std::max(range.high, number(each))};
  return range;
}

/// `narrow` in more bits.
std::optional<IntegerRange> extended(Value narrow, bool isSigned) {
  Attribute constant;
  if (matchPattern(narrow, m_Constant(&constant)))
    return ofConstant(constant, isSigned);
  unsigned bits = getElementTypeOrSelf(narrow).getIntOrFloatBitWidth();
  if (bits > 16)
    return std::nullopt;
  int64_t values = int64_t(1) << bits;
  return isSigned ? IntegerRange{-values / 2, values / 2 - 1} : IntegerRange{0, values - 1};
}

template <typename Op> std::optional<IntegerRange> combined(Op op, bool minus, unsigned &steps) {
  std::optional<IntegerRange> a = rangeOf(op.getLhs(), steps), b = rangeOf(op.getRhs(), steps);
  if (!a || !b)
    return std::nullopt;
  return minus ? IntegerRange{a->low - b->high, a->high - b->low} : IntegerRange{a->low + b->low, a->high + b->high};
}

std::optional<IntegerRange> ofResult(OpResult result, unsigned &steps) {
  return llvm::TypeSwitch<Operation *, std::optional<IntegerRange>>(result.getOwner())
      .Case([](arith::ExtSIOp op) { return extended(op.getIn(), true); })
      .Case([](arith::ExtUIOp op) { return extended(op.getIn(), false); })
      .Case([](arith::ConstantOp op) { return ofConstant(op.getValue()); })
      .Case([&](arith::AddIOp op) { return combined(op, false, steps); })
      .Case([&](arith::SubIOp op) { return combined(op, true, steps); })
      .Case<tensor::CollapseShapeOp, tensor::ExpandShapeOp>([&](auto op) { return rangeOf(op.getSrc(), steps); })
      .Case([&](tensor::ExtractSliceOp op) { return rangeOf(op.getSource(), steps); })
      .Case([&](linalg::GenericOp op) -> std::optional<IntegerRange> {
        if (op.getNumReductionLoops())
          return std::nullopt;
        return rangeOf(op.getBody()->getTerminator()->getOperand(result.getResultNumber()), steps);
      })
      .Default([](Operation *) { return std::nullopt; });
}

std::optional<IntegerRange> rangeOf(Value value, unsigned &steps) {
  if (!steps)
    return std::nullopt;
  --steps;
  std::optional<IntegerRange> found;
  if (auto result = dyn_cast<OpResult>(value)) {
    found = ofResult(result, steps);
  } else {
    auto argument = cast<BlockArgument>(value);
    auto op = dyn_cast<linalg::GenericOp>(argument.getOwner()->getParentOp());
    if (op && argument.getArgNumber() < unsigned(op.getNumDpsInputs()))
      found = rangeOf(op.getDpsInputs()[argument.getArgNumber()], steps);
  }
  return found && found->low >= -kMostMagnitude && found->high <= kMostMagnitude ? found : std::nullopt;
}

} // namespace

std::optional<ExactProduct> exactProduct(Value x, Value w) {
  constexpr int64_t kExact = 1 << 24, kFewTerms = 64;
  unsigned steps = kMostSteps, stepsOfW = kMostSteps;
  std::optional<IntegerRange> fromX = rangeOf(x, steps), fromW = rangeOf(w, stepsOfW);
  if (!fromX || !fromW)
    return std::nullopt;
  int64_t most = std::max<int64_t>(fromX->magnitude() * fromW->magnitude(), 1), terms = kExact / most;
  if (terms < kFewTerms)
    return std::nullopt;
  MLIRContext *context = x.getContext();
  Type weights = Float32Type::get(context);
  auto fits = [&](unsigned bits) { return llvm::isIntN(bits, fromW->low) && llvm::isIntN(bits, fromW->high); };
  if (followsFromWeights(w) && fits(16))
    weights = IntegerType::get(context, fits(8) ? 8 : 16);
  return ExactProduct{terms, weights};
}

} // namespace mlc::graph
