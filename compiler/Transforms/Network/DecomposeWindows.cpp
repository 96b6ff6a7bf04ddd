//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// conv, conv_transpose and pool as structured ops on padded inputs.
//
#include "compiler/Codegen/RegionCode.h"
#include "compiler/Dialect/Graph/IR/Graph.h"
#include "compiler/Transforms/Network/ExactProducts.h"
#include "compiler/Transforms/Network/Structured.h"

#include "mlir/IR/PatternMatch.h"

#include <numeric>

using namespace mlir;

namespace mlc::graph {
namespace {

/// `x` plus the bias along its last axis.
Value addBias(Structured &s, Value x, Value bias) {
  if (!bias)
    return x;
  unsigned rank = shapeOf(x).size();
  Type sum = elementOf(x);
  AffineMap all = s.b.getMultiDimIdentityMap(rank);
  return s.generic({x, s.convert(bias, sum)}, s.empty(s.sizes(x), sum), {all, s.mapOf(rank, {s.dim(rank - 1)}), all},
                   rank, [&](ValueRange v) -> Value {
                     if (isa<FloatType>(sum))
                       return s.b.create<arith::AddFOp>(v[0], v[1]);
                     return s.b.create<arith::AddIOp>(v[0], v[1]);
                   });
}

/// y[b, o..., m] = sum over k..., c of x[b, o * stride + k * dilation..., c of m's group] * filter[m, c, k...], of x
/// [B, D..., C] and filter [M, C / groups, K...]; y of `shape`, [B, O..., M], in x's element type. Channels and filters
/// are fixed.
Value convolve(Structured &s, Value x, Value filter, ArrayRef<Size> shape, int64_t groups, ArrayRef<int64_t> strides,
               ArrayRef<int64_t> dilations) {
  unsigned spatial = strides.size();
  Type sum = elementOf(x);
  if (llvm::is_contained(shapeOf(x), 0) || llvm::is_contained(shapeOf(filter), 0) || llvm::is_contained(shape, Size(0)))
    return s.filled(shape, s.zero(sum));
  int64_t outputs = shape.back().fixed() / groups, inputs = shapeOf(x).back() / groups, depth = inputs;
  for (int64_t taps : shapeOf(filter).drop_front(2))
    depth *= taps;
  // A group's channels get an axis of their own: x [B, D..., G, C], filter [G, M, K..., C], y [B, O..., G, M].
  Sizes in = s.sizes(x), out(shape), taps = s.sizes(filter);
  in.back() = groups, in.push_back(inputs);
  out.back() = groups, out.push_back(outputs);
  taps[0] = outputs, taps.insert(taps.begin(), groups);
  x = s.reshape(x, in);
  SmallVector<unsigned> axes{0, 1};
  for (unsigned i = 0; i < spatial; ++i)
    axes.push_back(3 + i);
  axes.push_back(2);
  filter = s.transpose(s.reshape(filter, taps), axes);
  bool lanes = worthPanels(sum, outputs, depth);
  if (lanes) {
    filter = s.panels(filter, 1);
    out.back() = panelCount(outputs), out.push_back(lanesOf(outputs));
  }
  // Axes: b, o..., g, m (its panels), k..., c, the lane.
  unsigned group = 1 + spatial, tap = group + 2, channel = tap + spatial, count = channel + 1 + lanes;
  SmallVector<AffineExpr> fromX{s.dim(0)}, fromFilter{s.dim(group), s.dim(group + 1)}, to{s.dim(0)};
  for (unsigned i = 0; i < spatial; ++i) {
    fromX.push_back(s.dim(1 + i) * strides[i] + s.dim(tap + i) * dilations[i]);
    fromFilter.push_back(s.dim(tap + i));
    to.push_back(s.dim(1 + i));
  }
  fromX.append({s.dim(group), s.dim(channel)});
  fromFilter.push_back(s.dim(channel));
  to.append({s.dim(group), s.dim(group + 1)});
  if (lanes)
    fromFilter.push_back(s.dim(channel + 1)), to.push_back(s.dim(channel + 1));
  Value y = s.generic(
      {x, filter}, s.filled(out, s.zero(sum)), {s.mapOf(count, fromX), s.mapOf(count, fromFilter), s.mapOf(count, to)},
      tap, [&](ValueRange v) { return s.add(v[2], s.mul(v[0], s.convertScalar(v[1], sum))); }, /*lastParallel=*/lanes);
  if (int64_t columns = lanes ? panelCount(outputs) * lanesOf(outputs) : outputs; columns != outputs) {
    Sizes padded(out), origin(group + 2, 0), ones(group + 2, 1);
    padded.pop_back();
    padded.back() = columns;
    Sizes kept(padded);
    kept.back() = outputs;
    y = s.slice(s.reshape(y, padded), origin, kept, ones);
  }
  return s.reshape(y, shape);
}

/// [first, values..., last].
Sizes around(Size first, ArrayRef<Size> values, Size last) {
  Sizes all{first};
  llvm::append_range(all, values);
  all.push_back(last);
  return all;
}

/// The padding behind `extent`, so that windows of `taps` at `places` places stay inside and nothing is left over.
Size roomBehind(Structured &s, Size extent, int64_t before, Size places, int64_t stride, int64_t taps,
                int64_t dilation) {
  Size reach = s.plus(s.times(s.minus(places, 1), stride), (taps - 1) * dilation + 1 - before);
  return s.minus(reach, extent);
}

/// Whether all that is not fixed of an input [B, C, D...] and of a filter is the batch and the positions.
bool hasFixedChannels(Value input, Value filter) {
  return !ShapedType::isDynamic(shapeOf(input)[1]) && (!filter || !ShapedType::isDynamicShape(shapeOf(filter)));
}

/// The places of a window along an axis, as the op's verifier and the importer count them.
Size placesOf(Structured &s, Value result, unsigned axis, Size extent, int64_t pads, int64_t stride, int64_t taps,
              int64_t dilation) {
  int64_t known = shapeOf(result)[axis];
  if (!ShapedType::isDynamic(known))
    return known;
  return s.plus(s.floorDiv(s.plus(extent, pads - (taps - 1) * dilation - 1), stride), 1);
}

/// `op` is y [B, O..., M] plus its bias.
template <typename Op> void replaceConv(Structured &s, PatternRewriter &rewriter, Op op, Value y) {
  y = s.channelsFirst(addBias(s, y, op.getBias()));
  rewriter.replaceOp(op, s.convert(y, elementOf(op.getResult())));
}

struct DecomposeConv : OpRewritePattern<ConvOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ConvOp op, PatternRewriter &rewriter) const override {
    if (!hasFixedChannels(op.getInput(), op.getFilter()))
      return failure();
    Structured s(op.getLoc(), rewriter);
    ArrayRef<int64_t> out = shapeOf(op.getResult()), taps = shapeOf(op.getFilter());
    Sizes in = s.sizes(op.getInput()), places, behind, before;
    Type sum = sumType(elementOf(op.getResult())), weights = sum;
    int64_t channels = taps[1];
    if (std::optional<Exact> exact = exactly(op))
      sum = s.b.getF32Type(), weights = exact->weights, channels = exact->channels;
    Value x = s.convert(s.channelsLast(op.getInput()), sum);
    for (size_t i = 0; i < op.getStrides().size(); ++i) {
      int64_t front = op.getPads()[i], stride = op.getStrides()[i], dilation = op.getDilations()[i];
      int64_t pads = front + op.getPads()[i + op.getStrides().size()];
      places.push_back(placesOf(s, op.getResult(), i + 2, in[i + 2], pads, stride, taps[i + 2], dilation));
      before.push_back(front);
      behind.push_back(roomBehind(s, in[i + 2], front, places.back(), stride, taps[i + 2], dilation));
    }
    if (!llvm::is_contained(out, 0))
      x = s.pad(x, s.zero(sum), around(0, before, 0), around(0, behind, 0));
    Value filter = s.convert(op.getFilter(), weights), y;
    Sizes shape = around(in[0], places, out[1]), all = s.sizes(x), some = s.sizes(filter);
    Sizes originX(all.size(), 0), originFilter(all.size(), 0), ones(all.size(), 1);
    for (int64_t from = 0; !y || from < taps[1]; from += channels) {
      Value partX = x, partFilter = filter;
      if (channels < taps[1]) {
        originX.back() = originFilter[1] = from;
        all.back() = some[1] = std::min(channels, taps[1] - from);
        partX = s.slice(x, originX, all, ones);
        partFilter = s.slice(filter, originFilter, some, ones);
      }
      Value part = convolve(s, partX, partFilter, shape, op.getGroups(), op.getStrides(), op.getDilations());
      // Parts and a bias may be too large for f32.
      part = s.convert(part, sumType(elementOf(op.getResult())));
      y = y ? s.map({y, part}, elementOf(part), [&](ValueRange v) { return s.add(v[0], v[1]); }) : part;
    }
    replaceConv(s, rewriter, op, y);
    return success();
  }

private:
  /// Of short integers, in f32: so many channels at once are exact.
  struct Exact {
    Type weights;
    int64_t channels;
  };
  /// nullopt where that does not pay.
  static std::optional<Exact> exactly(ConvOp op) {
    constexpr int64_t kMostParts = 64;
    ArrayRef<int64_t> filter = shapeOf(op.getFilter());
    if (!elementOf(op.getResult()).isInteger(32) || llvm::is_contained(filter, 0))
      return std::nullopt;
    int64_t groups = op.getGroups(), taps = 1;
    for (int64_t extent : filter.drop_front(2))
      taps *= extent;
    if (!worthPanels(Float32Type::get(op.getContext()), filter[0] / groups, filter[1] * taps))
      return std::nullopt;
    std::optional<ExactProduct> exact = exactProduct(op.getInput(), op.getFilter());
    int64_t channels = exact ? std::min(exact->terms / taps, filter[1]) : 0;
    if (!channels || llvm::divideCeil(filter[1], channels) > kMostParts || (groups > 1 && channels < filter[1]))
      return std::nullopt;
    return Exact{exact->weights, int64_t(llvm::divideCeil(filter[1], llvm::divideCeil(filter[1], channels)))};
  }
};

