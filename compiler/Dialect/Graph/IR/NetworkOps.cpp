//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Verifiers of the ops of networks.
//
#include "compiler/Dialect/Graph/IR/Graph.h"

#include "compiler/Dialect/Graph/IR/Verify.h"

#include <cmath>

using namespace mlir;
using namespace mlc::graph;

// Windows and steps stay far below where products of them and an extent overflow.
static constexpr int64_t kMostWindow = int64_t(1) << 31;

static RankedTensorType tensorOf(Value value) { return cast<RankedTensorType>(value.getType()); }
/// Whether two extents may be the same.
static bool agree(int64_t a, int64_t b) { return a == b || ShapedType::isDynamic(a) || ShapedType::isDynamic(b); }

LogicalResult ReadOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto weight = symbols.lookupNearestSymbolFrom<WeightOp>(*this, getWeightAttr());
  if (!weight)
    return emitOpError("names ") << getWeightAttr() << ", which is no graph.weight";
  if (weight.getTensorType() != getType())
    return emitOpError("gives ") << getType() << ", weight " << getWeightAttr() << " is " << weight.getTensorType();
  return success();
}

/// Every window's values are in range; `spatial` of them, twice as many pads.
static LogicalResult verifyWindow(Operation *op, int64_t spatial, ArrayRef<int64_t> kernel, ArrayRef<int64_t> strides,
                                  ArrayRef<int64_t> dilations, ArrayRef<int64_t> pads) {
  if (spatial < 0 || int64_t(kernel.size()) != spatial || int64_t(strides.size()) != spatial ||
      int64_t(dilations.size()) != spatial || int64_t(pads.size()) != 2 * spatial)
    return op->emitOpError("needs a kernel, a stride and a dilation for each spatial axis, and two pads");
  auto inRange = [](int64_t least) {
    return [least](int64_t value) { return value >= least && value <= kMostWindow; };
  };
  if (!llvm::all_of(kernel, inRange(1)) || !llvm::all_of(strides, inRange(1)) || !llvm::all_of(dilations, inRange(1)) ||
      !llvm::all_of(pads, inRange(-kMostWindow)))
    return op->emitOpError("kernel, strides and dilations must be positive, and all below 2^31");
  for (int64_t axis = 0; axis < spatial; ++axis)
    if ((kernel[axis] - 1) * dilations[axis] > kMostWindow)
      return op->emitOpError("a dilated window must be below 2^31");
  return success();
}

template <typename Op> static LogicalResult verifyConvolution(Op op, bool transposed) {
  RankedTensorType input = tensorOf(op.getInput()), filter = tensorOf(op.getFilter()),
                   result = op.getResult().getType();
  int64_t rank = input.getRank(), groups = op.getGroups();
  if (rank < 3 || filter.getRank() != rank || result.getRank() != rank || !filter.hasStaticShape())
    return op.emitOpError("takes [B, C, D...] and a filter of static shape and the same rank");
  if (failed(verifyWindow(op, rank - 2, filter.getShape().drop_front(2), op.getStrides(), op.getDilations(),
                          op.getPads())))
    return failure();
  int64_t in = filter.getDimSize(transposed ? 0 : 1), out = filter.getDimSize(transposed ? 1 : 0);
  if (groups < 1 || groups > kMostWindow || (transposed ? in : out) % groups)
    return op.emitOpError("groups must be positive and divide the channels");
  (transposed ? out : in) *= groups;
  if (!agree(input.getDimSize(1), in) || !agree(result.getDimSize(1), out) ||
      !agree(input.getDimSize(0), result.getDimSize(0)))
    return op.emitOpError("filter has ") << in << " channels in and " << out << " out, which do not fit";
  if (Value bias = op.getBias())
    if (tensorOf(bias).getRank() != 1 || tensorOf(bias).getDimSize(0) != out)
      return op.emitOpError("bias must have ") << out << " values";
  Type element = result.getElementType();
  if (input.getElementType() != element || filter.getElementType() != element ||
      (op.getBias() && tensorOf(op.getBias()).getElementType() != element))
    return op.emitOpError("operands and result must have one element type");
  return success();
}

