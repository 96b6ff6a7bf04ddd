//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Convolutions and pooling.
//
#include "compiler/Dialect/Graph/IR/Graph.h"
#include "compiler/Import/ONNX/Binders/Shared.h"
#include "compiler/Import/ONNX/GraphImporter.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;

namespace mlc::onnx {

constexpr int64_t kMostWindow = int64_t(1) << 30;

namespace {

/// kernel_shape, strides, dilations, pads and auto_pad of a window operator over `spatial` axes.
struct Windows {
  Ints kernel, strides, dilations, pads; // pads: those in front, then those behind.
  std::string automatic;

  /// False after a failure. `filter`: of a convolution, its spatial extents.
  bool read(Node &n, size_t spatial, std::optional<Ints> filter) {
    if (std::optional<Ints> given = n.intsAttr("kernel_shape"))
      kernel = *given;
    else if (filter)
      kernel = *filter;
    strides = n.intsAttr("strides").value_or(Ints(spatial, 1));
    dilations = n.intsAttr("dilations").value_or(Ints(spatial, 1));
    automatic = n.stringAttr("auto_pad", "NOTSET");
    bool givenPads = n.hasAttr("pads");
    pads = n.intsAttr("pads").value_or(Ints(2 * spatial, 0));
    auto within = [](const Ints &values, int64_t least) {
      return llvm::all_of(values, [&](int64_t value) { return value >= least && value <= kMostWindow; });
    };
    if (kernel.size() != spatial || strides.size() != spatial || dilations.size() != spatial ||
        pads.size() != 2 * spatial || !within(kernel, 1) || !within(strides, 1) || !within(dilations, 1) ||
        !within(pads, 0) || (filter && kernel != *filter))
      n.fail("has kernel_shape, strides, dilations or pads that do not fit its input");
    for (size_t i = 0; i < spatial && !n.e.failed(); ++i)
      if ((kernel[i] - 1) * dilations[i] > kMostWindow)
        n.fail("has a dilated window beyond 2^30");
    if (automatic != "NOTSET" && automatic != "VALID" && automatic != "SAME_UPPER" && automatic != "SAME_LOWER")
      n.fail("has an unknown auto_pad " + quoted(automatic));
    if (automatic == "VALID" || (automatic != "NOTSET" && givenPads))
      pads.assign(2 * spatial, 0);
    return !n.e.failed();
  }
  bool same() const { return automatic.starts_with("SAME"); }
  int64_t reach(size_t axis) const { return (kernel[axis] - 1) * dilations[axis] + 1; }

