//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The code of a group: for each share its blocks, for each block all ops on their part of every buffer.
//
#include "compiler/Codegen/RegionCode.h"
#include "compiler/Conversion/GraphToExec/BufferRegion.h"
#include "compiler/Conversion/GraphToExec/RowGroup.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Transforms/RegionUtils.h"

using namespace mlir;

namespace mlc {

class RowGroupText {
public:
  RowGroupText(const RowGroup &group, OpBuilder &builder, func::FuncOp function)
      : group(group), b(builder.getUnknownLoc(), builder), lead(group.lead) {
    Block *entry = function.addEntryBlock();
    b.setInsertionPointToEnd(entry);
    for (auto [buffer, argument] : llvm::zip(group.externals, entry->getArguments()))
      outside.map(buffer, argument);
    for (auto [buffer, argument] : llvm::zip(group.internals, entry->getArguments().drop_front(group.externals.size())))
      places[buffer] = argument;
    begin = entry->getArgument(entry->getNumArguments() - 2);
    end = entry->getArguments().back();
  }

  void emit() {
    // Views of whole buffers and constants lie in front of all loops.
    for (Operation *op : group.members)
      for (Value operand : valuesOf(op))
        if (!isa<MemRefType>(operand.getType()) || !group.isInternal(baseOf(operand)))
          require(operand);
    loop(begin, end, [&](Value at) {
      share = at;
      int64_t whole = lead.back() / group.rows, rest = lead.back() % group.rows;
      emitBlocks(whole, group.rows, 0);
      if (rest)
        emitBlocks(1, rest, whole * group.rows);
    });
    b.create<func::ReturnOp>();
  }

private:
  Value index(int64_t value) { return b.create<arith::ConstantIndexOp>(value); }
  static llvm::SetVector<Value> valuesOf(Operation *op) {
    llvm::SetVector<Value> values(op->operand_begin(), op->operand_end());
    getUsedValuesDefinedAbove(op->getRegions(), values);
    return values;
  }

  void loop(Value from, Value to, llvm::function_ref<void(Value)> body) {
    auto made = b.create<scf::ForOp>(from, to, index(1));
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(made.getBody()->getTerminator());
    body(made.getInductionVar());
  }

  /// Clones what a value outside of the blocks follows from.
  void require(Value value) {
    if (outside.contains(value))
      return;
    Operation *definer = value.getDefiningOp();
    for (Value operand : definer->getOperands())
      require(operand);
    b.clone(*definer, outside);
  }

  /// The share's part of all blocks of `rows` rows, of which there are `count` in front of row `origin` + count * rows.
  void emitBlocks(int64_t count, int64_t rows, int64_t origin) {
    int64_t blocks = count, shares = group.shares();
    for (int64_t extent : lead.drop_back())
      blocks *= extent;
    auto bound = [&](Value at) {
      return b.create<arith::DivUIOp>(b.create<arith::MulIOp>(at, index(blocks)), index(shares));
    };
    Value from = bound(share), to = bound(b.create<arith::AddIOp>(share, index(1)));
    loop(from, to, [&](Value block) {
      offsets.assign(lead.size(), b.getIndexAttr(0));
      sizes.assign(lead.size(), 1);
      sizes.back() = rows;
      Value row = b.create<arith::MulIOp>(b.create<arith::RemUIOp>(block, index(count)), index(rows));
      offsets.back() = b.create<arith::AddIOp>(row, index(origin)).getResult();
      Value rest = b.create<arith::DivUIOp>(block, index(count));
      for (size_t i = lead.size() - 1; i-- > 0;) {
        if (lead[i] == 1)
          continue;
        offsets[i] = b.create<arith::RemUIOp>(rest, index(lead[i])).getResult();
        rest = b.create<arith::DivUIOp>(rest, index(lead[i]));
      }
      parts.clear();
      for (Operation *op : group.members)
        emitOp(cast<linalg::LinalgOp>(op));
    });
  }

  void emitOp(linalg::LinalgOp op) {
    SmallVector<int64_t> axes = *group.axesOf(op);
    SmallVector<Value> operands;
    for (OpOperand &operand : op->getOpOperands()) {
      Value value = operand.get();
      if (!isa<MemRefType>(value.getType()))
        operands.push_back(outside.lookup(value));
      else if (group.isInternal(baseOf(value)))
        operands.push_back(partOf(value));
      else
        operands.push_back(slice(outside.lookup(value), op.getMatchingIndexingMap(&operand), axes));
    }
    IRMapping mapping = outside;
    Operation *copy = b.clone(*op, mapping);
    copy->setOperands(operands);
  }

