//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/core/Checked.h"
#include "targets/xnnpack/plugin/Operator.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

namespace mlc::xnnpack {

namespace {

int64_t elementsOf(const TensorView &view) {
  int64_t elements = 1;
  for (unsigned i = 0; i < view.rank; ++i)
    elements *= view.dims[i];
  return elements;
}

/// Elements of a row of x and of the output; of windows, of an image.
std::pair<int64_t, int64_t> rowSizes(const Operator &made) {
  const fb::XnnWindowAttrs &w = made.window();
  const fb::XnnResizeAttrs &r = made.attrs.resize;
  switch (made.kernel) {
  case Kernel::resize:
    return {int64_t(r.height() * r.width() * r.channels()), int64_t(r.out_height() * r.out_width() * r.channels())};
  case Kernel::linear:
  case Kernel::linearQd8:
    return {int64_t(made.attrs.linear.k()), int64_t(made.attrs.linear.n())};
  case Kernel::linearQb4:
    return {int64_t(made.attrs.blocks.k()), int64_t(made.attrs.blocks.n())};
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
  case Kernel::linearQd8:
    return sizeof(fb::XnnLinearAttrs);
  case Kernel::linearQb4:
    return sizeof(fb::XnnBlockLinearAttrs);
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

OutputScales::OutputScales(const fb::XnnQuantizedConvAttrs &q, const KernelCallInfo &call) {
  const fb::XnnWindowAttrs &a = q.window();
  if (q.has_scales()) {
    values = call.inputs[2 + a.has_bias()].as<const float>();
    return;
  }
  fill(size_t(a.out()) * a.groups(), q.scale());
}
OutputScales::OutputScales(size_t outputs, float scale) { fill(outputs, scale); }
void OutputScales::fill(size_t outputs, float scale) {
  values = made = static_cast<float *>(malloc(outputs * sizeof(float)));
  if (made)
    std::fill_n(made, outputs, scale);
}
OutputScales::~OutputScales() { free(made); }

Result<void *> prepareOperator(Kernel kernel, const KernelCallInfo &call, const Host &host) {
  if (!provides(kernel))
    return Error(ErrorCode::Unsupported,
                 "the XNNPACK of this %s is too old for it: build with -DXNNPACK_ROOT, one of 2024, "
                 "or compile with --kernels own",
                 kLibrary);
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
  xnn_status status = createOperator(*made, call);
  if (status == xnn_status_success)
    status = setupOperator(*made);
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
  if (made.kernel == Kernel::linearQd8)
    made.zero = *context.inputs[2].as<const int32_t>();
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
  if ((!same && setupOperator(made) != xnn_status_success) || executeOperator(made) != xnn_status_success) {
    made.rows = -1;
    *context.failed = true;
  }
}

void releaseOperator(void *prepared) {
  auto *made = static_cast<Operator *>(prepared);
  xnn_delete_operator(made->op);
  xnn_delete_operator(made->rounds);
  free(made->workspace);
  made->~Operator();
  free(made);
}

} // namespace mlc::xnnpack
