//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Operators that read an image between its points: GridSample, AffineGrid, RoiAlign, DeformConv.
//
#include "compiler/Import/ONNX/GraphImporter.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

namespace mlc::onnx {
namespace {

/// One neighbour of every point on one axis: where it stands, in range, and its factor.
struct Tap {
  Tensor index, factor;
};

} // namespace

/// result[r, c, p...] = x[batch[r] (r without it), c, indices[0][r, p...], ...]
static Tensor readPoints(Emitter &e, const Tensor &x, const Tensor &batch, ArrayRef<Tensor> indices) {
  if (!x || !llvm::all_of(indices, [](const Tensor &tensor) { return bool(tensor); }))
    return {};
  Dims shape = {indices[0].shape[0], x.shape[1]};
  shape.append(indices[0].shape.begin() + 1, indices[0].shape.end());
  return e.generate(shape, x.dtype(), [&](OpBuilder &body, ArrayRef<Value> at) {
    SmallVector<Value> point(at), from = {at[0], at[1]};
    point.erase(point.begin() + 1);
    if (batch)
      from[0] = e.wrappedIndex(body, e.at(body, batch, at[0]), true, x.shape[0]);
    for (const Tensor &index : indices)
      from.push_back(body.create<arith::IndexCastOp>(e.loc, body.getIndexType(), e.at(body, index, point)));
    return e.at(body, x, from);
  });
}

/// The sum over every choice of a tap on each axis of the product of their factors and the value there.
static Tensor interpolate(Emitter &e, const Tensor &x, const Tensor &batch, ArrayRef<SmallVector<Tap>> taps) {
  Tensor sum;
  SmallVector<size_t> choice(taps.size(), 0);
  while (!e.failed()) {
    SmallVector<Tensor> indices;
    Tensor factor;
    for (auto [axis, which] : llvm::enumerate(choice)) {
      const Tap &tap = taps[axis][which];
      indices.push_back(tap.index);
      factor = factor ? e.mul(factor, tap.factor) : tap.factor;
    }
    Tensor part = readPoints(e, x, batch, indices);
    if (factor)
      part = e.mul(part, e.unsqueeze(factor, 1));
    sum = sum ? e.add(sum, part) : part;
    size_t axis = choice.size();
    while (axis > 0 && ++choice[axis - 1] == taps[axis - 1].size())
      choice[--axis] = 0;
    if (axis == 0)
      return sum;
  }
  return {};
}

/// An index as i64 in [0, extent), and factor 0 where it lay outside.
static Tap zeroOutside(Emitter &e, const Tensor &place, const Tensor &factor, int64_t extent) {
  Tensor low = e.compare(Compare::ge, place, 0.0), high = e.compare(Compare::le, place, double(extent - 1));
  Tensor inside = e.binary<arith::AndIOp>(low, high);
  if (!inside)
    return {};
  Tensor safe = e.select(inside, place, e.splat(0, place.dtype()));
  return {e.cast(safe, e.i64()), e.select(inside, factor, e.splat(0, factor.dtype()))};
}
static Tensor clamped(Emitter &e, const Tensor &x, double low, double high) {
  return x ? e.min(e.max(x, e.splat(low, x.dtype())), e.splat(high, x.dtype())) : x;
}

//===--- GridSample ---===//

namespace {

/// One axis of the image: `low` and `high` are where it ends.
struct Border {
  int64_t extent;
  double low, high;
};

} // namespace

/// Folded at the ends until it lies between them.
static Tensor reflected(Emitter &e, const Tensor &x, const Border &border) {
  double range = border.high - border.low;
  if (range <= 0 || !x)
    return x ? e.splat(0, x.dtype(), x.shape) : x;
  // One period goes there and back.
  Tensor from = e.abs(e.sub(x, border.low));
  Tensor turns = e.unary<math::FloorOp>(e.div(from, 2 * range));
  Tensor rest = e.sub(from, e.mul(turns, 2 * range));
  Tensor back = e.sub(e.splat(2 * range, x.dtype()), rest);
  return e.add(e.min(rest, back), border.low);
}

static SmallVector<Tap> gridTaps(Emitter &e, Tensor x, const Border &border, StringRef mode, StringRef padding) {
  if (!x)
    return {};
  if (mode == "nearest")
    x = e.unary<math::RoundEvenOp>(x);
  Tensor outside =
      e.binary<arith::OrIOp>(e.compare(Compare::lt, x, border.low), e.compare(Compare::gt, x, border.high));
  double last = double(border.extent - 1);
  if (padding == "border")
    x = e.select(outside, clamped(e, x, 0, last), x);
  else if (padding == "reflection")
    x = e.select(outside, reflected(e, x, border), x);
  SmallVector<Tap> taps;
  auto place = [&](const Tensor &at, const Tensor &factor) {
    if (padding == "zeros") {
      taps.push_back(zeroOutside(e, at, factor, border.extent));
      return;
    }
    Tensor index = at;
    if (padding == "reflection") {
      Tensor beyond =
          e.binary<arith::OrIOp>(e.compare(Compare::lt, at, border.low), e.compare(Compare::gt, at, border.high));
      index = e.select(beyond, reflected(e, at, border), at);
    }
    taps.push_back({e.cast(clamped(e, index, 0, last), e.i64()), factor});
  };
  if (e.failed())
    return {};
  if (mode == "nearest") {
    place(x, e.splat(1, x.dtype(), x.shape));
    return taps;
  }
  Tensor left = e.unary<math::FloorOp>(x), t = e.sub(x, left);
  if (mode == "linear") {
    place(left, e.sub(e.splat(1, t.dtype()), t));
    place(e.add(left, 1), t);
    return taps;
  }
  // Keys' cubic convolution, a = -0.75.
  constexpr double a = -0.75;
  auto near = [&](const Tensor &d) { // |d| <= 1: ((a + 2) d - (a + 3)) d^2 + 1.
    return e.add(e.mul(e.mul(e.sub(e.mul(d, a + 2), a + 3), d), d), 1);
  };
  auto far = [&](const Tensor &d) { // 1 < |d| < 2: ((a d - 5 a) d + 8 a) d - 4 a.
    return e.sub(e.mul(e.add(e.mul(e.sub(e.mul(d, a), 5 * a), d), 8 * a), d), 4 * a);
  };
  Tensor rest = e.sub(e.splat(1, t.dtype()), t);
  place(e.sub(left, 1), far(e.add(t, 1)));
  place(left, near(t));
  place(e.add(left, 1), near(rest));
  place(e.add(left, 2), far(e.add(rest, 1)));
  return taps;
}

static void bindGridSample(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0), grid = n.in(1);
  std::string mode = n.stringAttr("mode", n.version < 20 ? "bilinear" : "linear");
  std::string padding = n.stringAttr("padding_mode", "zeros");
  bool align = n.intAttr("align_corners", 0);
  if (!x || !grid)
    return;
  mode = mode == "bilinear" ? "linear" : mode == "bicubic" ? "cubic" : mode;
  std::optional<Ints> shape = e.staticShape(x, "it");
  if (!shape)
    return;
  int64_t spatial = x.rank() - 2;
  if (spatial < 1 || spatial > 3 || grid.rank() != x.rank() || !grid.isFloat() || !x.isFloat() ||
      e.constant(grid.shape.back()) != spatial || grid.shape[0] != x.shape[0] ||
      !llvm::is_contained({"nearest", "linear", "cubic"}, mode) ||
      !llvm::is_contained({"zeros", "border", "reflection"}, padding))
    return n.fail("takes an image of one to three spatial axes, a grid of as many coordinates, mode nearest, linear or "
                  "cubic, and padding_mode zeros, border or reflection");
  Tensor wide = e.widened(x), places = e.cast(grid, e.f32());
  Dims points(ArrayRef<Dim>(grid.shape).drop_back());
  SmallVector<SmallVector<Tap>> taps;
  for (int64_t axis = 0; axis < spatial; ++axis) {
    int64_t extent = (*shape)[axis + 2];
    if (extent < 1)
      return n.fail("takes an image that is not empty");
    // The grid names the axes from behind.
    Tensor g = e.reshape(e.sliceAxis(places, grid.rank() - 1, e.dim(spatial - 1 - axis), e.dim(1)), points);
    Tensor at = align ? e.mul(e.div(e.add(g, 1), 2), double(extent - 1))
                      : e.div(e.sub(e.mul(e.add(g, 1), double(extent)), 1), 2);
    Border border = align ? Border{extent, 0, double(extent - 1)} : Border{extent, -0.5, double(extent) - 0.5};
    taps.push_back(gridTaps(e, at, border, mode, padding));
    for (Tap &tap : taps.back())
      tap.factor = e.cast(tap.factor, wide.dtype());
  }
  if (!e.failed())
    n.give(e.cast(interpolate(e, wide, {}, taps), x.dtype()));
}

