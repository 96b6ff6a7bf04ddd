//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Transforms/Network/FoldWeights.h"

#include "compiler/Dialect/Graph/IR/KernelOps.h"
#include "compiler/Reference/EvaluateOps.h"
#include "compiler/Transforms/Network/Structured.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Interfaces/LoopLikeInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Transforms/RegionUtils.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;

namespace mlc::graph {
namespace {

/// What is known of a value at compile time.
struct Known {
  bool constant = false; // Follows from weights and constants.
  bool data = false;     // Not merely a splat or an empty tensor.
  bool view = true;      // Elements of one weight or constant in place.
  uint64_t elements = 0; // Of the weights and constants behind it.
};

class Folder {
public:
  Folder(func::FuncOp function, reference::WeightSource &weights)
      : body(function.getBody().front()), weights(weights) {}

  llvm::Error run() {
    for (Operation &op : body.without_terminator())
      learn(&op);
    SmallVector<Value> roots;
    for (Operation &op : body.without_terminator())
      for (Value result : op.getResults())
        if (isRoot(result))
          roots.push_back(result);
    for (Value root : roots)
      if (llvm::Error error = fold(root))
        return error;
    // Whatever made them is dead.
    for (Operation &op : llvm::make_early_inc_range(llvm::reverse(body)))
      if (isOpTriviallyDead(&op))
        op.erase();
    return llvm::Error::success();
  }

private:
  static bool isLeaf(Operation *op) { return isa<ReadOp, arith::ConstantOp>(op); }

  /// Elements that an op makes or, of a structured op, goes through.
  static uint64_t workOf(Operation *op) {
    SmallVector<int64_t> extents;
    if (auto structured = dyn_cast<linalg::LinalgOp>(op))
      extents = structured.getStaticLoopRanges();
    else if (auto type = dyn_cast<RankedTensorType>(op->getResult(0).getType()))
      extents = llvm::to_vector(type.getShape());
    uint64_t work = 1;
    for (int64_t extent : extents)
      work = llvm::SaturatingMultiply(work, uint64_t(extent));
    return work;
  }

  SmallVector<Value> operandsOf(Operation *op) {
    llvm::SetVector<Value> all(op->operand_begin(), op->operand_end());
    getUsedValuesDefinedAbove(op->getRegions(), all);
    return all.takeVector();
  }

  void learn(Operation *op) {
    Known known;
    // A loop may take any time; the importer has run the short ones.
    known.constant = isMemoryEffectFree(op) && op->getNumResults() > 0 && !isa<LoopLikeOpInterface>(op);
    known.view = isa<tensor::ExpandShapeOp, tensor::CollapseShapeOp, tensor::ExtractSliceOp>(op) || isLeaf(op);
    if (isLeaf(op)) {
      auto type = dyn_cast<RankedTensorType>(op->getResult(0).getType());
      auto dense = op->getAttrOfType<DenseElementsAttr>("value");
      known.data = type && !(dense && dense.isSplat());
      known.elements = workOf(op);
    }
    for (Value operand : operandsOf(op)) {
      const Known &from = facts[operand];
      known.constant &= from.constant;
      known.data |= from.data;
      known.view &= from.view;
      known.elements = llvm::SaturatingAdd(known.elements, from.elements);
    }
    for (Value result : op->getResults())
      facts[result] = known;
  }

  /// Whether `value` may become a constant: what repeats its elements is made again more cheaply than read.
  bool isFoldable(Value value) {
    const Known &known = facts[value];
    auto type = dyn_cast<RankedTensorType>(value.getType());
    return known.constant && known.data && type && type.hasStaticShape() &&
           uint64_t(type.getNumElements()) <=
               std::max<uint64_t>(llvm::SaturatingMultiply(known.elements, uint64_t(2)), 1 << 12);
  }
  /// A kernel's filter, which must be constant whatever it follows from.
  bool isFilter(Value value) {
    auto type = dyn_cast<RankedTensorType>(value.getType());
    return facts[value].constant && type && type.hasStaticShape() &&
           llvm::any_of(value.getUsers(), [&](Operation *user) {
             auto call = dyn_cast<CallKernelOp>(user);
             return call && llvm::is_contained(call.getInputs().drop_front(), value);
           });
  }
  /// Foldable, more than a view, and read by what is not foldable.
  bool isRoot(Value value) {
    if (isFilter(value) && !facts[value].view)
      return true;
    return isFoldable(value) && !facts[value].view && llvm::any_of(value.getUsers(), [&](Operation *user) {
             Operation *reader = body.findAncestorOpInBlock(*user);
             return !reader->getNumResults() || !isFoldable(reader->getResult(0));
           });
  }

  llvm::Error fold(Value root) {
    llvm::SetVector<Operation *> needed, leaves;
    SmallVector<Operation *> open{root.getDefiningOp()};
    while (!open.empty()) {
      Operation *op = open.pop_back_val();
      if (!(isLeaf(op) ? leaves : needed).insert(op))
        continue;
      for (Value operand : operandsOf(op))
        open.push_back(operand.getDefiningOp());
    }
    SmallVector<Operation *> ops = needed.takeVector();
    // More than products of weights take is left to the runs.
    uint64_t work = 0, most = uint64_t(1) << 24;
    for (Operation *op : ops)
      work = llvm::SaturatingAdd(work, workOf(op));
    for (Operation *leaf : leaves)
      most = llvm::SaturatingAdd(most, llvm::SaturatingMultiply(uint64_t(1024), workOf(leaf)));
    if (work > most)
      return llvm::Error::success();
    llvm::sort(ops, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
    bool wide = llvm::any_of(ops, [](Operation *op) { return getElementTypeOrSelf(op->getResult(0)).isF64(); });
    reference::Limits limits;
    auto declare = [](OpBuilder &builder, ReadOp read) { builder.clone(*lookupWeight(read, read.getWeightAttr())); };
    auto values = wide ? reference::evaluateOps<double>(leaves.getArrayRef(), ops, root, weights, declare, limits)
                       : reference::evaluateOps<float>(leaves.getArrayRef(), ops, root, weights, declare, limits);
    if (!values)
      return values.takeError();
    OpBuilder builder(root.getDefiningOp());
    Value constant = builder.create<arith::ConstantOp>(root.getLoc(), values->front());
    facts[constant] = facts[root];
    root.replaceAllUsesWith(constant);
    return llvm::Error::success();
  }

  Block &body;
  reference::WeightSource &weights;
  DenseMap<Value, Known> facts;
};

} // namespace

llvm::Error foldWeights(ModuleOp module, reference::WeightSource &weights) {
  for (auto function : module.getOps<func::FuncOp>())
    if (llvm::Error error = Folder(function, weights).run())
      return error;
  return llvm::Error::success();
}

} // namespace mlc::graph