LogicalResult ConvOp::verify() {
  if (failed(verifyConvolution(*this, false)))
    return failure();
  RankedTensorType input = tensorOf(getInput()), filter = tensorOf(getFilter()), result = getResult().getType();
  for (int64_t axis = 2, spatial = input.getRank() - 2; axis < input.getRank(); ++axis) {
    if (input.isDynamicDim(axis) || result.isDynamicDim(axis))
      continue;
    int64_t room = input.getDimSize(axis) + getPads()[axis - 2] + getPads()[axis - 2 + spatial] -
                   (filter.getDimSize(axis) - 1) * getDilations()[axis - 2] - 1;
    if (room < 0 || room / getStrides()[axis - 2] + 1 != result.getDimSize(axis))
      return emitOpError("axis ") << axis << " of the result does not follow from the window";
  }
  return success();
}

LogicalResult ConvTransposeOp::verify() { return verifyConvolution(*this, true); }

LogicalResult PoolOp::verify() {
  RankedTensorType input = tensorOf(getInput()), result = getResult().getType();
  int64_t rank = input.getRank();
  if (rank < 3 || result.getRank() != rank || !agree(input.getDimSize(0), result.getDimSize(0)) ||
      !agree(input.getDimSize(1), result.getDimSize(1)) || input.getElementType() != result.getElementType())
    return emitOpError("takes [B, C, D...] to [B, C, O...]");
  if (getKind() != PoolKind::max && !isa<FloatType>(input.getElementType()))
    return emitOpError("only floats have averages and norms");
  if (getIndices() &&
      (getKind() != PoolKind::max || !cast<RankedTensorType>(getIndices().getType()).getElementType().isInteger(64) ||
       cast<RankedTensorType>(getIndices().getType()).getShape() != result.getShape()))
    return emitOpError("only a max has indices: i64, of its own shape");
  if (int64_t(getP()) < 1)
    return emitOpError("p must be positive");
  return verifyWindow(*this, rank - 2, getKernel(), getStrides(), getDilations(), getPads());
}

LogicalResult ResizeOp::verify() {
  RankedTensorType input = tensorOf(getInput()), result = getResult().getType();
  if (input.getRank() != 4 || result.getRank() != 4 || !agree(input.getDimSize(0), result.getDimSize(0)) ||
      !agree(input.getDimSize(1), result.getDimSize(1)) || input.getElementType() != result.getElementType() ||
      !isa<FloatType>(input.getElementType()))
    return emitOpError("takes floats [B, C, D, E] to [B, C, O, P]");
  for (RankedTensorType type : {input, result})
    for (int64_t extent : type.getShape().drop_front(2))
      if (extent < 1 || extent > kMostWindow)
        return emitOpError("resizes axes of 1 to 2^31 values");
  return success();
}

ResizeOp::Between ResizeOp::between(unsigned axis, int64_t place) {
  double in = double(tensorOf(getInput()).getDimSize(axis)), out = double(getResult().getType().getDimSize(axis));
  double at = double(place) * in / out;
  if (getCoordinates() == ResizeCoordinates::half_pixel)
    at = (double(place) + 0.5) * in / out - 0.5;
  else if (getCoordinates() == ResizeCoordinates::align_corners)
    at = out == 1 ? 0 : double(place) * (in - 1) / (out - 1);
  at = std::clamp(at, 0.0, in - 1);
  double before = std::floor(at);
  return {int64_t(before), int64_t(std::min(before + 1, in - 1)), at - before};
}

bool DequantizeBlocksOp::takes(int64_t bits, int64_t block, int64_t k) {
  constexpr int64_t kMost = int64_t(1) << 30;
  return (bits == 2 || bits == 4 || bits == 8) && k >= 1 && k <= kMost && block >= 1 && block <= kMost &&
         block * bits % 8 == 0;
}

