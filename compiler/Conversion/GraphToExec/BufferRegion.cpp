//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Conversion/GraphToExec/BufferRegion.h"

#include "compiler/Codegen/RegionCode.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/ADT/StringExtras.h"
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

namespace {
/// The extent of a loop: the most it is, and the dimension, null where it has none.
struct LoopExtent {
  int64_t most;
  Attribute dim;
};
} // namespace

/// Of a structured op or a copy.
static SmallVector<LoopExtent> loopExtents(Operation *op, NetworkExtents &extents) {
  // What an extent is taken for that follows from none.
  constexpr int64_t kUnknownExtent = 64;
  auto ofAxis = [&](Value buffer, int64_t axis) {
    Attribute dim = extents.knownAxis(buffer, axis);
    return LoopExtent{dim ? extents.boundOf(dim) : kUnknownExtent, dim};
  };
  SmallVector<LoopExtent> result;
  if (auto copy = dyn_cast<memref::CopyOp>(op)) {
    for (int64_t axis = 0; axis < cast<MemRefType>(copy.getTarget().getType()).getRank(); ++axis)
      result.push_back(ofAxis(copy.getTarget(), axis));
    return result;
  }
  auto structured = cast<linalg::LinalgOp>(op);
  Builder builder(op->getContext());
  for (auto [axis, range] : llvm::enumerate(structured.getStaticLoopRanges())) {
    result.push_back({range, builder.getI64IntegerAttr(range)});
    if (!ShapedType::isDynamic(range))
      continue;
    result.back() = {kUnknownExtent, {}};
    AffineExpr loop = builder.getAffineDimExpr(axis);
    for (OpOperand &operand : op->getOpOperands())
      for (auto [place, expr] : llvm::enumerate(structured.getMatchingIndexingMap(&operand).getResults()))
        if (expr == loop && !result.back().dim)
          result.back() = ofAxis(operand.get(), place);
  }
  return result;
}