  /// The block's part of an outer buffer.
  Value slice(Value buffer, AffineMap map, ArrayRef<int64_t> axes) {
    SmallVector<OpFoldResult> from, count;
    bool all = true;
    for (auto [expr, extent] : llvm::zip(map.getResults(), cast<MemRefType>(buffer.getType()).getShape())) {
      auto dim = dyn_cast<AffineDimExpr>(expr);
      auto axis = dim ? llvm::find(axes, int64_t(dim.getPosition())) : axes.end();
      bool cut = axis != axes.end();
      from.push_back(cut ? offsets[axis - axes.begin()] : OpFoldResult(b.getIndexAttr(0)));
      count.push_back(b.getIndexAttr(cut ? sizes[axis - axes.begin()] : extent));
      all &= !cut;
    }
    SmallVector<OpFoldResult> ones(from.size(), b.getIndexAttr(1));
    return all ? buffer : b.create<memref::SubViewOp>(buffer, from, count, ones).getResult();
  }

  /// A view of an internal buffer, of the block alone.
  Value partOf(Value value) {
    Value &known = parts[value];
    if (known)
      return known;
    Value made;
    if (Value place = places.lookup(value)) {
      auto type = cast<MemRefType>(place.getType());
      SmallVector<int64_t> shape(sizes);
      llvm::append_range(shape, type.getShape().drop_front(lead.size() + 1));
      SmallVector<OpFoldResult> from(type.getRank(), b.getIndexAttr(0)), count{b.getIndexAttr(1)},
          ones(type.getRank(), b.getIndexAttr(1));
      from[0] = share;
      for (int64_t extent : shape)
        count.push_back(b.getIndexAttr(extent));
      auto result = cast<MemRefType>(memref::SubViewOp::inferRankReducedResultType(shape, type, from, count, ones));
      made = b.create<memref::SubViewOp>(result, place, from, count, ones);
    } else if (auto collapse = value.getDefiningOp<memref::CollapseShapeOp>()) {
      made = b.create<memref::CollapseShapeOp>(partOf(collapse.getSrc()), collapse.getReassociationIndices());
    } else if (auto expand = value.getDefiningOp<memref::ExpandShapeOp>()) {
      SmallVector<int64_t> shape(sizes);
      llvm::append_range(shape, expand.getType().getShape().drop_front(lead.size()));
      made = b.create<memref::ExpandShapeOp>(shape, partOf(expand.getSrc()), expand.getReassociationIndices());
    } else {
      auto view = value.getDefiningOp<memref::SubViewOp>();
      SmallVector<OpFoldResult> count = view.getMixedSizes();
      for (auto [i, size] : llvm::enumerate(sizes))
        count[i] = b.getIndexAttr(size);
      made =
          b.create<memref::SubViewOp>(partOf(view.getSource()), view.getMixedOffsets(), count, view.getMixedStrides());
    }
    return parts[value] = made;
  }

  const RowGroup &group;
  ImplicitLocOpBuilder b;
  ArrayRef<int64_t> lead;
  IRMapping outside; // Values that no block has a part of.
  DenseMap<Value, Value> places, parts;
  Value begin, end, share;
  SmallVector<OpFoldResult> offsets; // Of the block on the leading axes.
  SmallVector<int64_t> sizes;
};

std::string RowGroup::text() const {
  OpBuilder builder(body->getParentOp()->getContext());
  Location unknown = builder.getUnknownLoc();
  OwningOpRef<ModuleOp> module = ModuleOp::create(unknown);
  builder.setInsertionPointToEnd(module->getBody());
  SmallVector<Type> types(llvm::map_range(externals, [](Value base) { return base.getType(); }));
  llvm::append_range(types, places());
  types.append(2, builder.getIndexType());
  auto function = builder.create<func::FuncOp>(unknown, kRegionRow, builder.getFunctionType(types, {}));
  for (unsigned i = 0; i + 2 < types.size(); ++i)
    function.setArgAttr(i, LLVM::LLVMDialect::getNoAliasAttrName(), builder.getUnitAttr());
  RowGroupText(*this, builder, function).emit();
  return regionText(*module);
}

} // namespace mlc
