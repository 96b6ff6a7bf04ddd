//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Structured ops (linalg.generic, fill and the named ones). The body is evaluated for the whole parallel iteration
// space at once, its scalars standing for tensors of that shape; reductions step through their points in row-major
// order.
//
#include "compiler/Reference/Frame.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"

using namespace mlir;

namespace mlc::reference {
namespace {

/// nullopt: division by zero.
std::optional<int64_t> evaluateExpr(AffineExpr expr, ArrayRef<int64_t> point) {
  if (auto dim = dyn_cast<AffineDimExpr>(expr))
    return point[dim.getPosition()];
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return constant.getValue();
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  if (!binary)
    return std::nullopt;
  std::optional<int64_t> a = evaluateExpr(binary.getLHS(), point), b = evaluateExpr(binary.getRHS(), point);
  int64_t result;
  if (!a || !b)
    return std::nullopt;
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    return __builtin_add_overflow(*a, *b, &result) ? std::nullopt : std::optional(result);
  case AffineExprKind::Mul:
    return __builtin_mul_overflow(*a, *b, &result) ? std::nullopt : std::optional(result);
  case AffineExprKind::Mod:
    return *b < 1 ? std::nullopt : std::optional(llvm::mod(*a, *b));
  case AffineExprKind::FloorDiv:
    return *b < 1 ? std::nullopt : std::optional(llvm::divideFloorSigned(*a, *b));
  case AffineExprKind::CeilDiv:
    return *b < 1 ? std::nullopt : std::optional(llvm::divideCeilSigned(*a, *b));
  default:
    return std::nullopt;
  }
}

/// Linear index of the element that `map` names at `point`; -1 when it lies outside `shape`.
int64_t elementIndex(AffineMap map, ArrayRef<int64_t> point, ArrayRef<int64_t> shape) {
  int64_t linear = 0;
  for (auto [expr, extent] : llvm::zip_equal(map.getResults(), shape)) {
    std::optional<int64_t> index = evaluateExpr(expr, point);
    if (!index || *index < 0 || *index >= extent)
      return -1;
    linear = linear * extent + *index;
  }
  return linear;
}

/// The iteration space, cut into parallel axes, which are walked for every point of the others.
struct Space {
  SmallVector<int64_t> extents, point;
  SmallVector<unsigned> parallel, reductions;

  SmallVector<int64_t> shapeOf(ArrayRef<unsigned> axes) const {
    SmallVector<int64_t> shape;
    for (unsigned axis : axes)
      shape.push_back(extents[axis]);
    return shape;
  }
  /// The next point of `axes` in row-major order; false after the last, which leaves them at 0.
  bool advance(ArrayRef<unsigned> axes) {
    for (unsigned axis : llvm::reverse(axes)) {
      if (++point[axis] < extents[axis])
        return true;
      point[axis] = 0;
    }
    return false;
  }
};

/// The iteration space of the operands' shapes.
template <typename T> llvm::Expected<Space> spaceOf(linalg::LinalgOp op, Frame<T> &frame) {
  if (!op.hasPureTensorSemantics())
    return failAt(op, "only tensors have an evaluation");
  SmallVector<int64_t> dims;
  for (Value operand : op->getOperands())
    llvm::append_range(dims, frame.shape(operand));
  AffineMap toLoops = op.getShapesToLoopsMap();
  if (!toLoops || toLoops.getNumDims() != dims.size())
    return failAt(op, "the operands' shapes do not give the iteration space");
  Space space;
  for (AffineExpr expr : toLoops.getResults())
    space.extents.push_back(evaluateExpr(expr, dims).value_or(-1));
  space.point.assign(space.extents.size(), 0);
  int64_t count = 1;
  for (auto [axis, kind] : llvm::enumerate(op.getIteratorTypesArray())) {
    (kind == utils::IteratorType::parallel ? space.parallel : space.reductions).push_back(axis);
    if (space.extents[axis] < 0 || __builtin_mul_overflow(count, space.extents[axis], &count))
      return failAt(op, "the iteration space is too large");
  }
  if (llvm::Error error = frame.spend(op, count))
    return error;
  if (llvm::Error error = frame.admit(op, space.shapeOf(space.parallel)))
    return error;
  return space;
}

} // namespace