int64_t workOf(Operation *op, NetworkExtents &extents) {
  if (isa<linalg::LinalgOp, memref::CopyOp>(op)) {
    int64_t product = 1;
    for (const LoopExtent &loop : loopExtents(op, extents))
      product = llvm::SaturatingMultiply<uint64_t>(product, loop.most) & INT64_MAX;
    // Products fill the machine's vectors.
    auto generic = dyn_cast<linalg::GenericOp>(op);
    return generic && isPanelProduct(generic) ? product / 8 : product;
  }
  int64_t inner = 1;
  for (Region &region : op->getRegions())
    for (Block &block : region)
      for (Operation &each : block)
        inner += workOf(&each, extents);
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
static std::optional<Split> splitOfProduct(linalg::GenericOp op, ArrayRef<LoopExtent> loops) {
  SmallVector<int64_t> ranges(llvm::map_range(loops, [](const LoopExtent &loop) { return loop.most; }));
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
    if (axis != position && ranges[axis] >= 4 && loops[axis].dim && (!best || ranges[axis] > best->extent))
      best = Split{axis, ranges[axis], loops[axis].dim};
  if (best)
    return best;
  if (common && ranges[*common] >= 2 && loops[*common].dim)
    return Split{*common, ranges[*common], loops[*common].dim};
  for (std::optional<unsigned> axis : {panel, position})
    if (axis && ranges[*axis] >= 2 * kMultiple && loops[*axis].dim)
      return Split{*axis, ranges[*axis], loops[*axis].dim, kMultiple};
  return std::nullopt;
}

std::optional<Split> splitOf(Operation *op, NetworkExtents &extents) {
  auto structured = dyn_cast<linalg::LinalgOp>(op);
  if (!structured && !isa<memref::CopyOp>(op))
    return std::nullopt;
  SmallVector<LoopExtent> loops = loopExtents(op, extents);
  if (auto product = dyn_cast<linalg::GenericOp>(op); product && isPanelProduct(product))
    return splitOfProduct(product, loops);
  SmallVector<utils::IteratorType> kinds(loops.size(), utils::IteratorType::parallel);
  if (structured)
    kinds = structured.getIteratorTypesArray();
  // The outermost axis that gives every worker something; else the longest one. Vectors lie along the others.
  constexpr int64_t kEnough = 4;
  std::optional<Split> best;
  for (bool alongVectors : {false, true}) {
    for (auto [axis, loop] : llvm::enumerate(loops)) {
      if (kinds[axis] != utils::IteratorType::parallel || loop.most < 2 || !loop.dim ||
          liesAlong(op, axis) != alongVectors)
        continue;
      if (loop.most >= kEnough)
        return Split{int64_t(axis), loop.most, loop.dim};
      if (!best || loop.most > best->extent)
        best = Split{int64_t(axis), loop.most, loop.dim};
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
  total += workOf(op, *extents);
}

bool checksIndices(Operation *op) {
  return op->walk([](cf::AssertOp) { return WalkResult::interrupt(); }).wasInterrupted();
}

/// What the importer called it.
static void namesOf(Location location, llvm::SetVector<StringRef> &names) {
  location->walk([&](Location inner) {
    if (auto named = dyn_cast<NameLoc>(inner))
      names.insert(named.getName().getValue());
    return WalkResult::advance();
  });
}

std::string BufferRegion::checkedNames() const {
  llvm::SetVector<StringRef> names;
  for (Operation *op : ops)
    op->walk([&](cf::AssertOp check) { namesOf(check.getLoc(), names); });
  return llvm::join(names, ", ");
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

  /// `value`, of the function, here.
  Value get(Value value) {
    require(value);
    return mapping.lookup(value);
  }

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

/// `elements` as a row-major buffer of `type`; sizes: of its dynamic axes.
static Value shaped(OpBuilder &builder, Value elements, MemRefType type, ArrayRef<Value> sizes) {
  if (type.hasStaticShape())
    return elements;
  Location location = elements.getLoc();
  SmallVector<OpFoldResult> extents, strides(type.getRank());
  for (int64_t size : type.getShape())
    if (ShapedType::isDynamic(size))
      extents.push_back(sizes.front()), sizes = sizes.drop_front();
    else
      extents.push_back(builder.getIndexAttr(size));
  OpFoldResult stride = builder.getIndexAttr(1);
  for (int64_t axis = type.getRank(); axis-- > 0;) {
    strides[axis] = stride;
    std::optional<int64_t> known = getConstantIntValue(stride), extent = getConstantIntValue(extents[axis]);
    if (known && extent)
      stride = builder.getIndexAttr(*known * *extent);
    else
      stride = builder
                   .create<arith::MulIOp>(location, getValueOrCreateConstantIndexOp(builder, location, stride),
                                          getValueOrCreateConstantIndexOp(builder, location, extents[axis]))
                   .getResult();
  }
  return builder.create<memref::ReinterpretCastOp>(location, type, elements, builder.getIndexAttr(0), extents, strides);
}

std::string BufferRegion::text(std::optional<int64_t> split) const {
  OpBuilder builder(body->getParentOp()->getContext());
  Location unknown = builder.getUnknownLoc();
  OwningOpRef<ModuleOp> module = ModuleOp::create(unknown);
  builder.setInsertionPointToEnd(module->getBody());
  SmallVector<Type> types;
  for (Value base : bases) {
    // A buffer whose extents a run chooses comes as its elements.
    auto type = cast<MemRefType>(base.getType());
    if (!type.hasStaticShape())
      type = MemRefType::get({*extents->mostElements(base)}, type.getElementType());
    types.push_back(type);
  }
  types.append(extents->names().size() + 2, builder.getIndexType());
  auto function = builder.create<func::FuncOp>(unknown, kRegionRow, builder.getFunctionType(types, {}));
  for (unsigned i = 0; i < bases.size(); ++i)
    function.setArgAttr(i, LLVM::LLVMDialect::getNoAliasAttrName(), builder.getUnitAttr());
  Block *entry = function.addEntryBlock();
  builder.setInsertionPointToEnd(entry);
  Cloner cloner(builder, *body);
  unsigned next = bases.size();
  for (BlockArgument argument : body->getArguments())
    if (argument.getType().isIndex())
      cloner.mapping.map(argument, entry->getArgument(next++));
  for (auto [base, argument] : llvm::zip(bases, entry->getArguments()))
    cloner.mapping.map(
        base, shaped(builder, argument, cast<MemRefType>(base.getType()),
                     llvm::map_to_vector(extents->sizesOf(base), [&](Value size) { return cloner.get(size); })));
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
