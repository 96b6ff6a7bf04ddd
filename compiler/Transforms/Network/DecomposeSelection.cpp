//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// scatter, sort and selects between whole tensors as structured ops and loops.
//
#include "compiler/Dialect/Graph/IR/Graph.h"
#include "compiler/Transforms/Network/Structured.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;

namespace mlc::graph {
namespace {

/// One update after the other; one whose place lies outside of the result fails the run and changes nothing.
struct DecomposeScatter : OpRewritePattern<ScatterOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ScatterOp op, PatternRewriter &rewriter) const override {
    int64_t leading = shapeOf(op.getIndices())[1];
    if (ShapedType::isDynamic(leading))
      return failure();
    Structured s(op.getLoc(), rewriter);
    Sizes shape = s.sizes(op.getInto());
    Size count = s.size(op.getIndices(), 0);
    if (count.is(0) || llvm::is_contained(shape, Size(0))) {
      rewriter.replaceOp(op, op.getInto());
      return success();
    }
    // As [places, what an update covers].
    Size places = 1, covered = 1;
    for (auto [axis, extent] : llvm::enumerate(shape)) {
      Size &part = int64_t(axis) < leading ? places : covered;
      part = s.times(part, extent);
    }
    Value into = s.reshape(op.getInto(), {places, covered}), updates = s.reshape(op.getUpdates(), {count, covered});
    auto nest = s.b.create<scf::ForOp>(
        s.index(0), s.value(count), s.index(1), into, [&](OpBuilder &outer, Location, Value i, ValueRange rows) {
          OpBuilder::InsertionGuard guard(s.b);
          s.b.setInsertionPointToEnd(outer.getInsertionBlock());
          auto [place, inside] = placeOf(s, op, i, leading, shape);
          auto columns = s.b.create<scf::ForOp>(
              s.index(0), s.value(covered), s.index(1), rows[0],
              [&](OpBuilder &inner, Location, Value column, ValueRange values) {
                OpBuilder::InsertionGuard guard(s.b);
                s.b.setInsertionPointToEnd(inner.getInsertionBlock());
                Value before = s.b.create<tensor::ExtractOp>(values[0], ValueRange{place, column});
                Value update = s.b.create<tensor::ExtractOp>(updates, ValueRange{i, column});
                Value after = s.b.create<arith::SelectOp>(inside, combine(s, op, before, update), before);
                Value result = s.b.create<tensor::InsertOp>(after, values[0], ValueRange{place, column});
                s.b.create<scf::YieldOp>(result);
              });
          s.b.create<scf::YieldOp>(columns.getResult(0));
        });
    rewriter.replaceOp(op, s.reshape(nest.getResult(0), shape));
    return success();
  }

private:
  /// Row-major number of the place of update `i` (0 where it is outside), and whether it is inside.
  static std::pair<Value, Value> placeOf(Structured &s, ScatterOp op, Value i, int64_t leading, ArrayRef<Size> shape) {
    Value place = s.index(0), inside = s.b.create<arith::ConstantOp>(s.b.getBoolAttr(true));
    for (int64_t axis = 0; axis < leading; ++axis) {
      Value index = s.b.create<tensor::ExtractOp>(op.getIndices(), ValueRange{i, s.index(axis)});
      Value within = s.checkIndex(index, shape[axis]);
      index = s.b.create<arith::IndexCastOp>(s.b.getIndexType(), index);
      inside = s.b.create<arith::AndIOp>(inside, within);
      place = s.b.create<arith::AddIOp>(s.b.create<arith::MulIOp>(place, s.value(shape[axis])), index);
    }
    return {s.b.create<arith::SelectOp>(inside, place, s.index(0)), inside};
  }

  static Value combine(Structured &s, ScatterOp op, Value before, Value update) {
    bool floats = isa<FloatType>(update.getType());
    auto larger = [&](bool most) -> Value {
      if (floats)
        return most ? s.b.create<arith::MaximumFOp>(before, update).getResult()
                    : s.b.create<arith::MinimumFOp>(before, update).getResult();
      if (op.getIsUnsigned() || update.getType().isInteger(1))
        return most ? s.b.create<arith::MaxUIOp>(before, update).getResult()
                    : s.b.create<arith::MinUIOp>(before, update).getResult();
      return most ? s.b.create<arith::MaxSIOp>(before, update).getResult()
                  : s.b.create<arith::MinSIOp>(before, update).getResult();
    };
    switch (op.getKind()) {
    case ScatterKind::replace:
      return update;
    case ScatterKind::add:
      return floats ? s.b.create<arith::AddFOp>(before, update).getResult()
                    : s.b.create<arith::AddIOp>(before, update).getResult();
    case ScatterKind::multiply:
      return floats ? s.b.create<arith::MulFOp>(before, update).getResult()
                    : s.b.create<arith::MulIOp>(before, update).getResult();
    case ScatterKind::max:
      return larger(true);
    case ScatterKind::min:
      return larger(false);
    }
    llvm_unreachable("every kind is handled");
  }
};

