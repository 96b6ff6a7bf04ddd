//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Codegen/RegionCode.h"
#include "compiler/Transforms/Network/Passes.h"
#include "compiler/Transforms/Network/Structured.h"

#include "runtime/exec/Kernel.h"

#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Tensor/Transforms/Transforms.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;

namespace mlc::graph {
#define GEN_PASS_DEF_FUSESTRUCTURED
#include "compiler/Transforms/Network/Passes.h.inc"

namespace {

/// Whether the body only passes elements on.
bool movesOnly(linalg::GenericOp op) { return llvm::hasSingleElement(*op.getBody()); }

/// Whether each element of what `use` reads is read once by its op.
bool readsOnce(OpOperand *use) {
  auto consumer = cast<linalg::GenericOp>(use->getOwner());
  AffineMap map = consumer.getMatchingIndexingMap(use);
  if (!map.isProjectedPermutation())
    return false;
  // Axes that the map leaves out repeat the read.
  llvm::SmallBitVector absent(map.getNumDims(), true);
  for (AffineExpr expr : map.getResults())
    absent.reset(cast<AffineDimExpr>(expr).getPosition());
  SmallVector<int64_t> ranges = consumer.getStaticLoopRanges();
  return llvm::all_of(absent.set_bits(), [&](unsigned axis) { return ranges[axis] == 1; });
}

/// A product by panels keeps its form, which the code generator knows.
bool touchesProduct(OpOperand *use) {
  auto isProduct = [](Operation *op) {
    auto generic = dyn_cast_or_null<linalg::GenericOp>(op);
    return generic && isPanelProduct(generic);
  };
  return isProduct(use->getOwner()) || isProduct(use->get().getDefiningOp());
}

/// Whether every extent is fixed: only then does the expansion of a loop's axis know its parts.
bool isFixed(Operation *op) {
  auto fixed = [](Type type) {
    auto tensor = dyn_cast<RankedTensorType>(type);
    return !tensor || tensor.hasStaticShape();
  };
  return !op || (llvm::all_of(op->getOperandTypes(), fixed) && llvm::all_of(op->getResultTypes(), fixed));
}

/// Whether calculating it twice costs about as much as reading it.
bool isCheap(linalg::GenericOp op) {
  constexpr unsigned kFewOps = 3;
  unsigned ops = 0;
  for (Operation &inner : op.getBody()->without_terminator()) {
    if (!isa<arith::AddFOp, arith::SubFOp, arith::MulFOp, arith::MaximumFOp, arith::MinimumFOp, arith::CmpFOp,
             arith::SelectOp, arith::NegFOp>(inner))
      return false;
    ++ops;
  }
  return ops <= kFewOps && op.getNumDpsInputs() <= 2;
}

/// Whether the fused op leaves room among the buffers that a region may have (31) for what it captures.
bool hasFewOperands(linalg::GenericOp producer, linalg::GenericOp consumer) {
  constexpr unsigned kMostOperands = 24;
  return producer->getNumOperands() + consumer->getNumOperands() <= kMostOperands;
}

bool worthFusing(OpOperand *use) {
  auto producer = use->get().getDefiningOp<linalg::GenericOp>();
  auto consumer = dyn_cast<linalg::GenericOp>(use->getOwner());
  if (!producer || !consumer || touchesProduct(use) || !hasFewOperands(producer, consumer))
    return false;
  if (movesOnly(producer))
    return producer.getNumDpsInputs() <= 1;
  // A gather in the body may be far from cheap.
  return readsOnce(use) && (use->get().hasOneUse() || isCheap(producer));
}

/// Whether an op that takes over a reshape's axes has no more loops than a tensor may have axes.
bool staysWithinRank(OpOperand *use) {
  int64_t loops = 0, more = 0;
  for (Operation *op : {use->get().getDefiningOp(), use->getOwner()}) {
    if (auto expand = dyn_cast<tensor::ExpandShapeOp>(op))
      more = expand.getResultType().getRank() - expand.getSrcType().getRank();
    else if (auto collapse = dyn_cast<tensor::CollapseShapeOp>(op))
      more = collapse.getSrcType().getRank() - collapse.getResultType().getRank();
    else if (auto structured = dyn_cast<linalg::LinalgOp>(op))
      loops = structured.getNumLoops();
  }
  return loops + more <= int64_t(kMaxRank);
}

struct FuseStructured : impl::FuseStructuredBase<FuseStructured> {
  void runOnOperation() override {
    MLIRContext *context = &getContext();
    RewritePatternSet patterns(context);
    linalg::populateElementwiseOpsFusionPatterns(patterns, worthFusing);
    linalg::populateFoldReshapeOpsByExpansionPatterns(patterns, [](OpOperand *use) {
      // Reshapes move; values with other readers stay where they are.
      return use->get().hasOneUse() && !touchesProduct(use) && isFixed(use->getOwner()) &&
             isFixed(use->get().getDefiningOp()) && staysWithinRank(use);
    });
    linalg::populateEraseUnusedOperandsAndResultsPatterns(patterns);
    linalg::populateConstantFoldLinalgOperations(patterns, [](OpOperand *) { return false; });
    tensor::populateFoldTensorEmptyPatterns(patterns);
    tensor::populateMergeConsecutiveInsertExtractSlicePatterns(patterns);
    for (auto name : {linalg::GenericOp::getOperationName(), tensor::ExpandShapeOp::getOperationName(),
                      tensor::CollapseShapeOp::getOperationName(), tensor::ExtractSliceOp::getOperationName(),
                      tensor::InsertSliceOp::getOperationName()})
      if (auto info = RegisteredOperationName::lookup(name, context))
        info->getCanonicalizationPatterns(patterns, context);
    context->getLoadedDialect<linalg::LinalgDialect>()->getCanonicalizationPatterns(patterns);
    GreedyRewriteConfig config;
    config.useTopDownTraversal = true;
    config.maxIterations = GreedyRewriteConfig::kNoLimit;
    if (failed(applyPatternsAndFoldGreedily(getOperation(), std::move(patterns), config)))
      signalPassFailure();
  }
};
} // namespace
} // namespace mlc::graph
