//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/xnnpack/plugin/Operators.h"
#include "runtime/core/Checked.h"
#include "targets/xnnpack/plugin/ThreadPool.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <xnnpack.h>

namespace mlc::xnnpack {

namespace {

constexpr float kMost = INFINITY;

/// One call. Pointers and rows are those of the last set-up, which is made again only when they change: XNNPACK
/// allocates nothing then.
struct Operator : Prepared {
  Kernel kernel;
  xnn_operator_t op = nullptr;
  pthreadpool pool;
  union Attributes {
    fb::XnnWindowAttrs window;
    fb::XnnLinearAttrs linear;
    fb::XnnSoftmaxAttrs softmax;
    fb::XnnUnaryAttrs unary;
    fb::BinaryAttrs binary;
    fb::XnnQuantizedConvAttrs quantized;
    fb::XnnResizeAttrs resize;
    Attributes() {}
  } attrs;
  const void *inputs[2] = {};
  void *output = nullptr;
  int64_t rows = -1; // Of windows: images.

  const float *x(unsigned i = 0) const { return static_cast<const float *>(inputs[i]); }
  float *y() const { return static_cast<float *>(output); }
  const fb::XnnWindowAttrs &window() const {
    return kernel == Kernel::convQs8 ? attrs.quantized.window() : attrs.window;
  }
};

int64_t elementsOf(const TensorView &view) {
  int64_t elements = 1;
  for (unsigned i = 0; i < view.rank; ++i)
    elements *= view.dims[i];
  return elements;
}

/// Values from the start of a row to that of the next.
size_t rowStride(const TensorView &view, size_t columns) {
  return view.rank == 2 && view.dims[0] > 1 ? size_t(view.strides[0]) : columns;
}

xnn_status createWindow(Operator &made, const KernelCallInfo &call) {
  const fb::XnnWindowAttrs &a = made.window();
  size_t in = size_t(a.in()), out = size_t(a.out()), allIn = in * a.groups(), allOut = out * a.groups();
  const float *filter = call.inputs.size() > 1 ? call.inputs[1].as<float>() : nullptr;
  const float *bias = a.has_bias() ? call.inputs[2].as<float>() : nullptr;
  switch (made.kernel) {
  case Kernel::conv:
    return xnn_create_convolution2d_nhwc_f32(a.pad_top(), a.pad_right(), a.pad_bottom(), a.pad_left(),
                                             a.kernel_height(), a.kernel_width(), a.stride_height(), a.stride_width(),
                                             a.dilation_height(), a.dilation_width(), a.groups(), in, out, allIn,
                                             allOut, filter, bias, -kMost, kMost, 0, &made.op);
  case Kernel::convTranspose:
    return xnn_create_deconvolution2d_nhwc_f32(a.pad_top(), a.pad_right(), a.pad_bottom(), a.pad_left(),
                                               a.kernel_height(), a.kernel_width(), a.stride_height(), a.stride_width(),
                                               a.dilation_height(), a.dilation_width(), a.groups(), in, out, allIn,
                                               allOut, filter, bias, -kMost, kMost, 0, &made.op);
  case Kernel::maxPool:
    return xnn_create_max_pooling2d_nhwc_f32(a.pad_top(), a.pad_right(), a.pad_bottom(), a.pad_left(),
                                             a.kernel_height(), a.kernel_width(), a.stride_height(), a.stride_width(),
                                             a.dilation_height(), a.dilation_width(), in, in, in, -kMost, kMost, 0,
                                             &made.op);
  default:
    return xnn_create_average_pooling2d_nhwc_f32(a.pad_top(), a.pad_right(), a.pad_bottom(), a.pad_left(),
                                                 a.kernel_height(), a.kernel_width(), a.stride_height(),
                                                 a.stride_width(), in, in, in, -kMost, kMost, 0, &made.op);
  }
}

xnn_status createQuantizedConv(Operator &made, const KernelCallInfo &call) {
  const fb::XnnQuantizedConvAttrs &q = made.attrs.quantized;
  const fb::XnnWindowAttrs &a = q.window();
  size_t in = size_t(a.in()), out = size_t(a.out()), allIn = in * a.groups(), allOut = out * a.groups();
  auto *filter = call.inputs[1].as<const int8_t>();
  auto *bias = a.has_bias() ? call.inputs[2].as<const int32_t>() : nullptr;
  const float *scales = q.has_scales() ? call.inputs[2 + a.has_bias()].as<const float>() : nullptr;
  // One scale, too, goes by XNNPACK's operator of many: it rounds alike on every CPU, the other does not.
  float *same = nullptr;
  if (!scales) {
    same = static_cast<float *>(malloc(allOut * sizeof(float)));
    if (!same)
      return xnn_status_out_of_memory;
    std::fill_n(same, allOut, q.scale());
    scales = same;
  }
  xnn_status status = xnn_create_convolution2d_nhwc_qc8(
      a.pad_top(), a.pad_right(), a.pad_bottom(), a.pad_left(), a.kernel_height(), a.kernel_width(), a.stride_height(),
      a.stride_width(), a.dilation_height(), a.dilation_width(), a.groups(), in, out, allIn, allOut, q.zero_in(), 1,
      scales, filter, bias, q.zero_out(), 1, INT8_MIN, INT8_MAX, 0, &made.op);
  free(same);
  return status;
}

uint32_t resizeFlags(fb::XnnCoordinates coordinates) {
  return coordinates == fb::XnnCoordinates::align_corners ? XNN_FLAG_ALIGN_CORNERS
         : coordinates == fb::XnnCoordinates::asymmetric  ? XNN_FLAG_TENSORFLOW_LEGACY_MODE
                                                          : 0;
}

/// Rows that a transposed convolution adds behind its last window.
uint32_t adjustment(uint64_t in, uint64_t out, uint32_t kernel, uint32_t stride, uint32_t dilation, uint32_t pads) {
  return uint32_t(out + pads - ((in - 1) * stride + uint64_t(kernel - 1) * dilation + 1));
}

xnn_status setupWindow(Operator &made) {
  const fb::XnnWindowAttrs &a = made.window();
  auto images = size_t(made.rows), height = size_t(a.height()), width = size_t(a.width());
  switch (made.kernel) {
  case Kernel::conv:
    return xnn_setup_convolution2d_nhwc_f32(made.op, images, height, width, made.x(), made.y(), &made.pool);
  case Kernel::convTranspose:
    return xnn_setup_deconvolution2d_nhwc_f32(made.op, images, height, width,
                                              adjustment(a.height(), a.out_height(), a.kernel_height(),
                                                         a.stride_height(), a.dilation_height(),
                                                         a.pad_top() + a.pad_bottom()),
                                              adjustment(a.width(), a.out_width(), a.kernel_width(), a.stride_width(),
                                                         a.dilation_width(), a.pad_left() + a.pad_right()),
                                              made.x(), made.y(), &made.pool);
  case Kernel::maxPool:
    return xnn_setup_max_pooling2d_nhwc_f32(made.op, images, height, width, made.x(), made.y(), &made.pool);
  default:
    return xnn_setup_average_pooling2d_nhwc_f32(made.op, images, height, width, made.x(), made.y(), &made.pool);
  }
}

/// Functions of one value: how they are created and set up.
struct UnaryFunctions {
  xnn_status (*create)(size_t, size_t, size_t, uint32_t, xnn_operator_t *);
  xnn_status (*setup)(xnn_operator_t, size_t, const float *, float *, pthreadpool_t);
};
constexpr UnaryFunctions kUnary[] = {
    {xnn_create_abs_nc_f32, xnn_setup_abs_nc_f32},
    {xnn_create_ceiling_nc_f32, xnn_setup_ceiling_nc_f32},
    {xnn_create_floor_nc_f32, xnn_setup_floor_nc_f32},
    {xnn_create_negate_nc_f32, xnn_setup_negate_nc_f32},
    {xnn_create_bankers_rounding_nc_f32, xnn_setup_bankers_rounding_nc_f32},
    {xnn_create_sigmoid_nc_f32, xnn_setup_sigmoid_nc_f32},
    {xnn_create_square_root_nc_f32, xnn_setup_square_root_nc_f32},
    {xnn_create_square_nc_f32, xnn_setup_square_nc_f32},
    {xnn_create_truncation_nc_f32, xnn_setup_truncation_nc_f32},
};
static_assert(std::size(kUnary) == size_t(fb::XnnUnary::MAX) + 1);

struct BinaryFunctions {
  xnn_status (*create)(float, float, uint32_t, xnn_operator_t *);
  xnn_status (*setup)(xnn_operator_t, size_t, const size_t *, size_t, const size_t *, const float *, const float *,
                      float *, pthreadpool_t);
};
constexpr BinaryFunctions kBinary[] = {
    {xnn_create_add_nd_f32, xnn_setup_add_nd_f32},
    {xnn_create_subtract_nd_f32, xnn_setup_subtract_nd_f32},
    {xnn_create_multiply_nd_f32, xnn_setup_multiply_nd_f32},
    {xnn_create_divide_nd_f32, xnn_setup_divide_nd_f32},
};
static_assert(std::size(kBinary) == size_t(fb::Binary::div) + 1);

xnn_status create(Operator &made, const KernelCallInfo &call) {
  switch (made.kernel) {
  case Kernel::linear: {
    const fb::XnnLinearAttrs &a = made.attrs.linear;
    auto n = size_t(a.n()), k = size_t(a.k());
    return xnn_create_fully_connected_nc_f32(k, n, rowStride(call.inputs[0], k), rowStride(call.outputs[0], n),
                                             call.inputs[1].as<float>(),
                                             a.has_bias() ? call.inputs[2].as<float>() : nullptr, -kMost, kMost,
                                             a.transposed() ? XNN_FLAG_TRANSPOSE_WEIGHTS : 0, &made.op);
  }
  case Kernel::softmax: {
    auto channels = size_t(made.attrs.softmax.channels());
    return xnn_create_softmax_nc_f32(channels, rowStride(call.inputs[0], channels),
                                     rowStride(call.outputs[0], channels), 0, &made.op);
  }
  case Kernel::convQs8:
    return createQuantizedConv(made, call);
  case Kernel::resize: {
    auto channels = size_t(made.attrs.resize.channels());
    return xnn_create_resize_bilinear2d_nhwc_f32(channels, channels, channels,
                                                 resizeFlags(made.attrs.resize.coordinates()), &made.op);
  }
  case Kernel::unary:
    return kUnary[size_t(made.attrs.unary.op())].create(1, 1, 1, 0, &made.op);
  case Kernel::binary:
    return kBinary[size_t(made.attrs.binary.op())].create(-kMost, kMost, 0, &made.op);
  default:
    return createWindow(made, call);
  }
}

xnn_status setup(Operator &made) {
  auto rows = size_t(made.rows);
  switch (made.kernel) {
  case Kernel::linear:
    return xnn_setup_fully_connected_nc_f32(made.op, rows, made.x(), made.y(), &made.pool);
  case Kernel::softmax:
    return xnn_setup_softmax_nc_f32(made.op, rows, made.x(), made.y(), &made.pool);
  case Kernel::convQs8:
    return xnn_setup_convolution2d_nhwc_qc8(made.op, rows, size_t(made.window().height()),
                                            size_t(made.window().width()), static_cast<const int8_t *>(made.inputs[0]),
                                            static_cast<int8_t *>(made.output), &made.pool);
  case Kernel::resize: {
    const fb::XnnResizeAttrs &a = made.attrs.resize;
    return xnn_setup_resize_bilinear2d_nhwc_f32(made.op, rows, size_t(a.height()), size_t(a.width()),
                                                size_t(a.out_height()), size_t(a.out_width()), made.x(), made.y(),
                                                &made.pool);
  }
  case Kernel::unary:
    return kUnary[size_t(made.attrs.unary.op())].setup(made.op, rows, made.x(), made.y(), &made.pool);
  case Kernel::binary:
    return kBinary[size_t(made.attrs.binary.op())].setup(made.op, 1, &rows, 1, &rows, made.x(), made.x(1), made.y(),
                                                         &made.pool);
  default:
    return setupWindow(made);
  }
}

/// Elements of a row of x and of the output; of windows, of an image.
std::pair<int64_t, int64_t> rowSizes(const Operator &made) {
  const fb::XnnWindowAttrs &w = made.window();
  const fb::XnnResizeAttrs &r = made.attrs.resize;
  switch (made.kernel) {
  case Kernel::resize:
    return {int64_t(r.height() * r.width() * r.channels()), int64_t(r.out_height() * r.out_width() * r.channels())};
  case Kernel::linear:
    return {int64_t(made.attrs.linear.k()), int64_t(made.attrs.linear.n())};
  case Kernel::softmax:
    return {int64_t(made.attrs.softmax.channels()), int64_t(made.attrs.softmax.channels())};
  case Kernel::unary:
  case Kernel::binary:
    return {1, 1};
  default:
    return {int64_t(w.height() * w.width() * w.groups() * w.in()),
            int64_t(w.out_height() * w.out_width() * w.groups() * w.out())};
  }
}

/// Rows that x and the output have now.
int64_t commonRows(const Operator &made, std::span<const TensorView> inputs, const TensorView &output) {
  auto [in, out] = rowSizes(made);
  int64_t rows = std::min(elementsOf(inputs[0]) / in, elementsOf(output) / out);
  return made.kernel == Kernel::binary ? std::min(rows, elementsOf(inputs[1])) : rows;
}

size_t attributeBytes(Kernel kernel) {
  switch (kernel) {
  case Kernel::linear:
    return sizeof(fb::XnnLinearAttrs);
  case Kernel::softmax:
    return sizeof(fb::XnnSoftmaxAttrs);
  case Kernel::unary:
    return sizeof(fb::XnnUnaryAttrs);
  case Kernel::binary:
    return sizeof(fb::BinaryAttrs);
  case Kernel::convQs8:
    return sizeof(fb::XnnQuantizedConvAttrs);
  case Kernel::resize:
    return sizeof(fb::XnnResizeAttrs);
  default:
    return sizeof(fb::XnnWindowAttrs);
  }
}

unsigned inputCount(const Operator &made) { return made.kernel == Kernel::binary ? 2 : 1; }

} // namespace

Result<void *> prepareOperator(Kernel kernel, const KernelCallInfo &call, const Host &host) {
  void *memory = calloc(1, sizeof(Operator));
  if (!memory)
    return Error(ErrorCode::OutOfMemory, "no memory for an operator");
  auto *made = new (memory) Operator;
  made->plugin = &plugin();
  made->kernel = kernel;
  made->pool = {&host, nullptr, call.workers};
  memcpy(static_cast<void *>(&made->attrs), call.attrs, attributeBytes(kernel));
  made->output = call.outputs[0].data;
  for (unsigned i = 0; i < inputCount(*made); ++i)
    made->inputs[i] = call.inputs[i].data;
  made->rows = commonRows(*made, call.inputs, call.outputs[0]);
  // What a set-up allocates is made for the largest extents.
  xnn_status status = create(*made, call);
  if (status == xnn_status_success)
    status = setup(*made);
  if (status == xnn_status_success)
    return static_cast<void *>(made);
  releaseOperator(made);
  if (status == xnn_status_out_of_memory)
    return Error(ErrorCode::OutOfMemory, "no memory for XNNPACK's packed weights");
  return Error(ErrorCode::Unsupported, "XNNPACK refuses it (status %d): compile with --kernels own", int(status));
}

void runOperator(const KernelContext &context) {
  auto &made = *static_cast<Operator *>(context.prepared);
  made.pool.pool = context.pool;
  int64_t rows = commonRows(made, context.inputs, context.outputs[0]);
  if (rows <= 0)
    return;
  bool same = rows == made.rows && made.output == context.outputs[0].data;
  uint8_t *copy = context.sharedScratch;
  for (unsigned i = 0; i < inputCount(made); ++i) {
    const TensorView &view = context.inputs[i];
    auto *data = view.as<const uint8_t>();
    size_t reach = 1;
    for (unsigned axis = 0; axis < view.rank; ++axis)
      reach += size_t(view.dims[axis] - 1) * size_t(view.strides[axis]);
    reach *= dtypeSize(view.dtype);
    // XNNPACK reads behind its inputs: what does not lie in the arena with something behind it is copied.
    const uint8_t *begin = context.arena.data(), *end = begin + context.arena.size();
    if (data < begin || data > end || size_t(end - data) < reach + kReadBehind) {
      memcpy(copy, data, reach);
      data = copy;
      copy += alignUp<size_t>(reach + kReadBehind, 64);
    }
    same &= data == made.inputs[i];
    made.inputs[i] = data;
  }
  made.rows = rows;
  made.output = context.outputs[0].data;
  if ((!same && setup(made) != xnn_status_success) || xnn_run_operator(made.op, &made.pool) != xnn_status_success) {
    made.rows = -1;
    *context.failed = true;
  }
}

void releaseOperator(void *prepared) {
  auto *made = static_cast<Operator *>(prepared);
  xnn_delete_operator(made->op);
  made->~Operator();
  free(made);
}

} // namespace mlc::xnnpack