/// grid[n, p..., :] = theta[n] (p in [-1, 1], from behind, 1).
static void bindAffineGrid(Node &n) {
  Emitter &e = n.e;
  Tensor theta = n.in(0);
  std::optional<Ints> size = n.constantInts(1);
  bool align = n.intAttr("align_corners", 0);
  if (!theta || !size)
    return;
  int64_t spatial = int64_t(size->size()) - 2, points = 1;
  for (int64_t axis = 0; axis < spatial; ++axis)
    if ((*size)[axis + 2] < 1 || __builtin_mul_overflow(points, (*size)[axis + 2], &points) || points > 1 << 24)
      return n.fail("needs a size of 1 to 2^24 points");
  if (spatial < 2 || spatial > 3 || theta.rank() != 3 || !theta.isFloat() || e.constant(theta.shape[1]) != spatial ||
      e.constant(theta.shape[2]) != spatial + 1 || e.constant(theta.shape[0]).value_or((*size)[0]) != (*size)[0])
    return n.fail("takes theta [batch, 2, 3] and four sizes, or [batch, 3, 4] and five");
  DType type = e.widened(theta).dtype();
  Dims image = e.dims(ArrayRef<int64_t>(*size).drop_front(2)), flat = {e.dim(1), e.dim(points)};
  SmallVector<Tensor> rows;
  for (int64_t axis = spatial; axis-- > 0;) {
    int64_t extent = (*size)[axis + 2];
    Dims along(size_t(spatial), e.dim(1));
    along[axis] = e.dim(extent);
    // Ends of the axis, or middles of its first and last point.
    double step = align ? (extent > 1 ? 2.0 / double(extent - 1) : 0) : 2.0 / double(extent);
    double start = align ? -1 : -1 + step / 2;
    Tensor line = e.add(e.mul(e.iota(e.dim(extent), type), step), start);
    rows.push_back(e.reshape(e.broadcast(e.reshape(line, along), image), flat));
  }
  rows.push_back(e.splat(1, type, flat));
  Tensor grid = e.transpose(e.matmul(e.widened(theta), e.concat(rows, 0)), {0, 2, 1});
  Dims shape = {theta.shape[0]};
  shape.append(image.begin(), image.end());
  shape.push_back(e.dim(spatial));
  n.give(e.cast(e.reshape(grid, shape), theta.dtype()));
}

