//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Products of values with panels: out[..., lane] += x[...] * panel[..., lane], a tile of positions and panels in
// registers.
//
#include "compiler/Codegen/LowerRegion.h"
#include "compiler/Codegen/RegionCode.h"
#include "compiler/Codegen/VectorBody.h"

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
  auto isPlain = [](AffineMap map) {
    return map.getNumResults() && map.isProjectedPermutation(/*allowZeroInResults=*/true);
  };
  if (!loops || !isPlain(maps[1]) || !isPlain(maps[2]))
    return false;
  AffineExpr lane = getAffineDimExpr(loops - 1, op.getContext());
  int64_t lanes = op.getStaticLoopRanges().back();
  return maps[1].getResults().back() == lane && maps[2].getResults().back() == lane &&
         !maps[0].isFunctionOfDim(loops - 1) && (lanes == kMostLanes || lanes == kMostLanes / 2) &&
         op.getIteratorTypesArray().back() == utils::IteratorType::parallel;
}

namespace {

/// What an extent that a run chooses is taken for.
constexpr int64_t kManyPositions = 1 << 12;
/// Bytes of positions that stay in the second cache while all panels pass by.
constexpr int64_t kBlockBytes = 192 << 10;
/// Panels of fewer bytes are in the second cache from the run before; the next ones are fetched while so many tiles of
/// positions pass.
constexpr int64_t kFarBytes = 256 << 10, kFewTiles = 4, kManyTiles = 48;

/// Emits one product.
class PanelProduct {
public:
  PanelProduct(linalg::GenericOp op, OpBuilder &builder, LevelTraits traits, bool fromZero)
      : op(op), b(op.getLoc(), builder), traits(traits), fromZero(fromZero), maps(op.getIndexingMapsArray()),
        ranges(op.getStaticLoopRanges()), lane(op.getNumLoops() - 1), place(op.getNumLoops()) {
    extents = loopExtents(b, op);
    // A tile is chosen as if there were many.
    for (unsigned axis = 0; axis < ranges.size(); ++axis)
      if (ShapedType::isDynamic(ranges[axis]))
        ranges[axis] = kManyPositions, unknown.push_back(axis);
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
    paired = element.isF32() && 2 * ranges[lane] == traits.floats && panel && ranges[*panel] > 1;
    chooseTile();
    chooseBlock();
    chooseFetch();
  }

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

  /// Registers of one panel's lanes, and positions that fit beside them.
  int64_t registers() const { return std::max<int64_t>(1, ranges[lane] / traits.floats) * (element.isF64() ? 2 : 1); }
  /// Vectors of so many panels, two of half a register in one.
  int64_t vectors(int64_t panelCount) const { return paired ? llvm::divideCeil(panelCount, 2) : panelCount; }
  int64_t vectorRegisters(int64_t panelCount) const { return vectors(panelCount) * registers(); }
  int64_t mostPositions() const { return std::max<int64_t>(1, (traits.registers - 4) / registers()); }
  /// Whether the sums of a tile, the shorter of its two sides and what streams by have a register each, and one is
  /// free.
  bool fits(int64_t t, int64_t p) const {
    int64_t wide = vectorRegisters(p);
    return t * wide + std::min(t, wide) + 1 < traits.registers;
  }

  /// The last axis that fills a tile, whose elements lie closest; else the longest one.
  bool betterPosition(unsigned axis) const {
    return !position || ranges[axis] >= std::min(ranges[*position], kFewPositions);
  }

  /// Half cycles of one step of a tile on a machine with two products and two loads a cycle, products taking four.
  int64_t stepCost(int64_t positionCount, int64_t panelCount) const {
    int64_t wide = vectorRegisters(panelCount), products = positionCount * wide + (paired ? panelCount / 2 : 0),
            loads = positionCount + (paired ? panelCount : wide);
    // Eight sums under way would fill the units if no operand were ever late.
    return std::max({products, loads, int64_t(11)});
  }

  /// The tile that needs the fewest cycles for all positions and panels, remainders included.
  void chooseTile() {
    int64_t extent = position ? ranges[*position] : 1, count = panel ? ranges[*panel] : 1, best = 0;
    auto total = [&](int64_t t, int64_t p) {
      int64_t restT = extent % t, restP = count % p, tiles = extent / t, strips = count / p;
      return tiles * strips * stepCost(t, p) + (restT ? strips * stepCost(restT, p) : 0) +
             (restP ? tiles * stepCost(t, restP) : 0) + (restT && restP ? stepCost(restT, restP) : 0);
    };
    for (int64_t t = 1; t <= std::min(extent, mostPositions()); ++t)
      for (int64_t p = 1; p <= count && (fits(t, p) || t * p == 1); ++p)
        if (int64_t cost = total(t, p); !best || cost <= best)
          best = cost, positions = t, panels = p;
  }

  /// Positions that do not stay in the second cache by themselves pass in blocks.
  void chooseBlock() {
    if (!position || !panel || ranges[*panel] <= panels)
      return;
    std::optional<int64_t> step = strideOn(op, *op.getDpsInputOperand(0), *position);
    if (!step || *step <= 0)
      return;
    int64_t most = kBlockBytes / (*step * element.getIntOrFloatBitWidth() / 8) / positions * positions;
    if (most && ranges[*position] > most + most / 2)
      block = most;
  }

  /// How fast the next panels are fetched, so that they are there when the last tile has passed.
  void chooseFetch() {
    auto type = cast<MemRefType>(op.getDpsInputs()[1].getType());
    if (!position || !panel || reductions.size() != 1 || !outer.empty() || !unknown.empty() ||
        !type.getLayout().isIdentity() || type.getNumElements() * element.getIntOrFloatBitWidth() / 8 < kFarBytes ||
        type.getNumElements() != ranges[*panel] * ranges[reductions[0]] * ranges[lane])
      return;
    int64_t tiles = (block ? block : ranges[*position]) / positions;
    if (tiles >= kFewTiles && tiles <= kManyTiles)
      fetched = llvm::divideCeil(panels * ranges[lane], tiles);
  }

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
    auto part = [&](int64_t p) -> Value { return b.create<vector::LoadOp>(type, buffer, indices(map, q, p)); };
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
    auto made = b.create<scf::ForOp>(index(0), extents[axis], index(1), sums);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(made.getBody());
    place[axis] = made.getInductionVar();
    SmallVector<Value> carried(made.getRegionIterArgs().begin(), made.getRegionIterArgs().end());
    b.create<scf::YieldOp>(emitReduction(depth + 1, carried, positionCount, panelCount));
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

  linalg::GenericOp op;
  ImplicitLocOpBuilder b;
  LevelTraits traits;
  bool fromZero;
  SmallVector<AffineMap> maps;
  SmallVector<int64_t> ranges;
  SmallVector<Value> extents;    // Of every axis.
  SmallVector<unsigned> unknown; // Axes whose extent a run chooses.
  unsigned lane;
  SmallVector<Value> place; // Of every axis, as far as its loop is open.
  Type element;
  VectorType type;
  bool paired; // Two panels share a register.
  std::optional<unsigned> panel, position;
  SmallVector<unsigned> outer, rows, reductions; // outer: what panels depend on, too.
  int64_t positions = 1, panels = 1;             // Of a tile.
  int64_t block = 0;                             // Positions of a block; 0: all.
  int64_t fetched = 0;                           // Elements of the next panels, a step of the reduction; 0: none.
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
