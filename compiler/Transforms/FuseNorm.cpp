//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Builders.h"

using namespace mlir;

namespace mlc::graph {
#define GEN_PASS_DEF_FUSENORM
#include "compiler/Transforms/Passes.h.inc"

namespace {
struct FuseNorm : impl::FuseNormBase<FuseNorm> {
  void runOnOperation() override {
    getOperation().walk([&](RmsNormOp norm) {
      auto add = norm.getInput().getDefiningOp<arith::AddFOp>();
      WeightOp weight = lookupWeight(norm, norm.getWeightAttr());
      if (!add || add->getBlock() != norm->getBlock() ||
          weight.getTensorType().getDimSize(0) != getColumns(norm.getInput().getType()))
        return;
      // At the addition, so that the sum's other readers still come after it.
      OpBuilder builder(add);
      Type type = norm.getResult().getType();
      auto fusedOp = builder.create<AddRmsNormOp>(builder.getFusedLoc({add.getLoc(), norm.getLoc()}),
                                                  TypeRange{type, type}, add.getLhs(), add.getRhs(),
                                                  norm.getWeightAttr(), norm.getEpsAttr(), norm.getOffsetAttr());
      takeTaps(add, fusedOp);
      swallowTaps(norm, fusedOp);
      norm.getResult().replaceAllUsesWith(fusedOp.getResult());
      norm->erase();
      add.getResult().replaceAllUsesWith(fusedOp.getSum());
      add->erase();
      ++fused;
    });
  }
};
} // namespace
} // namespace mlc::graph