/// The transposed convolution is the convolution of x, spread out by the strides, with the taps in reverse.
struct DecomposeConvTranspose : OpRewritePattern<ConvTransposeOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ConvTransposeOp op, PatternRewriter &rewriter) const override {
    if (!hasFixedChannels(op.getInput(), op.getFilter()))
      return failure();
    Structured s(op.getLoc(), rewriter);
    ArrayRef<int64_t> out = shapeOf(op.getResult()), taps = shapeOf(op.getFilter());
    size_t spatial = op.getStrides().size(), rank = spatial + 2;
    Type sum = sumType(elementOf(op.getResult()));
    Sizes in = s.sizes(op.getInput()), shape{in[0]}, spread{in[0]}, kept{in[0]}, from(rank, 0), at(rank, 0),
          step(rank, 1), ones(rank, 1);
    SmallVector<int64_t> once(spatial, 1);
    bool any = !llvm::is_contained(out, 0) && !llvm::is_contained(in, Size(0));
    // Position of x's first value and of the others among the taps' places.
    for (size_t i = 0; i < spatial; ++i) {
      int64_t reach = (taps[i + 2] - 1) * op.getDilations()[i], stride = op.getStrides()[i];
      int64_t pads = op.getPads()[i] + op.getPads()[i + spatial], first = reach - op.getPads()[i];
      Size places = out[i + 2];
      if (ShapedType::isDynamic(out[i + 2]))
        places = s.plus(s.times(s.minus(in[i + 2], 1), stride), reach + 1 - pads);
      int64_t begin = first < 0 ? (-first + stride - 1) / stride : 0, place = first + begin * stride;
      Size all = s.plus(places, reach), room = s.plus(s.floorDiv(s.minus(all, place + 1), stride), 1);
      Size count = s.larger(s.smaller(s.minus(in[i + 2], begin), room), 0);
      any &= !count.is(0);
      shape.push_back(places);
      spread.push_back(all);
      kept.push_back(count);
      from[i + 1] = begin, at[i + 1] = place, step[i + 1] = stride;
    }
    shape.push_back(out[1]);
    spread.push_back(in[1]);
    kept.push_back(in[1]);
    Value x = s.filled(spread, s.zero(sum));
    if (any)
      x = s.insert(s.slice(s.convert(s.channelsLast(op.getInput()), sum), from, kept, ones), x, at, step);
    // [C, M / G, K...] to [M, C / G, K...], K reversed.
    int64_t groups = op.getGroups(), inputs = taps[0] / groups, outputs = taps[1];
    Sizes turned = s.sizes(op.getFilter());
    turned[0] = outputs * groups, turned[1] = inputs;
    SmallVector<AffineMap> maps{s.b.getMultiDimIdentityMap(turned.size())};
    Value filter = s.generic({}, s.empty(turned, elementOf(op.getFilter())), maps, turned.size(), [&](ValueRange) {
      auto axis = [&](unsigned i) -> Value { return s.b.create<linalg::IndexOp>(i); };
      Value perGroup = s.index(outputs), group = s.b.create<arith::DivUIOp>(axis(0), perGroup);
      SmallVector<Value> place{s.b.create<arith::AddIOp>(s.b.create<arith::MulIOp>(group, s.index(inputs)), axis(1)),
                               s.b.create<arith::RemUIOp>(axis(0), perGroup)};
      for (size_t i = 0; i < spatial; ++i)
        place.push_back(s.b.create<arith::SubIOp>(s.index(taps[i + 2] - 1), axis(i + 2)));
      return s.b.create<tensor::ExtractOp>(op.getFilter(), place);
    });
    Value y = convolve(s, x, s.convert(filter, sum), shape, groups, once, op.getDilations());
    replaceConv(s, rewriter, op, y);
    return success();
  }
};

