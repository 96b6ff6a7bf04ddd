//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Products of values with panels: out[..., lane] += x[...] * panel[..., lane], a tile of positions and panels in
// registers.
//
#include "compiler/Codegen/LowerRegion.h"
#include "compiler/Codegen/PanelPlan.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace mlc;

namespace {

/// Emits one product.
class PanelProduct : PanelPlan {
public:
  PanelProduct(linalg::GenericOp op, OpBuilder &builder, LevelTraits traits, bool fromZero)
      : PanelPlan(op, traits), b(op.getLoc(), builder), fromZero(fromZero), extents(loopExtents(b, op)),
        place(op.getNumLoops()) {}

  void emit(std::optional<int64_t> split, Value begin, Value end) {
    this->split = split;
    this->begin = begin, this->end = end;
    if (fetched) {
      Value panelBuffer = op.getDpsInputs()[1];
      ReassociationIndices all =
          llvm::to_vector(llvm::seq<int64_t>(0, cast<MemRefType>(panelBuffer.getType()).getRank()));
      flat = b.create<memref::CollapseShapeOp>(panelBuffer, ArrayRef{all});
    }
    // A panel stays near while a block of positions passes it.
    emitLoops(outer, 0, [&] {
      blockwise([&] {
        tiled(panel, panels, [&](int64_t panelCount) {
          emitLoops(rows, 0, [&] {
            tiled(position, positions, [&](int64_t positionCount) { emitTile(positionCount, panelCount); });
          });
        });
      });
    });
  }

private:
  Value index(int64_t value) { return b.create<arith::ConstantIndexOp>(value); }

  /// Where the tile's share of the next panels begins: each step of the reduction fetches `fetched` elements on.
  void beginFetch() {
    Value start = from ? from : split == int64_t(*position) ? begin : index(0);
    Value tile = b.create<arith::DivUIOp>(b.create<arith::SubIOp>(place[*position], start), index(positions));
    Value next = b.create<arith::AddIOp>(place[*panel], index(panels));
    int64_t depth = ranges[reductions[0]];
    fetchFrom = b.create<arith::AddIOp>(b.create<arith::MulIOp>(next, index(depth * ranges[lane])),
                                        b.create<arith::MulIOp>(tile, index(depth * fetched)));
  }

  void fetch() {
    Value offset = b.create<arith::MulIOp>(place[reductions[0]], index(fetched));
    b.create<memref::PrefetchOp>(flat, b.create<arith::AddIOp>(fetchFrom, offset).getResult(), /*isWrite=*/false,
                                 /*localityHint=*/2, /*isDataCache=*/true);
  }

  /// `body` for each block of positions, from `from` to `to`.
  void blockwise(llvm::function_ref<void()> body) {
    from = to = Value();
    if (!block)
      return body();
    bool shared = split == int64_t(*position);
    Value last = shared ? end : extents[*position];
    loop(shared ? begin : index(0), last, block, [&](Value at) {
      from = at;
      to = b.create<arith::MinUIOp>(b.create<arith::AddIOp>(at, index(block)), last);
      body();
    });
  }

