//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Conversion/GraphToExec/NetworkExtents.h"

#include "compiler/Dialect/Graph/IR/Graph.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlc;
using exec::ExtentRule;

/// No extent of an artifact is as large, nor a product of two that are compared with one.
static constexpr int64_t kMostValue = int64_t(1) << 40;

LogicalResult NetworkExtents::fail(const Twine &what) {
  if (!user)
    return failure();
  return user->emitOpError("has a buffer whose extent ") << what << "; fix the dimension with --dim NAME=VALUE";
}

Attribute NetworkExtents::number(int64_t value) {
  Attribute attribute = builder.getI64IntegerAttr(value);
  ranges[attribute] = {value, value};
  return attribute;
}

LogicalResult NetworkExtents::addArguments() {
  llvm::MapVector<Attribute, SmallVector<std::pair<BlockArgument, int64_t>>> axes;
  for (BlockArgument argument : function.getArguments()) {
    auto type = cast<MemRefType>(argument.getType());
    auto names = function.getArgAttrOfType<ArrayAttr>(argument.getArgNumber(), graph::kDimsAttr);
    for (int64_t axis = 0; axis < type.getRank(); ++axis)
      if (type.isDynamicDim(axis)) {
        if (!names || cast<StringAttr>(names[axis]).empty())
          return function.emitError("an input's axis follows no extent");
        axes[names[axis]].push_back({argument, axis});
      }
  }
  for (auto &[name, places] : axes) {
    auto extent = SymbolTable::lookupNearestSymbolFrom<graph::ExtentOp>(function, cast<StringAttr>(name));
    if (!extent || !extent.getBound())
      return function.emitError("an input's axis has no bound");
    unsigned index = function.getNumArguments();
    function.insertArgument(index, builder.getIndexType(), {}, function.getLoc());
    Value argument = function.getArgument(index);
    given.push_back(name);
    known[argument] = name;
    ranges[name] = {1, int64_t(*extent.getBound())};
    for (auto place : places)
      argumentAxes[place] = argument;
  }
  SmallVector<memref::DimOp> gone;
  function.walk([&](memref::DimOp op) {
    std::optional<int64_t> axis = op.getConstantIndex();
    if (!axis)
      return;
    if (Value argument = argumentAxes.lookup({op.getSource(), *axis})) {
      op.replaceAllUsesWith(argument);
      gone.push_back(op);
    }
  });
  for (memref::DimOp op : gone)
    op.erase();
  return success();
}

SmallVector<Value> NetworkExtents::sizesOf(Value buffer) const {
  if (auto alloc = buffer.getDefiningOp<memref::AllocOp>())
    return llvm::to_vector(alloc.getDynamicSizes());
  SmallVector<Value> sizes;
  auto type = cast<MemRefType>(buffer.getType());
  for (int64_t axis = 0; axis < type.getRank(); ++axis)
    if (type.isDynamicDim(axis))
      sizes.push_back(argumentAxes.lookup({buffer, axis}));
  return sizes;
}

Value NetworkExtents::sizeOf(OpBuilder &at, Value buffer, int64_t axis) const {
  if (Value argument = argumentAxes.lookup({buffer, axis}))
    return argument;
  return at.create<memref::DimOp>(buffer.getLoc(), buffer, axis);
}

FailureOr<SmallVector<Attribute>> NetworkExtents::dimsOf(Value buffer) {
  user = buffer.getDefiningOp() ? buffer.getDefiningOp() : function.getOperation();
  SmallVector<Attribute> dims;
  for (int64_t axis = 0; axis < cast<MemRefType>(buffer.getType()).getRank(); ++axis) {
    FailureOr<Attribute> dim = axisOf(buffer, axis);
    if (failed(dim))
      return failure();
    // A run in which it were negative is refused.
    if (exec::ExtentOp extent = declared.lookup(*dim); extent && int64_t(extent.getLeast()) < 0)
      extent.setLeast(0);
    if (boundOf(*dim) < 0)
      return fail("is negative");
    dims.push_back(*dim);
  }
  return dims;
}

Attribute NetworkExtents::knownAxis(Value buffer, int64_t axis) {
  user = nullptr;
  FailureOr<Attribute> dim = axisOf(buffer, axis);
  // What may be negative is no dimension before it is one of a buffer.
  if (failed(dim) || ranges.lookup(*dim).most < 0)
    return {};
  exec::ExtentOp extent = declared.lookup(*dim);
  return extent && int64_t(extent.getLeast()) < 0 ? Attribute() : *dim;
}

FailureOr<int64_t> NetworkExtents::mostElements(Value buffer) {
  FailureOr<SmallVector<Attribute>> dims = dimsOf(buffer);
  if (failed(dims))
    return failure();
  int64_t count = 1;
  for (Attribute dim : *dims)
    if (llvm::MulOverflow(count, boundOf(dim), count) || count > kMostValue)
      return LogicalResult(fail("is absurdly large"));
  return count;
}

