//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Reductions of f32 along what lies one after the other: several vectors of partial results, joined at the end in an
// order that neither the level nor the shares of workers change.
//
#include "compiler/Codegen/LowerRegion.h"
#include "compiler/Codegen/VectorBody.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace mlc;

namespace {

/// Lanes of a vector, and vectors of partial results: enough to cover the latency of an addition.
constexpr int64_t kReductionLanes = 8, kPartials = 4;

/// The op that joins the result so far, the body's last argument, with what the inputs give; null when it is none that
/// may go in any order.
Operation *combiner(linalg::GenericOp op) {
  Block &body = *op.getBody();
  Value sum = body.getArguments().back();
  Operation *last = body.getTerminator()->getOperand(0).getDefiningOp();
  bool known = isa_and_nonnull<arith::AddFOp, arith::MaximumFOp, arith::MinimumFOp, arith::MaxNumFOp>(last) &&
               sum.hasOneUse() && last->getResult(0).hasOneUse() &&
               (last->getOperand(0) == sum) != (last->getOperand(1) == sum);
  return known ? last : nullptr;
}

class RowReduction {
public:
  RowReduction(linalg::GenericOp op, unsigned along, OpBuilder &builder)
      : op(op), b(op.getLoc(), builder), along(along), ranges(op.getStaticLoopRanges()), place(op.getNumLoops()),
        type(VectorType::get({kReductionLanes}, b.getF32Type())), join(combiner(op)), extents(loopExtents(b, op)) {}

  void emit(std::optional<int64_t> split, Value begin, Value end) {
    SmallVector<unsigned> outer;
    if (split)
      outer.push_back(unsigned(*split));
    auto kinds = op.getIteratorTypesArray();
    for (auto kind : {utils::IteratorType::parallel, utils::IteratorType::reduction})
      for (unsigned axis = 0; axis < ranges.size(); ++axis)
        if (kinds[axis] == kind && axis != along && split != int64_t(axis))
          outer.push_back(axis);
    emitOuter(outer, split, begin, end);
  }

private:
  Value index(int64_t value) { return b.create<arith::ConstantIndexOp>(value); }

  void emitOuter(ArrayRef<unsigned> axes, std::optional<int64_t> split, Value begin, Value end) {
    if (axes.empty())
      return emitRow();
    bool shared = split == int64_t(axes.front());
    auto made = b.create<scf::ForOp>(shared ? begin : index(0), shared ? end : extents[axes.front()], index(1));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(made.getBody()->getTerminator());
    place[axes.front()] = made.getInductionVar();
    emitOuter(axes.drop_front(), split, begin, end);
  }

  SmallVector<Value> indices(OpOperand &operand, int64_t step) {
    return shiftedIndices(b, op.getMatchingIndexingMap(&operand), place, along, step);
  }

  /// What the inputs give at the row's place, `step` beyond it: a vector, or with `scalar` one element.
  Value given(int64_t step, bool scalar) {
    IRMapping mapping;
    for (auto [argument, operand] : llvm::zip(op.getBody()->getArguments(), op.getDpsInputOperands())) {
      Value value;
      if (scalar || !*strideOn(op, *operand, along)) {
        value = b.create<memref::LoadOp>(operand->get(), indices(*operand, step));
        if (!scalar)
          value = b.create<vector::BroadcastOp>(type, value);
      } else {
        value = b.create<vector::LoadOp>(type, operand->get(), indices(*operand, step));
      }
      mapping.map(argument, value);
    }
    Value sum = op.getBody()->getArguments().back();
    Value wanted = join->getOperand(join->getOperand(0) == sum ? 1 : 0);
    return cloneBody(b, *op.getBody(), join, mapping, wanted, scalar ? Type(b.getF32Type()) : Type(type));
  }

  Value joined(Value x, Value y) {
    if (isa<arith::AddFOp>(join))
      return b.create<arith::AddFOp>(x, y);
    // The result so far is a number, so one comparison does it.
    if (isa<arith::MaxNumFOp>(join))
      return b.create<arith::SelectOp>(b.create<arith::CmpFOp>(arith::CmpFPredicate::OGT, y, x), y, x);
    if (isa<arith::MaximumFOp>(join))
      return b.create<arith::MaximumFOp>(x, y);
    return b.create<arith::MinimumFOp>(x, y);
  }

