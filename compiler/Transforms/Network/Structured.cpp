//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Transforms/Network/Structured.h"

#include "compiler/Codegen/RegionCode.h"

#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Utils/ReshapeOpsUtils.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace mlc::graph {

Size::Size(Value value) : value(value) {
  if (std::optional<int64_t> known = getConstantIntValue(value))
    number = *known, this->value = {};
}

/// x OP y, as a number where both are known.
template <typename Op> static Size combine(ImplicitLocOpBuilder &b, Size x, Size y) {
  return b.createOrFold<Op>(x.asValue(b), y.asValue(b));
}

Size Structured::plus(Size x, Size y) {
  if (x.isFixed() && y.isFixed())
    return x.fixed() + y.fixed();
  return y.is(0) ? x : x.is(0) ? y : combine<arith::AddIOp>(b, x, y);
}
Size Structured::minus(Size x, Size y) {
  if (y.isFixed())
    return plus(x, -y.fixed());
  return combine<arith::SubIOp>(b, x, y);
}
Size Structured::times(Size x, Size y) {
  if (x.isFixed() && y.isFixed())
    return x.fixed() * y.fixed();
  return y.is(1) ? x : x.is(1) ? y : combine<arith::MulIOp>(b, x, y);
}
Size Structured::floorDiv(Size x, int64_t y) {
  if (x.isFixed())
    return llvm::divideFloorSigned(x.fixed(), y);
  return y == 1 ? x : combine<arith::FloorDivSIOp>(b, x, y);
}
Size Structured::ceilDiv(Size x, int64_t y) {
  if (x.isFixed())
    return llvm::divideCeilSigned(x.fixed(), y);
  return y == 1 ? x : combine<arith::CeilDivSIOp>(b, x, y);
}
Size Structured::smaller(Size x, Size y) {
  if (x.isFixed() && y.isFixed())
    return std::min(x.fixed(), y.fixed());
  return combine<arith::MinSIOp>(b, x, y);
}
Size Structured::larger(Size x, Size y) {
  if (x.isFixed() && y.isFixed())
    return std::max(x.fixed(), y.fixed());
  return combine<arith::MaxSIOp>(b, x, y);
}

Size Structured::size(Value x, unsigned axis) {
  auto type = cast<RankedTensorType>(x.getType());
  if (!type.isDynamicDim(axis))
    return type.getDimSize(axis);
  // Where it was made to a size, that.
  while (auto writer = x.getDefiningOp<DestinationStyleOpInterface>())
    x = writer.getTiedOpOperand(cast<OpResult>(x))->get();
  if (auto empty = x.getDefiningOp<tensor::EmptyOp>())
    return empty.getDynamicSize(axis);
  // MLIR infers the extents of an expanded shape, which fails where several of a group are dynamic.
  if (auto expand = x.getDefiningOp<tensor::ExpandShapeOp>())
    return expand.getOutputShape()[type.getDynamicDimIndex(axis)];
  return b.createOrFold<tensor::DimOp>(x, axis);
}

Sizes Structured::sizes(Value x) {
  Sizes result;
  for (unsigned axis = 0; axis < shapeOf(x).size(); ++axis)
    result.push_back(size(x, axis));
  return result;
}

SmallVector<OpFoldResult> Structured::folded(Shape sizes) {
  return llvm::map_to_vector(sizes, [&](const Size &size) { return size.folded(b); });
}

Value Structured::lowest(Type element) {
  if (auto floats = dyn_cast<FloatType>(element))
    return b.create<arith::ConstantOp>(
        b.getFloatAttr(element, APFloat::getInf(floats.getFloatSemantics(), /*Negative=*/true)));
  return b.create<arith::ConstantOp>(
      b.getIntegerAttr(element, APInt::getSignedMinValue(element.getIntOrFloatBitWidth())));
}

Value Structured::generic(ValueRange inputs, Value init, ArrayRef<AffineMap> maps, unsigned parallel, Body body,
                          bool lastParallel) {
  SmallVector<utils::IteratorType> iterators(maps.back().getNumDims(), utils::IteratorType::reduction);
  std::fill_n(iterators.begin(), parallel, utils::IteratorType::parallel);
  if (lastParallel)
    iterators.back() = utils::IteratorType::parallel;
  auto op = b.create<linalg::GenericOp>(TypeRange(init.getType()), inputs, ValueRange(init), maps, iterators,
                                        [&](OpBuilder &inner, Location location, ValueRange arguments) {
                                          OpBuilder::InsertionGuard guard(b);
                                          b.setInsertionPointToEnd(inner.getInsertionBlock());
                                          b.create<linalg::YieldOp>(body(arguments));
                                        });
  return op.getResult(0);
}

