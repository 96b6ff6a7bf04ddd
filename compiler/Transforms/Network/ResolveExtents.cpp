//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Extents of results as the ops that made them name them. MLIR 19 infers those of an expanded shape from its source
// instead, which fails (it divides by zero) where several of a group are dynamic.
//
#include "compiler/Transforms/Network/Passes.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;

namespace mlc::graph {
namespace {

struct ResolveDim : OpRewritePattern<tensor::DimOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(tensor::DimOp op, PatternRewriter &rewriter) const override {
    std::optional<int64_t> axis = op.getConstantIndex();
    Operation *made = op.getSource().getDefiningOp();
    auto type = dyn_cast<RankedTensorType>(op.getSource().getType());
    if (!axis || !made || !type || !type.isDynamicDim(*axis))
      return failure();
    if (auto expand = dyn_cast<tensor::ExpandShapeOp>(made)) {
      rewriter.replaceOp(op, expand.getOutputShape()[type.getDynamicDimIndex(*axis)]);
    } else if (auto empty = dyn_cast<tensor::EmptyOp>(made)) {
      rewriter.replaceOp(op, empty.getDynamicSize(*axis));
    } else if (auto collapse = dyn_cast<tensor::CollapseShapeOp>(made)) {
      Value product;
      for (int64_t each : collapse.getReassociationIndices()[*axis]) {
        Value extent = rewriter.createOrFold<tensor::DimOp>(op.getLoc(), collapse.getSrc(), each);
        product = product ? rewriter.createOrFold<arith::MulIOp>(op.getLoc(), product, extent) : extent;
      }
      rewriter.replaceOp(op, product);
    } else if (auto writer = dyn_cast<DestinationStyleOpInterface>(made)) {
      Value init = writer.getTiedOpOperand(cast<OpResult>(op.getSource()))->get();
      rewriter.modifyOpInPlace(op, [&] { op.getSourceMutable().assign(init); });
    } else {
      return failure();
    }
    return success();
  }
};

} // namespace

LogicalResult resolveExtents(Operation *root) {
  RewritePatternSet patterns(root->getContext());
  patterns.add<ResolveDim>(root->getContext());
  return applyPatternsAndFoldGreedily(root, std::move(patterns));
}

void freeExpandedInits(linalg::GenericOp op) {
  for (OpOperand &init : op.getDpsInitsMutable()) {
    auto expand = init.get().getDefiningOp<tensor::ExpandShapeOp>();
    if (!expand || expand.getResultType().hasStaticShape() || op.payloadUsesValueFromOperand(&init))
      continue;
    OpBuilder builder(op);
    init.set(builder.create<tensor::EmptyOp>(
        op.getLoc(), getMixedValues(expand.getStaticOutputShape(), expand.getOutputShape(), builder),
        expand.getResultType().getElementType()));
  }
}

} // namespace mlc::graph
