//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Elementwise ops whose result lies along another axis than what they read: squares are turned around in registers.
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

/// Rows and columns of a square.
constexpr int64_t kSide = 8;

class Turned {
public:
  Turned(linalg::GenericOp op, unsigned along, unsigned across, OpBuilder &builder)
      : op(op), b(op.getLoc(), builder), along(along), across(across), ranges(op.getStaticLoopRanges()),
        place(op.getNumLoops()), type(VectorType::get({kSide}, b.getF32Type())) {}

  void emit(std::optional<int64_t> split, Value begin, Value end) {
    for (unsigned axis = 0; axis < ranges.size(); ++axis)
      if (axis != along && axis != across)
        outer.push_back(axis);
    if (split) {
      llvm::erase(outer, unsigned(*split));
      outer.insert(outer.begin(), unsigned(*split));
    }
    emitOuter(0, split, begin, end);
  }

private:
  Value index(int64_t value) { return b.create<arith::ConstantIndexOp>(value); }

  void loop(Value from, Value to, int64_t step, llvm::function_ref<void(Value)> body) {
    auto made = b.create<scf::ForOp>(from, to, index(step));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(made.getBody()->getTerminator());
    body(made.getInductionVar());
  }

  void emitOuter(unsigned depth, std::optional<int64_t> split, Value begin, Value end) {
    if (depth < outer.size()) {
      bool shared = depth == 0 && split;
      return loop(shared ? begin : index(0), shared ? end : index(ranges[outer[depth]]), 1, [&](Value at) {
        place[outer[depth]] = at;
        emitOuter(depth + 1, split, begin, end);
      });
    }
    loop(index(0), index(ranges[across]), kSide, [&](Value row) {
      place[across] = row;
      int64_t whole = ranges[along] / kSide * kSide;
      loop(index(0), index(whole), kSide, [&](Value at) {
        place[along] = at;
        emitSquare();
      });
      // The last square overlaps the one before: what both calculate is the same.
      if (whole < ranges[along]) {
        place[along] = index(ranges[along] - kSide);
        emitSquare();
      }
    });
  }

  SmallVector<Value> indices(OpOperand &operand, int64_t alongStep, int64_t acrossStep) {
    AffineMap map = op.getMatchingIndexingMap(&operand);
    SmallVector<AffineExpr> shifted;
    for (unsigned axis = 0; axis < map.getNumDims(); ++axis)
      shifted.push_back(b.getAffineDimExpr(axis) + (axis == along ? alongStep : axis == across ? acrossStep : 0));
    SmallVector<OpFoldResult> operands(llvm::map_range(place, [](Value at) { return OpFoldResult(at); }));
    SmallVector<Value> result;
    for (AffineExpr expr : map.getResults()) {
      AffineMap one = AffineMap::get(map.getNumDims(), 0, expr.replaceDims(shifted));
      result.push_back(getValueOrCreateConstantIndexOp(
          b, b.getLoc(), affine::makeComposedFoldedAffineApply(b, b.getLoc(), one, operands)));
    }
    return result;
  }

  /// Element (i, j) of the result is element (j, i) of `rows`.
  static SmallVector<Value> transpose(ImplicitLocOpBuilder &b, SmallVector<Value> rows) {
    // Pairs, then pairs of pairs, ...: after each round, blocks of twice the size are turned.
    for (int64_t size = 1; size < kSide; size *= 2) {
      SmallVector<Value> next(kSide);
      for (int64_t i = 0; i < kSide; ++i) {
        if (i & size)
          continue;
        SmallVector<int64_t> low, high;
        for (int64_t k = 0; k < kSide; ++k) {
          low.push_back(k & size ? kSide + k - size : k);
          high.push_back(k & size ? kSide + k : k + size);
        }
        next[i] = b.create<vector::ShuffleOp>(rows[i], rows[i + size], low);
        next[i + size] = b.create<vector::ShuffleOp>(rows[i], rows[i + size], high);
      }
      rows = std::move(next);
    }
    return rows;
  }

  void emitSquare() {
    // By operand: one vector along the result's axis for each row.
    SmallVector<SmallVector<Value>> operands;
    for (OpOperand *operand : op.getDpsInputOperands()) {
      SmallVector<Value> rows;
      int64_t step = *strideOn(op, *operand, along), acrossStep = *strideOn(op, *operand, across);
      if (step > 1) {
        for (int64_t i = 0; i < kSide; ++i)
          rows.push_back(b.create<vector::LoadOp>(type, operand->get(), indices(*operand, i, 0)));
        rows = transpose(b, rows);
      } else {
        for (int64_t i = 0; i < (acrossStep ? kSide : 1); ++i)
          rows.push_back(step == 1 ? b.create<vector::LoadOp>(type, operand->get(), indices(*operand, 0, i)).getResult()
                                   : b.create<vector::BroadcastOp>(
                                         type, b.create<memref::LoadOp>(operand->get(), indices(*operand, 0, i))));
        rows.resize(kSide, rows.front());
      }
      operands.push_back(std::move(rows));
    }
    OpOperand &out = *op.getDpsInitOperand(0);
    for (int64_t row = 0; row < kSide; ++row) {
      IRMapping mapping;
      for (auto [argument, rows] : llvm::zip(op.getBody()->getArguments(), operands))
        mapping.map(argument, rows[row]);
      Operation *yield = op.getBody()->getTerminator();
      Value value = cloneBody(b, *op.getBody(), yield, mapping, yield->getOperand(0), type);
      b.create<vector::StoreOp>(value, out.get(), indices(out, 0, row));
    }
  }

  linalg::GenericOp op;
  ImplicitLocOpBuilder b;
  unsigned along, across;
  SmallVector<int64_t> ranges;
  SmallVector<Value> place;
  VectorType type;
  SmallVector<unsigned> outer;
};

} // namespace

bool mlc::lowerTurned(linalg::GenericOp op, OpBuilder &builder, std::optional<int64_t> split, Value begin, Value end) {
  if (op.getNumDpsInits() != 1 || op.getNumParallelLoops() != op.getNumLoops() || !worksOnVectors(op))
    return false;
  if (!holdsFloats(op) || !op.getBody()->getArguments().back().use_empty())
    return false;
  SmallVector<int64_t> ranges = op.getStaticLoopRanges();
  if (ShapedType::isDynamicShape(ranges))
    return false;
  OpOperand &out = *op.getDpsInitOperand(0);
  std::optional<unsigned> along, across;
  for (unsigned axis = 0; axis < ranges.size(); ++axis) {
    if (ranges[axis] < kSide || split == int64_t(axis))
      continue;
    if (strideOn(op, out, axis) == 1)
      along = axis;
    for (OpOperand *input : op.getDpsInputOperands())
      if (strideOn(op, *input, axis) == 1 && strideOn(op, out, axis).value_or(1) != 1)
        across = axis;
  }
  if (!along || !across || ranges[*across] % kSide)
    return false;
  // Each input lies along one of the two axes or knows neither that of the result nor that of the squares' rows.
  bool turned = false;
  for (OpOperand *input : op.getDpsInputOperands()) {
    for (unsigned axis = 0; axis < ranges.size(); ++axis)
      if (!strideOn(op, *input, axis))
        return false;
    int64_t step = *strideOn(op, *input, *along), acrossStep = *strideOn(op, *input, *across);
    if (step > 1 && acrossStep != 1)
      return false;
    turned |= step > 1;
  }
  if (!turned)
    return false;
  Turned(op, *along, *across, builder).emit(split, begin, end);
  return true;
}
