//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// resize as structured ops, an axis at a time.
//
#include "compiler/Dialect/Graph/IR/Graph.h"
#include "compiler/Transforms/Network/Structured.h"

#include "mlir/IR/PatternMatch.h"

#include <array>

using namespace mlir;

namespace mlc::graph {
namespace {

struct DecomposeResize : OpRewritePattern<ResizeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ResizeOp op, PatternRewriter &rewriter) const override {
    Structured s(op.getLoc(), rewriter);
    Value y = op.getInput();
    for (unsigned axis : {2, 3})
      y = along(op, s, y, axis);
    rewriter.replaceOp(op, y);
    return success();
  }

private:
  static Value along(ResizeOp op, Structured &s, Value x, unsigned axis) {
    int64_t out = shapeOf(op.getResult())[axis];
    if (out == shapeOf(x)[axis])
      return x; // Every place lies on a value, whatever the coordinates.
    Type element = elementOf(x);
    SmallVector<int64_t> before, behind;
    SmallVector<APFloat> shares[2];
    for (int64_t place = 0; place < out; ++place) {
      ResizeOp::Between between = op.between(axis, place);
      before.push_back(between.before);
      behind.push_back(between.behind);
      for (auto [into, share] : llvm::zip_equal(shares, std::array{1 - between.share, between.share})) {
        bool inexact;
        into.push_back(APFloat(share));
        into.back().convert(cast<FloatType>(element).getFloatSemantics(), APFloat::rmNearestTiesToEven, &inexact);
      }
    }
    auto constant = [&](DenseElementsAttr values) -> Value { return s.b.create<arith::ConstantOp>(values); };
    auto type = [&](Type of) { return RankedTensorType::get({out}, of); };
    Value indices[2] = {constant(DenseElementsAttr::get(type(s.b.getI64Type()), ArrayRef<int64_t>(before))),
                        constant(DenseElementsAttr::get(type(s.b.getI64Type()), ArrayRef<int64_t>(behind)))};
    Sizes shape = s.sizes(x);
    shape[axis] = out;
    unsigned rank = shape.size();
    AffineMap all = s.b.getMultiDimIdentityMap(rank), place = s.mapOf(rank, s.dim(axis));
    return s.generic({constant(DenseElementsAttr::get(type(element), ArrayRef(shares[0]))),
                      constant(DenseElementsAttr::get(type(element), ArrayRef(shares[1])))},
                     s.empty(shape, element), {place, place, all}, rank, [&](ValueRange v) {
                       SmallVector<Value> at;
                       for (unsigned i = 0; i < rank; ++i)
                         at.push_back(s.b.create<linalg::IndexOp>(i));
                       auto part = [&](Value table, Value share) {
                         SmallVector<Value> from(at);
                         Value index = s.b.create<tensor::ExtractOp>(table, at[axis]);
                         from[axis] = s.b.create<arith::IndexCastOp>(s.b.getIndexType(), index);
                         return s.b.create<arith::MulFOp>(s.b.create<tensor::ExtractOp>(x, from), share);
                       };
                       return s.b.create<arith::AddFOp>(part(indices[0], v[0]), part(indices[1], v[1]));
                     });
  }
};

} // namespace

void populateResizePatterns(RewritePatternSet &patterns) { patterns.add<DecomposeResize>(patterns.getContext()); }

} // namespace mlc::graph
