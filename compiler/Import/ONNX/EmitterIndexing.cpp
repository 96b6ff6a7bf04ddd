//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Values that say where other values stand, and loops.
//
#include "compiler/Dialect/Graph/IR/Graph.h"
#include "compiler/Import/ONNX/Emitter.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace mlc::onnx {

Dim Emitter::symbol(Value extent) {
  symbols.push_back(extent);
  return builder.getAffineSymbolExpr(unsigned(symbols.size() - 1));
}

Value Emitter::indexOf(const Tensor &tensor) {
  Tensor scalar = reshape(tensor, {});
  if (!scalar)
    return {};
  Value element = builder.create<tensor::ExtractOp>(loc, scalar.value, ValueRange());
  return scalar.isUnsigned ? Value(builder.create<arith::IndexCastUIOp>(loc, builder.getIndexType(), element))
                           : Value(builder.create<arith::IndexCastOp>(loc, builder.getIndexType(), element));
}

Tensor Emitter::fromIndex(Value index) {
  Value number = builder.create<arith::IndexCastOp>(loc, builder.getI64Type(), index);
  return {builder.create<tensor::FromElementsOp>(loc, RankedTensorType::get({}, builder.getI64Type()), number), {}};
}

Tensor Emitter::take(const Tensor &tensor, int64_t axis, const Tensor &indices) {
  if (!tensor || !indices)
    return {};
  Dims shape = tensor.shape;
  shape[axis] = indices.shape[0];
  return generate(shape, tensor.dtype(), [&](OpBuilder &body, ArrayRef<Value> place) {
    SmallVector<Value> from(place);
    from[axis] = body.create<arith::IndexCastOp>(loc, body.getIndexType(), at(body, indices, place[axis]));
    return at(body, tensor, from);
  });
}

Tensor Emitter::argExtreme(const Tensor &tensor, int64_t axis, bool largest, bool last) {
  if (!tensor)
    return {};
  // Begins with index -1, which every first value replaces.
  Dims shape = tensor.shape;
  shape.erase(shape.begin() + axis);
  Tensor value = splat(0, tensor.dtype(), shape), index = splat(-1, i64(), shape);
  if (!value || !index)
    return {};
  SmallVector<AffineExpr> out;
  SmallVector<utils::IteratorType> iterators(tensor.rank(), utils::IteratorType::parallel);
  iterators[axis] = utils::IteratorType::reduction;
  for (int64_t i = 0; i < tensor.rank(); ++i)
    if (i != axis)
      out.push_back(builder.getAffineDimExpr(i));
  AffineMap in = builder.getMultiDimIdentityMap(tensor.rank()),
            to = AffineMap::get(tensor.rank(), 0, out, builder.getContext());
  auto op = builder.create<linalg::GenericOp>(
      loc, TypeRange{value.value.getType(), index.value.getType()}, tensor.value, ValueRange{value.value, index.value},
      ArrayRef<AffineMap>{in, to, to}, iterators, [&](OpBuilder &body, Location loc, ValueRange values) {
        Value at = body.create<arith::IndexCastOp>(loc, body.getI64Type(), body.create<linalg::IndexOp>(loc, axis));
        Value none = body.create<arith::ConstantOp>(loc, body.getI64IntegerAttr(-1));
        Value first = body.create<arith::CmpIOp>(loc, arith::CmpIPredicate::eq, values[2], none);
        Value better;
        if (tensor.isFloat()) {
          using P = arith::CmpFPredicate;
          P how = largest ? (last ? P::OGE : P::OGT) : (last ? P::OLE : P::OLT);
          better = body.create<arith::CmpFOp>(loc, how, values[0], values[1]);
        } else {
          using P = arith::CmpIPredicate;
          P how = tensor.isUnsigned ? (largest ? (last ? P::uge : P::ugt) : (last ? P::ule : P::ult))
                                    : (largest ? (last ? P::sge : P::sgt) : (last ? P::sle : P::slt));
          better = body.create<arith::CmpIOp>(loc, how, values[0], values[1]);
        }
        Value take = body.create<arith::OrIOp>(loc, first, better);
        body.create<linalg::YieldOp>(loc, ValueRange{body.create<arith::SelectOp>(loc, take, values[0], values[1]),
                                                     body.create<arith::SelectOp>(loc, take, at, values[2])});
      });
  return {op.getResult(1), shape};
}

Tensor Emitter::scatter(const Tensor &into, const Tensor &indices, const Tensor &updates, graph::ScatterKind kind) {
  if (!into || !indices || !updates)
    return {};
  if (into.dtype() != updates.dtype())
    return fail("has updates of another type");
  return like(into, builder.create<graph::ScatterOp>(loc, into.value.getType(), into.value, indices.value,
                                                     updates.value, kind, into.isUnsigned));
}

std::pair<Tensor, Tensor> Emitter::sort(const Tensor &tensor, int64_t axis, bool descending) {
  if (!tensor)
    return {};
  auto op = builder.create<graph::SortOp>(loc, tensor.value.getType(), typeOf(tensor.shape, builder.getI64Type()),
                                          tensor.value, axis, descending, tensor.isUnsigned);
  return {like(tensor, op.getValues()), {op.getIndices(), tensor.shape}};
}

