//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Convolutions, pooling, products.
//
#include "compiler/Dialect/Graph/IR/Graph.h"
#include "compiler/Import/ONNX/GraphImporter.h"

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

static Tensor convolution(Node &n, Tensor x, Tensor w, Tensor bias) {
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
  bool indices = kind == graph::PoolKind::max && n.wants(1);
  if (indices && n.intAttr("storage_order", 0))
    return n.fail("gives indices in column-major order, which is not supported");
  RankedTensorType type = e.typeOf(shape, x.dtype().type);
  if (e.failed())
    return;
  // bool and unsigned integers compare as wider ones.
  if (!x.isFloat() && x.isUnsigned)
    return n.fail("pools unsigned integers, which is not supported");
  auto op = e.builder.create<graph::PoolOp>(e.loc, type,
                                            indices ? Type(e.typeOf(shape, e.builder.getI64Type())) : Type(), x.value,
                                            kind, windows.kernel, windows.strides, windows.dilations, windows.pads, p);
  n.give({op.getResult(), shape, x.isUnsigned});
  if (indices)
    n.give({op.getIndices(), shape});
}
static void bindMaxPool(Node &n) {
  n.ignore("storage_order");
  Tensor x = n.in(0);
  if (!x || x.isFloat() || !x.isUnsigned)
    return pool(n, graph::PoolKind::max);
  n.fail("pools unsigned integers, which is not supported");
}
static void bindAveragePool(Node &n) {
  pool(n, n.intAttr("count_include_pad", 0) ? graph::PoolKind::average_padded : graph::PoolKind::average);
}
static void bindLpPool(Node &n) {
  if (n.version < 2)
    return n.fail("of opset 1 is not supported");
  pool(n, graph::PoolKind::lp, n.intAttr("p", 2));
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
static void bindGlobalMaxPool(Node &n) {
  global(n, [&](Tensor x, Ints axes) { return n.e.reduce(Fold::max, x, axes, true); });
}

//===--- Products ---===//

static void bindMatMul(Node &n) { n.give(n.e.matmul(n.in(0), n.in(1))); }

static void bindGemm(Node &n) {
  Emitter &e = n.e;
  Tensor a = n.in(0), b = n.in(1), c = n.optional(2);
  double alpha = n.floatAttr("alpha", 1), beta = n.floatAttr("beta", 1);
  bool transA = n.intAttr("transA", 0), transB = n.intAttr("transB", 0);
  bool spread = n.version >= 7 || n.intAttr("broadcast", 0);
  if (!a || !b)
    return;
  if (a.rank() != 2 || b.rank() != 2)
    return n.fail("takes matrices");
  if (!a.isFloat() && (alpha != 1 || beta != 1))
    return n.fail("scales integers");
  Tensor y = e.matmul(transA ? e.transpose(a, {1, 0}) : a, transB ? e.transpose(b, {1, 0}) : b);
  if (alpha != 1)
    y = e.mul(y, alpha);
  if (c && y) {
    if (!spread && c.shape != y.shape)
      return n.fail("adds a tensor of another shape with broadcast 0");
    Dims shape = y.shape;
    y = e.add(y, beta == 1 ? c : e.mul(c, beta));
    if (y && y.shape != shape)
      return n.fail("adds a tensor that is larger than the product");
  }
  n.give(y);
}

/// Integers less their zero point, as i32.
static Tensor centered(Node &n, const Tensor &x, const Tensor &zero, int64_t axis) {
  Emitter &e = n.e;
  if (!x)
    return {};
  if (!x.dtype().isInteger() || x.dtype().type.getIntOrFloatBitWidth() != 8)
    return e.fail("takes 8-bit integers");
  DType i32{e.builder.getI32Type()};
  Tensor wide = e.cast(x, i32);
  if (!zero || !wide)
    return wide;
  if (zero.dtype() != x.dtype())
    return e.fail("has a zero point of another type");
  Tensor offset = e.cast(zero, i32);
  if (offset.rank() == 1 && e.constant(offset.shape[0]) != 1) {
    // One for each row or channel.
    Dims shape(size_t(x.rank()), e.dim(1));
    if (axis < 0 || axis >= x.rank())
      return e.fail("has a zero point that does not fit");
    shape[axis] = offset.shape[0];
    offset = e.reshape(offset, shape);
  } else if (offset.rank() == 1) {
    offset = e.reshape(offset, {});
  }
  return e.sub(wide, offset);
}
static void bindMatMulInteger(Node &n) {
  Tensor a = n.in(0), b = n.in(1);
  if (!a || !b)
    return;
  n.give(n.e.matmul(centered(n, a, n.optional(2), a.rank() - 2), centered(n, b, n.optional(3), b.rank() - 1)));
}
static void bindConvInteger(Node &n) {
  n.give(convolution(n, centered(n, n.in(0), n.optional(2), -1), centered(n, n.in(1), n.optional(3), 0), {}));
}

//===--- Softmax ---===//

/// Before opset 13 everything from `axis` on is one axis.
template <typename F> static void alongAxis(Node &n, F &&function) {
  Emitter &e = n.e;
  Tensor x = n.in(0);
  if (!x)
    return;
  if (!x.isFloat())
    return n.fail("takes floats");
  bool flat = n.version < 13;
  int64_t axis = n.axis(n.intAttr("axis", flat ? 1 : -1), x.rank());
  if (e.failed())
    return;
  if (!flat)
    return n.give(function(x, axis));
  ArrayRef<Dim> shape = x.shape;
  Tensor matrix = e.reshape(x, {e.product(shape.take_front(axis)), e.product(shape.drop_front(axis))});
  n.give(e.reshape(function(matrix, 1), shape));
}
static void bindSoftmax(Node &n) {
  alongAxis(n, [&](const Tensor &x, int64_t axis) { return n.e.softmax(x, axis); });
}
static void bindLogSoftmax(Node &n) {
  alongAxis(n, [&](const Tensor &x, int64_t axis) { return n.e.softmax(x, axis, true); });
}

void addLayers(BinderTable &table) {
  table["AveragePool"] = bindAveragePool;
  table["Conv"] = bindConv;
  table["ConvInteger"] = bindConvInteger;
  table["ConvTranspose"] = bindConvTranspose;
  table["Gemm"] = bindGemm;
  table["GlobalAveragePool"] = bindGlobalAveragePool;
  table["GlobalMaxPool"] = bindGlobalMaxPool;
  table["LogSoftmax"] = bindLogSoftmax;
  table["LpPool"] = bindLpPool;
  table["MatMul"] = bindMatMul;
  table["MatMulInteger"] = bindMatMulInteger;
  table["MaxPool"] = bindMaxPool;
  table["Softmax"] = bindSoftmax;
}

} // namespace mlc::onnx
