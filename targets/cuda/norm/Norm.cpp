//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cuda/Kernels.h"

namespace mlc::cuda {

static Status checkNorm(const KernelCallInfo &call) { return checkAsHost(call, "rms_norm"); }
static Status checkAddNorm(const KernelCallInfo &call) { return checkAsHost(call, "add_rms_norm"); }

static void run(const KernelContext &context) {
  // As in mlc_rms_norm.
  constexpr unsigned threads = 256;
  const auto &attrs = context.attrsAs<fb::RmsNormAttrs>();
  bool adds = context.outputs.size() == 2;
  const TensorView &x = context.inputs[0], &out = context.outputs[adds ? 1 : 0];
  int64_t rows = x.dims[0], columns = x.dims[1];
  for (std::span<const TensorView> views : {context.inputs.first(adds ? 2 : 1), context.outputs})
    for (const TensorView &view : views) {
      rows = view.dims[1] != columns ? 0 : view.dims[0] < rows ? view.dims[0] : rows;
    }
  NormArgs args{};
  args.x = inputRows(x);
  args.weight = context.inputs[adds ? 2 : 1].as<float>();
  args.out = rowsOf(out);
  if (adds) {
    args.residual = inputRows(context.inputs[1]);
    args.sum = rowsOf(context.outputs[0]);
  }
  args.width = int64_t(attrs.width());
  args.eps = attrs.eps();
  args.offset = attrs.offset();
  streamOf(context).launch(Function::mlc_rms_norm, {uint64_t(columns / args.width), uint64_t(rows)}, threads, args);
}

const KernelDef normKernels[] = {{"rms_norm", 1, Isa::portable, checkNorm, nullptr, run},
                                 {"add_rms_norm", 1, Isa::portable, checkAddNorm, nullptr, run}};

} // namespace mlc::cuda
