//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Dialect/Graph/IR/Graph.h"
#include "compiler/Transforms/Network/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Bufferization/Transforms/FuncBufferizableOpInterfaceImpl.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotAnalysis.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotModuleBufferize.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;

namespace mlc::graph {
#define GEN_PASS_DEF_BUFFERIZENETWORK
#include "compiler/Transforms/Network/Passes.h.inc"

namespace {

constexpr llvm::StringLiteral kWritable = "bufferization.writable";

/// Weights and tensor constants become arguments of their function.
void hoistConstants(func::FuncOp function) {
  Builder builder(function.getContext());
  for (unsigned i = 0; i < function.getNumArguments(); ++i)
    function.setArgAttr(i, kWritable, builder.getBoolAttr(false));
  DenseMap<std::pair<Attribute, Type>, Value> made;
  SmallVector<Operation *> gone;
  function.walk([&](Operation *op) {
    Attribute what;
    StringRef name;
    if (auto read = dyn_cast<ReadOp>(op))
      what = read.getWeightAttr(), name = kWeightArgument;
    else if (auto constant = dyn_cast<arith::ConstantOp>(op); constant && isa<RankedTensorType>(constant.getType()))
      what = constant.getValue(), name = kConstantArgument;
    else
      return;
    Type type = op->getResult(0).getType();
    Value &argument = made[{what, type}];
    if (!argument) {
      unsigned index = function.getNumArguments();
      NamedAttrList attributes;
      attributes.set(name, what);
      attributes.set(kWritable, builder.getBoolAttr(false));
      function.insertArgument(index, type, attributes.getDictionary(function.getContext()), op->getLoc());
      argument = function.getArgument(index);
    }
    op->getResult(0).replaceAllUsesWith(argument);
    gone.push_back(op);
  });
  for (Operation *op : gone)
    op->erase();
}

/// Gives every op that starts from a filled tensor one of its own: a shared one would be copied.
void unshareFills(func::FuncOp function) {
  SmallVector<linalg::FillOp> fills;
  function.walk([&](linalg::FillOp op) { fills.push_back(op); });
  for (linalg::FillOp fill : fills) {
    auto empty = fill.getOutputs()[0].getDefiningOp<tensor::EmptyOp>();
    if (!empty || fill->hasOneUse())
      continue;
    for (OpOperand &use : llvm::make_early_inc_range(fill->getUses())) {
      auto owner = dyn_cast<DestinationStyleOpInterface>(use.getOwner());
      if (!(owner && owner.isDpsInit(&use)) && !isa<tensor::InsertSliceOp>(use.getOwner()))
        continue;
      OpBuilder builder(use.getOwner());
      Operation *own = builder.clone(*empty), *filled = builder.clone(*fill);
      filled->setOperand(1, own->getResult(0));
      use.set(filled->getResult(0));
    }
    if (fill->use_empty())
      fill->erase();
  }
}

/// Gives every op that writes to an empty tensor one of its own: what lies in a shared one would live from the first
/// writer to the last reader.
void unshareEmpty(func::FuncOp function) {
  SmallVector<tensor::EmptyOp> empties;
  function.walk([&](tensor::EmptyOp op) { empties.push_back(op); });
  for (tensor::EmptyOp empty : empties)
    for (OpOperand &use : llvm::make_early_inc_range(empty->getUses())) {
      if (empty->hasOneUse())
        break;
      OpBuilder builder(use.getOwner());
      use.set(builder.clone(*empty)->getResult(0));
    }
}

/// Whether `value` is a part of another tensor, in another shape or not.
bool isPart(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (isa<tensor::ExtractSliceOp>(op))
      return true;
    if (!isa<tensor::CollapseShapeOp, tensor::ExpandShapeOp, tensor::CastOp>(op))
      return false;
    value = op->getOperand(0);
  }
  return false;
}

/// Copies parts that loops start from and branches give: the strides of a part would become those of the result, which
/// lies in a buffer of its own.
void copyParts(func::FuncOp function) {
  auto copy = [](OpOperand &use) {
    if (!isa<RankedTensorType>(use.get().getType()) || !isPart(use.get()))
      return;
    OpBuilder builder(use.getOwner());
    Value part = use.get();
    use.set(builder.create<bufferization::AllocTensorOp>(part.getLoc(), cast<RankedTensorType>(part.getType()),
                                                         ValueRange(), part));
  };
  function.walk([&](Operation *op) {
    if (auto loop = dyn_cast<scf::ForOp>(op))
      llvm::for_each(loop.getInitArgsMutable(), copy);
    else if (isa<scf::YieldOp>(op) && isa<scf::IfOp>(op->getParentOp()))
      llvm::for_each(op->getOpOperands(), copy);
  });
}

/// The buffer that branches or iterations copy a result into, in front of `op`; its extents are those of `like`, where
/// they are not fixed.
Value bufferFor(OpBuilder &builder, Operation *op, Type type, Value like) {
  auto memref = cast<MemRefType>(type);
  builder.setInsertionPoint(op);
  SmallVector<Value> sizes;
  for (int64_t axis = 0; axis < memref.getRank(); ++axis)
    if (memref.isDynamicDim(axis))
      sizes.push_back(builder.create<memref::DimOp>(op->getLoc(), like, axis));
  return builder.create<memref::AllocOp>(op->getLoc(), MemRefType::get(memref.getShape(), memref.getElementType()),
                                         sizes);
}

/// scf.if without buffer results; failure where only the branches know a result's extents.
LogicalResult flattenIf(scf::IfOp op) {
  OpBuilder builder(op);
  for (OpResult result : op.getResults()) {
    auto type = dyn_cast<MemRefType>(result.getType());
    if (!type)
      continue;
    if (!type.hasStaticShape())
      return op.emitOpError("has branches that give a tensor whose extent a run chooses: fix the dimension with --dim "
                            "NAME=VALUE");
    Value buffer = bufferFor(builder, op, type, {}), replacement = buffer;
    if (buffer.getType() != result.getType())
      replacement = builder.create<memref::CastOp>(op.getLoc(), result.getType(), buffer);
    for (Region *region : {&op.getThenRegion(), &op.getElseRegion()}) {
      Operation *yield = region->front().getTerminator();
      builder.setInsertionPoint(yield);
      builder.create<memref::CopyOp>(op.getLoc(), yield->getOperand(result.getResultNumber()), buffer);
      yield->setOperand(result.getResultNumber(), replacement);
    }
    // The branches yield the buffer itself.
    result.replaceAllUsesWith(replacement);
  }
  return success();
}

/// scf.for without carried buffers: each has one place, from the copy of its start on.
void flattenFor(scf::ForOp op) {
  OpBuilder builder(op);
  Operation *yield = op.getBody()->getTerminator();
  SmallVector<std::pair<Value, Value>> copies; // What an iteration leaves, and where.
  for (auto [argument, init] : llvm::zip(op.getRegionIterArgs(), op.getInitArgsMutable())) {
    if (!isa<MemRefType>(argument.getType()))
      continue;
    OpResult result = op.getTiedLoopResult(argument);
    Value left = yield->getOperand(result.getResultNumber());
    Value buffer = bufferFor(builder, op, argument.getType(), init.get());
    builder.setInsertionPoint(op);
    builder.create<memref::CopyOp>(op.getLoc(), init.get(), buffer);
    Value inside = buffer;
    if (buffer.getType() != argument.getType())
      inside = builder.create<memref::CastOp>(op.getLoc(), argument.getType(), buffer);
    argument.replaceAllUsesWith(inside);
    result.replaceAllUsesWith(inside);
    init.set(inside);
    if (left != argument && left != inside)
      copies.push_back({left, buffer});
    yield->setOperand(result.getResultNumber(), inside);
  }
  // What is left may be another's place: all of it is set aside first.
  SmallVector<Value> aside;
  for (auto [left, place] : copies) {
    Value saved = left;
    if (copies.size() > 1 && !left.getDefiningOp<memref::AllocOp>()) {
      saved = bufferFor(builder, op, left.getType(), place);
      builder.setInsertionPoint(yield);
      builder.create<memref::CopyOp>(op.getLoc(), left, saved);
    }
    aside.push_back(saved);
  }
  builder.setInsertionPoint(yield);
  for (auto [saved, copy] : llvm::zip(aside, copies))
    builder.create<memref::CopyOp>(op.getLoc(), saved, copy.second);
}

struct BufferizeNetwork : impl::BufferizeNetworkBase<BufferizeNetwork> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    for (auto function : module.getOps<func::FuncOp>()) {
      hoistConstants(function);
      unshareFills(function);
      unshareEmpty(function);
      copyParts(function);
    }
    bufferization::OneShotBufferizationOptions options;
    options.bufferizeFunctionBoundaries = true;
    options.allowReturnAllocsFromLoops = true;
    options.setFunctionBoundaryTypeConversion(bufferization::LayoutMapOption::IdentityLayoutMap);
    if (failed(bufferization::runOneShotModuleBufferize(module, options)))
      return signalPassFailure();
    for (auto function : module.getOps<func::FuncOp>()) {
      // Inner ops first: what they copied is what outer ones yield.
      if (function.walk([](scf::IfOp op) { return WalkResult(flattenIf(op)); }).wasInterrupted())
        return signalPassFailure();
      function.walk([](scf::ForOp op) { flattenFor(op); });
      if (failed(hoistAllocations(function)))
        return signalPassFailure();
      placeKernelOperands(function);
    }
  }