LogicalResult DequantizeBlocksOp::verify() {
  RankedTensorType codes = tensorOf(getCodes()), scales = tensorOf(getScales()), result = getResult().getType();
  if (!result.hasStaticShape() || result.getRank() != 2 || !isa<FloatType>(result.getElementType()))
    return emitOpError("gives floats [K, N]");
  int64_t k = result.getDimSize(0), n = result.getDimSize(1), bits = int64_t(getBits()), block = int64_t(getBlock());
  if (!takes(bits, block, k))
    return emitOpError("takes 2, 4 or 8 bits, and blocks of whole bytes");
  int64_t blocks = (k + block - 1) / block;
  auto is = [&](RankedTensorType type, int64_t columns, Type element) {
    return type.getShape() == ArrayRef<int64_t>{n, columns} && type.getElementType() == element;
  };
  Type byte = IntegerType::get(getContext(), 8);
  if (!is(codes, blocks * (block * bits / 8), byte) || !is(scales, blocks, result.getElementType()))
    return emitOpError("takes codes i8 [N, blocks * block * bits / 8] and scales [N, blocks] of the result's type");
  if (getZeros() && !is(tensorOf(getZeros()), (blocks * bits + 7) / 8, byte) &&
      !is(tensorOf(getZeros()), blocks, result.getElementType()))
    return emitOpError("takes zeros i8 [N, (blocks * bits + 7) / 8], or [N, blocks] of the result's type");
  if (getRounds() && (bits != 4 || getZeros() || block % 32 || k % block))
    return emitOpError("rounds products of 4 bits without zeros, in whole blocks of a multiple of 32");
  return success();
}

LogicalResult MatmulOp::verify() {
  RankedTensorType a = tensorOf(getA()), b = tensorOf(getB()), result = getResult().getType();
  int64_t rank = result.getRank();
  if (rank < 2 || a.getRank() != rank || b.getRank() != rank)
    return emitOpError("takes two tensors of the result's rank, 2 or more");
  for (int64_t axis = 0; axis < rank - 2; ++axis)
    for (int64_t size : {a.getDimSize(axis), b.getDimSize(axis)})
      if (size != 1 && !agree(size, result.getDimSize(axis)))
        return emitOpError("axis ") << axis << " does not agree";
  if (!agree(a.getDimSize(rank - 1), b.getDimSize(rank - 2)) ||
      !agree(a.getDimSize(rank - 2), result.getDimSize(rank - 2)) ||
      !agree(b.getDimSize(rank - 1), result.getDimSize(rank - 1)))
    return emitOpError("takes [m, k] and [k, n] to [m, n]");
  if (isa<FloatType>(a.getElementType()) != isa<FloatType>(result.getElementType()) ||
      isa<FloatType>(b.getElementType()) != isa<FloatType>(result.getElementType()))
    return emitOpError("takes floats to floats or integers to integers");
  return success();
}

static bool isInteger64(Type type) { return cast<RankedTensorType>(type).getElementType().isInteger(64); }

LogicalResult ScatterOp::verify() {
  RankedTensorType into = tensorOf(getInto()), indices = tensorOf(getIndices()), updates = tensorOf(getUpdates());
  if (getResult().getType() != into || updates.getElementType() != into.getElementType())
    return emitOpError("gives what it takes, and updates of that type");
  if (indices.getRank() != 2 || !isInteger64(indices) || indices.isDynamicDim(1) ||
      indices.getDimSize(1) > into.getRank())
    return emitOpError("takes indices [N, R] of i64, R static and not above the rank");
  int64_t outer = indices.getDimSize(1);
  if (updates.getRank() != 1 + into.getRank() - outer || !agree(updates.getDimSize(0), indices.getDimSize(0)))
    return emitOpError("takes one update for each row of indices");
  for (int64_t axis = outer; axis < into.getRank(); ++axis)
    if (!agree(updates.getDimSize(1 + axis - outer), into.getDimSize(axis)))
      return emitOpError("axis ") << axis << " of the updates does not agree";
  return success();
}

LogicalResult SortOp::verify() {
  RankedTensorType input = tensorOf(getInput());
  if (int64_t(getAxis()) < 0 || int64_t(getAxis()) >= input.getRank())
    return emitOpError("has no axis ") << int64_t(getAxis());
  if (getValues().getType() != input || !isInteger64(getIndices().getType()) ||
      tensorOf(getIndices()).getShape() != input.getShape())
    return emitOpError("gives values of its input's type and i64 indices of its shape");
  return success();
}