//===--- RoiAlign ---===//

static void bindRoiAlign(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0), rois = n.in(1), batch = n.in(2);
  std::string mode = n.stringAttr("mode", "avg");
  std::string coordinates =
      n.version < 16 ? "output_half_pixel" : n.stringAttr("coordinate_transformation_mode", "half_pixel");
  int64_t height = n.intAttr("output_height", 1), width = n.intAttr("output_width", 1);
  int64_t samples = n.intAttr("sampling_ratio", 0);
  double scale = n.floatAttr("spatial_scale", 1);
  if (!x || !rois || !batch)
    return;
  std::optional<Ints> shape = e.staticShape(x, "it");
  if (!shape)
    return;
  constexpr int64_t kMost = 1 << 12;
  if (samples < 1 || samples > kMost)
    return n.fail("needs a sampling_ratio: with 0 each region has a number of samples of its own");
  if (x.rank() != 4 || !x.isFloat() || rois.rank() != 2 || rois.dtype() != x.dtype() ||
      e.constant(rois.shape[1]) != 4 || batch.shape != Dims{rois.shape[0]} || !batch.dtype().isInteger() ||
      height < 1 || width < 1 || height > kMost || width > kMost || (*shape)[2] < 1 || (*shape)[3] < 1 ||
      (mode != "avg" && mode != "max") || (coordinates != "half_pixel" && coordinates != "output_half_pixel"))
    return n.fail("takes an image of four axes, regions [regions, 4], an index for each, and mode avg or max");
  bool half = coordinates == "half_pixel";
  Dim regions = rois.shape[0];
  Tensor wide = e.widened(x), corners = e.sub(e.mul(e.widened(rois), scale), half ? 0.5 : 0);
  // [regions, height, width, samples, samples] of each axis.
  Dims points = {regions, e.dim(height), e.dim(width), e.dim(samples), e.dim(samples)};
  SmallVector<SmallVector<Tap>> taps;
  for (int64_t axis = 0; axis < 2; ++axis) {
    int64_t extent = (*shape)[axis + 2], bins = axis ? width : height;
    auto corner = [&](int64_t i) {
      return e.reshape(e.sliceAxis(corners, 1, e.dim(i), e.dim(1)), {regions, e.dim(1), e.dim(1)});
    };
    Tensor begin = corner(1 - axis), length = e.sub(corner(3 - axis), begin);
    if (!half)
      length = e.max(length, e.splat(1, wide.dtype()));
    Tensor bin = e.div(length, double(bins));
    Tensor which = e.reshape(e.iota(e.dim(bins), wide.dtype()), {e.dim(1), e.dim(bins), e.dim(1)});
    Tensor inside = e.reshape(e.iota(e.dim(samples), wide.dtype()), {e.dim(1), e.dim(1), e.dim(samples)});
    Tensor at = e.add(e.add(begin, e.mul(bin, which)), e.div(e.mul(bin, e.add(inside, 0.5)), double(samples)));
    Tensor reaches =
        e.binary<arith::AndIOp>(e.compare(Compare::ge, at, -1.0), e.compare(Compare::le, at, double(extent)));
    at = clamped(e, at, 0, double(extent - 1));
    if (e.failed())
      return;
    Tensor low = e.unary<math::FloorOp>(at), t = e.sub(at, low);
    Tensor high = clamped(e, e.add(low, 1), 0, double(extent - 1));
    Dims spread = {regions, e.dim(axis ? 1 : bins), e.dim(axis ? bins : 1), e.dim(axis ? 1 : samples),
                   e.dim(axis ? samples : 1)};
    auto tap = [&](const Tensor &index, const Tensor &factor) {
      Tensor counted = e.select(reaches, factor, e.splat(0, wide.dtype()));
      return Tap{e.broadcast(e.reshape(e.cast(index, e.i64()), spread), points),
                 e.broadcast(e.reshape(counted, spread), points)};
    };
    taps.push_back({tap(low, e.sub(e.splat(1, t.dtype()), t)), tap(high, t)});
  }
  Tensor y;
  if (mode == "avg") {
    y = e.mean(interpolate(e, wide, batch, taps), {4, 5}, false);
  } else {
    // The largest of the weighted neighbours, not of their sums.
    for (const Tap &down : taps[0])
      for (const Tap &right : taps[1]) {
        SmallVector<Tap> pair[] = {{down}, {right}};
        Tensor part = interpolate(e, wide, batch, pair);
        y = y ? e.max(y, part) : part;
      }
    y = e.reduce(Fold::max, y, Ints{4, 5}, false);
  }
  n.give(e.cast(y, x.dtype()));
}