struct DecomposePool : OpRewritePattern<PoolOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(PoolOp op, PatternRewriter &rewriter) const override {
    if (!hasFixedChannels(op.getInput(), {}))
      return failure();
    Structured s(op.getLoc(), rewriter);
    Sizes in = s.sizes(op.getInput()), places;
    size_t spatial = op.getKernel().size();
    bool largest = op.getKind() == PoolKind::max;
    Type element = elementOf(op.getResult()), sum = largest ? element : sumType(element);
    Sizes before, behind;
    for (size_t i = 0; i < spatial; ++i) {
      int64_t front = op.getPads()[i], stride = op.getStrides()[i], taps = op.getKernel()[i],
              dilation = op.getDilations()[i];
      places.push_back(
          placesOf(s, op.getResult(), i + 2, in[i + 2], front + op.getPads()[i + spatial], stride, taps, dilation));
      before.push_back(front);
      behind.push_back(roomBehind(s, in[i + 2], front, places.back(), stride, taps, dilation));
    }
    Value fill = largest ? s.lowest(element) : s.zero(element);
    Value x = s.pad(s.channelsLast(op.getInput()), fill, around(0, before, 0), around(0, behind, 0));
    Sizes shape = around(in[0], places, in[1]);
    // Axes: b, o..., c, k...
    unsigned lead = 2 + spatial, dims = lead + spatial;
    SmallVector<AffineExpr> fromX{s.dim(0)}, taps, to{s.dim(0)};
    for (size_t i = 0; i < spatial; ++i) {
      fromX.push_back(s.dim(1 + i) * op.getStrides()[i] + s.dim(lead + i) * op.getDilations()[i]);
      taps.push_back(s.dim(lead + i));
      to.push_back(s.dim(1 + i));
    }
    fromX.push_back(s.dim(1 + spatial));
    to.push_back(s.dim(1 + spatial));
    SmallVector<AffineMap> maps{s.mapOf(dims, fromX), s.mapOf(dims, taps), s.mapOf(dims, to)};
    Value window = s.empty(Sizes(op.getKernel().begin(), op.getKernel().end()), element);
    if (op.getIndices()) {
      pick(op, s, x, window, maps, shape, rewriter);
      return success();
    }
    Value start = s.filled(shape, largest ? fill : s.zero(sum));
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
    rewriter.replaceOp(op, s.convert(s.channelsFirst(y), element));
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