/// The element of `operand` at every point of the parallel axes, the others held.
template <typename T>
static llvm::Error gather(linalg::LinalgOp op, OpOperand &operand, Space &space, Frame<T> &frame, HostValue<T> &out) {
  AffineMap map = op.getMatchingIndexingMap(&operand);
  auto collect = [&](const auto &source) -> llvm::Error {
    std::decay_t<decltype(source)> result;
    SmallVector<int64_t> shape = space.shapeOf(space.parallel);
    result.shape.assign(shape.begin(), shape.end());
    int64_t count = elementCount(shape);
    result.data.reserve(count);
    for (int64_t i = 0; i < count; ++i, space.advance(space.parallel)) {
      int64_t index = elementIndex(map, space.point, source.shape);
      if (index < 0)
        return failAt(op, "operand " + Twine(operand.getOperandNumber()) + " does not cover the iteration space");
      result.data.push_back(source.data[index]);
    }
    out = std::move(result);
    return llvm::Error::success();
  };
  if (frame.isFloat(operand.get()))
    return collect(frame.floats(operand.get()));
  return collect(frame.integers(operand.get()));
}

/// Writes accumulated values back where `operand`'s map puts them.
template <typename T>
static llvm::Error scatter(linalg::LinalgOp op, OpOperand &operand, Value result, const HostValue<T> &values,
                           Space &space, Frame<T> &frame) {
  AffineMap map = op.getMatchingIndexingMap(&operand);
  auto write = [&](auto target) -> llvm::Error {
    const auto &source = std::get<decltype(target)>(values);
    int64_t count = elementCount(space.shapeOf(space.parallel));
    for (int64_t i = 0; i < count; ++i, space.advance(space.parallel)) {
      int64_t index = elementIndex(map, space.point, target.shape);
      if (index < 0)
        return failAt(op, "an output does not cover the iteration space");
      target.data[index] = source.shape.empty() ? source.data.front() : source.data[i];
    }
    frame.set(result, std::move(target));
    return llvm::Error::success();
  };
  if (frame.isFloat(operand.get()))
    return write(frame.floats(operand.get()));
  return write(frame.integers(operand.get()));
}

/// What linalg.index of every axis gives: its coordinate at every point of the parallel axes.
static Integers coordinates(unsigned axis, Space &space) {
  SmallVector<int64_t> shape = space.shapeOf(space.parallel);
  auto result = Integers::filled(shape);
  for (int64_t &value : result.data) {
    value = space.point[axis];
    space.advance(space.parallel);
  }
  return result;
}

template <typename T> llvm::Error evaluateStructured(Operation *operation, Frame<T> &frame) {
  auto op = cast<linalg::LinalgOp>(operation);
  llvm::Expected<Space> space = spaceOf(op, frame);
  if (!space)
    return space.takeError();
  for (OpOperand &init : op.getDpsInitsMutable())
    for (unsigned axis : space->reductions)
      if (op.getMatchingIndexingMap(&init).isFunctionOfDim(axis))
        return failAt(op, "an output that follows a reduction axis has no evaluation");

  Block &body = *op.getBlock();
  SmallVector<ValueRef<T>> accumulators;
  for (OpOperand &init : op.getDpsInitsMutable()) {
    HostValue<T> value;
    if (llvm::Error error = gather(op, init, *space, frame, value))
      return error;
    accumulators.push_back(std::make_shared<const HostValue<T>>(std::move(value)));
  }
  bool empty = llvm::is_contained(space->extents, 0);
  while (!empty) {
    SmallVector<ValueRef<T>> arguments;
    for (OpOperand *input : op.getDpsInputOperands()) {
      HostValue<T> value;
      if (llvm::Error error = gather(op, *input, *space, frame, value))
        return error;
      arguments.push_back(std::make_shared<const HostValue<T>>(std::move(value)));
    }
    llvm::append_range(arguments, accumulators);
    for (auto index : body.getOps<linalg::IndexOp>())
      frame.set(index.getResult(), coordinates(index.getDim(), *space));
    llvm::Expected<SmallVector<ValueRef<T>>> next = frame.runBlock(body, arguments);
    if (!next)
      return next.takeError();
    accumulators = std::move(*next);
    empty = !space->advance(space->reductions);
  }
  for (auto [init, result, value] : llvm::zip_equal(op.getDpsInitsMutable(), op->getResults(), accumulators))
    if (llvm::Error error = scatter<T>(op, init, result, *value, *space, frame))
      return error;
  return llvm::Error::success();
}

/// evaluateStructured has set the value before it runs the body.
template <typename T> static llvm::Error evaluateIndex(linalg::IndexOp op, Frame<T> &) {
  return llvm::Error::success();
}
template <typename T> void registerStructured(Evaluators<T> evaluators) {
  evaluators.template add<linalg::IndexOp, evaluateIndex<T>>();
}
MLC_REFERENCE_FAMILY(registerStructured)
template llvm::Error evaluateStructured<float>(Operation *, Frame<float> &);
template llvm::Error evaluateStructured<double>(Operation *, Frame<double> &);

} // namespace mlc::reference
