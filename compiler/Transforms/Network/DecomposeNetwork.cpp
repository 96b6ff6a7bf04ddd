//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Dialect/Graph/IR/Graph.h"
#include "compiler/Transforms/Network/Passes.h"
#include "compiler/Transforms/Network/Structured.h"

#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;

namespace mlc::graph {
#define GEN_PASS_DEF_DECOMPOSENETWORK
#include "compiler/Transforms/Network/Passes.h.inc"

namespace {
struct DecomposeNetwork : impl::DecomposeNetworkBase<DecomposeNetwork> {
  void runOnOperation() override {
    bool fixed = true;
    getOperation().walk([&](Operation *op) {
      for (Value result : op->getResults())
        if (auto type = dyn_cast<RankedTensorType>(result.getType()); fixed && type && !type.hasStaticShape()) {
          op->emitOpError("has a result of type ")
              << type << ", whose extent is known at run time only; this version compiles fixed shapes: fix the "
              << "dimension with --dim NAME=VALUE";
          fixed = false;
        }
    });
    if (!fixed)
      return signalPassFailure();
    RewritePatternSet patterns(&getContext());
    populateWindowPatterns(patterns);
    populateProductPatterns(patterns);
    populateRecurrentPatterns(patterns);
    linalg::populateElementwiseToLinalgConversionPatterns(patterns);
    if (failed(applyPatternsAndFoldGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();
    getOperation().walk([&](Operation *op) {
      if (isa_and_nonnull<GraphDialect>(op->getDialect()) && !isa<ReadOp, WeightOp, NetworkOp>(op)) {
        op->emitOpError("has no compiled form yet");
        signalPassFailure();
      }
    });
  }
};
} // namespace
} // namespace mlc::graph
