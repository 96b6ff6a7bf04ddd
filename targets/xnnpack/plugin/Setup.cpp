//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// XNNPACK's interface of 2022: a set-up names shapes and pointers.
//
#include "targets/xnnpack/plugin/Operator.h"

#include <iterator>

namespace mlc::xnnpack {

namespace {

xnn_status createWindow(Operator &made, const KernelCallInfo &call) {
  const fb::XnnWindowAttrs &a = made.window();
  auto in = size_t(a.in());
  switch (made.kernel) {
  case Kernel::conv:
    return createFloatConv(made, call, xnn_create_convolution2d_nhwc_f32);
  case Kernel::convQs8:
    return createQuantizedConv(made, call, xnn_create_convolution2d_nhwc_qc8);
  case Kernel::convTranspose:
    return createFloatConv(made, call, xnn_create_deconvolution2d_nhwc_f32);
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

} // namespace

bool provides(Kernel kernel) { return kernel != Kernel::linearQb4 && kernel != Kernel::linearQd8; }

xnn_status createOperator(Operator &made, const KernelCallInfo &call) {
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

xnn_status setupOperator(Operator &made) {
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

xnn_status executeOperator(Operator &made) { return xnn_run_operator(made.op, &made.pool); }

xnn_status tryOperator(const float *x, float *y) {
  xnn_operator_t op = nullptr;
  xnn_status status = xnn_create_abs_nc_f32(1, 1, 1, 0, &op);
  if (status == xnn_status_success)
    status = xnn_setup_abs_nc_f32(op, 1, x, y, nullptr);
  if (status == xnn_status_success)
    status = xnn_run_operator(op, nullptr);
  xnn_delete_operator(op);
  return status;
}

} // namespace mlc::xnnpack