  /// How many values of the window at `place` count, along one axis.
  static Size counted(PoolOp op, Structured &s, size_t axis, Size place) {
    int64_t d = op.getDilations()[axis], front = op.getPads()[axis], kernel = op.getKernel()[axis];
    Size extent = s.size(op.getInput(), axis + 2), at = s.plus(s.times(place, op.getStrides()[axis]), -front);
    bool padded = op.getKind() == PoolKind::average_padded;
    Size first = padded ? Size(0) : s.larger(s.ceilDiv(s.minus(0, at), d), 0);
    Size room = s.minus(s.plus(extent, padded ? op.getPads()[axis + op.getKernel().size()] : 0), at);
    Size last = s.smaller(s.larger(s.ceilDiv(room, d), 0), kernel);
    return s.larger(s.minus(last, first), 0);
  }

  static Value divideByCount(PoolOp op, Structured &s, Value y) {
    Type element = elementOf(y);
    unsigned rank = shapeOf(y).size(), spatial = rank - 2;
    AffineMap all = s.b.getMultiDimIdentityMap(rank);
    // The count is a product over the axes; dividing by the product once keeps the rounding of one division.
    if (ShapedType::isDynamicShape(shapeOf(y).slice(1, spatial)))
      return s.generic(y, s.empty(s.sizes(y), element), {all, all}, rank, [&](ValueRange v) -> Value {
        Size product = 1;
        for (unsigned axis = 0; axis < spatial; ++axis)
          product = s.times(product, counted(op, s, axis, Size(s.b.create<linalg::IndexOp>(axis + 1).getResult())));
        Value count = s.b.create<arith::IndexCastOp>(s.b.getI32Type(), s.value(product));
        return s.b.create<arith::DivFOp>(v[0], s.b.create<arith::SIToFPOp>(element, count));
      });
    SmallVector<int64_t> extents(shapeOf(y).slice(1, spatial));
    int64_t count = std::accumulate(extents.begin(), extents.end(), int64_t(1), std::multiplies<int64_t>());
    SmallVector<Attribute> counts;
    for (int64_t i = 0; i < count; ++i) {
      int64_t product = 1, rest = i;
      for (size_t axis = spatial; axis-- > 0; rest /= extents[axis])
        product *= counted(op, s, axis, rest % extents[axis]).fixed();
      counts.push_back(s.b.getFloatAttr(element, double(product)));
    }
    auto type = RankedTensorType::get(extents, element);
    Value divisor = s.b.create<arith::ConstantOp>(DenseElementsAttr::get(type, counts));
    SmallVector<AffineExpr> places;
    for (unsigned i = 1; i + 1 < rank; ++i)
      places.push_back(s.dim(i));
    return s.generic({y, divisor}, s.empty(s.sizes(y), element), {all, s.mapOf(rank, places), all}, rank,
                     [&](ValueRange v) { return s.b.create<arith::DivFOp>(v[0], v[1]); });
  }

