//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// matmul and softmax as structured ops.
//
#include "compiler/Codegen/RegionCode.h"
#include "compiler/Dialect/Graph/IR/Graph.h"
#include "compiler/Transforms/Network/ExactProducts.h"
#include "compiler/Transforms/Network/Structured.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;

namespace mlc::graph {
namespace {

/// From so many rows on panels of what is no weight are made.
constexpr int64_t kFewRows = 4;

struct DecomposeMatmul : OpRewritePattern<MatmulOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(MatmulOp op, PatternRewriter &rewriter) const override {
    auto type = cast<RankedTensorType>(op.getResult().getType());
    Structured s(op.getLoc(), rewriter);
    if (Value flat = flattened(op, s)) {
      rewriter.replaceOp(op, flat);
      return success();
    }
    Type sum = sumType(type.getElementType());
    Sizes a = s.sizes(op.getA()), w = s.sizes(op.getB());
    Value y;
    if (llvm::is_contained(type.getShape(), 0) || a.back().is(0) || w[w.size() - 2].is(0))
      y = s.filled(leadingSizes(a, w), s.zero(sum));
    else if (!(y = exactly(op, s)))
      y = multiply(s, s.convert(op.getA(), sum), s.convert(op.getB(), sum));
    rewriter.replaceOp(op, s.convert(y, type.getElementType()));
    return success();
  }

private:
  /// Of a result: of the leading axes one of the operands may have one element where the other has many.
  static Sizes leadingSizes(ArrayRef<Size> a, ArrayRef<Size> w) {
    Sizes shape;
    for (size_t i = 0; i + 2 < a.size(); ++i)
      shape.push_back(a[i].is(1) ? w[i] : a[i]);
    shape.append({a[a.size() - 2], w.back()});
    return shape;
  }

  /// left right in left's element type, which `right` is converted to where it is used.
  static Value multiply(Structured &s, Value left, Value right) {
    Type sum = elementOf(left);
    Sizes a = s.sizes(left), w = s.sizes(right), shape = leadingSizes(a, w);
    unsigned rank = shape.size(), batch = rank - 2;
    auto product = [&](ValueRange v) { return s.add(v[2], s.mul(v[0], s.convertScalar(v[1], sum))); };
    auto lead = [&](Value x) {
      SmallVector<AffineExpr> axes;
      for (unsigned i = 0; i < batch; ++i)
        axes.push_back(shapeOf(x)[i] == 1 ? s.b.getAffineConstantExpr(0) : s.dim(i));
      return axes;
    };
    SmallVector<AffineExpr> fromA = lead(left), fromB = lead(right), to;
    Size rows = shape[batch], columns = shape[batch + 1], depth = a[batch + 1].isFixed() ? a[batch + 1] : w[batch];
    // Turning another operand's panels around pays from a few rows on.
    if (!worthPanels(sum, columns, depth) ||
        (rows.isFixed() && rows.fixed() < kFewRows && !followsFromWeights(right))) {
      // Axes: the leading ones, m, n, k.
      fromA.append({s.dim(batch), s.dim(batch + 2)});
      fromB.append({s.dim(batch + 2), s.dim(batch + 1)});
      for (unsigned i = 0; i < rank; ++i)
        to.push_back(s.dim(i));
      return s.generic({left, right}, s.filled(shape, s.zero(sum)),
                       {s.mapOf(rank + 1, fromA), s.mapOf(rank + 1, fromB), s.mapOf(rank + 1, to)}, rank, product);
    }
    // Axes: the leading ones, m, panels of n, k, lane.
    unsigned loops = batch + 4;
    fromA.append({s.dim(batch), s.dim(batch + 2)});
    fromB.append({s.dim(batch + 1), s.dim(batch + 2), s.dim(batch + 3)});
    for (unsigned i = 0; i < batch + 2; ++i)
      to.push_back(s.dim(i));
    to.push_back(s.dim(batch + 3));
    // [..., k, n] to [..., n's panels, k, lane].
    Value panels = s.panels(right, batch + 1);
    SmallVector<unsigned> axes = llvm::to_vector(llvm::seq<unsigned>(0, batch + 3));
    std::swap(axes[batch], axes[batch + 1]);
    panels = s.transpose(panels, axes);
    int64_t count = panelCount(columns.fixed()), lanes = lanesOf(columns.fixed());
    Sizes blocked(shape);
    blocked[batch + 1] = count;
    blocked.push_back(lanes);
    Value y = s.generic({left, panels}, s.filled(blocked, s.zero(sum)),
                        {s.mapOf(loops, fromA), s.mapOf(loops, fromB), s.mapOf(loops, to)}, batch + 2, product,
                        /*lastParallel=*/true);
    Sizes flat(shape), origin(rank, 0), ones(rank, 1);
    flat.back() = count * lanes;
    y = s.reshape(y, flat);
    return flat == shape ? y : s.slice(y, origin, shape, ones);
  }

