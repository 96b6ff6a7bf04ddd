//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The tensor dialect's shape and data movement ops.
//
#include "compiler/Reference/Elementwise.h"

#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;

namespace mlc::reference {

/// Hands the tensor or scalar behind `value` to `function`, floats or integers alike.
template <typename T, typename F> static llvm::Error withDense(Value value, Frame<T> &frame, F &&function) {
  return frame.isFloat(value) ? function(frame.floats(value)) : function(frame.integers(value));
}

template <typename T> static SmallVector<int64_t> sizesOf(ArrayRef<OpFoldResult> sizes, Frame<T> &frame) {
  SmallVector<int64_t> result;
  for (OpFoldResult size : sizes) {
    if (auto attribute = dyn_cast<Attribute>(size))
      result.push_back(cast<IntegerAttr>(attribute).getInt());
    else
      result.push_back(frame.integer(cast<Value>(size)));
  }
  return result;
}

/// Calls `function(linear index)` for every index of `shape` in row-major order, with `index` holding it.
template <typename F> static void forEachIndex(ArrayRef<int64_t> shape, F &&function) {
  SmallVector<int64_t> index(shape.size(), 0);
  for (int64_t linear = 0, count = elementCount(shape); linear < count; ++linear) {
    function(linear, ArrayRef<int64_t>(index));
    for (size_t axis = shape.size(); axis-- > 0;) {
      if (++index[axis] < shape[axis])
        break;
      index[axis] = 0;
    }
  }
}

template <typename T> static llvm::Error evaluateEmpty(tensor::EmptyOp op, Frame<T> &frame) {
  SmallVector<int64_t> shape = sizesOf(op.getMixedSizes(), frame);
  if (llvm::Error error = frame.admit(op, shape))
    return error;
  if (isa<FloatType>(op.getType().getElementType()))
    frame.set(op.getResult(), Floats<T>::filled(shape));
  else
    frame.set(op.getResult(), Integers::filled(shape));
  return llvm::Error::success();
}

template <typename T> static llvm::Error evaluateDim(tensor::DimOp op, Frame<T> &frame) {
  const Shape &shape = frame.shape(op.getSource());
  const Integers &axes = frame.integers(op.getIndex());
  if (!axes.shape.empty() || axes.data.front() < 0 || axes.data.front() >= int64_t(shape.size()))
    return failAt(op, "there is no such axis");
  frame.set(op.getResult(), Integers::scalar(shape[axes.data.front()]));
  return llvm::Error::success();
}

template <typename T> static llvm::Error evaluateCast(tensor::CastOp op, Frame<T> &frame) {
  frame.set(op.getResult(), frame.ref(op.getSource()));
  return llvm::Error::success();
}

/// Indices may differ between the elements of an iteration space; the result has its shape.
template <typename T> static llvm::Error evaluateExtract(tensor::ExtractOp op, Frame<T> &frame) {
  llvm::Expected<Shape> shape = commonShape(op, op.getIndices(), frame);
  if (!shape)
    return shape.takeError();
  return withDense(op.getTensor(), frame, [&](const auto &source) -> llvm::Error {
    std::decay_t<decltype(source)> result;
    result.shape = *shape;
    for (int64_t i = 0, count = elementCount(*shape); i < count; ++i) {
      int64_t linear = 0;
      for (auto [axis, index] : llvm::enumerate(op.getIndices())) {
        int64_t at = elementAt(frame.integers(index), i);
        if (at < 0 || at >= source.shape[axis])
          return failAt(op, "index " + Twine(at) + " lies outside axis " + Twine(axis));
        linear = linear * source.shape[axis] + at;
      }
      result.data.push_back(source.data[linear]);
    }
    frame.set(op.getResult(), std::move(result));
    return llvm::Error::success();
  });
}

/// In front of a read that says by itself which index lies outside.
template <typename T> static llvm::Error evaluateAssert(cf::AssertOp, Frame<T> &) { return llvm::Error::success(); }

template <typename T> static llvm::Error evaluateInsert(tensor::InsertOp op, Frame<T> &frame) {
  return withDense(op.getDest(), frame, [&](const auto &dest) -> llvm::Error {
    using D = std::decay_t<decltype(dest)>;
    int64_t linear = 0;
    for (auto [axis, index] : llvm::enumerate(op.getIndices())) {
      int64_t at = elementAt(frame.integers(index), 0);
      if (at < 0 || at >= dest.shape[axis])
        return failAt(op, "index " + Twine(at) + " lies outside axis " + Twine(axis));
      linear = linear * dest.shape[axis] + at;
    }
    D result = dest;
    result.data[linear] = std::get<D>(*frame.ref(op.getScalar())).data.front();
    frame.set(op.getResult(), std::move(result));
    return llvm::Error::success();
  });
}

/// The linear index into `shape` of every element of a slice, in the slice's order; false when one lies outside.
static bool sliceIndices(ArrayRef<int64_t> shape, ArrayRef<int64_t> offsets, ArrayRef<int64_t> sizes,
                         ArrayRef<int64_t> strides, std::vector<int64_t> &indices) {
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    if (offsets[axis] < 0 || sizes[axis] < 0 || strides[axis] < 1)
      return false;
    __int128 last = __int128(offsets[axis]) + __int128(sizes[axis] - 1) * strides[axis];
    if (sizes[axis] > 0 && last >= shape[axis])
      return false;
  }
  indices.resize(elementCount(sizes));
  forEachIndex(sizes, [&](int64_t linear, ArrayRef<int64_t> index) {
    int64_t at = 0;
    for (size_t axis = 0; axis < shape.size(); ++axis)
      at = at * shape[axis] + offsets[axis] + index[axis] * strides[axis];
    indices[linear] = at;
  });
  return true;
}

