//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Conversion/GraphToExec/Lowering.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlc;

static void copy(Lowering &lowering, Value from, Value to) {
  if (from != to)
    lowering.kernel("copy", from, to, {});
}

/// Lowers `block` into the body of `region`; its yield copies into `targets`.
static LogicalResult lowerBlock(Lowering &lowering, Block &block, Region &region, ValueRange targets) {
  OpBuilder::InsertionGuard guard(lowering.builder);
  Block *body = region.empty() ? &region.emplaceBlock() : &region.front();
  lowering.builder.setInsertionPointToEnd(body);
  for (Operation &op : block.without_terminator())
    if (failed(lowering.lower(&op)))
      return failure();
  lowering.location = block.getTerminator()->getLoc();
  // Yielded values may be the targets themselves in another order: all are read before any is written.
  SmallVector<Value> sources;
  for (auto [yielded, target] : llvm::zip(block.getTerminator()->getOperands(), targets)) {
    Value source = lowering.buffer(yielded);
    bool clobbered = source != target && llvm::is_contained(targets, source);
    if (clobbered) {
      Value saved = lowering.newRows(yielded, graph::getColumns(yielded.getType()),
                                     cast<MemRefType>(source.getType()).getElementType());
      if (!saved)
        return failure();
      copy(lowering, source, saved);
      source = saved;
    }
    sources.push_back(source);
  }
  for (auto [source, target] : llvm::zip(sources, targets))
    copy(lowering, source, target);
  return success();
}

static LogicalResult newSlots(Lowering &lowering, ValueRange values, SmallVectorImpl<Value> &slots) {
  for (Value value : values) {
    if (!isa<RankedTensorType>(value.getType()))
      return lowering.current->emitOpError("carries a ") << value.getType() << "; only tensors are lowered";
    Value slot = lowering.newSlot(value);
    if (!slot)
      return failure();
    slots.push_back(slot);
  }
  return success();
}

/// The rank-0 slot behind a scalar that was read from one; null after a diagnostic.
static Value scalarSlot(Lowering &lowering, Value scalar) {
  if (auto cast = scalar.getDefiningOp<arith::IndexCastOp>())
    scalar = cast.getIn();
  auto extract = scalar.getDefiningOp<tensor::ExtractOp>();
  if (extract && extract.getIndices().empty())
    return lowering.buffer(extract.getTensor());
  lowering.current->emitOpError("needs its condition or trip count read from a tensor of no axes");
  return {};
}

static LogicalResult lowerIf(Lowering &lowering, scf::IfOp op) {
  Value condition = scalarSlot(lowering, op.getCondition());
  SmallVector<Value> targets;
  if (!condition || failed(newSlots(lowering, op.getResults(), targets)))
    return failure();
  auto lowered = lowering.builder.create<exec::IfOp>(lowering.location, condition);
  if (failed(lowerBlock(lowering, op.getThenRegion().front(), lowered.getThenBlock(), targets)))
    return failure();
  if (op.getElseRegion().empty()) {
    lowered.getElseBlock().emplaceBlock();
    return success();
  }
  return lowerBlock(lowering, op.getElseRegion().front(), lowered.getElseBlock(), targets);
}

static LogicalResult lowerFor(Lowering &lowering, scf::ForOp op) {
  std::optional<int64_t> lower = getConstantIntValue(op.getLowerBound());
  std::optional<int64_t> upper = getConstantIntValue(op.getUpperBound()), step = getConstantIntValue(op.getStep());
  if (!lower || !upper || !step || *step < 1)
    return op.emitOpError("needs constant bounds; a loop whose length is known at run time is not lowered yet");
  if (!op.getInductionVar().use_empty())
    return op.emitOpError("reads its induction variable, which is not lowered yet");
  int64_t trips = *upper > *lower ? (*upper - *lower + *step - 1) / *step : 0;
  SmallVector<Value> carried;
  if (failed(newSlots(lowering, op.getResults(), carried)))
    return failure();
  for (auto [init, argument, slot] : llvm::zip(op.getInitArgs(), op.getRegionIterArgs(), carried)) {
    copy(lowering, lowering.buffer(init), slot);
    lowering.bind(argument, slot);
  }
  auto loop = lowering.builder.create<exec::LoopOp>(lowering.location, Value(), Value(),
                                                    lowering.builder.getI64IntegerAttr(trips), trips);
  return lowerBlock(lowering, *op.getBody(), loop.getBody(), carried);
}

static LogicalResult lowerReturn(Lowering &lowering, func::ReturnOp op) {
  SmallVector<Value> outputs;
  for (Value value : op.getOperands()) {
    Value buffer = lowering.buffer(value);
    // An output is a slot of its own: not a view, an input or a constant.
    auto slot = buffer.getDefiningOp<exec::SlotOp>();
    if (!slot || slot.getInput() || llvm::is_contained(outputs, buffer)) {
      Value own = lowering.newRows(value, graph::getColumns(value.getType()),
                                   cast<MemRefType>(buffer.getType()).getElementType());
      if (!own)
        return failure();
      copy(lowering, buffer, own);
      buffer = own;
    }
    outputs.push_back(buffer);
  }
  lowering.builder.create<exec::ReturnOp>(lowering.location, outputs);
  return success();
}

LogicalResult mlc::lowerControlFlow(Lowering &lowering, Operation *op) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](func::ReturnOp op) { return lowerReturn(lowering, op); })
      .Case([&](scf::IfOp op) { return lowerIf(lowering, op); })
      .Case([&](scf::ForOp op) { return lowerFor(lowering, op); })
      // Scalars are read where they are used.
      .Case<arith::ConstantOp, tensor::ExtractOp, arith::IndexCastOp>([](auto) { return success(); });
}