//===--- DeformConv ---===//

static void bindDeformConv(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0), w = n.in(1), offset = n.in(2), bias = n.optional(3), mask = n.optional(4);
  Ints strides = n.intsAttr("strides").value_or(Ints(2, 1)), dilations = n.intsAttr("dilations").value_or(Ints(2, 1));
  Ints pads = n.intsAttr("pads").value_or(Ints(4, 0));
  int64_t groups = n.intAttr("group", 1), offsetGroups = n.intAttr("offset_group", 1);
  std::optional<Ints> kernel = n.intsAttr("kernel_shape");
  if (!x || !w || !offset)
    return;
  std::optional<Ints> shape = e.staticShape(x, "it"), filter = e.staticShape(w, "the filter"),
                      moved = e.staticShape(offset, "the offset");
  if (!shape || !filter || !moved)
    return;
  constexpr int64_t kMost = 1 << 20;
  auto within = [&](const Ints &values, size_t count, int64_t least) {
    return values.size() == count && llvm::all_of(values, [&](int64_t v) { return v >= least && v <= kMost; });
  };
  if (x.rank() != 4 || w.rank() != 4 || offset.rank() != 4 || !x.isFloat() || w.dtype() != x.dtype() ||
      offset.dtype() != x.dtype() || !within(strides, 2, 1) || !within(dilations, 2, 1) || !within(pads, 4, 0) ||
      groups < 1 || offsetGroups < 1 || (*shape)[1] % groups || (*shape)[1] % offsetGroups || (*filter)[0] % groups ||
      (*filter)[1] * groups != (*shape)[1] || (kernel && *kernel != Ints(llvm::drop_begin(*filter, 2))))
    return n.fail("takes an image and a filter of four axes of floats, and groups that divide the channels");
  int64_t kh = (*filter)[2], kw = (*filter)[3], images = (*shape)[0], channels = (*shape)[1], outputs = (*filter)[0];
  int64_t oh = (*moved)[2], ow = (*moved)[3], taps = kh * kw;
  if ((*moved)[0] != images || (*moved)[1] != offsetGroups * taps * 2 ||
      (mask && mask.shape != e.dims({images, offsetGroups * taps, oh, ow})) || (bias && bias.shape != Dims{w.shape[0]}))
    return n.fail("has an offset, mask or bias that does not fit its filter");
  for (int64_t axis = 0; axis < 2; ++axis) {
    int64_t room = (*shape)[axis + 2] + pads[axis] + pads[axis + 2] - ((*filter)[axis + 2] - 1) * dilations[axis] - 1;
    if (room < 0 || room / strides[axis] + 1 != (*moved)[axis + 2])
      return n.fail("has an offset that does not fit its window");
  }
  // A group of offsets is as good as an image of its channels.
  Dims points = e.dims({images * offsetGroups, kh, kw, oh, ow});
  Tensor wide =
      e.reshape(e.widened(x), e.dims({images * offsetGroups, channels / offsetGroups, (*shape)[2], (*shape)[3]}));
  Tensor shifts = e.reshape(e.widened(offset), e.dims({images * offsetGroups, kh, kw, 2, oh, ow}));
  SmallVector<SmallVector<Tap>> places;
  for (int64_t axis = 0; axis < 2; ++axis) {
    Dims window = e.dims({1, axis ? 1 : kh, axis ? kw : 1, 1, 1}),
         out = e.dims({1, 1, 1, axis ? 1 : oh, axis ? ow : 1});
    DType type = wide.dtype();
    Tensor base = e.sub(e.mul(e.iota(e.dim(axis ? ow : oh), type), double(strides[axis])), double(pads[axis]));
    Tensor tap = e.mul(e.iota(e.dim(axis ? kw : kh), type), double(dilations[axis]));
    Tensor at = e.add(e.add(e.reshape(base, out), e.reshape(tap, window)),
                      e.reshape(e.sliceAxis(shifts, 3, e.dim(axis), e.dim(1)), points));
    if (!at)
      return;
    Tensor left = e.unary<math::FloorOp>(at), t = e.sub(at, left);
    places.push_back({zeroOutside(e, left, e.sub(e.splat(1, type), t), (*shape)[axis + 2]),
                      zeroOutside(e, e.add(left, 1), t, (*shape)[axis + 2])});
  }
  if (e.failed())
    return;
  Tensor columns = interpolate(e, wide, {}, places);
  if (mask)
    columns = e.mul(columns, e.unsqueeze(e.reshape(e.widened(mask), points), 1));
  columns = e.reshape(columns, e.dims({images, groups, channels / groups * taps, oh * ow}));
  Tensor rows = e.reshape(e.widened(w), e.dims({1, groups, outputs / groups, channels / groups * taps}));
  Tensor y = e.reshape(e.matmul(rows, columns), e.dims({images, outputs, oh, ow}));
  if (bias)
    y = e.add(y, e.reshape(e.widened(bias), e.dims({1, outputs, 1, 1})));
  n.give(e.cast(y, x.dtype()));
}

void addSampling(BinderTable &table) {
  table["AffineGrid"] = bindAffineGrid;
  table["DeformConv"] = bindDeformConv;
  table["GridSample"] = bindGridSample;
  table["RoiAlign"] = bindRoiAlign;
}

} // namespace mlc::onnx