  /// Of short integers, in f32, as many terms at once as are exact; null where that does not pay.
  static Value exactly(MatmulOp op, Structured &s) {
    auto type = cast<RankedTensorType>(op.getResult().getType());
    if (!type.getElementType().isInteger(32))
      return {};
    Type real = s.b.getF32Type();
    Sizes a = s.sizes(op.getA()), w = s.sizes(op.getB());
    unsigned batch = type.getRank() - 2;
    Size rows = a[batch], depth = a[batch + 1];
    if (!depth.isFixed() || !w[batch].isFixed() || !worthPanels(real, w.back(), depth))
      return {};
    std::optional<ExactProduct> exact = exactProduct(op.getA(), op.getB());
    if (!exact || (rows.isFixed() && rows.fixed() < kFewRows && exact->weights == real))
      return {};
    // Each part is code of its own.
    constexpr int64_t kMostParts = 64;
    int64_t parts = llvm::divideCeil(depth.fixed(), exact->terms), step = llvm::divideCeil(depth.fixed(), parts);
    if (parts > kMostParts)
      return {};
    Value x = s.convert(op.getA(), real), right = s.convert(op.getB(), exact->weights), y;
    Sizes originA(a.size(), 0), originB(w.size(), 0), onesA(a.size(), 1), onesB(w.size(), 1);
    for (int64_t from = 0; from < depth.fixed(); from += step) {
      originA.back() = originB[batch] = from;
      a.back() = w[batch] = std::min(step, depth.fixed() - from);
      Value part = parts == 1 ? multiply(s, x, right)
                              : multiply(s, s.slice(x, originA, a, onesA), s.slice(right, originB, w, onesB));
      part = s.convert(part, type.getElementType());
      y = y ? s.map({y, part}, type.getElementType(), [&](ValueRange v) { return s.add(v[0], v[1]); }) : part;
    }
    return y;
  }

  /// One matrix for all leading places: their rows are rows of one product. Null when it is no such product.
  static Value flattened(MatmulOp op, Structured &s) {
    auto type = cast<RankedTensorType>(op.getResult().getType());
    Sizes a = s.sizes(op.getA()), b = s.sizes(op.getB());
    if (type.getRank() <= 2 || !llvm::all_of(ArrayRef(b).drop_back(2), [](const Size &n) { return n.is(1); }))
      return {};
    Size rows = 1;
    for (const Size &extent : ArrayRef(a).drop_back())
      rows = s.times(rows, extent);
    Sizes shape(type.getRank() - a.size(), 1);
    shape.append(a.begin(), a.end());
    shape.back() = b.back();
    auto flat = RankedTensorType::get({rows.inType(), b.back().inType()}, type.getElementType());
    Value left = s.reshape(op.getA(), {rows, a.back()}), right = s.reshape(op.getB(), {a.back(), b.back()});
    return s.reshape(s.b.create<MatmulOp>(flat, left, right), shape);
  }
};

/// What a softmax of f32, or a sum in f32 of shorter floats, is made of.
struct Powers {
  Powers(SoftmaxOp op, Structured &s) : all(s.sizes(op.getInput())) {
    auto type = cast<RankedTensorType>(op.getResult().getType());
    unsigned rank = type.getRank(), axis = op.getAxis();
    Type sum = sumType(type.getElementType());
    // The reduced axis is the last one of a reduction.
    SmallVector<AffineExpr> from, to, row;
    Sizes rows;
    for (unsigned i = 0; i < rank; ++i) {
      from.push_back(s.dim(i == axis ? rank - 1 : i - (i > axis)));
      if (i == axis)
        continue;
      to.push_back(s.dim(i - (i > axis)));
      row.push_back(s.dim(i));
      rows.push_back(all[i]);
    }
    SmallVector<AffineMap> reduce{s.mapOf(rank, from), s.mapOf(rank, to)};
    each = s.b.getMultiDimIdentityMap(rank), perRow = s.mapOf(rank, row);
    Value largest =
        s.generic(op.getInput(), s.filled(rows, s.lowest(sum)), reduce, rank - 1, [&](ValueRange v) -> Value {
          // A NaN among the values makes their sum one.
          return s.b.create<arith::MaxNumFOp>(v[1], s.convertScalar(v[0], sum));
        });
    shifted = s.generic({op.getInput(), largest}, s.empty(all, sum), {each, perRow, each}, rank,
                        [&](ValueRange v) { return s.b.create<arith::SubFOp>(s.convertScalar(v[0], sum), v[1]); });
    powers = s.map(shifted, sum, [&](ValueRange v) {
      auto power = s.b.create<math::ExpOp>(v[0]);
      power->setAttr(kNotPositiveAttr, s.b.getUnitAttr());
      return power;
    });
    // Of f16 and bf16 each power and their sum are rounded; a logarithm is rounded once.
    auto rounded = [&](Value x) { return op.getLog() ? x : s.convert(s.convert(x, type.getElementType()), sum); };
    powers = rounded(powers);
    total = rounded(s.generic(powers, s.filled(rows, s.zero(sum)), reduce, rank - 1,
                              [&](ValueRange v) { return s.add(v[1], v[0]); }));
  }

