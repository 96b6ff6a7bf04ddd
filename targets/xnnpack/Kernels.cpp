//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/xnnpack/Kernels.h"
#include "runtime/core/Checked.h"
#include "targets/cpu/Kernels.h"
#include "targets/xnnpack/Library.h"

#include <algorithm>
#include <cmath>

namespace mlc::xnnpack {

using cpu::attrsOrError;
using cpu::checkCounts;
using ull = unsigned long long;

/// XNNPACK multiplies sizes without a check: extents, and what it makes of windows, stay far from the largest size.
constexpr uint64_t kMostExtent = 1 << 24, kMostWindowPlaces = 1 << 24;
/// Average pooling keeps a row of channels on the stack.
constexpr uint64_t kMostPooledChannels = 1 << 14;

static bool within(uint64_t value, uint64_t least, uint64_t most) { return least <= value && value <= most; }

/// Without gaps, `count` elements (0: any number). A view of rank 0 has one.
static Status checkFlat(const TensorView &view, const char *what, uint64_t count, DType dtype = DType::f32) {
  if (view.dtype != dtype)
    return Error(ErrorCode::Corrupt, "%s has dtype %s, the kernel takes %s", what, fb::EnumNameDType(view.dtype),
                 fb::EnumNameDType(dtype));
  int64_t next = 1;
  for (unsigned i = view.rank; i-- > 0;) {
    if (view.dims[i] != 1 && view.strides[i] != next)
      return Error(ErrorCode::Corrupt, "%s must be contiguous", what);
    if (view.dims[i] < 1 || !checkedMul(next, view.dims[i], next))
      return Error(ErrorCode::Corrupt, "%s has an axis of %lld", what, static_cast<long long>(view.dims[i]));
  }
  if (count && uint64_t(next) != count)
    return Error(ErrorCode::Corrupt, "%s must have %llu elements", what, ull(count));
  return {};
}

/// Input `index`, from a segment.
static Status checkConstant(const KernelCallInfo &call, size_t index, const char *what, uint64_t count,
                            DType dtype = DType::f32) {
  if (!call.inputConstant[index])
    return Error(ErrorCode::Corrupt, "%s must be a constant", what);
  return checkFlat(call.inputs[index], what, count, dtype);
}

/// The product of `values`, or false when it is above 2^46.
static bool product(std::initializer_list<uint64_t> values, uint64_t &out) {
  out = 1;
  for (uint64_t value : values)
    if (!checkedMul(out, value, out) || out > uint64_t(1) << 46)
      return false;
  return true;
}

enum class Window : uint8_t { conv, transpose, maximum, average };

/// One spatial axis of a window.
struct Axis {
  const char *name;
  uint64_t in, out, kernel, stride, dilation, before, behind;
};

static Status checkAxis(const Axis &axis, Window window) {
  if (!within(axis.in, 1, kMostExtent) || !within(axis.out, 1, kMostExtent) || !within(axis.kernel, 1, kMostExtent) ||
      !within(axis.stride, 1, kMostExtent) || !within(axis.dilation, 1, kMostExtent) || axis.before > kMostExtent ||
      axis.behind > kMostExtent)
    return Error(ErrorCode::Corrupt, "%s: an extent, kernel, stride, dilation or pad is outside 1 to %llu", axis.name,
                 ull(kMostExtent));
  uint64_t reach = (axis.kernel - 1) * axis.dilation + 1, pads = axis.before + axis.behind;
  bool pools = window == Window::maximum || window == Window::average;
  if (pools && (axis.before >= axis.kernel || axis.behind >= axis.kernel))
    return Error(ErrorCode::Corrupt, "%s: a pad of a pool reaches its kernel's %llu", axis.name, ull(axis.kernel));
  if (window == Window::average && axis.dilation != 1)
    return Error(ErrorCode::Corrupt, "%s: an average has no dilation", axis.name);
  if (window == Window::transpose) {
    uint64_t whole = (axis.in - 1) * axis.stride + reach;
    if (axis.out + pads < whole || axis.out + pads - whole >= axis.stride)
      return Error(ErrorCode::Corrupt, "%s: %llu outputs do not follow from %llu inputs", axis.name, ull(axis.out),
                   ull(axis.in));
    return {};
  }
  if (axis.in + pads < reach || (axis.in + pads - reach) / axis.stride + 1 != axis.out)
    return Error(ErrorCode::Corrupt, "%s: %llu outputs do not follow from %llu inputs", axis.name, ull(axis.out),
                 ull(axis.in));
  return {};
}

/// Elements of x, the output and the filter, and channels of the output.
struct WindowSizes {
  uint64_t x, y, filter, outputs;
};

static Result<WindowSizes> windowSizes(const fb::XnnWindowAttrs *a, Window window) {
  bool pools = window == Window::maximum || window == Window::average;
  MLC_TRY(checkAxis({"height", a->height(), a->out_height(), a->kernel_height(), a->stride_height(),
                     a->dilation_height(), a->pad_top(), a->pad_bottom()},
                    window));
  MLC_TRY(checkAxis({"width", a->width(), a->out_width(), a->kernel_width(), a->stride_width(), a->dilation_width(),
                     a->pad_left(), a->pad_right()},
                    window));
  if (!within(a->batch(), 1, kMostExtent) || !within(a->in(), 1, kMostExtent) || !within(a->out(), 1, kMostExtent) ||
      !within(a->groups(), 1, kMostExtent))
    return Error(ErrorCode::Corrupt, "batch, groups and channels must be 1 to %llu", ull(kMostExtent));
  uint64_t taps, places, outputs = a->groups() * a->out();
  WindowSizes sizes{0, 0, 0, outputs};
  if (!product({a->kernel_height(), a->kernel_width()}, taps) ||
      !product({taps, std::max(a->out_height() * a->out_width(), a->height() * a->width())}, places) ||
      places > kMostWindowPlaces)
    return Error(ErrorCode::Unsupported, "more than %llu places of windows", ull(kMostWindowPlaces));
  if (!product({a->batch(), a->height(), a->width(), a->groups(), a->in()}, sizes.x) ||
      !product({a->batch(), a->out_height(), a->out_width(), outputs}, sizes.y) ||
      !product({outputs, taps, a->in()}, sizes.filter))
    return Error(ErrorCode::Corrupt, "the shapes overflow");
  if (pools && (a->groups() != 1 || a->in() != a->out() || a->has_bias() || taps < 2))
    return Error(ErrorCode::Corrupt, "a pool has one group, as many outputs as inputs, no bias and two taps or more");
  // Places of the padding are moved into the image: where windows are dilated, to others than theirs.
  if (window == Window::maximum && (a->dilation_height() > 1 || a->dilation_width() > 1) &&
      (a->pad_top() || a->pad_bottom() || a->pad_left() || a->pad_right()))
    return Error(ErrorCode::Corrupt, "a dilated maximum has no pads");
  if (window == Window::average && a->in() > kMostPooledChannels)
    return Error(ErrorCode::Unsupported, "more than %llu channels of an average", ull(kMostPooledChannels));
  return sizes;
}

template <Window window> static Status checkWindow(const KernelCallInfo &call) {
  MLC_ASSIGN(const fb::XnnWindowAttrs *a, attrsOrError<fb::XnnWindowAttrs>(call, "a window"));
  constexpr bool pools = window == Window::maximum || window == Window::average;
  MLC_TRY(checkCounts(call, pools ? 1 : a->has_bias() ? 3 : 2, 1));
  MLC_ASSIGN(WindowSizes sizes, windowSizes(a, window));
  MLC_TRY(checkFlat(call.inputs[0], "x", sizes.x));
  MLC_TRY(checkFlat(call.outputs[0], "the output", sizes.y));
  if (!pools)
    MLC_TRY(checkConstant(call, 1, "the filter", sizes.filter));
  if (!pools && a->has_bias())
    MLC_TRY(checkConstant(call, 2, "the bias", sizes.outputs));
  return {};
}

static Status checkQuantizedConv(const KernelCallInfo &call) {
  MLC_ASSIGN(const fb::XnnQuantizedConvAttrs *a, attrsOrError<fb::XnnQuantizedConvAttrs>(call, "xnnpack.conv_qs8"));
  bool bias = a->window().has_bias();
  MLC_TRY(checkCounts(call, 2 + bias + a->has_scales(), 1));
  MLC_ASSIGN(WindowSizes sizes, windowSizes(&a->window(), Window::conv));
  // XNNPACK refuses scales of 256 and more, which are read when the call is prepared.
  if (!a->has_scales() && !(std::isnormal(a->scale()) && a->scale() > 0 && a->scale() < 256))
    return Error(ErrorCode::Corrupt, "scale must be positive and below 256");
  MLC_TRY(checkFlat(call.inputs[0], "x", sizes.x, DType::i8));
  MLC_TRY(checkFlat(call.outputs[0], "the output", sizes.y, DType::i8));
  MLC_TRY(checkConstant(call, 1, "the filter", sizes.filter, DType::i8));
  if (bias)
    MLC_TRY(checkConstant(call, 2, "the bias", sizes.outputs, DType::i32));
  return a->has_scales() ? checkConstant(call, 2 + bias, "the scales", sizes.outputs) : Status();
}

static Status checkResize(const KernelCallInfo &call) {
  MLC_ASSIGN(const fb::XnnResizeAttrs *a, attrsOrError<fb::XnnResizeAttrs>(call, "xnnpack.resize"));
  MLC_TRY(checkCounts(call, 1, 1));
  if (a->coordinates() > fb::XnnCoordinates::MAX)
    return Error(ErrorCode::Unsupported, "coordinates %u are unknown", unsigned(a->coordinates()));
  for (uint64_t extent : {a->batch(), a->height(), a->width(), a->channels(), a->out_height(), a->out_width()})
    if (!within(extent, 1, kMostExtent))
      return Error(ErrorCode::Corrupt, "an extent is outside 1 to %llu", ull(kMostExtent));
  uint64_t x, y;
  if (!product({a->batch(), a->height(), a->width(), a->channels()}, x) ||
      !product({a->batch(), a->out_height(), a->out_width(), a->channels()}, y))
    return Error(ErrorCode::Corrupt, "the shapes overflow");
  if (std::max(a->height() * a->width(), a->out_height() * a->out_width()) > kMostWindowPlaces)
    return Error(ErrorCode::Unsupported, "more than %llu places of an image", ull(kMostWindowPlaces));
  MLC_TRY(checkFlat(call.inputs[0], "x", x));
  return checkFlat(call.outputs[0], "the output", y);
}

/// [rows, columns] with a step between rows that XNNPACK takes.
static Status checkRows(const TensorView &view, const char *what, uint64_t columns, DType dtype = DType::f32) {
  if (!within(columns, 1, kMostExtent))
    return Error(ErrorCode::Corrupt, "%s must have 1 to %llu columns", what, ull(kMostExtent));
  return view.rank == 2 ? cpu::checkMatrix(view, what, dtype, columns) : checkFlat(view, what, 0, dtype);
}

/// Rows of `columns` of a checked view; 0 when its elements are not whole rows.
static int64_t rowsOf(const TensorView &view, uint64_t columns) {
  if (view.rank == 2 && uint64_t(view.dims[1]) == columns)
    return view.dims[0];
  int64_t elements = 1;
  for (unsigned i = 0; i < view.rank; ++i)
    elements *= view.dims[i];
  return elements % int64_t(columns) ? 0 : elements / int64_t(columns);
}

static Status checkSameRows(const KernelCallInfo &call, uint64_t in, uint64_t out, DType x = DType::f32) {
  MLC_TRY(checkRows(call.inputs[0], "x", in, x));
  MLC_TRY(checkRows(call.outputs[0], "the output", out));
  int64_t rows = rowsOf(call.inputs[0], in);
  if (rows < 1 || rows != rowsOf(call.outputs[0], out) || rows > int64_t(1) << 40)
    return Error(ErrorCode::Corrupt, "x and the output differ in rows");
  return {};
}

static Status checkLinear(const KernelCallInfo &call) {
  MLC_ASSIGN(const fb::XnnLinearAttrs *a, attrsOrError<fb::XnnLinearAttrs>(call, "xnnpack.linear"));
  MLC_TRY(checkCounts(call, a->has_bias() ? 3 : 2, 1));
  MLC_TRY(checkSameRows(call, a->k(), a->n()));
  MLC_TRY(checkConstant(call, 1, "the matrix", a->n() * a->k()));
  return a->has_bias() ? checkConstant(call, 2, "the bias", a->n()) : Status();
}

static Status checkDynamicLinear(const KernelCallInfo &call) {
  MLC_ASSIGN(const fb::XnnLinearAttrs *a, attrsOrError<fb::XnnLinearAttrs>(call, "xnnpack.linear_qd8"));
  MLC_TRY(checkCounts(call, 3, 1));
  if (a->has_bias())
    return Error(ErrorCode::Corrupt, "a product of i8 has no bias");
  MLC_TRY(checkSameRows(call, a->k(), a->n(), DType::i8));
  MLC_TRY(checkConstant(call, 1, "the matrix", a->n() * a->k(), DType::i8));
  return checkFlat(call.inputs[2], "the zero point", 1, DType::i32);
}

static Status checkBlockLinear(const KernelCallInfo &call) {
  MLC_ASSIGN(const fb::XnnBlockLinearAttrs *a, attrsOrError<fb::XnnBlockLinearAttrs>(call, "xnnpack.linear_qb4"));
  MLC_TRY(checkCounts(call, 3, 1));
  MLC_TRY(checkSameRows(call, a->k(), a->n()));
  if (!a->block() || a->block() % 32 || a->k() % a->block())
    return Error(ErrorCode::Corrupt, "blocks of %llu columns do not divide %llu, or are not of 32", ull(a->block()),
                 ull(a->k()));
  MLC_TRY(checkConstant(call, 1, "the codes", a->n() * (a->k() / 2), DType::i8));
  return checkConstant(call, 2, "the scales", a->n() * (a->k() / a->block()));
}

static Status checkSoftmax(const KernelCallInfo &call) {
  MLC_ASSIGN(const fb::XnnSoftmaxAttrs *a, attrsOrError<fb::XnnSoftmaxAttrs>(call, "xnnpack.softmax"));
  MLC_TRY(checkCounts(call, 1, 1));
  return checkSameRows(call, a->channels(), a->channels());
}

static Status checkUnary(const KernelCallInfo &call) {
  MLC_ASSIGN(const fb::XnnUnaryAttrs *a, attrsOrError<fb::XnnUnaryAttrs>(call, "xnnpack.unary"));
  MLC_TRY(checkCounts(call, 1, 1));
  if (a->op() > fb::XnnUnary::MAX)
    return Error(ErrorCode::Unsupported, "op %u is unknown", unsigned(a->op()));
  MLC_TRY(checkFlat(call.inputs[0], "x", 0));
  return checkFlat(call.outputs[0], "the output", uint64_t(rowsOf(call.inputs[0], 1)));
}

static Status checkBinary(const KernelCallInfo &call) {
  MLC_ASSIGN(const fb::BinaryAttrs *a, attrsOrError<fb::BinaryAttrs>(call, "xnnpack.binary"));
  MLC_TRY(checkCounts(call, 2, 1));
  if (a->op() > fb::Binary::div)
    return Error(ErrorCode::Unsupported, "op %u is not one of XNNPACK's", unsigned(a->op()));
  MLC_TRY(checkFlat(call.outputs[0], "the output", 0));
  auto elements = uint64_t(rowsOf(call.outputs[0], 1));
  MLC_TRY(checkFlat(call.inputs[0], "a", elements));
  return checkFlat(call.inputs[1], "b", elements);
}

/// Copies of the inputs that XNNPACK may not read behind.
static ScratchNeed scratch(const KernelCallInfo &call) {
  ScratchNeed need;
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    const TensorView &view = call.inputs[i];
    uint64_t reach = 1;
    for (unsigned axis = 0; axis < view.rank; ++axis)
      reach += uint64_t(view.dims[axis] - 1) * uint64_t(view.strides[axis]);
    // Filters are packed when the call is prepared.
    if (i == 0 || call.attrsType == fb::KernelAttrs::BinaryAttrs)
      need.shared += alignUp<uint64_t>(reach * dtypeSize(view.dtype) + kReadBehind, 64);
  }
  return need;
}