  void emitLoops(ArrayRef<unsigned> axes, unsigned depth, llvm::function_ref<void()> body) {
    if (depth == axes.size())
      return body();
    unsigned axis = axes[depth];
    bool shared = split == int64_t(axis);
    loop(shared ? begin : index(0), shared ? end : extents[axis], 1, [&](Value at) {
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
    bool shared = split == int64_t(*axis), inBlock = axis == position && from;
    int64_t extent = ranges[*axis], whole = extent / step * step;
    if (shared || llvm::is_contained(unknown, *axis)) {
      // Whole steps, then smaller ones.
      Value first = shared ? begin : index(0), last = shared ? end : extents[*axis];
      if (inBlock)
        first = from, last = to;
      for (; step; step /= 2) {
        Value rest = b.create<arith::RemUIOp>(b.create<arith::SubIOp>(last, first), index(step));
        Value whole = b.create<arith::SubIOp>(last, rest);
        loop(first, whole, step, at(step));
        first = whole;
      }
      return;
    }
    if (inBlock) {
      // The last block has what is left over.
      loop(from, b.create<arith::MinUIOp>(to, index(whole)), step, at(step));
      if (whole == extent)
        return;
      auto last = b.create<scf::IfOp>(b.create<arith::CmpIOp>(arith::CmpIPredicate::eq, to, index(extent)));
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPoint(last.thenBlock()->getTerminator());
      at(extent - whole)(index(whole));
      return;
    }
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

  /// Vector `v` of a tile of `panelCount` panels, `q` positions beyond the tile's place.
  Value load(Value buffer, AffineMap map, int64_t q, int64_t v, int64_t panelCount) {
    auto stored = cast<MemRefType>(buffer.getType()).getElementType();
    auto part = [&](int64_t p) -> Value {
      Value lanes = b.create<vector::LoadOp>(VectorType::get(type.getShape(), stored), buffer, indices(map, q, p));
      return stored == element ? lanes : b.create<arith::SIToFPOp>(type, lanes).getResult();
    };
    if (!paired)
      return part(v);
    Value low = part(2 * v);
    if (2 * v + 1 == panelCount)
      return low;
    auto both = llvm::to_vector(llvm::seq<int64_t>(0, 2 * ranges[lane]));
    return b.create<vector::ShuffleOp>(low, part(2 * v + 1), both);
  }

  void store(Value vector, Value buffer, AffineMap map, int64_t q, int64_t v) {
    if (vector.getType() == type) {
      b.create<vector::StoreOp>(vector, buffer, indices(map, q, paired ? 2 * v : v));
      return;
    }
    for (int64_t half : {0, 1})
      b.create<vector::StoreOp>(b.create<vector::ExtractStridedSliceOp>(vector, half * ranges[lane], ranges[lane], 1),
                                buffer, indices(map, q, 2 * v + half));
  }

  void emitTile(int64_t positionCount, int64_t panelCount) {
    Value out = op.getDpsInits()[0];
    SmallVector<Value> sums;
    int64_t count = vectors(panelCount);
    for (int64_t q = 0; q < positionCount; ++q)
      for (int64_t v = 0; v < count; ++v) {
        if (!fromZero) {
          sums.push_back(load(out, maps[2], q, v, panelCount));
          continue;
        }
        bool pair = paired && 2 * v + 1 < panelCount;
        auto wide = pair ? VectorType::get({2 * ranges[lane]}, element) : type;
        sums.push_back(b.create<arith::ConstantOp>(b.getZeroAttr(wide)));
      }
    if (fetched)
      beginFetch();
    sums = emitReduction(0, sums, positionCount, panelCount);
    for (int64_t q = 0; q < positionCount; ++q)
      for (int64_t v = 0; v < count; ++v)
        store(sums[q * count + v], out, maps[2], q, v);
  }

  SmallVector<Value> emitReduction(unsigned depth, SmallVector<Value> sums, int64_t positionCount, int64_t panelCount) {
    if (depth == reductions.size())
      return accumulate(sums, positionCount, panelCount);
    unsigned axis = reductions[depth];
    // Two steps at once: counting takes a unit that products would use. Pairs of panels have other work between.
    bool even = !llvm::is_contained(unknown, axis) && ranges[axis] % 2 == 0;
    int64_t steps = depth + 1 == reductions.size() && even && !paired ? 2 : 1;
    auto made = b.create<scf::ForOp>(index(0), extents[axis], index(steps), sums);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(made.getBody());
    SmallVector<Value> carried(made.getRegionIterArgs().begin(), made.getRegionIterArgs().end());
    for (int64_t step = 0; step < steps; ++step) {
      place[axis] = step ? b.create<arith::AddIOp>(made.getInductionVar(), index(step)) : made.getInductionVar();
      carried = emitReduction(depth + 1, carried, positionCount, panelCount);
    }
    b.create<scf::YieldOp>(carried);
    return SmallVector<Value>(made.getResults().begin(), made.getResults().end());
  }

  SmallVector<Value> accumulate(ArrayRef<Value> sums, int64_t positionCount, int64_t panelCount) {
    Value x = op.getDpsInputs()[0], panelBuffer = op.getDpsInputs()[1];
    SmallVector<Value> next(sums);
    if (fetched)
      fetch();
    auto factor = [&](int64_t q) -> Value { return b.create<memref::LoadOp>(x, indices(maps[0], q, 0)); };
    auto row = [&](int64_t v) { return load(panelBuffer, maps[1], 0, v, panelCount); };
    auto multiply = [&](Value x, Value w, Value &sum) {
      x = b.create<vector::BroadcastOp>(w.getType(), x);
      sum = traits.fma ? b.create<vector::FMAOp>(x, w, sum).getResult()
                       : b.create<arith::AddFOp>(sum, b.create<arith::MulFOp>(x, w)).getResult();
    };
    // The shorter side stays in registers while the other streams by.
    bool fewPanels = vectorRegisters(panelCount) < positionCount;
    SmallVector<Value> kept;
    int64_t count = vectors(panelCount);
    for (int64_t i = 0; i < (fewPanels ? count : positionCount); ++i)
      kept.push_back(fewPanels ? row(i) : factor(i));
    for (int64_t i = 0; i < (fewPanels ? positionCount : count); ++i) {
      Value streamed = fewPanels ? factor(i) : row(i);
      for (auto [j, held] : llvm::enumerate(kept))
        multiply(fewPanels ? streamed : held, fewPanels ? held : streamed,
                 next[fewPanels ? i * count + j : j * count + i]);
    }
    return next;
  }

  ImplicitLocOpBuilder b;
  bool fromZero;
  SmallVector<Value> extents; // Of every axis.
  SmallVector<Value> place;   // Of every axis, as far as its loop is open.
  Value flat, fetchFrom;
  Value from, to; // The block's.
  std::optional<int64_t> split;
  Value begin, end;
};

} // namespace

void mlc::lowerPanelProduct(linalg::GenericOp op, OpBuilder &builder, LevelTraits traits, bool fromZero,
                            std::optional<int64_t> split, Value begin, Value end) {
  PanelProduct(op, builder, traits, fromZero).emit(split, begin, end);
}