  /// With SAME, the pads that make the result ceil(extent / stride). False after a failure.
  bool placeSame(Node &n, ArrayRef<Dim> extents) {
    for (size_t i = 0; same() && i < extents.size(); ++i) {
      std::optional<int64_t> extent = Emitter::constant(extents[i]);
      if (!extent && strides[i] != 1) {
        n.fail("has auto_pad " + automatic + " and strides over an axis whose extent is not fixed");
        return false;
      }
      int64_t size = extent.value_or(1), out = (size + strides[i] - 1) / strides[i];
      int64_t total = std::max<int64_t>(0, (out - 1) * strides[i] + reach(i) - size);
      pads[i] = automatic == "SAME_UPPER" ? total / 2 : total - total / 2;
      pads[i + extents.size()] = total - pads[i];
    }
    return true;
  }
  /// How many windows fit; with `ceil`, also one that hangs over, unless it starts behind the input.
  Dim outputs(Node &n, size_t axis, Dim extent, bool ceil) const {
    size_t spatial = strides.size();
    Dim room = extent + (pads[axis] + pads[axis + spatial] - reach(axis));
    std::optional<int64_t> size = Emitter::constant(extent);
    if (size && *Emitter::constant(room) < 0 && !ceil) {
      n.fail("has a window that is larger than its input");
      return n.e.dim(1);
    }
    if (!ceil)
      return room.floorDiv(strides[axis]) + 1;
    if (!size) {
      n.fail("rounds up over an axis whose extent is not fixed");
      return n.e.dim(1);
    }
    int64_t left = *Emitter::constant(room), count = (left + strides[axis] - 1) / strides[axis] + 1;
    if ((count - 1) * strides[axis] >= *size + pads[axis])
      --count;
    if (left < 0 && count < 1)
      n.fail("has a window that is larger than its input");
    return n.e.dim(std::max<int64_t>(count, 1));
  }
};

} // namespace

/// Shape and filter of a convolution; nullopt after a failure.
static std::optional<Ints> filterShape(Node &n, const Tensor &x, const Tensor &w) {
  if (!x || !w)
    return std::nullopt;
  if (x.rank() < 3 || w.rank() != x.rank()) {
    n.fail("takes [batch, channels, ...] and a filter of the same rank");
    return std::nullopt;
  }
  return n.e.staticShape(w, "the filter");
}

Tensor convolution(Node &n, Tensor x, Tensor w, Tensor bias) {
  Emitter &e = n.e;
  std::optional<Ints> filter = filterShape(n, x, w);
  if (!filter)
    return {};
  size_t spatial = size_t(x.rank() - 2);
  Windows windows;
  int64_t groups = n.intAttr("group", 1);
  if (!windows.read(n, spatial, Ints(llvm::drop_begin(*filter, 2))) ||
      !windows.placeSame(n, ArrayRef<Dim>(x.shape).drop_front(2)))
    return {};
  std::optional<int64_t> channels = e.constant(x.shape[1]);
  if (groups < 1 || (*filter)[0] % groups || !channels || *channels / groups != (*filter)[1] || *channels % groups)
    return e.fail("has a filter " + Emitter::text(w.shape) + " and " + Twine(groups) + " groups, which do not fit " +
                  Emitter::text(x.shape));
  if (bias && (bias.rank() != 1 || e.constant(bias.shape[0]) != (*filter)[0]))
    return e.fail("has a bias that does not fit its filter");
  Dims shape = {x.shape[0], w.shape[0]};
  for (size_t i = 0; i < spatial; ++i)
    shape.push_back(windows.outputs(n, i, x.shape[i + 2], false));
  RankedTensorType type = e.typeOf(shape, x.dtype().type);
  if (e.failed())
    return {};
  return {e.builder.create<graph::ConvOp>(e.loc, type, x.value, w.value, bias.value, windows.strides, windows.dilations,
                                          windows.pads, groups),
          shape};
}

static void bindConv(Node &n) {
  Tensor x = n.in(0), w = n.in(1), bias = n.optional(2);
  if (x && w && (!x.isFloat() || x.dtype() != w.dtype() || (bias && bias.dtype() != x.dtype())))
    return n.fail("takes floats of one type");
  n.give(convolution(n, x, w, bias));
}

static void bindConvTranspose(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0), w = n.in(1), bias = n.optional(2);
  std::optional<Ints> filter = filterShape(n, x, w);
  if (!filter)
    return;
  if (!x.isFloat() || x.dtype() != w.dtype() || (bias && bias.dtype() != x.dtype()))
    return n.fail("takes floats of one type");
  size_t spatial = size_t(x.rank() - 2);
  Windows windows;
  int64_t groups = n.intAttr("group", 1);
  Ints extra = n.intsAttr("output_padding").value_or(Ints(spatial, 0));
  std::optional<Ints> wanted = n.intsAttr("output_shape");
  if (wanted && wanted->size() == spatial + 2)
    wanted->erase(wanted->begin(), wanted->begin() + 2);
  if (!windows.read(n, spatial, Ints(llvm::drop_begin(*filter, 2))))
    return;
  if (groups < 1 || e.constant(x.shape[1]) != (*filter)[0] || (*filter)[0] % groups || extra.size() != spatial ||
      (wanted && wanted->size() != spatial))
    return n.fail("has a filter, groups, output_padding or output_shape that does not fit");
  int64_t outputs = (*filter)[1] * groups;
  if (bias && (bias.rank() != 1 || e.constant(bias.shape[0]) != outputs))
    return n.fail("has a bias that does not fit its filter");
  Dims shape = {x.shape[0], e.dim(outputs)};
  for (size_t i = 0; i < spatial; ++i) {
    if (extra[i] < 0 || extra[i] > kMostWindow)
      return n.fail("has an impossible output_padding");
    Dim full = (x.shape[i + 2] - 1) * windows.strides[i] + (windows.reach(i) + extra[i]);
    if (wanted || windows.same()) {
      // The padding follows from the extent.
      Dim out = wanted ? e.dim((*wanted)[i]) : x.shape[i + 2] * windows.strides[i];
      std::optional<int64_t> total = e.constant(full - out);
      if (!total || (wanted && (*wanted)[i] < 1))
        return n.fail("has an output_shape or auto_pad over an axis whose extent is not fixed");
      int64_t all = std::max<int64_t>(0, *total);
      // Of an odd amount the larger half lies behind with SAME_UPPER, in front otherwise.
      windows.pads[i] = windows.automatic == "SAME_UPPER" ? all / 2 : all - all / 2;
      windows.pads[i + spatial] = all - windows.pads[i];
      shape.push_back(out);
    } else {
      shape.push_back(full - (windows.pads[i] + windows.pads[i + spatial]));
      windows.pads[i + spatial] -= extra[i];
    }
    if (e.constant(shape.back()).value_or(1) < 1)
      return n.fail("has an empty result");
  }
  RankedTensorType type = e.typeOf(shape, x.dtype().type);
  if (e.failed())
    return;
  n.give({e.builder.create<graph::ConvTransposeOp>(e.loc, type, x.value, w.value, bias.value, windows.strides,
                                                   windows.dilations, windows.pads, groups),
          shape});
}