static Status available() {
  MLC_TRY(load());
  return {};
}

static void runOnPool(WorkerPool *pool, int64_t count, int64_t grain, WorkerPool::Body body, void *context) {
  pool->run(count, grain, body, context);
}

static constexpr Host kHost{runOnPool};

template <Kernel kernel> static Result<void *> prepare(const KernelCallInfo &call) {
  MLC_ASSIGN(const Plugin *plugin, load());
  return plugin->prepare(kernel, call, kHost);
}

static void run(const KernelContext &context) { static_cast<const Prepared *>(context.prepared)->plugin->run(context); }

static void release(void *prepared) { static_cast<const Prepared *>(prepared)->plugin->release(prepared); }

template <Kernel kernel> static constexpr KernelDef define(const char *name, Status (*check)(const KernelCallInfo &)) {
  return {name, 1, Isa::portable, check, scratch, run, available, prepare<kernel>, release};
}

constexpr KernelDef kernels[] = {
    define<Kernel::averagePool>("xnnpack.average_pool", checkWindow<Window::average>),
    define<Kernel::binary>("xnnpack.binary", checkBinary),
    define<Kernel::conv>("xnnpack.conv", checkWindow<Window::conv>),
    define<Kernel::convQs8>("xnnpack.conv_qs8", checkQuantizedConv),
    define<Kernel::convTranspose>("xnnpack.conv_transpose", checkWindow<Window::transpose>),
    define<Kernel::linear>("xnnpack.linear", checkLinear),
    define<Kernel::linearQb4>("xnnpack.linear_qb4", checkBlockLinear),
    define<Kernel::linearQd8>("xnnpack.linear_qd8", checkDynamicLinear),
    define<Kernel::maxPool>("xnnpack.max_pool", checkWindow<Window::maximum>),
    define<Kernel::resize>("xnnpack.resize", checkResize),
    define<Kernel::softmax>("xnnpack.softmax", checkSoftmax),
    define<Kernel::unary>("xnnpack.unary", checkUnary),
};

} // namespace mlc::xnnpack
