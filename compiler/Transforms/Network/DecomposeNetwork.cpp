//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Dialect/Graph/IR/KernelOps.h"
#include "compiler/Transforms/Network/Passes.h"
#include "compiler/Transforms/Network/Structured.h"

#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
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
    RewritePatternSet patterns(&getContext());
    populateBlockPatterns(patterns);
    populateWindowPatterns(patterns);
    populateProductPatterns(patterns);
    populateRecurrentPatterns(patterns);
    populateResizePatterns(patterns);
    populateSelectionPatterns(patterns);
    linalg::populateElementwiseToLinalgConversionPatterns(patterns);
    if (failed(applyPatternsAndFoldGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();
    limitIndices();
    getOperation().walk(freeExpandedInits);
    if (failed(resolveExtents(getOperation())))
      return signalPassFailure();
    getOperation().walk([&](Operation *op) {
      if (isa_and_nonnull<GraphDialect>(op->getDialect()) &&
          !isa<CallKernelOp, ReadOp, WeightOp, NetworkOp, ExtentOp>(op)) {
        bool fixed =
            llvm::all_of(op->getOperandTypes(), hasFixedShape) && llvm::all_of(op->getResultTypes(), hasFixedShape);
        op->emitOpError(fixed
                            ? "has no compiled form yet"
                            : "has no compiled form where an extent is known at run time only: fix the dimension with "
                              "--dim NAME=VALUE");
        signalPassFailure();
      }
    });
  }

private:
  static bool hasFixedShape(Type type) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    return !tensor || tensor.hasStaticShape();
  }

  /// Whether `index` follows from the places of the loops alone, which the importer keeps inside.
  static bool followsFromPlaces(Value index, unsigned depth = 0) {
    constexpr unsigned kDeep = 32;
    Operation *definer = index.getDefiningOp();
    return definer && depth < kDeep && !isa<tensor::ExtractOp>(definer) && !definer->getNumRegions() &&
           llvm::all_of(definer->getOperands(), [&](Value from) { return followsFromPlaces(from, depth + 1); });
  }

  /// An index that follows from values is checked, and kept inside of its tensor: the run goes on to the end of its
  /// region.
  void limitIndices() {
    getOperation().walk([&](tensor::ExtractOp op) {
      OpBuilder builder(op);
      Structured s(op.getLoc(), builder);
      for (auto [axis, operand] : llvm::enumerate(op.getIndicesMutable())) {
        Size extent = s.size(op.getTensor(), axis);
        if (followsFromPlaces(operand.get()) || extent.is(0))
          continue;
        s.checkIndex(operand.get(), extent);
        Value limited = s.b.create<arith::MinSIOp>(operand.get(), s.value(s.minus(extent, 1)));
        operand.set(s.b.create<arith::MaxSIOp>(limited, s.index(0)));
      }
    });
  }
};
} // namespace
} // namespace mlc::graph
