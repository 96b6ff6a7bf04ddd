//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Resize and Upsample: axis by axis, each a sum of a few values whose places and factors are known at compile time.
//
#include "compiler/Dialect/Graph/IR/Graph.h"
#include "compiler/Import/ONNX/Binders/Shared.h"
#include "compiler/Import/ONNX/GraphImporter.h"

#include "llvm/ADT/StringSwitch.h"

#include <cmath>

using namespace mlir;

namespace mlc::onnx {
namespace {

constexpr int64_t kMostExtent = int64_t(1) << 24;
constexpr int64_t kMostFactors = int64_t(1) << 22; // Of one axis.

struct Settings {
  std::string mode, coordinates, nearest;
  double cubic = -0.75, extrapolation = 0;
  bool antialias = false, excludesOutside = false;
};

/// What one axis becomes.
struct Axis {
  int64_t in = 0, out = 0;
  double scale = 1, roiBegin = 0, roiEnd = 1;
};

/// Where the values of each place of the result stand, and their factors: [tap][place].
struct Taps {
  SmallVector<Ints> indices;
  SmallVector<SmallVector<double>> factors;
  SmallVector<bool> outside; // Places that take the extrapolation value.
};

double cubicAt(double x, double a) {
  x = std::abs(x);
  if (x <= 1)
    return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

/// The place in the input of place `i` of the result. False: an unknown mode.
bool source(const Settings &settings, const Axis &axis, int64_t i, double &x) {
  double width = axis.scale * double(axis.in), last = double(axis.in - 1);
  StringRef mode = settings.coordinates;
  x = (double(i) + 0.5) / axis.scale - 0.5;
  if (mode == "align_corners")
    x = width == 1 ? 0 : double(i) * last / (width - 1);
  else if (mode == "asymmetric")
    x = double(i) / axis.scale;
  else if (mode == "tf_half_pixel_for_nn") // Until opset 12.
    x = (double(i) + 0.5) / axis.scale;
  else if (mode == "pytorch_half_pixel")
    x = axis.out == 1 ? 0 : x; // The text's, onnxruntime's and PyTorch's; onnx's own reference asks for a width of 1.
  else if (mode == "half_pixel_symmetric")
    x += double(axis.in) / 2 * (1 - double(axis.out) / width);
  else if (mode == "tf_crop_and_resize")
    x = axis.roiBegin * last + (width == 1 ? (axis.roiEnd - axis.roiBegin) * last / 2
                                           : double(i) * (axis.roiEnd - axis.roiBegin) * last / (width - 1));
  else if (mode != "half_pixel")
    return false;
  return true;
}

/// The first neighbour's offset and the factors, of a place `ratio` in (0, 1] behind the value on its left.
SmallVector<double> factorsOf(const Settings &settings, double scale, double ratio) {
  SmallVector<double> factors;
  if (settings.mode == "nearest") {
    bool right = settings.nearest == "ceil" || (settings.nearest == "round_prefer_floor" && ratio > 0.5) ||
                 (settings.nearest == "round_prefer_ceil" && ratio >= 0.5) || ratio == 1;
    return {right ? 0.0 : 1.0, right ? 1.0 : 0.0};
  }
  double reach = settings.mode == "linear" ? 1 : 2, shrink = settings.antialias ? std::min(scale, 1.0) : 1;
  int64_t first = int64_t(std::floor(-reach / shrink)) + 1;
  double sum = 0;
  for (int64_t i = first; i < 2 - first; ++i) {
    double x = (double(i) - ratio) * shrink;
    factors.push_back(reach == 1 ? std::max(0.0, 1 - std::abs(x)) : cubicAt(x, settings.cubic));
    sum += factors.back();
  }
  if (settings.antialias)
    for (double &factor : factors)
      factor /= sum;
  return factors;
}

std::optional<Taps> tapsOf(Node &n, const Settings &settings, const Axis &axis) {
  Taps taps;
  // An axis cannot be shrunk so far that one place has more neighbours than there are factors.
  if (settings.antialias && axis.scale < 1e-6) {
    n.fail("changes an axis by more than is supported");
    return std::nullopt;
  }
  for (int64_t place = 0; place < axis.out; ++place) {
    double x;
    if (!source(settings, axis, place, x)) {
      n.fail("has an unknown coordinate_transformation_mode " + quoted(settings.coordinates));
      return std::nullopt;
    }
    taps.outside.push_back(settings.coordinates == "tf_crop_and_resize" && (x < 0 || x > double(axis.in - 1)));
    double left = std::floor(x), ratio = left == x ? 1 : x - left;
    SmallVector<double> factors = factorsOf(settings, axis.scale, ratio);
    int64_t count = int64_t(factors.size());
    if (!(std::abs(x) < double(kMostExtent)) || count > kMostFactors / axis.out) {
      n.fail("changes an axis by more than is supported");
      return std::nullopt;
    }
    // A whole number is its own left neighbour's right one.
    int64_t first = int64_t(left) - count / 2 + (left == x ? 0 : 1);
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) {
      if (settings.excludesOutside && (first + i < 0 || first + i >= axis.in))
        factors[i] = 0;
      sum += factors[i];
    }
    taps.indices.resize(count);
    taps.factors.resize(count);
    for (int64_t i = 0; i < count; ++i) {
      taps.indices[i].push_back(std::clamp<int64_t>(first + i, 0, axis.in - 1));
      taps.factors[i].push_back(settings.excludesOutside && sum != 0 ? factors[i] / sum : factors[i]);
    }
  }
  return taps;
}

} // namespace

static Tensor resizeAxis(Node &n, const Tensor &x, int64_t at, const Settings &settings, const Axis &axis) {
  Emitter &e = n.e;
  std::optional<Taps> taps = tapsOf(n, settings, axis);
  if (!taps || !x)
    return {};
  Dims along(size_t(x.rank()), e.dim(1));
  along[at] = e.dim(axis.out);
  auto vector = [&](auto &&values, Type type) {
    SmallVector<Attribute> attributes;
    for (auto value : values)
      attributes.push_back(type.isInteger(1) ? Attribute(e.builder.getBoolAttr(value))
                                             : Attribute(FloatAttr::get(type, double(value))));
    return e.reshape(e.constant(DenseElementsAttr::get(RankedTensorType::get({axis.out}, type), attributes)), along);
  };
  Tensor result;
  if (settings.mode == "nearest") {
    Ints picks;
    for (int64_t place = 0; place < axis.out; ++place)
      picks.push_back(taps->indices[taps->factors[1][place] != 0][place]);
    result = e.take(x, at, e.integers(picks));
  } else {
    for (auto [indices, factors] : llvm::zip_equal(taps->indices, taps->factors)) {
      if (llvm::all_of(factors, [](double factor) { return factor == 0; }))
        continue;
      Tensor part = e.mul(e.take(x, at, e.integers(indices)), vector(factors, x.dtype().type));
      result = result ? e.add(result, part) : part;
    }
  }
  if (llvm::is_contained(taps->outside, true))
    result = e.select(vector(taps->outside, e.builder.getI1Type()), e.splat(settings.extrapolation, x.dtype()), result);
  return result;
}

/// Where `settings` put the places of axes of such scales, if graph.resize has it.
static std::optional<graph::ResizeCoordinates> coordinatesOf(const Settings &settings, ArrayRef<Axis> changes) {
  for (const Axis &axis : changes)
    if (std::abs(axis.scale * double(axis.in) - double(axis.out)) > 1e-6 || axis.out > kMostFactors / 2)
      return std::nullopt;
  bool toOne = llvm::any_of(changes, [](const Axis &axis) { return axis.out == 1; });
  return llvm::StringSwitch<std::optional<graph::ResizeCoordinates>>(settings.coordinates)
      .Cases("half_pixel", "half_pixel_symmetric", graph::ResizeCoordinates::half_pixel)
      .Case("pytorch_half_pixel", toOne ? std::nullopt : std::optional(graph::ResizeCoordinates::half_pixel))
      .Case("align_corners", graph::ResizeCoordinates::align_corners)
      .Case("asymmetric", graph::ResizeCoordinates::asymmetric)
      .Default(std::nullopt);
}

/// As graph.resize, or nothing where that has no form of it.
static Tensor bilinear(Emitter &e, const Tensor &x, const Settings &settings, ArrayRef<int64_t> axes,
                       ArrayRef<Axis> changes) {
  if (!x || x.rank() != 4 || settings.mode != "linear" || settings.antialias || settings.excludesOutside)
    return {};
  Dims shape = x.shape;
  SmallVector<Axis> spatial;
  for (auto [at, axis] : llvm::zip_equal(axes, changes)) {
    if (at < 2 && (axis.in != axis.out || std::abs(axis.scale - 1) > 1e-9))
      return {};
    if (at < 2)
      continue;
    shape[at] = e.dim(axis.out);
    spatial.push_back(axis);
  }
  std::optional<graph::ResizeCoordinates> coordinates = coordinatesOf(settings, spatial);
  if (!coordinates)
    return {};
  RankedTensorType type = e.typeOf(shape, x.dtype().type);
  if (e.failed())
    return {};
  return {e.builder.create<graph::ResizeOp>(e.loc, type, x.value, *coordinates), shape};
}

/// Every axis in turn; `axes` names those that change.
static void resize(Node &n, const Tensor &x, Settings settings, ArrayRef<int64_t> axes, ArrayRef<Axis> changes) {
  Emitter &e = n.e;
  bool isNearest = settings.mode == "nearest";
  if (!isNearest && settings.mode != "linear" && settings.mode != "cubic")
    return n.fail("has an unknown mode " + quoted(settings.mode));
  if (isNearest && !llvm::is_contained({"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"}, settings.nearest))
    return n.fail("has an unknown nearest_mode " + quoted(settings.nearest));
  if (isNearest && settings.antialias)
    return n.fail("smooths what it takes whole (antialias with nearest)");
  // Integers are interpolated as floats, then rounded and kept in their range.
  bool rounds = !isNearest && !x.isFloat();
  Tensor y = isNearest ? x : rounds ? e.cast(x, e.f32()) : e.widened(x);
  Tensor whole = bilinear(e, y, settings, axes, changes);
  if (whole)
    y = whole;
  for (auto [at, axis] : llvm::zip_equal(axes, changes)) {
    bool same = axis.in == axis.out && std::abs(axis.scale - 1) < 1e-9 &&
                (settings.coordinates != "tf_crop_and_resize" || (axis.roiBegin == 0 && axis.roiEnd == 1));
    if (!whole && !same)
      y = resizeAxis(n, y, at, settings, axis);
  }
  if (rounds)
    y = saturate(e, y, {}, x.dtype());
  n.give(e.cast(y, x.dtype()));
}

static void bindResize(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  if (!x)
    return;
  Settings settings;
  settings.mode = n.stringAttr("mode", "nearest");
  bool old = n.version < 11;
  settings.coordinates = old ? "asymmetric" : n.stringAttr("coordinate_transformation_mode", "half_pixel");
  settings.nearest = old ? "floor" : n.stringAttr("nearest_mode", "round_prefer_floor");
  settings.cubic = n.floatAttr("cubic_coeff_a", -0.75);
  settings.extrapolation = n.floatAttr("extrapolation_value", 0);
  settings.antialias = n.intAttr("antialias", 0);
  settings.excludesOutside = n.intAttr("exclude_outside", 0);
  std::string policy = n.stringAttr("keep_aspect_ratio_policy", "stretch");
  std::optional<Ints> axes =
      n.axes(n.intsAttr("axes").value_or(llvm::to_vector<4>(llvm::seq<int64_t>(0, x.rank()))), x.rank());
  std::optional<Ints> shape = e.staticShape(x, "it");
  if (!axes || !shape)
    return;
  std::optional<SmallVector<double>> scales, roi;
  std::optional<Ints> sizes;
  size_t scalesAt = old ? 1 : 2;
  bool hasSizes = !old && n.has(3) && n.in(3) && n.in(3).shape != Dims{e.dim(0)};
  if (hasSizes)
    sizes = n.constantInts(3);
  else
    scales = n.constantFloats(scalesAt);
  if (settings.coordinates == "tf_crop_and_resize")
    roi = n.constantFloats(1);
  if (e.failed())
    return;
  size_t count = axes->size();
  if ((sizes ? sizes->size() : scales->size()) != count || (roi && roi->size() != 2 * count))
    return n.fail("needs a scale or a size for each axis, and twice as many values of roi");
  SmallVector<Axis> changes(count);
  double common = 0;
  for (size_t i = 0; i < count; ++i) {
    Axis &axis = changes[i];
    axis.in = (*shape)[(*axes)[i]];
    if (axis.in < 1 || axis.in > kMostExtent)
      return n.fail("takes axes of 1 to 2^24 values");
    axis.scale = sizes ? double((*sizes)[i]) / double(axis.in) : (*scales)[i];
    if (roi) {
      axis.roiBegin = (*roi)[i];
      axis.roiEnd = (*roi)[i + count];
    }
    bool first = i == 0;
    common = policy == "not_larger" ? (first ? axis.scale : std::min(common, axis.scale))
                                    : (first ? axis.scale : std::max(common, axis.scale));
  }
  if (policy != "stretch" && policy != "not_larger" && policy != "not_smaller")
    return n.fail("has an unknown keep_aspect_ratio_policy " + quoted(policy));
  for (size_t i = 0; i < count; ++i) {
    Axis &axis = changes[i];
    bool keeps = sizes && policy != "stretch";
    if (keeps)
      axis.scale = common;
    double out = keeps ? std::floor(common * double(axis.in) + 0.5) : std::floor(axis.scale * double(axis.in));
    if (!(axis.scale > 0) || !(out >= 1 && out < double(kMostExtent)))
      return n.fail("has an impossible scale or size");
    axis.out = sizes && !keeps ? (*sizes)[i] : int64_t(out);
  }
  resize(n, x, settings, *axes, changes);
}

static void bindUpsample(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  if (!x)
    return;
  std::optional<SmallVector<double>> scales;
  if (n.version >= 9)
    scales = n.constantFloats(1);
  else if (n.version >= 7)
    scales = n.floatsAttr("scales");
  else if (x.rank() == 4)
    scales = SmallVector<double>{1, 1, n.floatAttr("height_scale", 0), n.floatAttr("width_scale", 0)};
  std::optional<Ints> shape = e.staticShape(x, "it");
  if (e.failed() || !shape)
    return;
  if (!scales || int64_t(scales->size()) != x.rank())
    return n.fail("needs a scale for each axis");
  SmallVector<Axis> changes;
  for (auto [in, scale] : llvm::zip_equal(*shape, *scales)) {
    double out = std::floor(scale * double(in));
    if (!(scale > 0) || in < 1 || !(out >= 1 && out < double(kMostExtent)))
      return n.fail("has an impossible scale");
    changes.push_back({in, int64_t(out), scale});
  }
  Settings settings;
  settings.mode = n.stringAttr("mode", "nearest");
  settings.mode = settings.mode == "bilinear" ? "linear" : settings.mode;
  settings.coordinates = "asymmetric";
  settings.nearest = "floor";
  resize(n, x, settings, llvm::to_vector(llvm::seq<int64_t>(0, x.rank())), changes);
}

void addResize(BinderTable &table) {
  table["Resize"] = bindResize;
  table["Upsample"] = bindUpsample;
}

} // namespace mlc::onnx
