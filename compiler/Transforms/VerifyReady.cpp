//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Dialect/Graph/Analysis/Extents.h"
#include "compiler/Transforms/ElementwiseOps.h"
#include "compiler/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace mlc::graph {
#define GEN_PASS_DEF_VERIFYREADY
#include "compiler/Transforms/Passes.h.inc"

namespace {

/// Ops outside the dialect that GraphToExec lowers; OutlineElementwise has gathered the other elementwise ones.
bool isLowered(Operation *op) {
  if (isa<GraphDialect>(op->getDialect()))
    return true;
  if (auto region = dyn_cast<linalg::GenericOp>(op))
    return region->hasAttr(kRegionAttr);
  return isa<ModuleOp, func::FuncOp, func::ReturnOp, scf::IfOp, scf::ForOp, scf::YieldOp, arith::ConstantOp,
             arith::AddFOp, arith::SubFOp, arith::MulFOp, arith::DivFOp, arith::MaximumFOp, arith::MinimumFOp,
             tensor::ExtractOp, tensor::EmptyOp, tensor::DimOp, arith::IndexCastOp>(op);
}

struct VerifyReady : impl::VerifyReadyBase<VerifyReady> {
  void runOnOperation() override {
    bool ready = true;
    auto refuse = [&](Operation *op, const Twine &what) {
      op->emitOpError(what);
      ready = false;
    };
    for (ModelOp model : getOperation().getOps<ModelOp>())
      if (!model.getMaxContext() || !model.getMaxBatch() || !model.getMaxSequences() || !model.getMaxRows())
        refuse(model, "has no bounds; run graph-set-bounds first");
    for (ExtentOp extent : getOperation().getOps<ExtentOp>())
      if (!extent.getBound())
        refuse(extent, "has no bound; run graph-set-bounds first");
    for (StateOp state : getOperation().getOps<StateOp>())
      if (!state.getDtype())
        refuse(state, "has no dtype; run graph-set-state-types first");
    ExtentAnalysis extents;
    getOperation().walk([&](func::FuncOp function) {
      function.walk([&](Operation *op) {
        bool insideRegion = op->getParentOfType<linalg::GenericOp>() != nullptr;
        if (insideRegion)
          return;
        if (!isLowered(op))
          return refuse(op, "has no kernel; let it be compiled with --code auto, or write it with other ops");
        for (Value result : op->getResults())
          if (isa<RankedTensorType>(result.getType()) && failed(extents.dims(result)))
            ready = false;
      });
    });
    if (!ready)
      signalPassFailure();
  }
};
} // namespace
} // namespace mlc::graph