template <typename Op, typename T>
static llvm::Error indicesOf(Op op, ArrayRef<int64_t> shape, Frame<T> &frame, SmallVector<int64_t> &sizes,
                             std::vector<int64_t> &indices) {
  sizes = sizesOf(op.getMixedSizes(), frame);
  if (llvm::Error error = frame.admit(op, sizes))
    return error;
  if (!sliceIndices(shape, sizesOf(op.getMixedOffsets(), frame), sizes, sizesOf(op.getMixedStrides(), frame), indices))
    return failAt(op, "the slice lies outside the tensor");
  return llvm::Error::success();
}

template <typename T> static llvm::Error evaluateExtractSlice(tensor::ExtractSliceOp op, Frame<T> &frame) {
  SmallVector<int64_t> sizes;
  std::vector<int64_t> indices;
  if (llvm::Error error = indicesOf(op, frame.shape(op.getSource()), frame, sizes, indices))
    return error;
  return withDense(op.getSource(), frame, [&](const auto &source) -> llvm::Error {
    std::decay_t<decltype(source)> result;
    llvm::SmallBitVector dropped = op.getDroppedDims();
    for (auto [axis, size] : llvm::enumerate(sizes))
      if (!dropped.test(axis))
        result.shape.push_back(size);
    for (int64_t index : indices)
      result.data.push_back(source.data[index]);
    frame.set(op.getResult(), std::move(result));
    return llvm::Error::success();
  });
}

template <typename T> static llvm::Error evaluateInsertSlice(tensor::InsertSliceOp op, Frame<T> &frame) {
  SmallVector<int64_t> sizes;
  std::vector<int64_t> indices;
  if (llvm::Error error = indicesOf(op, frame.shape(op.getDest()), frame, sizes, indices))
    return error;
  return withDense(op.getDest(), frame, [&](const auto &dest) -> llvm::Error {
    using D = std::decay_t<decltype(dest)>;
    const D &source = std::get<D>(*frame.ref(op.getSource()));
    if (source.data.size() != indices.size())
      return failAt(op, "the source does not have the slice's size");
    if (llvm::Error error = frame.admit(op, dest.shape))
      return error;
    D result = dest;
    for (auto [i, index] : llvm::enumerate(indices))
      result.data[index] = source.data[i];
    frame.set(op.getResult(), std::move(result));
    return llvm::Error::success();
  });
}

