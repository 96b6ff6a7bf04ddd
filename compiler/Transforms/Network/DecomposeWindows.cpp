//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// conv, conv_transpose and pool as structured ops on padded inputs.
//
#include "compiler/Codegen/RegionCode.h"
#include "compiler/Dialect/Graph/IR/Graph.h"
#include "compiler/Transforms/Network/Structured.h"

#include "mlir/IR/PatternMatch.h"

#include <numeric>

using namespace mlir;

namespace mlc::graph {
namespace {

/// The bias along axis 1 of `shape`, or zeros: what the sums start from.
Value startOf(Structured &s, Value bias, ArrayRef<int64_t> shape, Type sum) {
  if (!bias)
    return s.filled(shape, s.zero(sum));
  AffineMap channel = s.mapOf(shape.size(), {s.dim(1)});
  return s.generic(bias, s.empty(shape, sum), {channel, s.b.getMultiDimIdentityMap(shape.size())}, shape.size(),
                   [&](ValueRange v) { return s.convertScalar(v[0], sum); });
}

/// The axes of a convolution's product: b, g, m, [o...], c, [k...] and, by panels, the lane.
struct ConvAxes {
  SmallVector<AffineExpr> x, filter, out;
  unsigned count;

  ConvAxes(Structured &s, ArrayRef<int64_t> strides, ArrayRef<int64_t> dilations, bool lanes) {
    unsigned spatial = strides.size(), channel = 3 + spatial;
    count = channel + 1 + spatial + lanes;
    x = {s.dim(0), s.dim(1), s.dim(channel)};
    filter = {s.dim(1), s.dim(2), s.dim(channel)};
    out = {s.dim(0), s.dim(1), s.dim(2)};
    for (unsigned i = 0; i < spatial; ++i) {
      x.push_back(s.dim(3 + i) * strides[i] + s.dim(channel + 1 + i) * dilations[i]);
      filter.push_back(s.dim(channel + 1 + i));
      out.push_back(s.dim(3 + i));
    }
    if (lanes)
      filter.push_back(s.dim(count - 1)), out.push_back(s.dim(count - 1));
  }
};

/// y[b, m, o...] = bias[m] + sum over c, k... of x[b, c of m's group, o * stride + k * dilation] * filter[m, c, k...], of
/// x [B, C, D...], filter [M, C / groups, K...]; y of `shape`, in `sum`.
Value convolve(Structured &s, Value x, Value filter, Value bias, ArrayRef<int64_t> shape, Type sum, int64_t groups,
               ArrayRef<int64_t> strides, ArrayRef<int64_t> dilations) {
  size_t spatial = strides.size();
  if (llvm::is_contained(shapeOf(x), 0) || llvm::is_contained(shapeOf(filter), 0) || llvm::is_contained(shape, 0))
    return startOf(s, bias, shape, sum);
  // A group's channels get an axis of their own.
  auto grouped = [&](ArrayRef<int64_t> whole, unsigned axis) {
    SmallVector<int64_t> split(whole);
    split[axis] /= groups;
    split.insert(split.begin() + axis, groups);
    return split;
  };
  SmallVector<int64_t> out = grouped(shape, 1), taps = grouped(shapeOf(filter), 0);
  x = s.reshape(s.convert(x, sum), grouped(shapeOf(x), 1));
  filter = s.reshape(s.convert(filter, sum), taps);
  int64_t depth = 1;
  for (int64_t extent : ArrayRef<int64_t>(taps).drop_front(2))
    depth *= extent;
  auto product = [&](ValueRange v) { return s.add(v[2], s.mul(v[0], v[1])); };
  auto multiply = [&](Value w, Value start, bool lanes) {
    ConvAxes axes(s, strides, dilations, lanes);
    SmallVector<AffineMap> maps{s.mapOf(axes.count, axes.x), s.mapOf(axes.count, axes.filter),
                                s.mapOf(axes.count, axes.out)};
    return s.generic({x, w}, start, maps, 3 + spatial, product, /*lastParallel=*/lanes);
  };
  if (!worthPanels(sum, out[2], depth)) {
    Value start = s.reshape(startOf(s, bias, shape, sum), out);
    return s.reshape(multiply(filter, start, false), shape);
  }
  // [B, G, panels, O..., lane], then to [B, G, panels, lane, O...] with the bias on the way.
  int64_t count = panelCount(out[2]), width = lanesOf(out[2]);
  SmallVector<int64_t> blocked(out), turned(out);
  blocked[2] = turned[2] = count;
  blocked.push_back(width);
  turned.insert(turned.begin() + 3, width);
  Value y = multiply(s.panels(filter, 1), s.filled(blocked, s.zero(sum)), true);
  unsigned rank = turned.size();
  SmallVector<AffineExpr> from;
  for (unsigned i = 0; i < rank; ++i)
    from.push_back(s.dim(i < 3 ? i : i + 1 < rank ? i + 1 : 3));
  SmallVector<Value> inputs{y};
  SmallVector<AffineMap> maps{s.mapOf(rank, from)};
  if (bias) {
    SmallVector<int64_t> perGroup{groups, out[2]}, lanes{groups, count, width}, none{0, 0},
        behind{0, count * width - out[2]};
    Value padded = s.pad(s.reshape(s.convert(bias, sum), perGroup), s.zero(sum), none, behind);
    inputs.push_back(s.reshape(padded, lanes));
    maps.push_back(s.mapOf(rank, {s.dim(1), s.dim(2), s.dim(3)}));
  }
  maps.push_back(s.b.getMultiDimIdentityMap(rank));
  y = s.generic(inputs, s.empty(turned, sum), maps, rank, [&](ValueRange v) {
    return bias ? s.b.create<arith::AddFOp>(v[0], v[1]).getResult() : v[0];
  });
  SmallVector<int64_t> flat(turned), kept(out), origin(out.size(), 0), ones(out.size(), 1);
  flat.erase(flat.begin() + 3);
  flat[2] = count * width;
  y = s.reshape(y, flat);
  if (flat[2] != out[2])
    y = s.slice(y, origin, kept, ones);
  return s.reshape(y, shape);
}

/// The padding behind `extent`, so that windows of `taps` at `places` places stay inside and nothing is left over.
int64_t roomBehind(int64_t extent, int64_t before, int64_t places, int64_t stride, int64_t taps, int64_t dilation) {
  return (places - 1) * stride + (taps - 1) * dilation + 1 - before - extent;
}

template <typename Op> bool isStatic(Op op) {
  auto fixed = [](Type type) { return cast<RankedTensorType>(type).hasStaticShape(); };
  return llvm::all_of(op->getOperandTypes(), fixed) && llvm::all_of(op->getResultTypes(), fixed);
}

struct DecomposeConv : OpRewritePattern<ConvOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ConvOp op, PatternRewriter &rewriter) const override {
    if (!isStatic(op))
      return failure();
    Structured s(op.getLoc(), rewriter);
    ArrayRef<int64_t> in = shapeOf(op.getInput()), out = shapeOf(op.getResult()), taps = shapeOf(op.getFilter());
    Type element = elementOf(op.getResult()), sum = sumType(element);
    Value x = op.getInput();
    if (!llvm::is_contained(out, 0)) {
      SmallVector<int64_t> before(2, 0), behind(2, 0);
      for (size_t i = 0; i < op.getStrides().size(); ++i) {
        before.push_back(op.getPads()[i]);
        behind.push_back(roomBehind(in[i + 2], before.back(), out[i + 2], op.getStrides()[i], taps[i + 2],
                                    op.getDilations()[i]));
      }
      x = s.pad(x, s.zero(elementOf(x)), before, behind);
    }
    Value y = convolve(s, x, op.getFilter(), op.getBias(), out, sum, op.getGroups(), op.getStrides(), op.getDilations());
    rewriter.replaceOp(op, s.convert(y, element));
    return success();
  }
};

