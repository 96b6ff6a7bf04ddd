//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Products of values with panels: out[..., lane] += x[...] * panel[..., lane], a tile of positions and panels in registers.
//
#include "compiler/Codegen/LowerRegion.h"
#include "compiler/Codegen/RegionCode.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace mlc;

bool mlc::isPanelProduct(linalg::GenericOp op) {
  if (op.getNumDpsInputs() != 2 || op.getNumDpsInits() != 1)
    return false;
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  // acc + x * panel.
  Block &body = *op.getBody();
  auto sum = body.getTerminator()->getOperand(0).getDefiningOp<arith::AddFOp>();
  auto product = sum ? sum.getRhs().getDefiningOp<arith::MulFOp>() : arith::MulFOp();
  if (!product || body.getOperations().size() != 3 || sum.getLhs() != body.getArgument(2) ||
      product.getLhs() != body.getArgument(0) || product.getRhs() != body.getArgument(1))
    return false;
  // The last axis of the panel and of the result, of 8 or 16 elements one after the other; x does not know it.
  unsigned loops = op.getNumLoops();
  if (!loops || !maps[1].isProjectedPermutation() || !maps[2].isProjectedPermutation() || !maps[1].getNumResults() ||
      !maps[2].getNumResults())
    return false;
  AffineExpr lane = getAffineDimExpr(loops - 1, op.getContext());
  int64_t lanes = op.getStaticLoopRanges().back();
  return maps[1].getResults().back() == lane && maps[2].getResults().back() == lane &&
         !maps[0].isFunctionOfDim(loops - 1) && (lanes == kMostLanes || lanes == kMostLanes / 2) &&
         op.getIteratorTypesArray().back() == utils::IteratorType::parallel;
}

namespace {

/// Emits one product.
class PanelProduct {
public:
  PanelProduct(linalg::GenericOp op, OpBuilder &builder, LevelTraits traits, bool fromZero)
      : op(op), b(op.getLoc(), builder), traits(traits), fromZero(fromZero), maps(op.getIndexingMapsArray()),
        ranges(op.getStaticLoopRanges()), lane(op.getNumLoops() - 1), place(op.getNumLoops()) {
    element = cast<MemRefType>(op.getDpsInits()[0].getType()).getElementType();
    type = VectorType::get({ranges[lane]}, element);
    auto kinds = op.getIteratorTypesArray();
    for (unsigned axis = 0; axis < lane; ++axis) {
      if (kinds[axis] == utils::IteratorType::reduction)
        reductions.push_back(axis);
      else if (!maps[0].isFunctionOfDim(axis) && maps[1].isFunctionOfDim(axis))
        panel = axis; // The last one: panels one after the other.
      else if (maps[0].isFunctionOfDim(axis) && !maps[1].isFunctionOfDim(axis) && betterPosition(axis))
        position = axis;
    }
    for (unsigned axis = 0; axis < lane; ++axis)
      if (kinds[axis] == utils::IteratorType::parallel && panel != axis && position != axis)
        (maps[1].isFunctionOfDim(axis) ? outer : rows).push_back(axis);
    chooseTile();
  }

  void emit(std::optional<int64_t> split, Value begin, Value end) {
    this->split = split;
    this->begin = begin, this->end = end;
    // What workers share comes first.
    if (split && llvm::is_contained(rows, unsigned(*split))) {
      llvm::erase(rows, unsigned(*split));
      outer.insert(outer.begin(), unsigned(*split));
    } else if (auto *shared = llvm::find_if(outer, [&](unsigned axis) { return split == int64_t(axis); });
               shared != outer.end()) {
      std::rotate(outer.begin(), shared, shared + 1);
    }
    // A panel stays near while all positions pass it.
    emitLoops(outer, 0, [&] {
      tiled(panel, panels, [&](int64_t panelCount) {
        emitLoops(rows, 0, [&] {
          tiled(position, positions, [&](int64_t positionCount) { emitTile(positionCount, panelCount); });
        });
      });
    });
  }

private:
  Value index(int64_t value) { return b.create<arith::ConstantIndexOp>(value); }

  /// Registers of one panel's lanes, and positions that fit beside them.
  int64_t registers() const { return std::max<int64_t>(1, ranges[lane] / traits.floats) * (element.isF64() ? 2 : 1); }
  int64_t mostPositions() const { return std::max<int64_t>(1, traits.accumulators / registers()); }

  /// The last axis that fills a tile, whose elements lie closest; else the longest one.
  bool betterPosition(unsigned axis) const {
    return !position || ranges[axis] >= std::min(ranges[*position], mostPositions());
  }

  void chooseTile() {
    int64_t perPanel = registers(), most = mostPositions();
    int64_t extent = position ? ranges[*position] : 1;
    int64_t tiles = (extent + most - 1) / most;
    positions = (extent + tiles - 1) / tiles;
    panels = std::clamp<int64_t>(traits.accumulators / (positions * perPanel), 1, 4);
    int64_t count = panel ? ranges[*panel] : 1;
    panels = std::min(panels, count);
    // A divisor leaves no rest.
    for (int64_t n = panels; n * 2 > panels; --n)
      if (count % n == 0) {
        panels = n;
        break;
      }
  }

  void emitLoops(ArrayRef<unsigned> axes, unsigned depth, llvm::function_ref<void()> body) {
    if (depth == axes.size())
      return body();
    unsigned axis = axes[depth];
    bool shared = split == int64_t(axis);
    loop(shared ? begin : index(0), shared ? end : index(ranges[axis]), 1, [&](Value at) {
      place[axis] = at;
      emitLoops(axes, depth + 1, body);
    });
  }