  /// What joining leaves everything else as it is.
  TypedAttr neutral() {
    if (isa<arith::AddFOp>(join))
      return b.getZeroAttr(type);
    bool negative = isa<arith::MaximumFOp, arith::MaxNumFOp>(join);
    return DenseElementsAttr::get(type, APFloat::getInf(b.getF32Type().getFloatSemantics(), negative));
  }

  /// Whole rounds of all partial results, whole vectors, then one by one.
  void emitRow() {
    constexpr int64_t kRound = kReductionLanes * kPartials;
    int64_t extent = ranges[along], rounds = extent / kRound * kRound,
            vectors = extent / kReductionLanes * kReductionLanes;
    Value start = b.create<arith::ConstantOp>(neutral());
    SmallVector<Value> partials(rounds ? kPartials : 1, start);
    if (rounds) {
      auto made = b.create<scf::ForOp>(index(0), index(rounds), index(kRound), partials);
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPointToStart(made.getBody());
      place[along] = made.getInductionVar();
      SmallVector<Value> next;
      for (auto [i, partial] : llvm::enumerate(made.getRegionIterArgs()))
        next.push_back(joined(partial, given(int64_t(i) * kReductionLanes, /*scalar=*/false)));
      b.create<scf::YieldOp>(next);
      partials.assign(made.getResults().begin(), made.getResults().end());
    }
    for (; partials.size() > 1; partials.resize(partials.size() / 2))
      for (size_t i = 0; i < partials.size() / 2; ++i)
        partials[i] = joined(partials[i], partials[i + partials.size() / 2]);
    Value sum = partials.front();
    place[along] = index(0);
    for (int64_t at = rounds; at < vectors; at += kReductionLanes)
      sum = joined(sum, given(at, /*scalar=*/false));
    for (int64_t half = kReductionLanes / 2; half; half /= 2)
      sum = joined(b.create<vector::ExtractStridedSliceOp>(sum, ArrayRef<int64_t>(0), half, 1),
                   b.create<vector::ExtractStridedSliceOp>(sum, half, half, 1));
    Value total = b.create<vector::ExtractOp>(sum, 0);
    for (int64_t at = vectors; at < extent; ++at)
      total = joined(total, given(at, /*scalar=*/true));
    OpOperand &out = *op.getDpsInitOperand(0);
    SmallVector<Value> where = indices(out, 0);
    b.create<memref::StoreOp>(joined(b.create<memref::LoadOp>(out.get(), where), total), out.get(), where);
  }

  linalg::GenericOp op;
  ImplicitLocOpBuilder b;
  unsigned along;
  SmallVector<int64_t> ranges;
  SmallVector<Value> place;
  VectorType type;
  Operation *join;
  SmallVector<Value> extents;
};

} // namespace

bool mlc::lowerRowReduction(linalg::GenericOp op, OpBuilder &builder, std::optional<int64_t> split, Value begin,
                            Value end) {
  if (op.getNumDpsInits() != 1 || !op.getNumReductionLoops() || !combiner(op) || !holdsFloats(op))
    return false;
  if (!worksOnVectors(op))
    return false;
  SmallVector<int64_t> ranges = op.getStaticLoopRanges();
  auto kinds = op.getIteratorTypesArray();
  auto fits = [&](unsigned axis) {
    bool along = false;
    for (OpOperand *input : op.getDpsInputOperands()) {
      std::optional<int64_t> step = strideOn(op, *input, axis);
      if (!step || *step > 1 || *step < 0)
        return false;
      along |= *step == 1;
    }
    return along;
  };
  for (unsigned axis = 0; axis < ranges.size(); ++axis)
    if (kinds[axis] == utils::IteratorType::reduction && ranges[axis] >= 2 * kReductionLanes && fits(axis)) {
      RowReduction(op, axis, builder).emit(split, begin, end);
      return true;
    }
  return false;
}