/// The transposed convolution is the convolution of x, spread out by the strides, with the taps in reverse.
struct DecomposeConvTranspose : OpRewritePattern<ConvTransposeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ConvTransposeOp op, PatternRewriter &rewriter) const override {
    if (!isStatic(op))
      return failure();
    Structured s(op.getLoc(), rewriter);
    ArrayRef<int64_t> in = shapeOf(op.getInput()), out = shapeOf(op.getResult()), taps = shapeOf(op.getFilter());
    size_t spatial = op.getStrides().size();
    Type element = elementOf(op.getResult()), sum = sumType(element);
    if (llvm::is_contained(out, 0) || llvm::is_contained(in, 0)) {
      rewriter.replaceOp(op, s.convert(startOf(s, op.getBias(), out, sum), element));
      return success();
    }
    // Position of x's first value and of the others among the taps' places.
    SmallVector<int64_t> spread(in), from(in.size(), 0), kept(in), at(in.size(), 0), step(in.size(), 1),
        ones(in.size(), 1), once(spatial, 1);
    bool any = true;
    for (size_t i = 0; i < spatial; ++i) {
      int64_t reach = (taps[i + 2] - 1) * op.getDilations()[i], first = reach - op.getPads()[i],
              stride = op.getStrides()[i];
      spread[i + 2] = out[i + 2] + reach;
      from[i + 2] = first < 0 ? (-first + stride - 1) / stride : 0;
      at[i + 2] = first + from[i + 2] * stride;
      int64_t room = at[i + 2] < spread[i + 2] ? (spread[i + 2] - at[i + 2] - 1) / stride + 1 : 0;
      kept[i + 2] = std::min(in[i + 2] - from[i + 2], room);
      any &= kept[i + 2] > 0;
      step[i + 2] = stride;
    }
    Value x = s.filled(spread, s.zero(elementOf(op.getInput())));
    if (any)
      x = s.insert(s.slice(op.getInput(), from, kept, ones), x, at, step);
    // [C, M / G, K...] to [M, C / G, K...], K reversed.
    int64_t groups = op.getGroups(), inputs = taps[0] / groups, outputs = taps[1];
    SmallVector<int64_t> turned(taps);
    turned[0] = outputs * groups, turned[1] = inputs;
    SmallVector<AffineMap> maps{s.b.getMultiDimIdentityMap(turned.size())};
    Value filter = s.generic({}, s.empty(turned, elementOf(op.getFilter())), maps, turned.size(), [&](ValueRange) {
      auto axis = [&](unsigned i) -> Value { return s.b.create<linalg::IndexOp>(i); };
      Value perGroup = s.index(outputs), group = s.b.create<arith::DivUIOp>(axis(0), perGroup);
      SmallVector<Value> place{
          s.b.create<arith::AddIOp>(s.b.create<arith::MulIOp>(group, s.index(inputs)), axis(1)),
          s.b.create<arith::RemUIOp>(axis(0), perGroup)};
      for (size_t i = 0; i < spatial; ++i)
        place.push_back(s.b.create<arith::SubIOp>(s.index(taps[i + 2] - 1), axis(i + 2)));
      return s.b.create<tensor::ExtractOp>(op.getFilter(), place);
    });
    Value y = convolve(s, x, filter, op.getBias(), out, sum, groups, once, op.getDilations());
    rewriter.replaceOp(op, s.convert(y, element));
    return success();
  }
};