  void loop(Value from, Value to, int64_t step, llvm::function_ref<void(Value)> body) {
    auto made = b.create<scf::ForOp>(from, to, index(step));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(made.getBody()->getTerminator());
    body(made.getInductionVar());
  }

  /// `axis` in steps of `step`, and what is left over.
  void tiled(std::optional<unsigned> axis, int64_t step, llvm::function_ref<void(int64_t)> body) {
    if (!axis)
      return body(1);
    auto at = [&](int64_t count) {
      return [&, count](Value value) {
        place[*axis] = value;
        body(count);
      };
    };
    if (split == int64_t(*axis)) {
      // Whole steps, then one by one.
      Value rest = b.create<arith::RemUIOp>(b.create<arith::SubIOp>(end, begin), index(step));
      Value whole = b.create<arith::SubIOp>(end, rest);
      loop(begin, whole, step, at(step));
      if (step > 1)
        loop(whole, end, 1, at(1));
      return;
    }
    int64_t extent = ranges[*axis], whole = extent / step * step;
    if (whole)
      loop(index(0), index(whole), step, at(step));
    if (whole < extent)
      at(extent - whole)(index(whole));
  }

  /// The indices of an operand, `positionStep` and `panelStep` beyond the tile's place.
  SmallVector<Value> indices(AffineMap map, int64_t positionStep, int64_t panelStep) {
    SmallVector<AffineExpr> shifted;
    for (unsigned axis = 0; axis < map.getNumDims(); ++axis) {
      AffineExpr expr = b.getAffineDimExpr(axis);
      if (position == axis)
        expr = expr + positionStep;
      if (panel == axis)
        expr = expr + panelStep;
      shifted.push_back(axis == lane ? b.getAffineConstantExpr(0) : expr);
    }
    SmallVector<Value> result;
    SmallVector<OpFoldResult> operands;
    for (Value at : place)
      operands.push_back(at ? OpFoldResult(at) : b.getIndexAttr(0));
    for (AffineExpr expr : map.getResults()) {
      AffineMap one = AffineMap::get(map.getNumDims(), 0, expr.replaceDims(shifted));
      result.push_back(getValueOrCreateConstantIndexOp(
          b, b.getLoc(), affine::makeComposedFoldedAffineApply(b, b.getLoc(), one, operands)));
    }
    return result;
  }

  void emitTile(int64_t positionCount, int64_t panelCount) {
    Value out = op.getDpsInits()[0];
    SmallVector<Value> sums;
    Value zero;
    for (int64_t q = 0; q < positionCount; ++q)
      for (int64_t p = 0; p < panelCount; ++p) {
        if (!fromZero)
          sums.push_back(b.create<vector::LoadOp>(type, out, indices(maps[2], q, p)));
        else
          sums.push_back(zero ? zero : zero = b.create<arith::ConstantOp>(b.getZeroAttr(type)));
      }
    sums = emitReduction(0, sums, positionCount, panelCount);
    for (int64_t q = 0; q < positionCount; ++q)
      for (int64_t p = 0; p < panelCount; ++p)
        b.create<vector::StoreOp>(sums[q * panelCount + p], out, indices(maps[2], q, p));
  }

  SmallVector<Value> emitReduction(unsigned depth, SmallVector<Value> sums, int64_t positionCount, int64_t panelCount) {
    if (depth == reductions.size())
      return accumulate(sums, positionCount, panelCount);
    unsigned axis = reductions[depth];
    auto made = b.create<scf::ForOp>(index(0), index(ranges[axis]), index(1), sums);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(made.getBody());
    place[axis] = made.getInductionVar();
    SmallVector<Value> carried(made.getRegionIterArgs().begin(), made.getRegionIterArgs().end());
    b.create<scf::YieldOp>(emitReduction(depth + 1, carried, positionCount, panelCount));
    return SmallVector<Value>(made.getResults().begin(), made.getResults().end());
  }

  SmallVector<Value> accumulate(ArrayRef<Value> sums, int64_t positionCount, int64_t panelCount) {
    Value x = op.getDpsInputs()[0], panelBuffer = op.getDpsInputs()[1];
    SmallVector<Value> factors, next(sums);
    for (int64_t q = 0; q < positionCount; ++q)
      factors.push_back(
          b.create<vector::BroadcastOp>(type, b.create<memref::LoadOp>(x, indices(maps[0], q, 0))));
    for (int64_t p = 0; p < panelCount; ++p) {
      Value row = b.create<vector::LoadOp>(type, panelBuffer, indices(maps[1], 0, p));
      for (int64_t q = 0; q < positionCount; ++q) {
        Value &sum = next[q * panelCount + p];
        sum = traits.fma ? b.create<vector::FMAOp>(factors[q], row, sum).getResult()
                         : b.create<arith::AddFOp>(sum, b.create<arith::MulFOp>(factors[q], row)).getResult();
      }
    }
    return next;
  }

  linalg::GenericOp op;
  ImplicitLocOpBuilder b;
  LevelTraits traits;
  bool fromZero;
  SmallVector<AffineMap> maps;
  SmallVector<int64_t> ranges;
  unsigned lane;
  SmallVector<Value> place; // Of every axis, as far as its loop is open.
  Type element;
  VectorType type;
  std::optional<unsigned> panel, position;
  SmallVector<unsigned> outer, rows, reductions; // outer: what panels depend on, too.
  int64_t positions = 1, panels = 1;
  std::optional<int64_t> split;
  Value begin, end;
};

} // namespace

void mlc::lowerPanelProduct(linalg::GenericOp op, OpBuilder &builder, LevelTraits traits, bool fromZero,
                            std::optional<int64_t> split, Value begin, Value end) {
  PanelProduct(op, builder, traits, fromZero).emit(split, begin, end);
}