FailureOr<Attribute> NetworkExtents::axisOf(Value buffer, int64_t axis) {
  auto type = cast<MemRefType>(buffer.getType());
  if (!type.isDynamicDim(axis))
    return number(type.getDimSize(axis));
  auto ofSize = [&](OpFoldResult size) -> FailureOr<Attribute> {
    if (std::optional<int64_t> fixed = getConstantIntValue(size))
      return number(*fixed);
    return dimOf(cast<Value>(size));
  };
  if (Value argument = argumentAxes.lookup({buffer, axis}))
    return known.lookup(argument);
  Operation *definer = buffer.getDefiningOp();
  if (auto alloc = dyn_cast_or_null<memref::AllocOp>(definer))
    return dimOf(alloc.getDynamicSizes()[type.getDynamicDimIndex(axis)]);
  if (auto cast = dyn_cast_or_null<memref::CastOp>(definer))
    return axisOf(cast.getSource(), axis);
  if (auto expand = dyn_cast_or_null<memref::ExpandShapeOp>(definer))
    return ofSize(getMixedValues(expand.getStaticOutputShape(), expand.getOutputShape(), builder)[axis]);
  if (auto view = dyn_cast_or_null<memref::SubViewOp>(definer)) {
    SmallVector<OpFoldResult> kept;
    llvm::SmallBitVector dropped = view.getDroppedDims();
    for (auto [each, size] : llvm::enumerate(view.getMixedSizes()))
      if (!dropped.test(each))
        kept.push_back(size);
    return ofSize(kept[axis]);
  }
  if (auto collapse = dyn_cast_or_null<memref::CollapseShapeOp>(definer)) {
    FailureOr<Attribute> product = number(1);
    for (int64_t each : collapse.getReassociationIndices()[axis])
      product = combine(ExtentRule::multiply, product, axisOf(collapse.getSrc(), each));
    return product;
  }
  return LogicalResult(fail("is known at run time only"));
}

FailureOr<Attribute> NetworkExtents::dimOf(Value index) {
  if (std::optional<int64_t> fixed = getConstantIntValue(index))
    return number(*fixed);
  if (Attribute found = known.lookup(index))
    return found;
  Operation *op = index.getDefiningOp();
  auto binary = [&](ExtentRule rule) { return combine(rule, dimOf(op->getOperand(0)), dimOf(op->getOperand(1))); };
  FailureOr<Attribute> result = failure();
  if (isa_and_nonnull<arith::AddIOp>(op)) {
    result = binary(ExtentRule::add);
  } else if (isa_and_nonnull<arith::SubIOp>(op)) {
    result = combine(ExtentRule::add, dimOf(op->getOperand(0)),
                     combine(ExtentRule::multiply, dimOf(op->getOperand(1)), number(-1)));
  } else if (isa_and_nonnull<arith::MulIOp>(op)) {
    result = binary(ExtentRule::multiply);
  } else if (isa_and_nonnull<arith::FloorDivSIOp>(op)) {
    result = binary(ExtentRule::floor_divide);
  } else if (isa_and_nonnull<arith::CeilDivSIOp>(op)) {
    result = binary(ExtentRule::ceil_divide);
  } else if (isa_and_nonnull<arith::MinSIOp>(op)) {
    result = binary(ExtentRule::minimum);
  } else if (isa_and_nonnull<arith::MaxSIOp>(op)) {
    result = binary(ExtentRule::maximum);
  } else if (isa_and_nonnull<arith::DivSIOp, arith::DivUIOp>(op)) {
    // Rounds towards zero, which is down where nothing is negative.
    FailureOr<Attribute> left = dimOf(op->getOperand(0));
    if (succeeded(left) && ranges.lookup(*left).least < 0)
      return LogicalResult(fail("is divided where it may be negative"));
    result = combine(ExtentRule::floor_divide, left, dimOf(op->getOperand(1)));
  } else if (isa_and_nonnull<arith::IndexCastOp, arith::ExtSIOp>(op)) {
    result = dimOf(op->getOperand(0));
  } else if (auto apply = dyn_cast_or_null<affine::AffineApplyOp>(op)) {
    result = dimOf(apply.getAffineMap().getResult(0), apply.getMapOperands(), apply.getAffineMap().getNumDims());
  } else if (auto dim = dyn_cast_or_null<memref::DimOp>(op); dim && dim.getConstantIndex()) {
    result = axisOf(dim.getSource(), *dim.getConstantIndex());
  } else {
    return LogicalResult(fail("is known at run time only"));
  }
  if (succeeded(result))
    known[index] = *result;
  return result;
}

