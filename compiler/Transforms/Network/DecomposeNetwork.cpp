//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Dialect/Graph/IR/KernelOps.h"
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
    populateSelectionPatterns(patterns);
    linalg::populateElementwiseToLinalgConversionPatterns(patterns);
    if (failed(applyPatternsAndFoldGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();
    limitIndices();
    getOperation().walk([&](Operation *op) {
      if (isa_and_nonnull<GraphDialect>(op->getDialect()) && !isa<CallKernelOp, ReadOp, WeightOp, NetworkOp>(op)) {
        op->emitOpError("has no compiled form yet");
        signalPassFailure();
      }
    });
  }

private:
  /// Whether `index` follows from the places of the loops alone, which the importer keeps inside.
  static bool followsFromPlaces(Value index, unsigned depth = 0) {
    constexpr unsigned kDeep = 32;
    Operation *definer = index.getDefiningOp();
    return definer && depth < kDeep && !isa<tensor::ExtractOp>(definer) && !definer->getNumRegions() &&
           llvm::all_of(definer->getOperands(), [&](Value from) { return followsFromPlaces(from, depth + 1); });
  }

  /// An index that follows from values is kept inside of its tensor: what lies outside reads the nearest element.
  void limitIndices() {
    getOperation().walk([&](tensor::ExtractOp op) {
      OpBuilder builder(op);
      Structured s(op.getLoc(), builder);
      for (auto [operand, extent] : llvm::zip(op.getIndicesMutable(), shapeOf(op.getTensor())))
        if (!followsFromPlaces(operand.get()) && extent > 0) {
          Value limited = s.b.create<arith::MaxSIOp>(operand.get(), s.index(0));
          operand.set(s.b.create<arith::MinSIOp>(limited, s.index(extent - 1)));
        }
    });
  }
};
} // namespace
} // namespace mlc::graph