Tensor Emitter::nonzero(const Tensor &tensor) {
  if (!tensor)
    return {};
  auto type = RankedTensorType::get({tensor.rank(), ShapedType::kDynamic}, builder.getI64Type());
  Value result = builder.create<graph::NonzeroOp>(loc, type, tensor.value);
  return {result, {dim(tensor.rank()), symbol(builder.create<tensor::DimOp>(loc, result, 1))}};
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

SmallVector<Tensor> Emitter::loop(Value count, ArrayRef<Tensor> carried, Step step) {
  SmallVector<Value> inits;
  for (const Tensor &tensor : carried) {
    if (!tensor)
      return SmallVector<Tensor>(carried.size());
    inits.push_back(tensor.value);
  }
  Value zero = builder.create<arith::ConstantIndexOp>(loc, 0), one = builder.create<arith::ConstantIndexOp>(loc, 1);
  auto op = builder.create<scf::ForOp>(loc, zero, count, one, inits);
  SmallVector<Tensor> inside, results;
  for (auto [tensor, argument, result] : llvm::zip_equal(carried, op.getRegionIterArgs(), op.getResults())) {
    inside.push_back(like(tensor, argument));
    results.push_back(like(tensor, result));
  }
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(op.getBody());
  SmallVector<Tensor> next = step(op.getInductionVar(), inside);
  if (!failed() && next.size() != carried.size())
    fail("carries another number of values than it takes");
  for (size_t i = 0; !failed() && i < next.size(); ++i)
    if (!next[i] || next[i].shape != carried[i].shape || next[i].dtype() != carried[i].dtype())
      fail("carries a value whose type or shape changes from one step to the next");
  if (failed())
    return SmallVector<Tensor>(carried.size());
  // Without values to carry, the terminator is there already.
  SmallVector<Value> values;
  for (const Tensor &tensor : next)
    values.push_back(tensor.value);
  if (!values.empty())
    builder.create<scf::YieldOp>(loc, values);
  return results;
}

/// [..., index, ...] of `axis`: one place, of everything else all.
static void placeOf(Emitter &e, const Tensor &whole, int64_t axis, Value index, SmallVector<OpFoldResult> &offsets,
                    SmallVector<OpFoldResult> &sizes, SmallVector<OpFoldResult> &strides) {
  for (int64_t i = 0; i < whole.rank(); ++i) {
    offsets.push_back(i == axis ? OpFoldResult(index) : OpFoldResult(e.builder.getIndexAttr(0)));
    sizes.push_back(i == axis ? OpFoldResult(e.builder.getIndexAttr(1)) : e.size(whole.shape[i]));
    strides.push_back(e.builder.getIndexAttr(1));
  }
}

Tensor Emitter::sliceAt(const Tensor &tensor, int64_t axis, Value index) {
  if (!tensor)
    return {};
  Dims shape = tensor.shape;
  shape.erase(shape.begin() + axis);
  SmallVector<OpFoldResult> offsets, sizes, strides;
  placeOf(*this, tensor, axis, index, offsets, sizes, strides);
  RankedTensorType type = typeOf(shape, tensor.dtype().type);
  if (!type)
    return {};
  // MLIR folds a slice that drops one of several unit axes to one that drops another, with other strides.
  if (llvm::any_of(type.getShape(), [](int64_t extent) { return extent == 1 || ShapedType::isDynamic(extent); })) {
    Value whole = builder.create<tensor::ExtractSliceOp>(loc, tensor.value, offsets, sizes, strides);
    SmallVector<ReassociationIndices> groups;
    for (int64_t i = 0, rank = int64_t(tensor.rank()); i < rank; ++i) {
      bool joins = i == axis + 1 || (i == axis && i + 1 == rank);
      if (joins && !groups.empty())
        groups.back().push_back(i);
      else
        groups.push_back({i});
    }
    return {builder.create<tensor::CollapseShapeOp>(loc, type, whole, groups), shape, tensor.isUnsigned};
  }
  return {builder.create<tensor::ExtractSliceOp>(loc, type, tensor.value, offsets, sizes, strides), shape,
          tensor.isUnsigned};
}

Tensor Emitter::insertAt(const Tensor &tensor, const Tensor &into, int64_t axis, Value index) {
  if (!tensor || !into)
    return {};
  SmallVector<OpFoldResult> offsets, sizes, strides;
  placeOf(*this, into, axis, index, offsets, sizes, strides);
  return like(into, builder.create<tensor::InsertSliceOp>(loc, tensor.value, into.value, offsets, sizes, strides));
}

Tensor Emitter::empty(ArrayRef<Dim> shape, DType dtype) {
  SmallVector<OpFoldResult> sizes;
  for (Dim extent : shape)
    sizes.push_back(size(extent));
  typeOf(shape, dtype.type);
  if (failed())
    return {};
  return {builder.create<tensor::EmptyOp>(loc, sizes, dtype.type), Dims(shape), dtype.isUnsigned};
}

} // namespace mlc::onnx
