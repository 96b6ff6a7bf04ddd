//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Movement, reductions and products.
//
#include "compiler/Dialect/Graph/IR/Graph.h"
#include "compiler/Import/ONNX/Emitter.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/ReshapeOpsUtils.h"

#include <limits>

using namespace mlir;

namespace mlc::onnx {

static Value emptyLike(Emitter &emitter, ArrayRef<Dim> shape, Type element) {
  SmallVector<OpFoldResult> sizes;
  for (Dim extent : shape)
    sizes.push_back(emitter.size(extent));
  return emitter.builder.create<tensor::EmptyOp>(emitter.loc, sizes, element);
}

/// result[i...] = tensor[map(i...)].
static Tensor copyBy(Emitter &emitter, const Tensor &tensor, ArrayRef<Dim> shape, AffineMap map) {
  OpBuilder &builder = emitter.builder;
  Type element = tensor.dtype().type;
  RankedTensorType type = emitter.typeOf(shape, element);
  if (emitter.failed())
    return {};
  AffineMap identity = builder.getMultiDimIdentityMap(shape.size());
  SmallVector<utils::IteratorType> parallel(shape.size(), utils::IteratorType::parallel);
  auto op = builder.create<linalg::GenericOp>(
      emitter.loc, type, tensor.value, emptyLike(emitter, shape, element), ArrayRef<AffineMap>{map, identity}, parallel,
      [](OpBuilder &body, Location loc, ValueRange values) { body.create<linalg::YieldOp>(loc, values.front()); });
  return {op.getResult(0), Dims(shape), tensor.isUnsigned};
}

Tensor Emitter::broadcast(const Tensor &tensor, ArrayRef<Dim> shape) {
  if (!tensor || ArrayRef<Dim>(tensor.shape) == shape)
    return tensor;
  if (DenseElementsAttr values = attribute(tensor); values && values.isSplat()) {
    RankedTensorType type = typeOf(shape, values.getElementType());
    if (failed())
      return {};
    if (type.hasStaticShape())
      return constant(values.resizeSplat(type), tensor.isUnsigned);
  }
  SmallVector<AffineExpr> exprs;
  for (size_t axis = 0, skip = shape.size() - tensor.shape.size(); axis < tensor.shape.size(); ++axis)
    exprs.push_back(tensor.shape[axis] == shape[skip + axis] ? builder.getAffineDimExpr(skip + axis)
                                                             : builder.getAffineConstantExpr(0));
  return copyBy(*this, tensor, shape, AffineMap::get(shape.size(), 0, exprs, builder.getContext()));
}

Tensor Emitter::transpose(const Tensor &tensor, ArrayRef<int64_t> permutation) {
  if (!tensor || llvm::equal(permutation, llvm::seq<int64_t>(0, tensor.rank())))
    return tensor;
  Dims shape;
  SmallVector<AffineExpr> exprs(tensor.rank());
  for (auto [to, from] : llvm::enumerate(permutation)) {
    shape.push_back(tensor.shape[from]);
    exprs[from] = builder.getAffineDimExpr(to);
  }
  return copyBy(*this, tensor, shape, AffineMap::get(shape.size(), 0, exprs, builder.getContext()));
}

Tensor Emitter::reshape(const Tensor &tensor, ArrayRef<Dim> shape) {
  if (!tensor || ArrayRef<Dim>(tensor.shape) == shape)
    return tensor;
  if (DenseElementsAttr values = attribute(tensor)) {
    RankedTensorType type = typeOf(shape, values.getElementType());
    if (failed())
      return {};
    if (type.hasStaticShape() && type.getNumElements() == values.getNumElements())
      return constant(values.reshape(type), tensor.isUnsigned);
  }
  Dim from = product(tensor.shape), to = product(shape);
  if (constant(from) && constant(to) && from != to)
    return fail("cannot make " + Twine(*constant(from)) + " elements into " + Twine(*constant(to)));
  Type element = tensor.dtype().type;
  RankedTensorType type = typeOf(shape, element);
  if (failed())
    return {};
  // Through one axis: collapsed, then expanded.
  Value flat = tensor.value;
  auto whole = [](size_t rank) {
    SmallVector<ReassociationIndices> groups;
    if (rank)
      groups.push_back(llvm::to_vector<2>(llvm::seq<int64_t>(0, rank)));
    return groups;
  };
  bool isScalar = tensor.shape.empty();
  if (tensor.rank() > 1) {
    if (shape.empty()) {
      flat = builder.create<tensor::CollapseShapeOp>(loc, RankedTensorType::get({}, element), flat,
                                                     ArrayRef<ReassociationIndices>());
      return {flat, {}, tensor.isUnsigned};
    }
    flat = builder.create<tensor::CollapseShapeOp>(loc, typeOf(from, element), flat, whole(tensor.rank()));
  }
  if (shape.empty())
    return {builder.create<tensor::CollapseShapeOp>(loc, RankedTensorType::get({}, element), flat,
                                                    ArrayRef<ReassociationIndices>()),
            {},
            tensor.isUnsigned};
  if (shape.size() > 1 || isScalar) {
    SmallVector<OpFoldResult> sizes;
    for (Dim extent : shape)
      sizes.push_back(size(extent));
    if (auto flatType = cast<RankedTensorType>(flat.getType());
        !isScalar && flatType.hasStaticShape() != type.hasStaticShape())
      flat = builder.create<tensor::CastOp>(loc, typeOf(to, element), flat);
    flat = builder.create<tensor::ExpandShapeOp>(
        loc, type, flat, isScalar ? SmallVector<ReassociationIndices>() : whole(shape.size()), sizes);
  } else if (flat.getType() != type) {
    flat = builder.create<tensor::CastOp>(loc, type, flat);
  }
  return {flat, Dims(shape), tensor.isUnsigned};
}

Tensor Emitter::unsqueeze(const Tensor &tensor, ArrayRef<int64_t> axes) {
  if (!tensor)
    return {};
  Dims shape = tensor.shape;
  SmallVector<int64_t> sorted(axes);
  llvm::sort(sorted);
  for (int64_t axis : sorted)
    shape.insert(shape.begin() + axis, dim(1));
  return reshape(tensor, shape);
}

Tensor Emitter::squeeze(const Tensor &tensor, ArrayRef<int64_t> axes) {
  if (!tensor)
    return {};
  Dims shape;
  for (int64_t axis = 0; axis < tensor.rank(); ++axis) {
    if (!llvm::is_contained(axes, axis))
      shape.push_back(tensor.shape[axis]);
    else if (constant(tensor.shape[axis]) != 1)
      return fail("removes axis " + Twine(axis) + ", whose extent is not 1");
  }
  return reshape(tensor, shape);
}

Tensor Emitter::slice(const Tensor &tensor, ArrayRef<Dim> starts, ArrayRef<Dim> sizes, ArrayRef<int64_t> steps) {
  if (!tensor)
    return {};
  SmallVector<OpFoldResult> offsets, extents, strides;
  for (auto [start, extent, step] : llvm::zip_equal(starts, sizes, steps)) {
    offsets.push_back(size(start));
    extents.push_back(size(extent));
    strides.push_back(builder.getIndexAttr(step));
  }
  RankedTensorType type = typeOf(sizes, tensor.dtype().type);
  if (failed())
    return {};
  return {builder.create<tensor::ExtractSliceOp>(loc, type, tensor.value, offsets, extents, strides), Dims(sizes),
          tensor.isUnsigned};
}

Tensor Emitter::sliceAxis(const Tensor &tensor, int64_t axis, Dim begin, Dim size) {
  if (!tensor)
    return {};
  Dims starts(tensor.rank(), dim(0)), sizes = tensor.shape;
  starts[axis] = begin;
  sizes[axis] = size;
  return slice(tensor, starts, sizes, SmallVector<int64_t>(tensor.rank(), 1));
}

static Tensor insert(Emitter &emitter, const Tensor &tensor, const Tensor &into, ArrayRef<Dim> at) {
  SmallVector<OpFoldResult> offsets, sizes, strides(at.size(), emitter.builder.getIndexAttr(1));
  for (auto [start, extent] : llvm::zip_equal(at, tensor.shape)) {
    offsets.push_back(emitter.size(start));
    sizes.push_back(emitter.size(extent));
  }
  return emitter.like(into, emitter.builder.create<tensor::InsertSliceOp>(emitter.loc, tensor.value, into.value,
                                                                          offsets, sizes, strides));
}

Tensor Emitter::concat(ArrayRef<Tensor> tensors, int64_t axis) {
  if (failed() || tensors.size() == 1)
    return failed() ? Tensor() : tensors.front();
  Dims shape = tensors.front().shape;
  for (const Tensor &tensor : tensors.drop_front()) {
    if (tensor.rank() != int64_t(shape.size()) || tensor.dtype() != tensors.front().dtype())
      return fail("joins tensors of different types or ranks");
    for (int64_t other = 0; other < tensor.rank(); ++other)
      if (other != axis && tensor.shape[other] != shape[other])
        return fail("joins tensors that differ in axis " + Twine(other));
    shape[axis] = shape[axis] + tensor.shape[axis];
  }
  typeOf(shape, tensors.front().dtype().type);
  if (failed())
    return {};
  Tensor result{emptyLike(*this, shape, tensors.front().dtype().type), shape, tensors.front().isUnsigned};
  Dims at(shape.size(), dim(0));
  for (const Tensor &tensor : tensors) {
    result = insert(*this, tensor, result, at);
    at[axis] = at[axis] + tensor.shape[axis];
  }
  return result;
}

Tensor Emitter::pad(const Tensor &tensor, ArrayRef<Dim> before, ArrayRef<Dim> behind, const Tensor &value) {
  if (!tensor || !value)
    return {};
  Dims shape, starts, sizes, at;
  for (auto [extent, front, back] : llvm::zip_equal(tensor.shape, before, behind)) {
    std::optional<int64_t> a = constant(front), b = constant(back);
    if (!a || !b)
      return fail("pads by an amount that is not constant");
    // A negative amount takes away.
    int64_t cutFront = std::max<int64_t>(0, -*a), cutBack = std::max<int64_t>(0, -*b);
    starts.push_back(dim(cutFront));
    sizes.push_back(extent - cutFront - cutBack);
    at.push_back(dim(std::max<int64_t>(0, *a)));
    shape.push_back(extent + *a + *b);
    if (constant(sizes.back()).value_or(0) < 0 || constant(shape.back()).value_or(0) < 0)
      return fail("cuts off more than there is");
  }
  Tensor kept = slice(tensor, starts, sizes, SmallVector<int64_t>(tensor.rank(), 1));
  Tensor filled = broadcast(reshape(value, {}), shape);
  return kept && filled ? insert(*this, kept, filled, at) : Tensor();
}

Tensor Emitter::generate(ArrayRef<Dim> shape, DType dtype, Body body) {
  RankedTensorType type = typeOf(shape, dtype.type);
  if (failed())
    return {};
  AffineMap identity = builder.getMultiDimIdentityMap(shape.size());
  SmallVector<utils::IteratorType> parallel(shape.size(), utils::IteratorType::parallel);
  auto op = builder.create<linalg::GenericOp>(loc, type, ValueRange(), emptyLike(*this, shape, dtype.type), identity,
                                              parallel, [&](OpBuilder &inner, Location loc, ValueRange) {
                                                SmallVector<Value> indices;
                                                for (size_t axis = 0; axis < shape.size(); ++axis)
                                                  indices.push_back(inner.create<linalg::IndexOp>(loc, axis));
                                                inner.create<linalg::YieldOp>(loc, body(inner, indices));
                                              });
  return {op.getResult(0), Dims(shape), dtype.isUnsigned};
}

Value Emitter::at(OpBuilder &body, const Tensor &tensor, ArrayRef<Value> indices) {
  return body.create<tensor::ExtractOp>(loc, tensor.value, indices);
}

Value Emitter::constantIndex(OpBuilder &body, int64_t value) { return body.create<arith::ConstantIndexOp>(loc, value); }

Value Emitter::wrappedIndex(OpBuilder &body, Value element, bool isUnsigned, Dim extent) {
  if (isUnsigned)
    return body.create<arith::IndexCastUIOp>(loc, body.getIndexType(), element);
  Value raw = body.create<arith::IndexCastOp>(loc, body.getIndexType(), element);
  Value size = constant(extent) ? constantIndex(body, *constant(extent)) : index(extent);
  Value negative = body.create<arith::CmpIOp>(loc, arith::CmpIPredicate::slt, raw, constantIndex(body, 0));
  return body.create<arith::SelectOp>(loc, negative, body.create<arith::AddIOp>(loc, raw, size), raw);
}

Tensor Emitter::iota(Dim extent, DType dtype) {
  return generate(extent, dtype, [&](OpBuilder &body, ArrayRef<Value> indices) -> Value {
    if (dtype.isFloat())
      return body.create<arith::SIToFPOp>(loc, dtype.type,
                                          body.create<arith::IndexCastOp>(loc, body.getI64Type(), indices[0]));
    return body.create<arith::IndexCastOp>(loc, dtype.type, indices[0]);
  });
}

//===----------------------------------------------------------------------===//
// Reductions and products
//===----------------------------------------------------------------------===//

Tensor Emitter::reduce(Fold fold, const Tensor &tensor, ArrayRef<int64_t> axes, bool keep) {
  if (!tensor)
    return {};
  DType dtype = tensor.dtype();
  if (dtype.isBool())
    return fail("reduces bool");
  unsigned bits = dtype.type.getIntOrFloatBitWidth();
  double infinity = std::numeric_limits<double>::infinity();
  double start = fold == Fold::sum ? 0 : 1;
  if (fold == Fold::max)
    start = dtype.isFloat() ? -infinity : dtype.isUnsigned ? 0 : -std::ldexp(1.0, int(bits) - 1);
  if (fold == Fold::min)
    start = dtype.isFloat()    ? infinity
            : dtype.isUnsigned ? std::ldexp(1.0, int(bits)) - 1
            : bits == 64       ? 0
                               : std::ldexp(1.0, int(bits) - 1) - 1;
  Dims shape, kept;
  SmallVector<AffineExpr> out;
  SmallVector<utils::IteratorType> iterators;
  for (int64_t axis = 0; axis < tensor.rank(); ++axis) {
    bool reduced = llvm::is_contained(axes, axis);
    iterators.push_back(reduced ? utils::IteratorType::reduction : utils::IteratorType::parallel);
    kept.push_back(reduced ? dim(1) : tensor.shape[axis]);
    if (reduced)
      continue;
    shape.push_back(tensor.shape[axis]);
    out.push_back(builder.getAffineDimExpr(axis));
  }
  Tensor init = splat(start, dtype, shape);
  if (fold == Fold::min && bits == 64 && !dtype.isFloat() && !dtype.isUnsigned) {
    // The largest i64 is no double.
    RankedTensorType type = typeOf(shape, dtype.type);
    if (!type.hasStaticShape())
      return fail("needs a fixed shape for a minimum of int64");
    init = constant(DenseElementsAttr::get(type, builder.getI64IntegerAttr(INT64_MAX)));
  }
  if (!init)
    return {};
  static constexpr llvm::StringLiteral onFloats[] = {"arith.addf", "arith.mulf", "arith.maximumf", "arith.minimumf"};
  static constexpr llvm::StringLiteral onSigned[] = {"arith.addi", "arith.muli", "arith.maxsi", "arith.minsi"};
  static constexpr llvm::StringLiteral onUnsigned[] = {"arith.addi", "arith.muli", "arith.maxui", "arith.minui"};
  StringRef name = (dtype.isFloat() ? onFloats : dtype.isUnsigned ? onUnsigned : onSigned)[int(fold)];
  AffineMap in = builder.getMultiDimIdentityMap(tensor.rank());
  AffineMap to = AffineMap::get(tensor.rank(), 0, out, builder.getContext());
  auto op = builder.create<linalg::GenericOp>(loc, init.value.getType(), tensor.value, init.value,
                                              ArrayRef<AffineMap>{in, to}, iterators,
                                              [&](OpBuilder &body, Location loc, ValueRange values) {
                                                OperationState state(loc, name, {values[1], values[0]}, {dtype.type});
                                                body.create<linalg::YieldOp>(loc, body.create(state)->getResult(0));
                                              });
  Tensor result{op.getResult(0), shape, tensor.isUnsigned};
  return keep ? reshape(result, kept) : result;
}

Tensor Emitter::count(const Tensor &tensor, ArrayRef<int64_t> axes, DType dtype) {
  if (!tensor)
    return {};
  Dim total = dim(1);
  for (int64_t axis : axes)
    total = total * tensor.shape[axis];
  if (std::optional<int64_t> value = constant(total))
    return splat(double(*value), dtype);
  Value number = builder.create<arith::IndexCastOp>(loc, builder.getI64Type(), index(total));
  Tensor wide{builder.create<tensor::FromElementsOp>(loc, RankedTensorType::get({}, builder.getI64Type()), number), {}};
  return cast(wide, dtype);
}

Tensor Emitter::mean(const Tensor &tensor, ArrayRef<int64_t> axes, bool keep) {
  if (!tensor)
    return {};
  return div(reduce(Fold::sum, tensor, axes, keep), count(tensor, axes, tensor.dtype()));
}

Tensor Emitter::dequantizeBlocks(const Tensor &codes, const Tensor &scales, const Tensor &zeros, int64_t k,
                                 int64_t bits, int64_t block, bool rounds) {
  if (failed())
    return {};
  Dims shape{dim(k), scales.shape[0]};
  RankedTensorType type = typeOf(shape, scales.dtype().type);
  if (failed())
    return {};
  return {
      builder.create<graph::DequantizeBlocksOp>(loc, type, codes.value, scales.value, zeros.value, bits, block, rounds),
      shape};
}

Tensor Emitter::matmul(Tensor a, Tensor b, Type result) {
  if (!a || !b)
    return {};
  if (a.rank() < 1 || b.rank() < 1)
    return fail("multiplies a scalar");
  if (a.isFloat() != b.isFloat() || (!result && a.dtype() != b.dtype()))
    return fail("has operands of different types");
  bool row = a.rank() == 1, column = b.rank() == 1;
  if (row)
    a = unsqueeze(a, 0);
  if (column)
    b = unsqueeze(b, 1);
  while (a && b && a.rank() != b.rank())
    (a.rank() < b.rank() ? a : b) = unsqueeze(a.rank() < b.rank() ? a : b, 0);
  if (!a || !b)
    return {};
  int64_t rank = a.rank();
  if (a.shape[rank - 1] != b.shape[rank - 2])
    return fail("multiplies " + text(a.shape) + " by " + text(b.shape));
  std::optional<Dims> shape = broadcastShape(ArrayRef<Dim>(a.shape).drop_back(2), ArrayRef<Dim>(b.shape).drop_back(2));
  if (!shape)
    return {};
  shape->push_back(a.shape[rank - 2]);
  shape->push_back(b.shape[rank - 1]);
  RankedTensorType type = typeOf(*shape, result ? result : a.dtype().type);
  if (failed())
    return {};
  Tensor product{builder.create<graph::MatmulOp>(loc, type, a.value, b.value), *shape, a.isUnsigned && !result};
  Dims squeezed = *shape;
  if (column)
    squeezed.pop_back();
  if (row)
    squeezed.erase(squeezed.end() - (column ? 1 : 2));
  return reshape(product, squeezed);
}

Tensor Emitter::softmax(const Tensor &tensor, int64_t axis, bool log) {
  if (!tensor)
    return {};
  if (!tensor.isFloat())
    return fail("takes floats");
  return like(tensor, builder.create<graph::SoftmaxOp>(loc, tensor.value.getType(), tensor.value, axis, log));
}

} // namespace mlc::onnx