template <typename T>
static llvm::Error reshape(Operation *op, Value source, ArrayRef<int64_t> shape, Frame<T> &frame) {
  if (llvm::Error error = frame.admit(op, shape))
    return error;
  return withDense(source, frame, [&](const auto &input) -> llvm::Error {
    if (elementCount(shape) != int64_t(input.data.size()))
      return failAt(op, "the shapes do not have the same number of elements");
    auto result = input;
    result.shape.assign(shape.begin(), shape.end());
    frame.set(op->getResult(0), std::move(result));
    return llvm::Error::success();
  });
}

template <typename T> static llvm::Error evaluateCollapse(tensor::CollapseShapeOp op, Frame<T> &frame) {
  const Shape &source = frame.shape(op.getSrc());
  SmallVector<int64_t> shape;
  for (const ReassociationIndices &group : op.getReassociationIndices()) {
    shape.push_back(1);
    for (int64_t axis : group)
      shape.back() *= source[axis];
  }
  return reshape(op, op.getSrc(), shape, frame);
}
template <typename T> static llvm::Error evaluateExpand(tensor::ExpandShapeOp op, Frame<T> &frame) {
  Builder builder(op.getContext());
  auto shape = getMixedValues(op.getStaticOutputShape(), op.getOutputShape(), builder);
  return reshape(op, op.getSrc(), sizesOf(shape, frame), frame);
}

/// tensor.splat and tensor.from_elements: scalars laid out in the result's shape.
template <typename T> static llvm::Error fromScalars(Operation *op, ArrayRef<int64_t> shape, Frame<T> &frame) {
  if (llvm::Error error = frame.admit(op, shape))
    return error;
  auto fill = [&](auto result) {
    for (auto [i, value] : llvm::enumerate(result.data)) {
      Value operand = op->getOperand(isa<tensor::SplatOp>(op) ? 0 : i);
      value = std::get<decltype(result)>(*frame.ref(operand)).data.front();
    }
    frame.set(op->getResult(0), std::move(result));
    return llvm::Error::success();
  };
  if (isa<FloatType>(resultElement(op)))
    return fill(Floats<T>::filled(shape));
  return fill(Integers::filled(shape));
}
template <typename T> static llvm::Error evaluateFromElements(tensor::FromElementsOp op, Frame<T> &frame) {
  return fromScalars(op, op.getType().getShape(), frame);
}
template <typename T> static llvm::Error evaluateSplat(tensor::SplatOp op, Frame<T> &frame) {
  SmallVector<int64_t> shape(op.getType().getShape());
  auto dynamic = op.getDynamicSizes().begin();
  for (int64_t &dim : shape)
    if (dim == ShapedType::kDynamic)
      dim = frame.integer(*dynamic++);
  return fromScalars(op, shape, frame);
}

template <typename T> void registerTensor(Evaluators<T> evaluators) {
  evaluators.template add<tensor::EmptyOp, evaluateEmpty<T>>();
  evaluators.template add<tensor::DimOp, evaluateDim<T>>();
  evaluators.template add<tensor::CastOp, evaluateCast<T>>();
  evaluators.template add<tensor::ExtractOp, evaluateExtract<T>>();
  evaluators.template add<cf::AssertOp, evaluateAssert<T>>();
  evaluators.template add<tensor::ExtractSliceOp, evaluateExtractSlice<T>>();
  evaluators.template add<tensor::InsertOp, evaluateInsert<T>>();
  evaluators.template add<tensor::InsertSliceOp, evaluateInsertSlice<T>>();
  evaluators.template add<tensor::CollapseShapeOp, evaluateCollapse<T>>();
  evaluators.template add<tensor::ExpandShapeOp, evaluateExpand<T>>();
  evaluators.template add<tensor::FromElementsOp, evaluateFromElements<T>>();
  evaluators.template add<tensor::SplatOp, evaluateSplat<T>>();
}
MLC_REFERENCE_FAMILY(registerTensor)

} // namespace mlc::reference