LogicalResult NonzeroOp::verify() {
  RankedTensorType result = tensorOf(getResult());
  if (result.getRank() != 2 || !isInteger64(result) || !agree(result.getDimSize(0), tensorOf(getInput()).getRank()))
    return emitOpError("gives i64 [rank, N]");
  return success();
}

LogicalResult NonMaxSuppressionOp::verify() {
  RankedTensorType boxes = tensorOf(getBoxes()), scores = tensorOf(getScores()), result = tensorOf(getResult());
  if (boxes.getRank() != 3 || scores.getRank() != 3 || !agree(boxes.getDimSize(2), 4) ||
      !agree(boxes.getDimSize(0), scores.getDimSize(0)) || !agree(boxes.getDimSize(1), scores.getDimSize(2)) ||
      !isa<FloatType>(boxes.getElementType()) || !isa<FloatType>(scores.getElementType()))
    return emitOpError("takes boxes [B, K, 4] and scores [B, classes, K] of floats");
  if (tensorOf(getMost()).getRank() || !isInteger64(getMost().getType()) || tensorOf(getOverlap()).getRank() ||
      !isa<FloatType>(tensorOf(getOverlap()).getElementType()) ||
      (getLeast() && (tensorOf(getLeast()).getRank() || !isa<FloatType>(tensorOf(getLeast()).getElementType()))))
    return emitOpError("takes scalars: most (i64), overlap and least (floats)");
  if (result.getRank() != 2 || !isInteger64(result) || !agree(result.getDimSize(1), 3))
    return emitOpError("gives i64 [N, 3]");
  return success();
}

LogicalResult SoftmaxOp::verify() {
  if (int64_t(getAxis()) < 0 || int64_t(getAxis()) >= tensorOf(getInput()).getRank())
    return emitOpError("has no axis ") << int64_t(getAxis());
  return success();
}

LogicalResult RecurrentOp::verify() {
  RankedTensorType x = tensorOf(getX()), r = tensorOf(getR());
  if (x.getRank() != 3 || !r.hasStaticShape() || r.getRank() != 2 || x.isDynamicDim(2) ||
      !isa<FloatType>(x.getElementType()))
    return emitOpError("takes x [T, B, C] and r [gates * H, H] of floats, C and H static");
  bool lstm = getCell() == Cell::lstm;
  int64_t hidden = r.getDimSize(1), gates = lstm ? 4 : getCell() >= Cell::gru ? 3 : 1, batch = x.getDimSize(1);
  auto is = [&](Value value, ArrayRef<int64_t> shape) {
    auto type = tensorOf(value);
    return type.getElementType() == x.getElementType() && type.getRank() == int64_t(shape.size()) &&
           llvm::all_of(llvm::zip(type.getShape(), shape),
                        [](auto pair) { return agree(std::get<0>(pair), std::get<1>(pair)); });
  };
  if (!is(getW(), {gates * hidden, x.getDimSize(2)}) || !is(getR(), {gates * hidden, hidden}) ||
      !is(getBias(), {2 * gates * hidden}) || !is(getH0(), {batch, hidden}))
    return emitOpError("w, r, bias and h0 must be [gates * H, C], [gates * H, H], [2 * gates * H] and [B, H]");
  if (bool(getC0()) != lstm || bool(getC()) != lstm || (getPeepholes() && !lstm))
    return emitOpError("an lstm, and no other cell, has c and may have peepholes");
  if (lstm && (!is(getC0(), {batch, hidden}) || !is(getC(), {batch, hidden}) ||
               (getPeepholes() && !is(getPeepholes(), {3 * hidden}))))
    return emitOpError("c must be [B, H], peepholes [3 * H]");
  if (getLengths() &&
      (tensorOf(getLengths()).getRank() != 1 || !tensorOf(getLengths()).getElementType().isInteger(32) ||
       !agree(tensorOf(getLengths()).getDimSize(0), batch)))
    return emitOpError("lengths must be i32 [B]");
  if (!is(getY(), {x.getDimSize(0), batch, hidden}) || !is(getH(), {batch, hidden}))
    return emitOpError("y must be [T, B, H], h [B, H]");
  return success();
}