FailureOr<Attribute> NetworkExtents::dimOf(AffineExpr expr, ValueRange operands, unsigned dims) {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return number(constant.getValue());
  if (auto dim = dyn_cast<AffineDimExpr>(expr))
    return dimOf(operands[dim.getPosition()]);
  if (auto symbol = dyn_cast<AffineSymbolExpr>(expr))
    return dimOf(operands[dims + symbol.getPosition()]);
  auto binary = cast<AffineBinaryOpExpr>(expr);
  FailureOr<Attribute> left = dimOf(binary.getLHS(), operands, dims), right = dimOf(binary.getRHS(), operands, dims);
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    return combine(ExtentRule::add, left, right);
  case AffineExprKind::Mul:
    return combine(ExtentRule::multiply, left, right);
  case AffineExprKind::FloorDiv:
    return combine(ExtentRule::floor_divide, left, right);
  case AffineExprKind::CeilDiv:
    return combine(ExtentRule::ceil_divide, left, right);
  default: // x mod y = x - x / y * y
    return combine(ExtentRule::add, left,
                   combine(ExtentRule::multiply,
                           combine(ExtentRule::multiply, combine(ExtentRule::floor_divide, left, right), right),
                           number(-1)));
  }
}

/// x RULE y of numbers.
static int64_t apply(ExtentRule rule, int64_t x, int64_t y) {
  switch (rule) {
  case ExtentRule::add:
    return x + y;
  case ExtentRule::multiply:
    return llvm::SaturatingMultiply<uint64_t>(std::abs(x), std::abs(y)) > uint64_t(kMostValue)
               ? ((x < 0) != (y < 0) ? -kMostValue - 1 : kMostValue + 1)
               : x * y;
  case ExtentRule::floor_divide:
    return llvm::divideFloorSigned(x, y);
  case ExtentRule::ceil_divide:
    return llvm::divideCeilSigned(x, y);
  case ExtentRule::minimum:
    return std::min(x, y);
  case ExtentRule::maximum:
    return std::max(x, y);
  }
  llvm_unreachable("every rule is handled");
}

FailureOr<Attribute> NetworkExtents::combine(ExtentRule rule, FailureOr<Attribute> left, FailureOr<Attribute> right) {
  if (failed(left) || failed(right))
    return failure();
  Range x = ranges.lookup(*left), y = ranges.lookup(*right);
  bool divides = rule == ExtentRule::floor_divide || rule == ExtentRule::ceil_divide;
  if (divides && y.least < 1)
    return LogicalResult(fail("is divided by what may be zero"));
  // Every rule is monotonous in either term, so the ends of the range lie at its corners.
  int64_t corners[] = {apply(rule, x.least, y.least), apply(rule, x.least, y.most), apply(rule, x.most, y.least),
                       apply(rule, x.most, y.most)};
  Range range{*llvm::min_element(corners), *llvm::max_element(corners)};
  if (range.least < -kMostValue || range.most > kMostValue)
    return LogicalResult(fail("is absurdly large"));
  if (range.least == range.most)
    return number(range.least);
  auto first = dyn_cast<IntegerAttr>(*left), second = dyn_cast<IntegerAttr>(*right);
  bool commutes = !divides;
  if (first && commutes && !second)
    std::swap(left, right), std::swap(first, second), std::swap(x, y);
  bool neutral = rule == ExtentRule::add ? second && !second.getInt() : second && second.getInt() == 1;
  if (neutral && rule != ExtentRule::minimum && rule != ExtentRule::maximum)
    return *left;
  if ((rule == ExtentRule::minimum && x.most <= y.least) || (rule == ExtentRule::maximum && x.least >= y.most))
    return *left;
  if ((rule == ExtentRule::minimum && y.most <= x.least) || (rule == ExtentRule::maximum && y.least >= x.most))
    return *right;
  auto text = [&](Attribute term) -> std::string {
    if (auto value = dyn_cast<IntegerAttr>(term))
      return std::to_string(value.getInt());
    StringRef name = cast<StringAttr>(term).getValue();
    return declared.contains(term) && !name.starts_with("min(") && !name.starts_with("max(") ? ("(" + name + ")").str()
                                                                                             : name.str();
  };
  static constexpr llvm::StringLiteral kSigns[] = {"", " + ", " * ", " / ", " /^ ", "min(", "max("};
  StringRef sign = kSigns[unsigned(rule)];
  std::string name = rule == ExtentRule::minimum || rule == ExtentRule::maximum
                         ? (sign + text(*left) + ", " + text(*right) + ")").str()
                         : (text(*left) + sign + text(*right)).str();
  // Formulas that are too long to be names are numbered.
  constexpr size_t kLongestName = 120;
  Attribute key = builder.getStringAttr(name);
  if (Attribute made = symbols.lookup(key))
    return made;
  StringAttr symbol =
      builder.getStringAttr(name.size() > kLongestName ? "extent " + Twine(declared.size()) : Twine(name));
  if (SymbolTable::lookupNearestSymbolFrom(function, symbol))
    symbol = builder.getStringAttr("extent " + Twine(declared.size()));
  auto made = builder.create<exec::ExtentOp>(function.getLoc(), symbol.getValue(), std::max<int64_t>(range.most, 1));
  made.setRule(rule);
  made.setLeftAttr(*left);
  made.setRightAttr(*right);
  made.setLeast(std::min<int64_t>(range.least, 0));
  ranges[symbol] = range;
  declared[symbol] = made;
  symbols[key] = symbol;
  return Attribute(symbol);
}
