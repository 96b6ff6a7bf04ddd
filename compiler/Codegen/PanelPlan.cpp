//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The plan of a product with panels.
//
#include "compiler/Codegen/PanelPlan.h"
#include "compiler/Codegen/RegionCode.h"

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
  // Panels of short integers are converted where they are read.
  auto converted = product ? product.getRhs().getDefiningOp<arith::SIToFPOp>() : arith::SIToFPOp();
  if (!product || body.getOperations().size() != (converted ? 4 : 3) || sum.getLhs() != body.getArgument(2) ||
      product.getLhs() != body.getArgument(0) ||
      (converted ? converted.getIn() : product.getRhs()) != body.getArgument(1))
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

} // namespace

PanelPlan::PanelPlan(linalg::GenericOp op, LevelTraits traits)
    : op(op), traits(traits), maps(op.getIndexingMapsArray()), ranges(op.getStaticLoopRanges()),
      lane(op.getNumLoops() - 1) {
  // A tile is chosen as if there were many.
  for (unsigned axis = 0; axis < ranges.size(); ++axis)
    if (ShapedType::isDynamic(ranges[axis]))
      ranges[axis] = kManyPositions, unknown.push_back(axis);
  element = cast<MemRefType>(op.getDpsInits()[0].getType()).getElementType();
  type = VectorType::get({ranges[lane]}, element);
  panelElement = cast<MemRefType>(op.getDpsInputs()[1].getType()).getElementType();
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

bool PanelPlan::fits(int64_t t, int64_t p) const {
  int64_t wide = vectorRegisters(p);
  return t * wide + std::min(t, wide) + 1 < traits.registers;
}

bool PanelPlan::betterPosition(unsigned axis) const {
  return !position || ranges[axis] >= std::min(ranges[*position], kFewPositions);
}

int64_t PanelPlan::stepCost(int64_t positionCount, int64_t panelCount) const {
  // Pairs and integers take the units of products, too.
  int64_t wide = vectorRegisters(panelCount),
          products = positionCount * wide + (paired ? panelCount / 2 : 0) + (panelElement == element ? 0 : 2 * wide),
          loads = positionCount + (paired ? panelCount : wide), fromSecondCache = wide * traits.floats * 3 / 8;
  // Eight sums under way would fill the units if no operand were ever late.
  return 8 * std::max({products, loads, fromSecondCache, int64_t(11)}) + 2 * loads;
}

void PanelPlan::chooseTile() {
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

void PanelPlan::chooseBlock() {
  if (!position || !panel || ranges[*panel] <= panels)
    return;
  std::optional<int64_t> step = strideOn(op, *op.getDpsInputOperand(0), *position);
  if (!step || *step <= 0)
    return;
  int64_t most = kBlockBytes / (*step * element.getIntOrFloatBitWidth() / 8) / positions * positions;
  if (most && ranges[*position] > most + most / 2)
    block = most;
}

void PanelPlan::chooseFetch() {
  auto type = cast<MemRefType>(op.getDpsInputs()[1].getType());
  if (!position || !panel || reductions.size() != 1 || !outer.empty() || !unknown.empty() ||
      !type.getLayout().isIdentity() || type.getNumElements() * panelElement.getIntOrFloatBitWidth() / 8 < kFarBytes ||
      type.getNumElements() != ranges[*panel] * ranges[reductions[0]] * ranges[lane])
    return;
  int64_t tiles = (block ? block : ranges[*position]) / positions;
  if (tiles >= kFewTiles && tiles <= kManyTiles)
    fetched = llvm::divideCeil(panels * ranges[lane], tiles);
}
