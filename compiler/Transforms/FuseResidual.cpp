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
        if (auto sum = product.getDefiningOp<AllReduceOp>()) {
          if (!fuse(add, sum, residual))
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
  /// Experts, and what adds ranks up, move down to the addition, too.
  template <typename Op> bool fuse(arith::AddFOp add, Op sum, Value residual) {
    if (sum.getResidual() || !sum.getResult().hasOneUse() || residual == sum.getResult())
      return false;
    OpBuilder builder(add);
    auto fusedOp = cast<Op>(builder.clone(*sum));
    fusedOp->removeAttr(kTapAttr);
    fusedOp->removeAttr(kInnerTapsAttr);
    fusedOp.getResidualMutable().assign(residual);
    takeTaps(add, fusedOp);
    swallowTaps(sum, fusedOp);
    add.replaceAllUsesWith(fusedOp.getResult());
    add->erase();
    sum->erase();
    ++fused;
    return true;
  }
};
} // namespace
} // namespace mlc::graph