  Sizes all;
  AffineMap each, perRow;
  Value shifted, powers, total;
};

/// x times 1 / y: the reciprocal leaves a loop over x.
Value timesReciprocal(Structured &s, Value x, Value y) {
  Value one = s.b.create<arith::ConstantOp>(s.b.getFloatAttr(y.getType(), 1));
  return s.b.create<arith::MulFOp>(x, s.b.create<arith::DivFOp>(one, y));
}

struct DecomposeSoftmax : OpRewritePattern<SoftmaxOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(SoftmaxOp op, PatternRewriter &rewriter) const override {
    Type element = getElementTypeOrSelf(op.getResult().getType()), sum = sumType(element);
    Structured s(op.getLoc(), rewriter);
    Powers p(op, s);
    Value y = s.generic({op.getLog() ? p.shifted : p.powers, p.total}, s.empty(p.all, sum), {p.each, p.perRow, p.each},
                        p.all.size(), [&](ValueRange v) -> Value {
                          if (op.getLog())
                            return s.b.create<arith::SubFOp>(v[0], s.b.create<math::LogOp>(v[1]));
                          return element == sum ? timesReciprocal(s, v[0], v[1])
                                                : s.b.create<arith::DivFOp>(v[0], v[1]).getResult();
                        });
    rewriter.replaceOp(op, s.convert(y, element));
    return success();
  }
};

/// softmax(scores) values: the sums divide the product, which has fewer columns.
struct DivideProduct : OpRewritePattern<MatmulOp> {
  explicit DivideProduct(MLIRContext *context) : OpRewritePattern(context, /*benefit=*/2) {}
  LogicalResult matchAndRewrite(MatmulOp op, PatternRewriter &rewriter) const override {
    SoftmaxOp softmax = softmaxOf(op);
    if (!softmax)
      return failure();
    auto type = cast<RankedTensorType>(op.getResult().getType());
    unsigned rank = type.getRank();
    Structured s(op.getLoc(), rewriter);
    Powers p(softmax, s);
    Value product = s.b.create<MatmulOp>(type, p.powers, op.getB());
    Value y = s.generic({product, p.total}, s.empty(s.sizes(product), type.getElementType()),
                        {p.each, p.perRow, p.each}, rank, [&](ValueRange v) { return timesReciprocal(s, v[0], v[1]); });
    rewriter.replaceOp(op, y);
    rewriter.eraseOp(softmax);
    return success();
  }
};

} // namespace

SoftmaxOp softmaxOf(MatmulOp op) {
  auto softmax = op.getA().getDefiningOp<SoftmaxOp>();
  if (!softmax || !softmax->hasOneUse() || softmax.getLog())
    return {};
  auto type = cast<RankedTensorType>(op.getResult().getType()),
       rows = cast<RankedTensorType>(softmax.getResult().getType());
  unsigned rank = rows.getRank();
  bool fits = softmax.getAxis() == rank - 1 && rank >= 2 && rank == type.getRank() &&
              sumType(rows.getElementType()) == rows.getElementType() &&
              rows.getElementType() == type.getElementType() &&
              rows.getShape().drop_back() == type.getShape().drop_back();
  return fits ? softmax : SoftmaxOp();
}

void populateProductPatterns(RewritePatternSet &patterns) {
  patterns.add<DecomposeMatmul, DecomposeSoftmax, DivideProduct>(patterns.getContext());
}

} // namespace mlc::graph