/// By counting: a value's place is how many others come before it.
struct DecomposeSort : OpRewritePattern<SortOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(SortOp op, PatternRewriter &rewriter) const override {
    // Every pair is compared.
    constexpr int64_t kMostValues = 8192;
    auto type = cast<RankedTensorType>(op.getInput().getType());
    unsigned axis = op.getAxis(), rank = type.getRank();
    if (type.isDynamicDim(axis) || type.getDimSize(axis) > kMostValues)
      return failure();
    Structured s(op.getLoc(), rewriter);
    Sizes shape = s.sizes(op.getInput());
    Type element = type.getElementType(), i64 = s.b.getI64Type();
    // Axes: those of the input, then the other value of a pair.
    auto at = [&](bool other) {
      SmallVector<AffineExpr> axes;
      for (unsigned i = 0; i < rank; ++i)
        axes.push_back(s.dim(i == axis && other ? rank : i));
      return s.mapOf(rank + 1, axes);
    };
    auto number = [&](unsigned i) -> Value {
      return s.b.create<arith::IndexCastOp>(i64, s.b.create<linalg::IndexOp>(i));
    };
    Value x = op.getInput();
    auto count = [&](Value yes) -> Value { return s.b.create<arith::ExtUIOp>(i64, yes); };
    Value places =
        s.generic({x, x}, s.filled(shape, s.zero(i64)), {at(false), at(true), at(false)}, rank, [&](ValueRange v) {
          Value first = s.b.create<arith::CmpIOp>(arith::CmpIPredicate::slt, number(rank), number(axis));
          Value before = less(s, op, element, v[1], v[0]), after = less(s, op, element, v[0], v[1]);
          if (op.getDescending())
            std::swap(before, after);
          Value neither = s.b.create<arith::AndIOp>(negate(s, after), first);
          return s.b.create<arith::AddIOp>(v[2], count(s.b.create<arith::OrIOp>(before, neither)));
        });
    Value indices = s.generic({places}, s.filled(shape, s.zero(i64)), {at(true), at(false)}, rank, [&](ValueRange v) {
      Value here = s.b.create<arith::CmpIOp>(arith::CmpIPredicate::eq, v[0], number(axis));
      return s.b.create<arith::SelectOp>(here, number(rank), v[1]);
    });
    Value values = s.generic({indices}, s.empty(shape, element),
                             {s.b.getMultiDimIdentityMap(rank), s.b.getMultiDimIdentityMap(rank)}, rank,
                             [&](ValueRange v) -> Value {
                               SmallVector<Value> place;
                               for (unsigned i = 0; i < rank; ++i)
                                 place.push_back(s.b.create<linalg::IndexOp>(i));
                               place[axis] = s.b.create<arith::IndexCastOp>(s.b.getIndexType(), v[0]);
                               return s.b.create<tensor::ExtractOp>(x, place);
                             });
    rewriter.replaceOp(op, {values, indices});
    return success();
  }

private:
  static Value negate(Structured &s, Value x) {
    return s.b.create<arith::XOrIOp>(x, s.b.create<arith::ConstantOp>(s.b.getBoolAttr(true)));
  }
  /// a < b, where NaN is larger than every number.
  static Value less(Structured &s, SortOp op, Type element, Value a, Value b) {
    if (!isa<FloatType>(element)) {
      bool isUnsigned = op.getIsUnsigned() || element.isInteger(1);
      return s.b.create<arith::CmpIOp>(isUnsigned ? arith::CmpIPredicate::ult : arith::CmpIPredicate::slt, a, b);
    }
    Value smaller = s.b.create<arith::CmpFOp>(arith::CmpFPredicate::OLT, a, b);
    Value number = s.b.create<arith::CmpFOp>(arith::CmpFPredicate::ORD, a, a);
    Value none = s.b.create<arith::CmpFOp>(arith::CmpFPredicate::UNO, b, b);
    return s.b.create<arith::OrIOp>(smaller, s.b.create<arith::AndIOp>(number, none));
  }
};

/// A select between whole tensors, element by element.
struct SelectElements : OpRewritePattern<arith::SelectOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::SelectOp op, PatternRewriter &rewriter) const override {
    auto type = dyn_cast<RankedTensorType>(op.getType());
    if (!type || !op.getCondition().getType().isInteger(1))
      return failure();
    Structured s(op.getLoc(), rewriter);
    rewriter.replaceOp(op, s.map({op.getTrueValue(), op.getFalseValue()}, type.getElementType(), [&](ValueRange v) {
      return s.b.create<arith::SelectOp>(op.getCondition(), v[0], v[1]);
    }));
    return success();
  }
};

/// A splat of extents that a run chooses, which bufferization does not know.
struct FillSplat : OpRewritePattern<tensor::SplatOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(tensor::SplatOp op, PatternRewriter &rewriter) const override {
    if (op.getType().hasStaticShape())
      return failure();
    Value empty = rewriter.create<tensor::EmptyOp>(op.getLoc(), op.getType(), op.getDynamicSizes());
    rewriter.replaceOpWithNewOp<linalg::FillOp>(op, op.getInput(), empty);
    return success();
  }
};

} // namespace

void populateSelectionPatterns(RewritePatternSet &patterns) {
  patterns.add<DecomposeScatter, DecomposeSort, SelectElements, FillSplat>(patterns.getContext());
}

} // namespace mlc::graph
