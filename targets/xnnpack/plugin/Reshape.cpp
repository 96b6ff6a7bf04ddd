//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// XNNPACK's interface of 2024: an operator is told its shapes, says what memory a run needs, and then gets pointers.
//
#include "runtime/core/Checked.h"
#include "runtime/core/Float16.h"
#include "targets/xnnpack/plugin/Operator.h"

#include <algorithm>
#include <cstdlib>
#include <iterator>

namespace mlc::xnnpack {

namespace {

xnn_status createWindow(Operator &made, const KernelCallInfo &call) {
  const fb::XnnWindowAttrs &a = made.window();
  switch (made.kernel) {
  case Kernel::conv:
    return createFloatConv(made, call, xnn_create_convolution2d_nhwc_f32, nullptr, nullptr);
  case Kernel::convQs8:
    return createQuantizedConv(made, call, xnn_create_convolution2d_nhwc_qs8_qc8w, nullptr, nullptr);
  case Kernel::convTranspose:
    return createFloatConv(made, call, xnn_create_deconvolution2d_nhwc_f32, nullptr, nullptr);
  case Kernel::maxPool:
    return xnn_create_max_pooling2d_nhwc_f32(a.pad_top(), a.pad_right(), a.pad_bottom(), a.pad_left(),
                                             a.kernel_height(), a.kernel_width(), a.stride_height(), a.stride_width(),
                                             a.dilation_height(), a.dilation_width(), -kMost, kMost, 0, &made.op);
  default:
    return xnn_create_average_pooling2d_nhwc_f32(a.pad_top(), a.pad_right(), a.pad_bottom(), a.pad_left(),
                                                 a.kernel_height(), a.kernel_width(), a.stride_height(),
                                                 a.stride_width(), -kMost, kMost, 0, &made.op);
  }
}

/// A product of i8 whose results are its sums: both scales are 1.
xnn_status createDynamicLinear(Operator &made, const KernelCallInfo &call) {
  const fb::XnnLinearAttrs &a = made.attrs.linear;
  auto n = size_t(a.n()), k = size_t(a.k());
  OutputScales ones(n, 1);
  if (!ones.values)
    return xnn_status_out_of_memory;
  return xnn_create_fully_connected_nc_qd8_f32_qc8w(
      k, n, rowStride(call.inputs[0], k), rowStride(call.outputs[0], n), ones.values, call.inputs[1].as<int8_t>(),
      nullptr, -kMost, kMost, a.transposed() ? XNN_FLAG_TRANSPOSE_WEIGHTS : 0, nullptr, nullptr, &made.op);
}

xnn_status createBlockLinear(Operator &made, const KernelCallInfo &call) {
  constexpr uint8_t kZero = 8;
  const fb::XnnBlockLinearAttrs &a = made.attrs.blocks;
  auto n = size_t(a.n()), k = size_t(a.k()), count = n * size_t(a.k() / a.block());
  auto *scales = static_cast<uint16_t *>(malloc(count * sizeof(uint16_t)));
  if (!scales)
    return xnn_status_out_of_memory;
  std::transform(call.inputs[2].as<float>(), call.inputs[2].as<float>() + count, scales, f32ToBf16);
  xnn_status status = xnn_create_fully_connected_nc_qd8_f32_qb4w(
      k, n, k, rowStride(call.outputs[0], n), size_t(a.block()), kZero, scales, call.inputs[1].as<uint8_t>(), nullptr,
      -kMost, kMost, 0, nullptr, nullptr, &made.op);
  free(scales);
  made.strides[0] = rowStride(call.inputs[0], k);
  return status == xnn_status_success ? xnn_create_convert_nc_f32_qd8(0, &made.rounds) : status;
}

/// A product goes over whole tiles: the rows that are missing write what the last one does, and want its step.
/// XNN_EXTRA_QUANTIZATION_PARAMS is 10 in 2024, too few for tiles of 14 and 16 rows.
constexpr size_t kStepsBehind = 32;
static_assert(kStepsBehind >= XNN_EXTRA_QUANTIZATION_PARAMS);

/// What a run of a product of i8 needs besides: how rows were rounded, then x, rounded.
struct RoundedRows {
  xnn_quantization_params *steps;
  int8_t *x;