Value Structured::map(ValueRange inputs, Type element, Body body) {
  Sizes shape = sizes(inputs[0]);
  SmallVector<AffineMap> maps(inputs.size() + 1, b.getMultiDimIdentityMap(shape.size()));
  return generic(inputs, empty(shape, element), maps, shape.size(), body);
}

Value Structured::convertScalar(Value x, Type element) {
  Type from = x.getType();
  if (from == element)
    return x;
  unsigned have = from.getIntOrFloatBitWidth(), want = element.getIntOrFloatBitWidth();
  if (isa<FloatType>(element) && !isa<FloatType>(from))
    return b.create<arith::SIToFPOp>(element, x);
  if (isa<FloatType>(from) && !isa<FloatType>(element))
    return b.create<arith::FPToSIOp>(element, x);
  if (isa<FloatType>(from) && isa<FloatType>(element)) {
    if (have == want) // f16 and bf16: by way of what holds both.
      return convertScalar(convertScalar(x, b.getF32Type()), element);
    return have < want ? b.create<arith::ExtFOp>(element, x).getResult()
                       : b.create<arith::TruncFOp>(element, x).getResult();
  }
  if (have < want)
    return from.isInteger(1) ? b.create<arith::ExtUIOp>(element, x).getResult()
                             : b.create<arith::ExtSIOp>(element, x).getResult();
  return b.create<arith::TruncIOp>(element, x);
}

Value Structured::convert(Value x, Type element) {
  if (elementOf(x) == element)
    return x;
  return map(x, element, [&](ValueRange v) { return convertScalar(v[0], element); });
}

Value Structured::reshape(Value x, Shape shape) {
  auto type = cast<RankedTensorType>(x.getType());
  Sizes from = sizes(x);
  if (Shape(from) == shape)
    return x;
  auto target = RankedTensorType::get(llvm::map_to_vector(shape, [](const Size &size) { return size.inType(); }),
                                      type.getElementType());
  // One step where axes are only joined or only divided.
  if (type.hasStaticShape() && target.hasStaticShape() && type.getRank() != target.getRank())
    if (auto groups = getReassociationIndicesForReshape(type, target))
      return type.getRank() > target.getRank() ? b.create<tensor::CollapseShapeOp>(target, x, *groups).getResult()
                                               : b.create<tensor::ExpandShapeOp>(target, x, *groups).getResult();
  Size count = 1;
  for (const Size &extent : from)
    count = times(count, extent);
  auto flat = RankedTensorType::get({count.inType()}, type.getElementType());
  auto all = [](int64_t rank) {
    SmallVector<ReassociationIndices> groups;
    if (rank)
      groups.push_back(llvm::to_vector(llvm::seq<int64_t>(0, rank)));
    return groups;
  };
  if (type.getRank() != 1)
    x = type.getRank() ? b.create<tensor::CollapseShapeOp>(flat, x, all(type.getRank())).getResult()
                       : b.create<tensor::ExpandShapeOp>(flat, x, all(0)).getResult();
  if (shape.size() == 1)
    return x;
  return shape.empty() ? b.create<tensor::CollapseShapeOp>(target, x, all(0)).getResult()
                       : b.create<tensor::ExpandShapeOp>(target, x, all(shape.size()), folded(shape)).getResult();
}

Value Structured::transpose(Value x, ArrayRef<unsigned> axes) {
  unsigned rank = axes.size();
  Sizes given = sizes(x), shape(rank);
  SmallVector<AffineExpr> from(rank);
  for (unsigned i = 0; i < rank; ++i) {
    shape[i] = given[axes[i]];
    from[axes[i]] = dim(i);
  }
  return generic(x, empty(shape, elementOf(x)), {mapOf(rank, from), b.getMultiDimIdentityMap(rank)}, rank,
                 [](ValueRange v) { return v[0]; });
}

Value Structured::channelsLast(Value x) {
  SmallVector<unsigned> axes{0};
  for (unsigned i = 2; i < shapeOf(x).size(); ++i)
    axes.push_back(i);
  axes.push_back(1);
  return transpose(x, axes);
}

Value Structured::channelsFirst(Value x) {
  unsigned rank = shapeOf(x).size();
  SmallVector<unsigned> axes{0, rank - 1};
  for (unsigned i = 1; i + 1 < rank; ++i)
    axes.push_back(i);
  return transpose(x, axes);
}

Value Structured::slice(Value x, Shape offsets, Shape sizes, Shape strides) {
  return b.create<tensor::ExtractSliceOp>(x, folded(offsets), folded(sizes), folded(strides));
}

Value Structured::insert(Value x, Value into, Shape offsets, Shape strides) {
  return b.create<tensor::InsertSliceOp>(x, into, folded(offsets), folded(sizes(x)), folded(strides));
}

