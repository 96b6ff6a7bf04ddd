//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Conversion/GraphToExec/BufferRegion.h"

#include "compiler/Codegen/RegionCode.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace mlc {

Value baseOf(Value buffer) {
  while (auto view = buffer.getDefiningOp<ViewLikeOpInterface>())
    buffer = view.getViewSource();
  return buffer;
}

bool isDeferred(Operation *op) {
  // Nobody writes to the function's arguments, so a scalar of theirs is the same wherever it is read.
  if (auto load = dyn_cast<memref::LoadOp>(op))
    if (auto argument = dyn_cast<BlockArgument>(baseOf(load.getMemRef())))
      return isa<func::FuncOp>(argument.getOwner()->getParentOp());
  return isa<ViewLikeOpInterface>(op) || (isPure(op) && !op->getNumRegions());
}

int64_t workOf(Operation *op) {
  if (auto structured = dyn_cast<linalg::LinalgOp>(op)) {
    int64_t product = 1;
    for (int64_t range : structured.getStaticLoopRanges())
      product = llvm::SaturatingMultiply<uint64_t>(product, range) & INT64_MAX;
    // Products fill the machine's vectors.
    auto generic = dyn_cast<linalg::GenericOp>(op);
    return generic && isPanelProduct(generic) ? product / 8 : product;
  }
  if (auto copy = dyn_cast<memref::CopyOp>(op))
    return cast<MemRefType>(copy.getTarget().getType()).getNumElements();
  int64_t inner = 1;
  for (Region &region : op->getRegions())
    for (Block &block : region)
      for (Operation &each : block)
        inner += workOf(&each);
  if (auto loop = dyn_cast<scf::ForOp>(op)) {
    std::optional<int64_t> lower = getConstantIntValue(loop.getLowerBound());
    std::optional<int64_t> upper = getConstantIntValue(loop.getUpperBound());
    int64_t trips = lower && upper ? std::max<int64_t>(*upper - *lower, 0) : 16;
    return llvm::SaturatingMultiply<uint64_t>(inner, trips) & INT64_MAX;
  }
  return inner;
}

/// Whether neighbours on `axis` lie one after the other in an operand.
static bool liesAlong(Operation *op, unsigned axis) {
  auto generic = dyn_cast<linalg::GenericOp>(op);
  if (!generic) {
    auto type = cast<MemRefType>(op->getOperand(0).getType());
    return int64_t(axis) == type.getRank() - 1;
  }
  for (OpOperand &operand : generic->getOpOperands()) {
    auto type = dyn_cast<MemRefType>(operand.get().getType());
    SmallVector<int64_t> strides;
    int64_t offset;
    if (!type || failed(getStridesAndOffset(type, strides, offset)))
      continue;
    for (auto [expr, stride] : llvm::zip(generic.getMatchingIndexingMap(&operand).getResults(), strides))
      if (stride == 1 && expr.isFunctionOfDim(axis))
        return true;
  }
  return false;
}

/// Of a product by panels: rows of positions, or what x and the panels both depend on; else panels or positions, of
/// which several are calculated at once.
static std::optional<Split> splitOfProduct(linalg::GenericOp op) {
  SmallVector<int64_t> ranges = op.getStaticLoopRanges();
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  auto kinds = op.getIteratorTypesArray();
  constexpr int64_t kMultiple = 12;
  std::optional<unsigned> position, panel, common;
  SmallVector<unsigned> rows;
  for (unsigned axis = 0; axis + 1 < ranges.size(); ++axis) {
    if (kinds[axis] != utils::IteratorType::parallel)
      continue;
    bool fromX = maps[0].isFunctionOfDim(axis), fromPanel = maps[1].isFunctionOfDim(axis);
    if (fromX && !fromPanel) {
      rows.push_back(axis);
      if (!position || ranges[axis] >= std::min(ranges[*position], kFewPositions))
        position = axis;
    } else if (!fromX && fromPanel) {
      panel = axis;
    } else if (!common || ranges[axis] > ranges[*common]) {
      common = axis;
    }
  }
  std::optional<Split> best;
  for (unsigned axis : rows)
    if (axis != position && ranges[axis] >= 4 && (!best || ranges[axis] > best->extent))
      best = Split{axis, ranges[axis]};
  if (best)
    return best;
  if (common && ranges[*common] >= 2)
    return Split{*common, ranges[*common]};
  for (std::optional<unsigned> axis : {panel, position})
    if (axis && ranges[*axis] >= 2 * kMultiple)
      return Split{*axis, ranges[*axis], kMultiple};
  return std::nullopt;
}