private:
  /// An allocation inside control flow is made once, in front of it: nothing that it holds outlives an iteration.
  static LogicalResult hoistAllocations(func::FuncOp function) {
    Block &body = function.getBody().front();
    SmallVector<memref::AllocOp> inner;
    function.walk([&](memref::AllocOp op) {
      if (op->getBlock() != &body)
        inner.push_back(op);
    });
    for (memref::AllocOp op : inner)
      if (!hoist(op, body.findAncestorOpInBlock(*op)))
        return op.emitOpError("is of an extent that changes from one iteration to the next, which is not compiled");
    return success();
  }

  /// Moves `op` and the pure ops that it follows from in front of `place`; false where one belongs to an iteration.
  static bool hoist(Operation *op, Operation *place) {
    for (Value operand : op->getOperands()) {
      Operation *definer = operand.getDefiningOp();
      Operation *owner = definer ? definer : operand.getParentBlock()->getParentOp();
      if (!place->isAncestor(owner) || (definer && definer->getBlock() == place->getBlock()))
        continue;
      bool isDim = isa_and_nonnull<memref::DimOp>(definer);
      if (!definer || definer->getNumRegions() || !(isPure(definer) || isDim || isa<memref::AllocOp>(definer)) ||
          !hoist(definer, place))
        return false;
    }
    op->moveBefore(place);
    return true;
  }
};
} // namespace
} // namespace mlc::graph
