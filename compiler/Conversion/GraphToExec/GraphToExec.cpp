//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Conversion/GraphToExec/GraphToExec.h"
#include "compiler/Conversion/GraphToExec/Lowering.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;

namespace mlc {
#define GEN_PASS_DEF_CONVERTGRAPHTOEXEC
#include "compiler/Conversion/GraphToExec/GraphToExecPass.h.inc"

namespace {

struct ConvertGraphToExec : impl::ConvertGraphToExecBase<ConvertGraphToExec> {
  using ConvertGraphToExecBase::ConvertGraphToExecBase;
  void runOnOperation() override {
    ModuleOp module = getOperation();
    SmallVector<Operation *> former;
    for (Operation &op : module.getOps())
      former.push_back(&op);
    OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
    declare(module, builder);
    CodeTarget code{triple, {isas.begin(), isas.end()}, device, kernels == "xnnpack"};
    if (code.isas.empty() && !device)
      code.isas = {"x86-64-v2", "x86-64-v3", "x86-64-v4"};
    Lowering lowering(module, builder, std::move(code));
    for (Operation *op : former)
      if (auto function = dyn_cast<func::FuncOp>(op))
        if (failed(convert(function, lowering)))
          return signalPassFailure();
    for (Operation *op : former)
      op->erase();
  }

private:
  void declare(ModuleOp module, OpBuilder &builder) {
    for (auto model : module.getOps<graph::ModelOp>()) {
      NamedAttrList attributes(model->getAttrs());
      builder.create<exec::ModelOp>(model.getLoc(), TypeRange{}, ValueRange{}, attributes);
    }
    for (auto network : module.getOps<graph::NetworkOp>())
      builder.create<exec::ModelOp>(network.getLoc(), "network", network.getNameAttr());
    for (auto extent : module.getOps<graph::ExtentOp>())
      builder.create<exec::ExtentOp>(extent.getLoc(), extent.getSymName(), int64_t(*extent.getBound()));
    for (auto state : module.getOps<graph::StateOp>())
      declareState(state, builder);
  }

  LogicalResult convert(func::FuncOp function, Lowering &lowering) {
    if (!getOperation().getOps<graph::NetworkOp>().empty())
      return lowerBuffers(lowering, function);
    if (!function.getBody().hasOneBlock())
      return function.emitError("only a single block is lowered; use scf for control flow");
    OpBuilder::InsertionGuard guard(lowering.builder);
    lowering.location = function.getLoc();
    auto lowered =
        lowering.builder.create<exec::FuncOp>(function.getLoc(), function.getSymName(), ArrayAttr(), ArrayAttr());
    lowering.builder.setInsertionPointToStart(&lowered.getBody().emplaceBlock());
    int64_t input = 0;
    for (BlockArgument argument : function.getArguments()) {
      if (isa<graph::BatchType>(argument.getType()))
        continue;
      Value slot = lowering.newSlot(argument);
      if (!slot)
        return failure();
      slot.getDefiningOp<exec::SlotOp>().setInputAttr(lowering.builder.getI64IntegerAttr(input++));
    }
    for (Operation &op : function.front())
      if (failed(lowering.lower(&op)))
        return failure();
    return success();
  }
};

} // namespace
} // namespace mlc