std::optional<Split> splitOf(Operation *op) {
  SmallVector<int64_t> ranges;
  SmallVector<utils::IteratorType> kinds;
  if (auto product = dyn_cast<linalg::GenericOp>(op); product && isPanelProduct(product))
    return splitOfProduct(product);
  if (auto structured = dyn_cast<linalg::LinalgOp>(op)) {
    ranges = structured.getStaticLoopRanges();
    kinds = structured.getIteratorTypesArray();
  } else if (auto copy = dyn_cast<memref::CopyOp>(op)) {
    llvm::append_range(ranges, cast<MemRefType>(copy.getTarget().getType()).getShape());
    kinds.assign(ranges.size(), utils::IteratorType::parallel);
  }
  // The outermost axis that gives every worker something; else the longest one. Vectors lie along the others.
  constexpr int64_t kEnough = 4;
  std::optional<Split> best;
  for (bool alongVectors : {false, true}) {
    for (auto [axis, range] : llvm::enumerate(ranges)) {
      if (kinds[axis] != utils::IteratorType::parallel || range < 2 || liesAlong(op, axis) != alongVectors)
        continue;
      if (range >= kEnough)
        return Split{int64_t(axis), range};
      if (!best || range > best->extent)
        best = Split{int64_t(axis), range};
    }
    if (best)
      break;
  }
  return best;
}

llvm::SetVector<Value> BufferRegion::buffersOf(Operation *op) const {
  llvm::SetVector<Value> found, used;
  // What is behind deferred ops is used, too.
  SmallVector<Operation *> open{op};
  llvm::SmallPtrSet<Operation *, 8> seen;
  while (!open.empty()) {
    Operation *next = open.pop_back_val();
    if (!seen.insert(next).second)
      continue;
    llvm::SetVector<Value> values(next->operand_begin(), next->operand_end());
    getUsedValuesDefinedAbove(next->getRegions(), values);
    for (Value value : values) {
      if (isa<MemRefType>(value.getType()))
        found.insert(baseOf(value));
      if (Operation *definer = value.getDefiningOp(); definer && definer->getBlock() == body && isDeferred(definer))
        open.push_back(definer);
    }
  }
  llvm::SetVector<Value> result;
  for (Value value : found)
    if (value.getParentBlock() == body)
      result.insert(value);
  return result;
}

void BufferRegion::add(Operation *op) {
  ops.push_back(op);
  for (Value buffer : buffersOf(op))
    bases.insert(buffer);
  total += workOf(op);
}

namespace {
/// Clones ops with everything deferred that they use.
class Cloner {
public:
  Cloner(OpBuilder &builder, Block &body) : builder(builder), body(body) {}

  Operation *clone(Operation *op) {
    llvm::SetVector<Value> values(op->operand_begin(), op->operand_end());
    getUsedValuesDefinedAbove(op->getRegions(), values);
    for (Value value : values)
      require(value);
    return builder.clone(*op, mapping);
  }

  IRMapping mapping;

private:
  void require(Value value) {
    if (mapping.contains(value))
      return;
    Operation *definer = value.getDefiningOp();
    if (definer && definer->getBlock() == &body && isDeferred(definer))
      clone(definer);
  }

  OpBuilder &builder;
  Block &body;
};
} // namespace

std::string BufferRegion::text(std::optional<int64_t> split) const {
  OpBuilder builder(body->getParentOp()->getContext());
  Location unknown = builder.getUnknownLoc();
  OwningOpRef<ModuleOp> module = ModuleOp::create(unknown);
  builder.setInsertionPointToEnd(module->getBody());
  SmallVector<Type> types(llvm::map_range(bases, [](Value base) { return base.getType(); }));
  types.append(2, builder.getIndexType());
  auto function = builder.create<func::FuncOp>(unknown, kRegionRow, builder.getFunctionType(types, {}));
  for (unsigned i = 0; i < bases.size(); ++i)
    function.setArgAttr(i, LLVM::LLVMDialect::getNoAliasAttrName(), builder.getUnitAttr());
  Block *entry = function.addEntryBlock();
  builder.setInsertionPointToEnd(entry);
  Cloner cloner(builder, *body);
  for (auto [base, argument] : llvm::zip(bases, entry->getArguments()))
    cloner.mapping.map(base, argument);
  for (Operation *op : ops) {
    Operation *copy = cloner.clone(op);
    if (split && op == ops.back())
      copy->setAttr(kSplitAttr, builder.getI64IntegerAttr(*split));
  }
  builder.create<func::ReturnOp>(unknown);
  return regionText(*module);
}

std::string regionText(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream, OpPrintingFlags().enableDebugInfo(false));
  return text;
}

} // namespace mlc