struct DecomposePool : OpRewritePattern<PoolOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(PoolOp op, PatternRewriter &rewriter) const override {
    if (!isStatic(op))
      return failure();
    Structured s(op.getLoc(), rewriter);
    ArrayRef<int64_t> in = shapeOf(op.getInput()), out = shapeOf(op.getResult());
    size_t spatial = op.getKernel().size();
    bool largest = op.getKind() == PoolKind::max;
    Type element = elementOf(op.getResult()), sum = largest ? element : sumType(element);
    SmallVector<int64_t> before(2, 0), behind(2, 0);
    for (size_t i = 0; i < spatial; ++i) {
      before.push_back(op.getPads()[i]);
      behind.push_back(roomBehind(in[i + 2], before.back(), out[i + 2], op.getStrides()[i], op.getKernel()[i],
                                  op.getDilations()[i]));
    }
    Value fill = largest ? s.lowest(element) : s.zero(element), x = s.pad(op.getInput(), fill, before, behind);
    // Axes: b, c, o..., k...
    unsigned lead = 2 + spatial, dims = lead + spatial;
    SmallVector<AffineExpr> fromX{s.dim(0), s.dim(1)}, taps, to{s.dim(0), s.dim(1)};
    for (size_t i = 0; i < spatial; ++i) {
      fromX.push_back(s.dim(2 + i) * op.getStrides()[i] + s.dim(lead + i) * op.getDilations()[i]);
      taps.push_back(s.dim(lead + i));
      to.push_back(s.dim(2 + i));
    }
    SmallVector<AffineMap> maps{s.mapOf(dims, fromX), s.mapOf(dims, taps), s.mapOf(dims, to)};
    Value window = s.empty(op.getKernel(), element);
    if (op.getIndices()) {
      pick(op, s, x, window, maps, lead, rewriter);
      return success();
    }
    Value start = s.filled(out, largest ? fill : s.zero(sum));
    Value y = s.generic({x, window}, start, maps, lead, [&](ValueRange v) {
      Value value = s.convertScalar(v[0], sum);
      if (largest)
        return s.max(v[2], value);
      if (op.getKind() == PoolKind::lp)
        value = power(s, s.b.create<math::AbsFOp>(value), double(op.getP()));
      return s.add(v[2], value);
    });
    if (op.getKind() == PoolKind::lp)
      y = s.map(y, sum, [&](ValueRange v) { return power(s, v[0], 1.0 / double(op.getP())); });
    else if (!largest)
      y = divideByCount(op, s, y);
    rewriter.replaceOp(op, s.convert(y, element));
    return success();
  }

