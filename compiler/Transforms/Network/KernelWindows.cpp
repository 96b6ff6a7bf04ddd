//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Convolutions, pooling and resizing as XNNPACK's windows, channels last.
//
#include "compiler/Transforms/Network/KernelMatch.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;

namespace mlc::graph {
namespace {

// What the kernels accept (targets/xnnpack/Kernels.cpp).
constexpr int64_t kMostPlaces = 1 << 24, kMostPooledChannels = 1 << 14;

/// A window's spatial axes, one or two, as height and width.
struct Axes {
  int64_t in[2] = {1, 1}, out[2] = {1, 1}, kernel[2] = {1, 1}, stride[2] = {1, 1}, dilation[2] = {1, 1},
          before[2] = {0, 0}, behind[2] = {0, 0};

  /// In and out are [B, C, D...]; nothing for more than two spatial axes.
  static std::optional<Axes> of(Extents in, Extents out, Extents kernel, Extents strides, Extents dilations,
                                Extents pads) {
    size_t spatial = kernel.size();
    if (spatial < 1 || spatial > 2)
      return std::nullopt;
    Axes axes;
    for (size_t i = 0; i < spatial; ++i) {
      size_t at = 2 - spatial + i;
      axes.in[at] = in[i + 2], axes.out[at] = out[i + 2], axes.kernel[at] = kernel[i];
      axes.stride[at] = strides[i], axes.dilation[at] = dilations[i];
      axes.before[at] = pads[i], axes.behind[at] = pads[i + spatial];
    }
    return axes;
  }