  static size_t bytesOfSteps(size_t rows) {
    return alignUp<size_t>((rows + kStepsBehind) * sizeof(xnn_quantization_params), 64);
  }
  explicit RoundedRows(const Operator &made)
      : steps(static_cast<xnn_quantization_params *>(made.workspace)),
        x(static_cast<int8_t *>(made.workspace) + bytesOfSteps(size_t(made.rows))) {}
};

constexpr xnn_unary_operator kUnary[] = {xnn_unary_abs,         xnn_unary_ceiling,          xnn_unary_floor,
                                         xnn_unary_negate,      xnn_unary_bankers_rounding, xnn_unary_sigmoid,
                                         xnn_unary_square_root, xnn_unary_square,           xnn_unary_invalid};
static_assert(std::size(kUnary) == size_t(fb::XnnUnary::MAX) + 1);
/// There is no operator for it any more.
bool truncates(const Operator &made) {
  return made.kernel == Kernel::unary && made.attrs.unary.op() == fb::XnnUnary::trunc;
}
constexpr xnn_binary_operator kBinary[] = {xnn_binary_add, xnn_binary_subtract, xnn_binary_multiply, xnn_binary_divide};
static_assert(std::size(kBinary) == size_t(fb::Binary::div) + 1);

xnn_status reshapeWindow(Operator &made, size_t &bytes) {
  const fb::XnnWindowAttrs &a = made.window();
  auto images = size_t(made.rows), height = size_t(a.height()), width = size_t(a.width()), channels = size_t(a.in());
  size_t alignment = 0, outHeight, outWidth;
  switch (made.kernel) {
  case Kernel::conv:
    return xnn_reshape_convolution2d_nhwc_f32(made.op, images, height, width, &bytes, &alignment, &outHeight, &outWidth,
                                              &made.pool);
  case Kernel::convQs8:
    return xnn_reshape_convolution2d_nhwc_qs8_qc8w(made.op, images, height, width, &bytes, &alignment, &outHeight,
                                                   &outWidth, &made.pool);
  case Kernel::convTranspose:
    return xnn_reshape_deconvolution2d_nhwc_f32(made.op, images, height, width,
                                                adjustment(a.height(), a.out_height(), a.kernel_height(),
                                                           a.stride_height(), a.dilation_height(),
                                                           a.pad_top() + a.pad_bottom()),
                                                adjustment(a.width(), a.out_width(), a.kernel_width(), a.stride_width(),
                                                           a.dilation_width(), a.pad_left() + a.pad_right()),
                                                &outHeight, &outWidth, &made.pool);
  case Kernel::maxPool:
    return xnn_reshape_max_pooling2d_nhwc_f32(made.op, images, height, width, channels, channels, channels, &outHeight,
                                              &outWidth, &made.pool);
  default:
    return xnn_reshape_average_pooling2d_nhwc_f32(made.op, images, height, width, channels, channels, channels, &bytes,
                                                  &alignment, &outHeight, &outWidth, &made.pool);
  }
}

/// `bytes`: what a run needs besides.
xnn_status reshape(Operator &made, size_t &bytes) {
  auto rows = size_t(made.rows);
  size_t alignment = 0;
  switch (made.kernel) {
  case Kernel::linear:
    return xnn_reshape_fully_connected_nc_f32(made.op, rows, &made.pool);
  case Kernel::linearQd8:
    bytes = RoundedRows::bytesOfSteps(rows);
    return xnn_reshape_fully_connected_nc_qd8_f32_qc8w(made.op, rows, &made.pool);
  case Kernel::linearQb4: {
    auto k = size_t(made.attrs.blocks.k());
    bytes = RoundedRows::bytesOfSteps(rows) + rows * k + kReadBehind;
    if (xnn_status status = xnn_reshape_convert_nc_f32_qd8(made.rounds, rows, k, made.strides[0], k, &made.pool);
        status != xnn_status_success)
      return status;
    return xnn_reshape_fully_connected_nc_qd8_f32_qb4w(made.op, rows, &made.pool);
  }
  case Kernel::softmax:
    return xnn_reshape_softmax_nc_f32(made.op, size_t(made.attrs.softmax.channels()), made.strides[0], made.strides[1],
                                      rows, &made.pool);
  case Kernel::resize: {
    const fb::XnnResizeAttrs &a = made.attrs.resize;
    auto channels = size_t(a.channels());
    return xnn_reshape_resize_bilinear2d_nhwc_f32(made.op, rows, size_t(a.height()), size_t(a.width()), channels,
                                                  channels, channels, &bytes, &alignment, &made.pool);
  }
  case Kernel::unary:
    return xnn_reshape_unary_elementwise_nc(made.op, rows, 1, 1, 1, &made.pool);
  case Kernel::binary:
    return xnn_reshape_binary_elementwise_nd(made.op, 1, &rows, 1, &rows, &made.pool);
  default:
    return reshapeWindow(made, bytes);
  }
}

/// A workspace only grows: what a call of the largest extents needed serves every other.
bool reserve(Operator &made, size_t bytes) {
  constexpr size_t kAlignment = 64;
  if (bytes <= made.workspaceBytes)
    return true;
  free(made.workspace);
  made.workspaceBytes = 0;
  made.workspace = aligned_alloc(kAlignment, alignUp<size_t>(bytes, kAlignment));
  made.workspaceBytes = made.workspace ? bytes : 0;
  return made.workspace;
}

} // namespace

bool provides(Kernel) { return true; }

xnn_status createOperator(Operator &made, const KernelCallInfo &call) {
  switch (made.kernel) {
  case Kernel::linear: {
    const fb::XnnLinearAttrs &a = made.attrs.linear;
    auto n = size_t(a.n()), k = size_t(a.k());
    return xnn_create_fully_connected_nc_f32(
        k, n, rowStride(call.inputs[0], k), rowStride(call.outputs[0], n), call.inputs[1].as<float>(),
        a.has_bias() ? call.inputs[2].as<float>() : nullptr, -kMost, kMost,
        a.transposed() ? XNN_FLAG_TRANSPOSE_WEIGHTS : 0, nullptr, nullptr, &made.op);
  }
  case Kernel::linearQd8:
    return createDynamicLinear(made, call);
  case Kernel::linearQb4:
    return createBlockLinear(made, call);
  case Kernel::softmax: {
    auto channels = size_t(made.attrs.softmax.channels());
    made.strides[0] = rowStride(call.inputs[0], channels);
    made.strides[1] = rowStride(call.outputs[0], channels);
    return xnn_create_softmax_nc_f32(0, &made.op);
  }
  case Kernel::resize: {
    const fb::XnnResizeAttrs &a = made.attrs.resize;
    return xnn_create_resize_bilinear2d_nhwc_f32(size_t(a.out_height()), size_t(a.out_width()),
                                                 resizeFlags(a.coordinates()), &made.op);
  }
  case Kernel::unary:
    if (truncates(made))
      return xnn_status_success;
    return xnn_create_unary_elementwise_nc(kUnary[size_t(made.attrs.unary.op())], xnn_datatype_fp32, xnn_datatype_fp32,
                                           nullptr, nullptr, nullptr, 0, &made.op);
  case Kernel::binary:
    return xnn_create_binary_elementwise_nd(kBinary[size_t(made.attrs.binary.op())], xnn_datatype_fp32, nullptr,
                                            nullptr, nullptr, 0, &made.op);
  default:
    return createWindow(made, call);
  }
}

xnn_status setupOperator(Operator &made) {
  if (truncates(made))
    return xnn_status_success;
  if (made.reshaped != made.rows) {
    size_t bytes = 0;
    if (xnn_status status = reshape(made, bytes); status != xnn_status_success)
      return status;
    if (!reserve(made, bytes))
      return xnn_status_out_of_memory;
    made.reshaped = made.rows;
  }
  switch (made.kernel) {
  case Kernel::linear:
    return xnn_setup_fully_connected_nc_f32(made.op, made.x(), made.y());
  case Kernel::linearQd8:
    return xnn_setup_fully_connected_nc_qd8_f32_qc8w(made.op, static_cast<const int8_t *>(made.inputs[0]), made.y(),
                                                     RoundedRows(made).steps);
  case Kernel::linearQb4: {
    RoundedRows rounded(made);
    if (xnn_status status = xnn_setup_convert_nc_f32_qd8(made.rounds, made.x(), rounded.x, rounded.steps);
        status != xnn_status_success)
      return status;
    return xnn_setup_fully_connected_nc_qd8_f32_qb4w(made.op, rounded.x, made.y(), rounded.steps);
  }
  case Kernel::softmax:
    return xnn_setup_softmax_nc_f32(made.op, made.x(), made.y());
  case Kernel::resize:
    return xnn_setup_resize_bilinear2d_nhwc_f32(made.op, made.workspace, made.x(), made.y());
  case Kernel::unary:
    return xnn_setup_unary_elementwise_nc(made.op, made.x(), made.y());
  case Kernel::binary:
    return xnn_setup_binary_elementwise_nd(made.op, made.x(), made.x(1), made.y());
  case Kernel::conv:
    return xnn_setup_convolution2d_nhwc_f32(made.op, made.workspace, made.x(), made.y());
  case Kernel::convQs8:
    return xnn_setup_convolution2d_nhwc_qs8_qc8w(made.op, made.workspace, static_cast<const int8_t *>(made.inputs[0]),
                                                 static_cast<int8_t *>(made.output));
  case Kernel::convTranspose:
    return xnn_setup_deconvolution2d_nhwc_f32(made.op, made.x(), made.y());
  case Kernel::maxPool:
    return xnn_setup_max_pooling2d_nhwc_f32(made.op, made.x(), made.y());
  default:
    return xnn_setup_average_pooling2d_nhwc_f32(made.op, made.workspace, made.x(), made.y());
  }
}

xnn_status executeOperator(Operator &made) {
  if (made.kernel == Kernel::linearQd8)
    std::fill_n(RoundedRows(made).steps, size_t(made.rows) + kStepsBehind, xnn_quantization_params{made.zero, 1});
  if (made.kernel == Kernel::linearQb4) {
    if (xnn_status status = xnn_run_operator(made.rounds, &made.pool); status != xnn_status_success)
      return status;
    xnn_quantization_params *behind = RoundedRows(made).steps + made.rows;
    std::fill_n(behind, kStepsBehind, behind[-1]);
  }
  if (!truncates(made))
    return xnn_run_operator(made.op, &made.pool);
  for (int64_t i = 0; i < made.rows; ++i)
    made.y()[i] = std::trunc(made.x()[i]);
  return xnn_status_success;
}

xnn_status tryOperator(const float *x, float *y) {
  xnn_operator_t op = nullptr;
  xnn_status status = xnn_create_unary_elementwise_nc(xnn_unary_abs, xnn_datatype_fp32, xnn_datatype_fp32, nullptr,
                                                      nullptr, nullptr, 0, &op);
  if (status == xnn_status_success)
    status = xnn_reshape_unary_elementwise_nc(op, 1, 1, 1, 1, nullptr);
  if (status == xnn_status_success)
    status = xnn_setup_unary_elementwise_nc(op, x, y);
  if (status == xnn_status_success)
    status = xnn_run_operator(op, nullptr);
  xnn_delete_operator(op);
  return status;
}

} // namespace mlc::xnnpack