private:
  static Value power(Structured &s, Value x, double exponent) {
    if (exponent == 1)
      return x;
    if (exponent == 2)
      return s.b.create<arith::MulFOp>(x, x);
    if (exponent == 0.5)
      return s.b.create<math::SqrtOp>(x);
    return s.b.create<math::PowFOp>(x, s.real(x.getType(), exponent));
  }

  /// How many values of each window count, along one axis.
  static int64_t counted(PoolOp op, size_t axis, int64_t place) {
    int64_t extent = shapeOf(op.getInput())[axis + 2], d = op.getDilations()[axis];
    int64_t at = place * op.getStrides()[axis] - op.getPads()[axis];
    bool padded = op.getKind() == PoolKind::average_padded;
    int64_t first = padded || at >= 0 ? 0 : (-at + d - 1) / d;
    int64_t room = extent + (padded ? op.getPads()[axis + op.getKernel().size()] : 0) - at;
    int64_t last = std::min(op.getKernel()[axis], room <= 0 ? 0 : (room + d - 1) / d);
    return std::max<int64_t>(last - first, 0);
  }

  static Value divideByCount(PoolOp op, Structured &s, Value y) {
    ArrayRef<int64_t> out = shapeOf(y);
    Type element = elementOf(y);
    Value result = y;
    // The count is a product over the axes; dividing by the product once keeps the rounding of one division.
    SmallVector<int64_t> spatial(out.drop_front(2));
    int64_t count = std::accumulate(spatial.begin(), spatial.end(), int64_t(1), std::multiplies<int64_t>());
    SmallVector<Attribute> counts;
    for (int64_t i = 0; i < count; ++i) {
      int64_t product = 1, rest = i;
      for (size_t axis = spatial.size(); axis-- > 0; rest /= spatial[axis])
        product *= counted(op, axis, rest % spatial[axis]);
      counts.push_back(s.b.getFloatAttr(element, double(product)));
    }
    auto type = RankedTensorType::get(spatial, element);
    Value divisor = s.b.create<arith::ConstantOp>(DenseElementsAttr::get(type, counts));
    SmallVector<AffineExpr> places;
    for (unsigned i = 2; i < out.size(); ++i)
      places.push_back(s.dim(i));
    AffineMap all = s.b.getMultiDimIdentityMap(out.size());
    return s.generic({result, divisor}, s.empty(out, element), {all, s.mapOf(out.size(), places), all}, out.size(),
                     [&](ValueRange v) { return s.b.create<arith::DivFOp>(v[0], v[1]); });
  }

  /// The first largest value of each window and its place in the unpadded input.
  static void pick(PoolOp op, Structured &s, Value x, Value window, ArrayRef<AffineMap> maps, unsigned lead,
                   PatternRewriter &rewriter) {
    ArrayRef<int64_t> in = shapeOf(op.getInput()), out = shapeOf(op.getResult());
    Type element = elementOf(op.getResult()), i64 = s.b.getI64Type();
    SmallVector<AffineMap> both(maps);
    both.push_back(maps.back());
    SmallVector<utils::IteratorType> iterators(maps[0].getNumDims(), utils::IteratorType::reduction);
    std::fill_n(iterators.begin(), lead, utils::IteratorType::parallel);
    Value best = s.filled(out, s.lowest(element));
    Value place = s.filled(out, s.b.create<arith::ConstantOp>(s.b.getI64IntegerAttr(-1)));
    auto generic = s.b.create<linalg::GenericOp>(
        TypeRange{best.getType(), place.getType()}, ValueRange{x, window}, ValueRange{best, place}, both, iterators,
        [&](OpBuilder &inner, Location, ValueRange v) {
          OpBuilder::InsertionGuard guard(s.b);
          s.b.setInsertionPointToEnd(inner.getInsertionBlock());
          auto axis = [&](unsigned i) -> Value { return s.b.create<linalg::IndexOp>(i); };
          Value at = s.b.create<arith::AddIOp>(s.b.create<arith::MulIOp>(axis(0), s.index(in[1])), axis(1));
          Value inside = s.b.create<arith::ConstantOp>(s.b.getBoolAttr(true));
          for (size_t i = 0; i < op.getKernel().size(); ++i) {
            Value position = s.b.create<arith::AddIOp>(
                s.b.create<arith::MulIOp>(axis(2 + i), s.index(op.getStrides()[i])),
                s.b.create<arith::MulIOp>(axis(lead + i), s.index(op.getDilations()[i])));
            position = s.b.create<arith::SubIOp>(position, s.index(op.getPads()[i]));
            at = s.b.create<arith::AddIOp>(s.b.create<arith::MulIOp>(at, s.index(in[i + 2])), position);
            // Unsigned, so that what is negative is outside too.
            Value within = s.b.create<arith::CmpIOp>(arith::CmpIPredicate::ult, position, s.index(in[i + 2]));
            inside = s.b.create<arith::AndIOp>(inside, within);
          }
          Value none = s.b.create<arith::CmpIOp>(arith::CmpIPredicate::slt, v[3], s.zero(i64));
          Value larger = isa<FloatType>(element)
                             ? s.b.create<arith::CmpFOp>(arith::CmpFPredicate::OGT, v[0], v[2]).getResult()
                             : s.b.create<arith::CmpIOp>(arith::CmpIPredicate::sgt, v[0], v[2]).getResult();
          Value take = s.b.create<arith::AndIOp>(inside, s.b.create<arith::OrIOp>(none, larger));
          s.b.create<linalg::YieldOp>(ValueRange{
              s.b.create<arith::SelectOp>(take, v[0], v[2]),
              s.b.create<arith::SelectOp>(take, s.b.create<arith::IndexCastOp>(i64, at), v[3])});
        });
    rewriter.replaceOp(op, {generic.getResult(0), s.convert(generic.getResult(1), elementOf(op.getIndices()))});
  }
};

} // namespace

void populateWindowPatterns(RewritePatternSet &patterns) {
  patterns.add<DecomposeConv, DecomposeConvTranspose, DecomposePool>(patterns.getContext());
}

} // namespace mlc::graph