  /// The first largest value of each window and its place in the unpadded input.
  static void pick(PoolOp op, Structured &s, Value x, Value window, ArrayRef<AffineMap> maps, ArrayRef<Size> out,
                   PatternRewriter &rewriter) {
    Sizes in = s.sizes(op.getInput());
    unsigned lead = out.size(), channel = lead - 1;
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
          Value at = s.b.create<arith::AddIOp>(s.b.create<arith::MulIOp>(axis(0), s.value(in[1])), axis(channel));
          Value inside = s.b.create<arith::ConstantOp>(s.b.getBoolAttr(true));
          for (size_t i = 0; i < op.getKernel().size(); ++i) {
            Value position =
                s.b.create<arith::AddIOp>(s.b.create<arith::MulIOp>(axis(1 + i), s.index(op.getStrides()[i])),
                                          s.b.create<arith::MulIOp>(axis(lead + i), s.index(op.getDilations()[i])));
            position = s.b.create<arith::SubIOp>(position, s.index(op.getPads()[i]));
            at = s.b.create<arith::AddIOp>(s.b.create<arith::MulIOp>(at, s.value(in[i + 2])), position);
            // Unsigned, so that what is negative is outside too.
            Value within = s.b.create<arith::CmpIOp>(arith::CmpIPredicate::ult, position, s.value(in[i + 2]));
            inside = s.b.create<arith::AndIOp>(inside, within);
          }
          Value none = s.b.create<arith::CmpIOp>(arith::CmpIPredicate::slt, v[3], s.zero(i64));
          Value larger = isa<FloatType>(element)
                             ? s.b.create<arith::CmpFOp>(arith::CmpFPredicate::OGT, v[0], v[2]).getResult()
                             : s.b.create<arith::CmpIOp>(arith::CmpIPredicate::sgt, v[0], v[2]).getResult();
          Value take = s.b.create<arith::AndIOp>(inside, s.b.create<arith::OrIOp>(none, larger));
          s.b.create<linalg::YieldOp>(
              ValueRange{s.b.create<arith::SelectOp>(take, v[0], v[2]),
                         s.b.create<arith::SelectOp>(take, s.b.create<arith::IndexCastOp>(i64, at), v[3])});
        });
    rewriter.replaceOp(op, {s.channelsFirst(generic.getResult(0)),
                            s.convert(s.channelsFirst(generic.getResult(1)), elementOf(op.getIndices()))});
  }
};

} // namespace

void populateWindowPatterns(RewritePatternSet &patterns) {
  patterns.add<DecomposeConv, DecomposeConvTranspose, DecomposePool>(patterns.getContext());
}

} // namespace mlc::graph