Value Structured::pad(Value x, Value scalar, Shape before, Shape behind) {
  auto none = [](const Size &size) { return size.is(0); };
  if (llvm::all_of(before, none) && llvm::all_of(behind, none))
    return x;
  Sizes given = sizes(x), shape(given), kept(given), from(shape.size(), 0), to(shape.size(), 0), ones(shape.size(), 1);
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    shape[axis] = plus(shape[axis], plus(before[axis], behind[axis]));
    kept[axis] = plus(kept[axis], plus(smaller(before[axis], 0), smaller(behind[axis], 0)));
    from[axis] = larger(minus(0, before[axis]), 0);
    to[axis] = larger(before[axis], 0);
  }
  Value inner = kept == given ? x : slice(x, from, kept, ones);
  return kept == shape ? inner : insert(inner, filled(shape, scalar), to, ones);
}

Value Structured::panels(Value x, unsigned axis) {
  Sizes shape = sizes(x), none(shape.size(), 0), behind(shape.size(), 0);
  int64_t columns = shape[axis].fixed(), count = panelCount(columns), lanes = lanesOf(columns);
  behind[axis] = count * lanes - columns;
  x = pad(x, zero(elementOf(x)), none, behind);
  shape[axis] = lanes;
  shape.insert(shape.begin() + axis, count);
  x = reshape(x, shape);
  // The lane goes from behind its panel to the end.
  SmallVector<unsigned> axes;
  for (unsigned i = 0; i < shape.size(); ++i)
    if (i != axis + 1)
      axes.push_back(i);
  axes.push_back(axis + 1);
  return transpose(x, axes);
}

Value Structured::rowsProduct(Value x, Value w) {
  Size rows = size(x, 0);
  int64_t depth = shapeOf(x)[1], columns = shapeOf(w)[0];
  Type sum = elementOf(x);
  auto product = [&](ValueRange v) { return add(v[2], mul(v[0], v[1])); };
  if (!worthPanels(sum, columns, depth))
    return generic({x, w}, filled({rows, columns}, zero(sum)),
                   {mapOf(3, {dim(0), dim(2)}), mapOf(3, {dim(1), dim(2)}), mapOf(3, {dim(0), dim(1)})}, 2, product);
  int64_t count = panelCount(columns), lanes = lanesOf(columns);
  Value y =
      generic({x, panels(w, 0)}, filled({rows, count, lanes}, zero(sum)),
              {mapOf(4, {dim(0), dim(2)}), mapOf(4, {dim(1), dim(2), dim(3)}), mapOf(4, {dim(0), dim(1), dim(3)})}, 2,
              product, /*lastParallel=*/true);
  y = reshape(y, {rows, count * lanes});
  return count * lanes == columns ? y : slice(y, {0, 0}, {rows, columns}, {1, 1});
}

bool followsFromWeights(Value x) {
  // Deeper than any chain of reorderings that an exporter writes.
  constexpr unsigned kMostSteps = 64;
  SmallVector<Value> open{x};
  for (unsigned step = 0; step < kMostSteps && !open.empty(); ++step) {
    Operation *definer = open.pop_back_val().getDefiningOp();
    if (!definer)
      return false;
    llvm::append_range(open, definer->getOperands());
    llvm::SetVector<Value> captured;
    getUsedValuesDefinedAbove(definer->getRegions(), captured);
    llvm::append_range(open, captured);
  }
  return open.empty();
}

int64_t panelCount(int64_t columns) { return (columns + lanesOf(columns) - 1) / lanesOf(columns); }
bool worthPanels(Type sum, Size columns, Size depth) {
  return isa<FloatType>(sum) && columns.isFixed() && columns.fixed() >= kMostLanes / 2 &&
         (!depth.isFixed() || depth.fixed() >= 4);
}

static constexpr auto kAnyOrder = arith::FastMathFlags::reassoc | arith::FastMathFlags::contract;

Value Structured::add(Value x, Value y) {
  if (isa<FloatType>(x.getType()))
    return b.create<arith::AddFOp>(x, y, kAnyOrder);
  return x.getType().isInteger(1) ? b.create<arith::OrIOp>(x, y).getResult()
                                  : b.create<arith::AddIOp>(x, y).getResult();
}
Value Structured::mul(Value x, Value y) {
  if (isa<FloatType>(x.getType()))
    return b.create<arith::MulFOp>(x, y, kAnyOrder);
  return b.create<arith::MulIOp>(x, y);
}
Value Structured::max(Value x, Value y) {
  if (isa<FloatType>(x.getType()))
    return b.create<arith::MaximumFOp>(x, y);
  return b.create<arith::MaxSIOp>(x, y);
}

Value Structured::checkIndex(Value given, Size extent) {
  Value most = value(extent);
  if (given.getType() != most.getType())
    most = b.create<arith::IndexCastOp>(given.getType(), most);
  Value inside = b.create<arith::CmpIOp>(arith::CmpIPredicate::ult, given, most);
  b.create<cf::AssertOp>(inside, "index");
  return inside;
}

} // namespace mlc::graph
