//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Transforms/Passes.h"
#include "targets/cpu/pack/Layout.h"

#include "mlir/IR/Builders.h"

using namespace mlir;

namespace mlc::graph {
#define GEN_PASS_DEF_FUSELINEARGATE
#include "compiler/Transforms/Passes.h.inc"

namespace {
struct FuseLinearGate : impl::FuseLinearGateBase<FuseLinearGate> {
  using FuseLinearGateBase::FuseLinearGateBase;

  void runOnOperation() override {
    // Collected first: a fusion erases ops around the gate.
    SmallVector<GatedActivationOp> gates;
    getOperation().walk([&](GatedActivationOp gated) { gates.push_back(gated); });
    for (GatedActivationOp gated : gates) {
      auto split = gated.getGate().getDefiningOp<SplitOp>();
      if (!split || split->getNumResults() != 2 || gated.getGate() != split.getResult(0) ||
          gated.getUp() != split.getResult(1) || !split.getResult(0).hasOneUse() || !split.getResult(1).hasOneUse())
        continue;
      auto linear = split.getInput().getDefiningOp<LinearOp>();
      if (!linear || !linear.getResult().hasOneUse() || !takesGate(linear) || linear.getResidual() ||
          linear.getGate() || getColumns(gated.getType()) % cpu::kPanel ||
          split.getResult(0).getType() != split.getResult(1).getType())
        continue;
      fuse(gated, split, linear);
    }
  }

private:
  bool takesGate(LinearOp linear) const {
    const bool quantized = isa<QuantizedType>(linear.getInput().getType());
    return device ? (quantized || linear.getBf16()) && !linear.getBiases() : quantized;
  }

  void fuse(GatedActivationOp gated, SplitOp split, LinearOp linear) {
    QuantizeRowsOp quantize;
    if (gated->hasOneUse() && !device)
      quantize = dyn_cast<QuantizeRowsOp>(*gated->user_begin());
    OpBuilder builder(gated);
    Type type = quantize ? Type(quantize.getType()) : Type(gated.getType());
    auto fusedOp = builder.create<LinearOp>(builder.getFusedLoc({linear.getLoc(), gated.getLoc()}), type,
                                            linear.getInput(), Value(), linear.getWeightsAttr(), linear.getBiasesAttr(),
                                            gated.getFunctionAttr(), linear.getBf16Attr());
    swallowTaps(linear, fusedOp);
    swallowTaps(split, fusedOp);
    if (quantize) {
      swallowTaps(gated, fusedOp);
      quantize.replaceAllUsesWith(fusedOp.getResult());
      quantize->erase();
    } else {
      takeTaps(gated, fusedOp);
      gated.replaceAllUsesWith(fusedOp.getResult());
    }
    gated->erase();
    split->erase();
    linear->erase();
    ++fused;
  }
};
} // namespace
} // namespace mlc::graph
