//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// An operator of XNNPACK, and what its two interfaces make of one: Setup.cpp of that of 2022 (Debian 12), Reshape.cpp
// of that of 2024 (Debian 13). CMake takes the one that xnnpack.h declares.
//
#pragma once

#include "targets/xnnpack/plugin/Operators.h"
#include "targets/xnnpack/plugin/ThreadPool.h"

#include <cmath>
#include <xnnpack.h>

namespace mlc::xnnpack {

/// No clamping.
constexpr float kMost = INFINITY;

/// One call. Pointers and rows are those of the last set-up, which is made again only when they change: XNNPACK
/// allocates nothing then.
struct Operator : Prepared {
  Kernel kernel;
  xnn_operator_t op = nullptr;
  xnn_operator_t rounds = nullptr; // Of linearQb4: what rounds x.
  pthreadpool pool;
  union Attributes {
    fb::XnnWindowAttrs window;
    fb::XnnLinearAttrs linear;
    fb::XnnBlockLinearAttrs blocks;
    fb::XnnSoftmaxAttrs softmax;
    fb::XnnUnaryAttrs unary;
    fb::BinaryAttrs binary;
    fb::XnnQuantizedConvAttrs quantized;
    fb::XnnResizeAttrs resize;
    Attributes() {}
  } attrs;
  const void *inputs[2] = {};
  void *output = nullptr;
  int32_t zero = 0;          // Of linearQd8.
  int64_t rows = -1;         // Of windows: images.
  int64_t reshaped = -1;     // Rows that the operator was told of, where that is a step of its own.
  void *workspace = nullptr; // What a run needs besides, of so many bytes.
  size_t workspaceBytes = 0;
  size_t strides[2] = {}; // Of the rows of x and of the output.

  const float *x(unsigned i = 0) const { return static_cast<const float *>(inputs[i]); }
  float *y() const { return static_cast<float *>(output); }
  const fb::XnnWindowAttrs &window() const {
    return kernel == Kernel::convQs8 ? attrs.quantized.window() : attrs.window;
  }
};

/// Whether this XNNPACK has it.
bool provides(Kernel kernel);
/// Creates the operator, with packed weights.
xnn_status createOperator(Operator &made, const KernelCallInfo &call);
/// Sets it up for its rows and pointers.
xnn_status setupOperator(Operator &made);
xnn_status executeOperator(Operator &made);
/// Runs |x| of one value on the caller's thread: whether XNNPACK works, and by whose pool.
xnn_status tryOperator(const float *x, float *y);

/// Values from the start of a row to that of the next.
inline size_t rowStride(const TensorView &view, size_t columns) {
  return view.rank == 2 && view.dims[0] > 1 ? size_t(view.strides[0]) : columns;
}

inline uint32_t resizeFlags(fb::XnnCoordinates coordinates) {
  return coordinates == fb::XnnCoordinates::align_corners ? XNN_FLAG_ALIGN_CORNERS
         : coordinates == fb::XnnCoordinates::asymmetric  ? XNN_FLAG_TENSORFLOW_LEGACY_MODE
                                                          : 0;
}

/// Rows that a transposed convolution adds behind its last window.
inline uint32_t adjustment(uint64_t in, uint64_t out, uint32_t kernel, uint32_t stride, uint32_t dilation,
                           uint32_t pads) {
  return uint32_t(out + pads - ((in - 1) * stride + uint64_t(kernel - 1) * dilation + 1));
}

/// The scales of a quantized product, one for each output, in memory to be freed where it has one alone: the operator
/// of many rounds alike on every CPU. Null: no memory.
struct OutputScales {
  const float *values = nullptr;
  float *made = nullptr;

  OutputScales(const fb::XnnQuantizedConvAttrs &q, const KernelCallInfo &call);
  OutputScales(size_t outputs, float scale);
  OutputScales(const OutputScales &) = delete;
  ~OutputScales();

private:
  void fill(size_t outputs, float scale);
};

/// `create` on the window of `made`; `arguments`: what it takes between the window and the operator.
template <typename Create, typename... Arguments>
xnn_status createConvolution(Operator &made, Create create, Arguments... arguments) {
  const fb::XnnWindowAttrs &a = made.window();
  size_t in = size_t(a.in()), out = size_t(a.out());
  return create(a.pad_top(), a.pad_right(), a.pad_bottom(), a.pad_left(), a.kernel_height(), a.kernel_width(),
                a.stride_height(), a.stride_width(), a.dilation_height(), a.dilation_width(), a.groups(), in, out,
                in * a.groups(), out * a.groups(), arguments..., &made.op);
}

/// A convolution of f32, transposed or not. `caches`: those of the interface of 2024.
template <typename Create, typename... Caches>
xnn_status createFloatConv(Operator &made, const KernelCallInfo &call, Create create, Caches... caches) {
  const float *bias = made.window().has_bias() ? call.inputs[2].as<const float>() : nullptr;
  return createConvolution(made, create, call.inputs[1].as<const float>(), bias, -kMost, kMost, 0u, caches...);
}

template <typename Create, typename... Caches>
xnn_status createQuantizedConv(Operator &made, const KernelCallInfo &call, Create create, Caches... caches) {
  const fb::XnnQuantizedConvAttrs &q = made.attrs.quantized;
  OutputScales scales(q, call);
  if (!scales.values)
    return xnn_status_out_of_memory;
  const int32_t *bias = made.window().has_bias() ? call.inputs[2].as<const int32_t>() : nullptr;
  return createConvolution(made, create, q.zero_in(), 1.0f, scales.values, call.inputs[1].as<const int8_t>(), bias,
                           q.zero_out(), 1.0f, int8_t(INT8_MIN), int8_t(INT8_MAX), 0u, caches...);
}

} // namespace mlc::xnnpack
