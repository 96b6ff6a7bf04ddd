//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Builders.h"

using namespace mlir;

namespace mlc::graph {
#define GEN_PASS_DEF_FUSEGATE
#include "compiler/Transforms/Passes.h.inc"

namespace {
struct FuseGate : impl::FuseGateBase<FuseGate> {
  void runOnOperation() override {
    getOperation().walk([&](arith::MulFOp multiply) {
      for (auto [gate, up] :
           {std::pair(multiply.getLhs(), multiply.getRhs()), std::pair(multiply.getRhs(), multiply.getLhs())}) {
        auto activation = gate.getDefiningOp<ActivationOp>();
        if (!activation || !gate.hasOneUse() || up == gate)
          continue;
        OpBuilder builder(multiply);
        auto gated = builder.create<GatedActivationOp>(builder.getFusedLoc({activation.getLoc(), multiply.getLoc()}),
                                                       multiply.getType(), activation.getInput(), up,
                                                       activation.getFunctionAttr());
        takeTaps(multiply, gated);
        swallowTaps(activation, gated);
        multiply.replaceAllUsesWith(gated.getResult());
        multiply->erase();
        activation->erase();
        ++fused;
        return;
      }
    });
  }
};
} // namespace
} // namespace mlc::graph
