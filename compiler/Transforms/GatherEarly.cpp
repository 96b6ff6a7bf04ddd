//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Transforms/Passes.h"

#include "mlir/IR/Builders.h"

using namespace mlir;

namespace mlc::graph {
#define GEN_PASS_DEF_GATHEREARLY
#include "compiler/Transforms/Passes.h.inc"

namespace {

/// Whether row t of every result depends on row t of the operands alone.
bool isRowwise(Operation *op) {
  return isa<LinearOp, MoeOp, ScaleRowsOp, RmsNormOp, GatedRmsNormOp, ActivationOp, GatedActivationOp, SoftcapOp,
             ScaleOp, ScaleColumnsOp, SplitOp>(op) ||
         (OpTrait::hasElementwiseMappableTraits(op) && op->getNumRegions() == 0);
}

/// Whether rows can be taken from the value: what elementwise ops make of constants spread over a shape would only
/// become another constant.
bool hasRows(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || type.getRank() != 2 || !type.isDynamicDim(0) || !type.getElementType().isF32())
    return false;
  // Chains of elementwise ops down to values of other kinds, each seen once.
  SmallVector<Value> work{value};
  DenseSet<Value> seen;
  while (!work.empty()) {
    Value next = work.pop_back_val();
    Operation *op = next.getDefiningOp();
    if (!seen.insert(next).second || !op || isa<GraphDialect>(op->getDialect()))
      continue;
    if (!isRowwise(op) || op->getNumOperands() == 0)
      return false;
    llvm::append_range(work, op->getOperands());
  }
  return true;
}

struct GatherEarly : impl::GatherEarlyBase<GatherEarly> {
  void runOnOperation() override {
    // A gather that has moved is looked at again where it has come to stand.
    SmallVector<GatherRowsOp> work;
    getOperation().walk([&](GatherRowsOp gather) { work.push_back(gather); });
    DenseSet<Operation *> gone;
    while (!work.empty()) {
      GatherRowsOp gather = work.pop_back_val();
      Operation *op = gone.contains(gather) ? nullptr : gather.getInput().getDefiningOp();
      if (op && movesBefore(op, gather))
        move(op, gather.getRows(), work, gone);
    }
  }

private:
  /// Every use of every result takes the same rows, and the operands have rows.
  static bool movesBefore(Operation *op, GatherRowsOp gather) {
    if (!isRowwise(op) || op->getBlock() != gather->getBlock() || !llvm::all_of(op->getOperands(), hasRows) ||
        !llvm::all_of(op->getResults(), hasRows))
      return false;
    if (auto *rows = gather.getRows().getDefiningOp(); rows && !rows->isBeforeInBlock(op))
      return false;
    return llvm::all_of(op->getUsers(), [&](Operation *user) {
      auto other = dyn_cast<GatherRowsOp>(user);
      return other && other.getRows() == gather.getRows() && other->getBlock() == op->getBlock();
    });
  }

  void move(Operation *op, Value rows, SmallVectorImpl<GatherRowsOp> &work, DenseSet<Operation *> &gone) {
    OpBuilder builder(op);
    // Its value has fewer rows from now on: the tap lies inside.
    if (Attribute tap = op->getAttr(kTapAttr)) {
      swallowTaps(op, op);
      op->removeAttr(kTapAttr);
    }
    DenseMap<Value, Value> gathered;
    for (OpOperand &operand : op->getOpOperands()) {
      Value &taken = gathered[operand.get()];
      if (!taken) {
        // One gather of a value serves all who take these rows.
        for (Operation *user : operand.get().getUsers())
          if (auto same = dyn_cast<GatherRowsOp>(user);
              same && same.getRows() == rows && same->getBlock() == op->getBlock() && same->isBeforeInBlock(op))
            taken = same.getResult();
        if (!taken) {
          auto gather = builder.create<GatherRowsOp>(op->getLoc(), operand.get().getType(), operand.get(), rows);
          // An erased one may have had its address.
          gone.erase(gather);
          work.push_back(gather);
          taken = gather.getResult();
        }
      }
      operand.set(taken);
    }
    for (Operation *user : llvm::to_vector(op->getUsers())) {
      auto gather = cast<GatherRowsOp>(user);
      gather.getResult().replaceAllUsesWith(gather.getInput());
      gone.insert(gather);
      gather->erase();
    }
    // What reads the operands' other gathers may now let them move, too.
    for (Value operand : op->getOperands())
      if (auto gather = operand.getDefiningOp<GatherRowsOp>())
        work.push_back(gather);
    ++moved;
  }
};
} // namespace
} // namespace mlc::graph