//===--- Pooling ---===//

/// Row-major places in x [B, C, D...] as those of planes that are laid out column by column.
static Tensor columnMajorPlaces(Node &n, const Tensor &places, const Tensor &x) {
  Emitter &e = n.e;
  std::optional<Ints> extents = e.staticShape(x, "storage_order 1");
  if (!extents)
    return {};
  int64_t plane = 1, stride = 1;
  for (int64_t extent : llvm::drop_begin(*extents, 2))
    plane *= extent;
  auto remainder = [&](const Tensor &a, int64_t by) {
    return e.binary<arith::RemSIOp>(a, e.splat(double(by), e.i64()));
  };
  Tensor rest = remainder(places, plane), result = e.sub(places, rest);
  SmallVector<Tensor> coordinates;
  for (int64_t extent : llvm::reverse(llvm::drop_begin(*extents, 2))) {
    coordinates.push_back(remainder(rest, extent));
    rest = e.div(rest, double(extent));
  }
  for (auto [extent, coordinate] : llvm::zip_equal(llvm::drop_begin(*extents, 2), llvm::reverse(coordinates))) {
    result = e.add(result, e.mul(coordinate, double(stride)));
    stride *= extent;
  }
  return result;
}

static void pool(Node &n, graph::PoolKind kind, int64_t p = 2) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  if (!x)
    return;
  if (x.rank() < 3)
    return n.fail("takes [batch, channels, ...]");
  size_t spatial = size_t(x.rank() - 2);
  bool ceil = n.intAttr("ceil_mode", 0);
  Windows windows;
  if (!windows.read(n, spatial, std::nullopt) || !windows.placeSame(n, ArrayRef<Dim>(x.shape).drop_front(2)))
    return;
  Dims shape = {x.shape[0], x.shape[1]};
  for (size_t i = 0; i < spatial; ++i) {
    // A window of padding alone has no value.
    if (windows.pads[i] >= windows.reach(i) || windows.pads[i + spatial] >= windows.reach(i))
      return n.fail("pads by its window or more");
    shape.push_back(windows.outputs(n, i, x.shape[i + 2], ceil && !windows.same()));
  }
  bool indices = kind == graph::PoolKind::max && n.wants(1), columnMajor = indices && n.intAttr("storage_order", 0);
  n.ignore("storage_order");
  // Integers that compare otherwise than signed ones of their width fit a wider type.
  Tensor wide = x;
  unsigned bits = x.dtype().type.getIntOrFloatBitWidth();
  if (!x.isFloat() && (x.isUnsigned || x.dtype().isBool()))
    wide = bits < 64 ? e.cast(x, {e.builder.getIntegerType(bits < 32 ? 32 : 64)})
                     : e.fail("pools uint64, which is not supported");
  if (!wide)
    return;
  RankedTensorType type = e.typeOf(shape, wide.dtype().type);
  if (e.failed())
    return;
  auto op = e.builder.create<graph::PoolOp>(
      e.loc, type, indices ? Type(e.typeOf(shape, e.builder.getI64Type())) : Type(), wide.value, kind, windows.kernel,
      windows.strides, windows.dilations, windows.pads, p);
  n.give(e.cast(Tensor{op.getResult(), shape}, x.dtype()));
  if (!indices)
    return;
  Tensor places{op.getIndices(), shape};
  n.give(columnMajor ? columnMajorPlaces(n, places, x) : places);
}
static void bindMaxPool(Node &n) { pool(n, graph::PoolKind::max); }
static void bindAveragePool(Node &n) {
  pool(n, n.intAttr("count_include_pad", 0) ? graph::PoolKind::average_padded : graph::PoolKind::average);
}
static void bindLpPool(Node &n) {
  // Opset 1 writes the whole number as a float.
  double p = n.version < 2 ? n.floatAttr("p", 2) : double(n.intAttr("p", 2));
  if (p != std::floor(p) || !(p >= 1 && p <= 1 << 16))
    return n.fail("needs a p that is a whole number of 1 or more");
  pool(n, graph::PoolKind::lp, int64_t(p));
}

