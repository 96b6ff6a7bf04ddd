//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Builders.h"

using namespace mlir;

namespace mlc::graph {
#define GEN_PASS_DEF_FUSERESIDUAL
#include "compiler/Transforms/Passes.h.inc"

namespace {
struct FuseResidual : impl::FuseResidualBase<FuseResidual> {
  void runOnOperation() override {
    getOperation().walk([&](arith::AddFOp add) {
      for (auto [product, residual] : {std::pair(add.getLhs(), add.getRhs()), std::pair(add.getRhs(), add.getLhs())}) {
        if (auto moe = product.getDefiningOp<MoeOp>()) {
          if (!fuse(add, moe, residual))
            continue;
          return;
        }
        auto linear = product.getDefiningOp<LinearOp>();
        if (!linear || linear.getResidual() || !product.hasOneUse() || residual == product)
          continue;
        // The product moves down to the addition, where the residual is sure to exist.
        OpBuilder builder(add);
        auto fusedOp = builder.create<LinearOp>(builder.getFusedLoc({linear.getLoc(), add.getLoc()}), add.getType(),
                                                linear.getInput(), residual, linear.getWeightsAttr(),
                                                linear.getBiasesAttr(), ActivationAttr(), UnitAttr());
        takeTaps(add, fusedOp);
        swallowTaps(linear, fusedOp);
        add.replaceAllUsesWith(fusedOp.getResult());
        add->erase();
        linear->erase();
        ++fused;
        return;
      }
    });
  }

private:
  /// The experts move down to the addition, too.
  bool fuse(arith::AddFOp add, MoeOp moe, Value residual) {
    if (moe.getResidual() || !moe.getResult().hasOneUse() || residual == moe.getResult())
      return false;
    OpBuilder builder(add);
    auto fusedOp = cast<MoeOp>(builder.clone(*moe));
    fusedOp->removeAttr(kTapAttr);
    fusedOp->removeAttr(kInnerTapsAttr);
    fusedOp.getResidualMutable().assign(residual);
    takeTaps(add, fusedOp);
    swallowTaps(moe, fusedOp);
    add.replaceAllUsesWith(fusedOp.getResult());
    add->erase();
    moe->erase();
    ++fused;
    return true;
  }
};
} // namespace
} // namespace mlc::graph
