//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// memref.expand_shape with several dynamic extents in a group, as memref.reinterpret_cast: expand-strided-metadata of
// MLIR 19 knows one a group.
//
#include "compiler/Codegen/LowerRegion.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;

namespace {

struct ExpandShapes : OpRewritePattern<memref::ExpandShapeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(memref::ExpandShapeOp op, PatternRewriter &rewriter) const override {
    MemRefType type = op.getResultType();
    SmallVector<ReassociationIndices> groups = op.getReassociationIndices();
    if (llvm::all_of(groups, [&](ArrayRef<int64_t> group) {
          return llvm::count_if(group, [&](int64_t axis) { return type.isDynamicDim(axis); }) < 2;
        }))
      return failure();
    auto whole = rewriter.create<memref::ExtractStridedMetadataOp>(op.getLoc(), op.getSrc());
    SmallVector<OpFoldResult> sizes = getMixedValues(op.getStaticOutputShape(), op.getOutputShape(), rewriter),
                              strides(sizes.size());
    for (auto [group, stride] : llvm::zip(groups, whole.getConstifiedMixedStrides())) {
      OpFoldResult step = stride;
      for (int64_t axis : llvm::reverse(group)) {
        strides[axis] = step;
        std::optional<int64_t> x = getConstantIntValue(step), y = getConstantIntValue(sizes[axis]);
        if (x && y)
          step = rewriter.getIndexAttr(*x * *y);
        else
          step = rewriter
                     .create<arith::MulIOp>(op.getLoc(), getValueOrCreateConstantIndexOp(rewriter, op.getLoc(), step),
                                            getValueOrCreateConstantIndexOp(rewriter, op.getLoc(), sizes[axis]))
                     .getResult();
      }
    }
    rewriter.replaceOpWithNewOp<memref::ReinterpretCastOp>(op, type, whole.getBaseBuffer(),
                                                           whole.getConstifiedMixedOffset(), sizes, strides);
    return success();
  }
};

} // namespace

void mlc::populateExpandShapePatterns(RewritePatternSet &patterns) {
  patterns.add<ExpandShapes>(patterns.getContext());
}