/// Over all spatial axes.
template <typename F> static void global(Node &n, F &&reduce) {
  Tensor x = n.in(0);
  if (!x)
    return;
  if (x.rank() < 3 || !x.isFloat())
    return n.fail("takes floats [batch, channels, ...]");
  n.give(n.e.cast(reduce(n.e.widened(x), llvm::to_vector<4>(llvm::seq<int64_t>(2, x.rank()))), x.dtype()));
}
static void bindGlobalAveragePool(Node &n) {
  global(n, [&](Tensor x, Ints axes) { return n.e.mean(x, axes, true); });
}
static void bindGlobalLpPool(Node &n) {
  double p = n.version < 2 ? n.floatAttr("p", 2) : double(n.intAttr("p", 2));
  if (!(p >= 1))
    return n.fail("needs a p of 1 or more");
  global(n, [&](Tensor x, Ints axes) {
    Emitter &e = n.e;
    auto power = [&](const Tensor &base, double to) {
      return base ? e.binary<math::PowFOp>(base, e.splat(to, base.dtype())) : base;
    };
    return power(e.reduce(Fold::sum, power(e.abs(x), p), axes, true), 1 / p);
  });
}
static void bindGlobalMaxPool(Node &n) {
  global(n, [&](Tensor x, Ints axes) { return n.e.reduce(Fold::max, x, axes, true); });
}

/// A depthwise convolution over what the sequence was and is; the state is the last of it.
static void bindCausalConvWithState(Node &n) {
  Emitter &e = n.e;
  Tensor x = n.in(0), w = n.in(1), bias = n.optional(2), past = n.optional(3);
  std::string activation = n.stringAttr("activation", "none");
  if (!x || !w)
    return;
  std::optional<int64_t> taps = w.rank() == 3 ? e.constant(w.shape[2]) : std::nullopt;
  if (x.rank() != 3 || !x.isFloat() || w.dtype() != x.dtype() || !taps || *taps < 1 || *taps > kMostWindow ||
      w.shape[0] != x.shape[1] || e.constant(w.shape[1]) != 1 || (bias && bias.shape != Dims{w.shape[0]}))
    return n.fail("takes floats [batch, channels, length] and a filter [channels, 1, taps]");
  Dims state = {x.shape[0], x.shape[1], e.dim(*taps - 1)};
  if (past && (past.shape != state || past.dtype() != x.dtype()))
    return n.fail("has a past_state of another shape than " + Emitter::text(state));
  std::optional<int64_t> channels = e.constant(x.shape[1]);
  if (activation != "none" && activation != "silu" && activation != "swish")
    return n.fail("has an unknown activation " + quoted(activation));
  Tensor whole = e.concat({past ? past : e.splat(0, x.dtype(), state), x}, 2);
  if (!whole || !channels)
    return n.fail("needs a fixed number of channels");
  Tensor y{e.builder.create<graph::ConvOp>(e.loc, e.typeOf(x.shape, x.dtype().type), whole.value, w.value, bias.value,
                                           Ints{1}, Ints{1}, Ints{0, 0}, *channels),
           x.shape};
  if (activation != "none") {
    Tensor wide = e.widened(y);
    y = e.cast(e.mul(wide, e.sigmoid(wide)), x.dtype());
  }
  n.give({y, e.sliceAxis(whole, 2, x.shape[2], e.dim(*taps - 1))});
}

void addConvolutions(BinderTable &table) {
  table["AveragePool"] = bindAveragePool;
  table["CausalConvWithState"] = bindCausalConvWithState;
  table["Conv"] = bindConv;
  table["ConvTranspose"] = bindConvTranspose;
  table["GlobalAveragePool"] = bindGlobalAveragePool;
  table["GlobalLpPool"] = bindGlobalLpPool;
  table["GlobalMaxPool"] = bindGlobalMaxPool;
  table["LpPool"] = bindLpPool;
  table["MaxPool"] = bindMaxPool;
}

} // namespace mlc::onnx
