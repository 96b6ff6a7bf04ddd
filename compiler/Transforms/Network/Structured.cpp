//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Transforms/Network/Structured.h"

#include "compiler/Codegen/RegionCode.h"

#include "mlir/Dialect/Utils/ReshapeOpsUtils.h"
#include "mlir/Transforms/RegionUtils.h"

using namespace mlir;

namespace mlc::graph {

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
  ArrayRef<int64_t> shape = shapeOf(inputs[0]);
  SmallVector<AffineMap> maps(inputs.size() + 1, b.getMultiDimIdentityMap(shape.size()));
  return generic(inputs, empty(shape, element), maps, shape.size(), body);
}

Value Structured::convertScalar(Value x, Type element) {
  Type from = x.getType();
  if (from == element)
    return x;
  unsigned have = from.getIntOrFloatBitWidth(), want = element.getIntOrFloatBitWidth();
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
  if (type.getShape() == shape)
    return x;
  auto target = RankedTensorType::get(shape, type.getElementType());
  // One step where axes are only joined or only divided.
  if (type.getRank() != target.getRank())
    if (auto groups = getReassociationIndicesForReshape(type, target))
      return type.getRank() > target.getRank() ? b.create<tensor::CollapseShapeOp>(target, x, *groups).getResult()
                                               : b.create<tensor::ExpandShapeOp>(target, x, *groups).getResult();
  auto flat = RankedTensorType::get({type.getNumElements()}, type.getElementType());
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
                       : b.create<tensor::ExpandShapeOp>(target, x, all(shape.size())).getResult();
}

Value Structured::transpose(Value x, ArrayRef<unsigned> axes) {
  unsigned rank = axes.size();
  SmallVector<int64_t> shape(rank);
  SmallVector<AffineExpr> from(rank);
  for (unsigned i = 0; i < rank; ++i) {
    shape[i] = shapeOf(x)[axes[i]];
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

static SmallVector<OpFoldResult> folded(Builder &b, ArrayRef<int64_t> values) {
  return llvm::map_to_vector(values, [&](int64_t value) -> OpFoldResult { return b.getIndexAttr(value); });
}

Value Structured::slice(Value x, Shape offsets, Shape sizes, Shape strides) {
  return b.create<tensor::ExtractSliceOp>(x, folded(b, offsets), folded(b, sizes), folded(b, strides));
}

Value Structured::insert(Value x, Value into, Shape offsets, Shape strides) {
  return b.create<tensor::InsertSliceOp>(x, into, folded(b, offsets), folded(b, shapeOf(x)), folded(b, strides));
}

Value Structured::pad(Value x, Value scalar, Shape before, Shape behind) {
  if (llvm::all_of(before, [](int64_t n) { return !n; }) && llvm::all_of(behind, [](int64_t n) { return !n; }))
    return x;
  SmallVector<int64_t> shape(shapeOf(x)), kept(shapeOf(x)), from(shape.size(), 0), to(shape.size(), 0),
      ones(shape.size(), 1);
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    shape[axis] += before[axis] + behind[axis];
    kept[axis] += std::min<int64_t>(before[axis], 0) + std::min<int64_t>(behind[axis], 0);
    from[axis] = std::max<int64_t>(-before[axis], 0);
    to[axis] = std::max<int64_t>(before[axis], 0);
  }
  Value inner = kept == SmallVector<int64_t>(shapeOf(x)) ? x : slice(x, from, kept, ones);
  return kept == shape ? inner : insert(inner, filled(shape, scalar), to, ones);
}

Value Structured::panels(Value x, unsigned axis) {
  SmallVector<int64_t> shape(shapeOf(x)), none(shape.size(), 0), behind(shape.size(), 0);
  int64_t count = panelCount(shape[axis]), lanes = lanesOf(shape[axis]);
  behind[axis] = count * lanes - shape[axis];
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
  int64_t rows = shapeOf(x)[0], depth = shapeOf(x)[1], columns = shapeOf(w)[0];
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
bool worthPanels(Type sum, int64_t columns, int64_t depth) {
  return isa<FloatType>(sum) && columns >= kMostLanes / 2 && depth >= 4;
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

} // namespace mlc::graph
