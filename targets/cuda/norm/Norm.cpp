//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cpu/Kernels.h"
#include "targets/cuda/Kernels.h"

namespace mlc::cuda {

static Status checkNorm(const KernelCallInfo &call) { return checkAsHost(call, "rms_norm"); }
static Status checkAddNorm(const KernelCallInfo &call) { return checkAsHost(call, "add_rms_norm"); }

// As in NormScale.cuh.
static constexpr unsigned kNormThreads = 256;

static void runNorm(const KernelContext &context) {
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
  streamOf(context).launch(Function::mlc_rms_norm, {uint64_t(columns / args.width), uint64_t(rows)}, kNormThreads,
                           args);
}

void runInputNorm(Stream &stream, const InputNorm &norm, Rows<const float> x, int64_t k, int64_t rows, float *out) {
  NormArgs args{};
  args.x = x;
  args.weight = norm.weight;
  args.out = {out, k};
  args.width = k;
  args.eps = norm.eps;
  args.offset = norm.offset;
  stream.launch(Function::mlc_rms_norm, {1, uint64_t(rows)}, kNormThreads, args);
}

static Status checkGatedNorm(const KernelCallInfo &call) { return checkAsHost(call, "gated_rms_norm"); }

static void runGatedNorm(const KernelContext &context) {
  const auto &attrs = context.attrsAs<fb::GatedRmsNormAttrs>();
  const TensorView &x = context.inputs[0], &gate = context.inputs[1], &out = context.outputs[0];
  // The weight's extent is fixed, so its length is what the check saw.
  auto columns = uint64_t(context.inputs[2].dims[0]);
  int64_t rows = cpu::commonRows({{&x, columns}, {&gate, columns}, {&out, columns}});
  GatedNormArgs args{};
  args.x = inputRows(x);
  args.gate = inputRows(gate);
  args.weight = context.inputs[2].as<float>();
  args.out = rowsOf(out);
  args.width = int64_t(attrs.group());
  args.eps = attrs.eps();
  args.normFirst = attrs.norm_before_gate();
  args.act = Act(attrs.activation());
  streamOf(context).launch(Function::mlc_gated_rms_norm, {columns / attrs.group(), uint64_t(rows)}, kNormThreads, args);
}

const KernelDef normKernels[] = {{"rms_norm", 1, Isa::portable, checkNorm, nullptr, runNorm},
                                 {"add_rms_norm", 1, Isa::portable, checkAddNorm, nullptr, runNorm},
                                 {"gated_rms_norm", 1, Isa::portable, checkGatedNorm, nullptr, runGatedNorm}};

} // namespace mlc::cuda