  int64_t reach(int i) const { return (kernel[i] - 1) * dilation[i] + 1; }
  bool valid() const {
    auto good = [](int64_t value, int64_t least) { return least <= value && value <= kMostExtent; };
    for (int i : {0, 1})
      if (!good(kernel[i], 1) || !good(stride[i], 1) || !good(dilation[i], 1) || !good(before[i], 0) ||
          !good(behind[i], 0))
        return false;
    return llvm::SaturatingMultiply<uint64_t>(kernel[0] * kernel[1], std::max(out[0] * out[1], in[0] * in[1])) <=
           uint64_t(kMostPlaces);
  }
  /// Whether the windows are those of a convolution without anything left over.
  bool follows() const {
    for (int i : {0, 1})
      if (in[i] + before[i] + behind[i] < reach(i) ||
          (in[i] + before[i] + behind[i] - reach(i)) / stride[i] + 1 != out[i])
        return false;
    return true;
  }
};

SmallVector<NamedAttribute> windowFields(Builder b, const Axes &a, int64_t batch, int64_t groups, int64_t in,
                                         int64_t out, bool bias) {
  return {field(b, "batch", batch),
          field(b, "height", a.in[0]),
          field(b, "width", a.in[1]),
          field(b, "out_height", a.out[0]),
          field(b, "out_width", a.out[1]),
          field(b, "in", in),
          field(b, "out", out),
          field(b, "groups", groups),
          field(b, "kernel_height", a.kernel[0]),
          field(b, "kernel_width", a.kernel[1]),
          field(b, "stride_height", a.stride[0]),
          field(b, "stride_width", a.stride[1]),
          field(b, "dilation_height", a.dilation[0]),
          field(b, "dilation_width", a.dilation[1]),
          field(b, "pad_top", a.before[0]),
          field(b, "pad_left", a.before[1]),
          field(b, "pad_bottom", a.behind[0]),
          field(b, "pad_right", a.behind[1]),
          field(b, "has_bias", bias)};
}

/// [B, M, O...] as [B, O..., M].
SmallVector<int64_t> lastChannels(Extents shape) {
  SmallVector<int64_t> turned{shape[0]};
  llvm::append_range(turned, shape.drop_front(2));
  turned.push_back(shape[1]);
  return turned;
}

std::string windowForm(StringRef kind, int64_t channels, int64_t positions) {
  return (kind + " c" + Twine(sizeClass(channels, {1, 8, 32, 128})) + " p" +
          Twine(sizeClass(positions, {1, 16, 256, 4096})))
      .str();
}

std::string convKind(const Axes &a, int64_t groups, int64_t in, int64_t out) {
  if (groups > 1)
    return in == 1 && out == 1 ? "depthwise" : "grouped";
  return a.kernel[0] * a.kernel[1] == 1 ? "pointwise" : a.in[0] * a.kernel[0] == 1 ? "conv1d" : "conv2d";
}

} // namespace

std::optional<ConvWindow> convWindow(ConvOp op, StringRef kind) {
  Extents in = shapeOf(op.getInput()), out = shapeOf(op.getResult()), taps = shapeOf(op.getFilter());
  std::optional<Axes> axes = Axes::of(in, out, taps.drop_front(2), op.getStrides(), op.getDilations(), op.getPads());
  if (!axes || !axes->valid() || !axes->follows())
    return std::nullopt;
  int64_t groups = op.getGroups(), inputs = taps[1], outputs = taps[0] / groups;
  ConvWindow window;
  window.form = windowForm(kind.str() + convKind(*axes, groups, inputs, outputs),
                           groups > 1 ? groups : std::min(inputs, outputs), in[0] * axes->out[0] * axes->out[1]);
  window.fields = windowFields(Builder(op), *axes, in[0], groups, inputs, outputs, bool(op.getBias()));
  window.shape = lastChannels(out);
  return window;
}

ConvWindow productWindow(Builder b, int64_t rows, int64_t in, int64_t out, StringRef kind) {
  Axes axes;
  axes.in[1] = axes.out[1] = rows;
  ConvWindow window;
  window.form = windowForm(kind.str() + "pointwise", std::min(in, out), rows);
  window.fields = windowFields(b, axes, 1, 1, in, out, false);
  return window;
}

KernelMatch matchConv(ConvOp op, bool folds) {
  if (!plain(op))
    return refuse("XNNPACK's convolutions are of f32 or of quantized i8");
  if (!folds || !becomesWeight(op.getFilter()) || (op.getBias() && !becomesWeight(op.getBias())) ||
      followsFromWeights(op.getInput()))
    return refuse("XNNPACK's filters are weights");
  std::optional<ConvWindow> window = convWindow(op, "");
  if (!window)
    return refuse("XNNPACK's convolutions have one or two axes and no negative pads");
  KernelMatch match;
  match.kernel = "conv";
  match.form = window->form;
  match.fields = window->fields;
  match.build = [op, shape = window->shape](Structured &s, KernelMatch &match) mutable {
    SmallVector<Value> inputs{s.channelsLast(op.getInput()), s.channelsLast(op.getFilter())};
    if (op.getBias())
      inputs.push_back(op.getBias());
    return s.channelsFirst(callKernel(s, match, inputs, shape));
  };
  return match;
}

KernelMatch matchConvTranspose(ConvTransposeOp op, bool folds) {
  Extents in = shapeOf(op.getInput()), out = shapeOf(op.getResult()), taps = shapeOf(op.getFilter());
  if (!plain(op))
    return refuse("XNNPACK's convolutions are of f32");
  if (!folds || !becomesWeight(op.getFilter()) || (op.getBias() && !becomesWeight(op.getBias())) ||
      followsFromWeights(op.getInput()))
    return refuse("XNNPACK's filters are weights");
  std::optional<Axes> axes = Axes::of(in, out, taps.drop_front(2), op.getStrides(), op.getDilations(), op.getPads());
  // The result says how much is cut off behind.
  for (int i : {0, 1}) {
    if (!axes)
      break;
    int64_t whole = (axes->in[i] - 1) * axes->stride[i] + axes->reach(i), more = whole - axes->before[i] - axes->out[i];
    axes->behind[i] = std::max<int64_t>(more, 0);
    if (-more >= axes->stride[i])
      axes.reset();
  }
  if (!axes || !axes->valid())
    return refuse("XNNPACK's convolutions have one or two axes, no negative pads and less than a stride behind");
  KernelMatch match;
  int64_t groups = op.getGroups(), inputs = taps[0] / groups, outputs = taps[1];
  match.kernel = "conv_transpose";
  match.form = windowForm("conv_transpose", std::min(inputs, outputs), in[0] * axes->out[0] * axes->out[1]);
  match.fields = windowFields(Builder(op), *axes, in[0], groups, inputs, outputs, bool(op.getBias()));
  match.build = [op, groups, inputs](Structured &s, KernelMatch &match) mutable {
    // [groups * in, out, K...] to [groups, out, K..., in].
    Sizes parts{groups, inputs};
    llvm::append_range(parts, shapeOf(op.getFilter()).drop_front());
    SmallVector<unsigned> turned{0};
    for (unsigned i = 2; i < parts.size(); ++i)
      turned.push_back(i);
    turned.push_back(1);
    SmallVector<Value> operands{s.channelsLast(op.getInput()), s.transpose(s.reshape(op.getFilter(), parts), turned)};
    if (op.getBias())
      operands.push_back(op.getBias());
    return s.channelsFirst(callKernel(s, match, operands, lastChannels(shapeOf(op.getResult()))));
  };
  return match;
}

KernelMatch matchPool(PoolOp op) {
  Extents in = shapeOf(op.getInput()), out = shapeOf(op.getResult());
  bool largest = op.getKind() == PoolKind::max;
  if (op.getIndices() || op.getKind() == PoolKind::lp)
    return refuse("XNNPACK pools by the maximum or the average alone");
  if (!plain(op))
    return refuse("XNNPACK's pooling is of f32");
  std::optional<Axes> axes = Axes::of(in, out, op.getKernel(), op.getStrides(), op.getDilations(), op.getPads());
  bool good = axes.has_value();
  bool dilated = good && std::max(axes->dilation[0], axes->dilation[1]) > 1;
  for (int i : {0, 1}) {
    if (!good)
      break;
    // What the last window needs behind: the padding counts nothing.
    int64_t needed = (axes->out[i] - 1) * axes->stride[i] + axes->reach(i) - axes->before[i] - axes->in[i];
    bool padded = axes->before[i] || needed > 0;
    // XNNPACK moves places of the padding into the image: where windows are dilated, to others than theirs.
    good = (op.getKind() != PoolKind::average_padded || !padded) && (!dilated || (largest && !padded));
    axes->behind[i] = std::max<int64_t>(needed, 0);
    good &= axes->before[i] < axes->kernel[i] && axes->behind[i] < axes->kernel[i];
  }
  if (!good || !axes->valid() || !axes->follows() || axes->kernel[0] * axes->kernel[1] < 2 ||
      (!largest && in[1] > kMostPooledChannels))
    return refuse(
        "XNNPACK pools one or two axes, by two taps or more; averages what lies inside; dilates without pads");
  KernelMatch match;
  match.kernel = largest ? "max_pool" : "average_pool";
  match.form = windowForm(match.kernel, in[1], in[0] * axes->out[0] * axes->out[1]);
  match.fields = windowFields(Builder(op), *axes, in[0], 1, in[1], in[1], false);
  match.build = [op](Structured &s, KernelMatch &match) mutable {
    Value x = s.channelsLast(op.getInput());
    return s.channelsFirst(callKernel(s, match, x, lastChannels(shapeOf(op.getResult()))));
  };
  return match;
}

KernelMatch matchResize(ResizeOp op) {
  // XNNPACK finds places in f32: so far they are exact to 1e-5 of a step.
  constexpr int64_t kMostResized = 1 << 10;
  Extents in = shapeOf(op.getInput()), out = shapeOf(op.getResult());
  auto far = [](int64_t extent) { return extent > kMostResized; };
  if (!plain(op) || llvm::any_of(in.drop_front(2), far) || llvm::any_of(out.drop_front(2), far))
    return refuse("XNNPACK's resize is of f32, here up to 1024 values of an axis");
  KernelMatch match;
  match.kernel = "resize";
  match.form = windowForm(match.kernel, in[1], in[0] * out[2] * out[3]);
  Builder b(op);
  match.fields = {field(b, "batch", in[0]),
                  field(b, "height", in[2]),
                  field(b, "width", in[3]),
                  field(b, "channels", in[1]),
                  field(b, "out_height", out[2]),
                  field(b, "out_width", out[3]),
                  field(b, "coordinates", stringifyResizeCoordinates(op.getCoordinates()))};
  match.build = [op](Structured &s, KernelMatch &match) mutable {
    Value x = s.channelsLast(op.getInput());
    return s.channelsFirst(callKernel(s, match, x, lastChannels(shapeOf(op.getResult()))));
  };
  return match;
}

} // namespace mlc::graph
