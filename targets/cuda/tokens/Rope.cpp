//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cuda/Kernels.h"

namespace mlc::cuda {

static Status checkAngles(const KernelCallInfo &call) { return checkAsHost(call, "rope_angles"); }

static void runAngles(const KernelContext &context) {
  const auto &attrs = context.attrsAs<fb::RopeAnglesAttrs>();
  const TensorView &tables = context.inputs[0], &out = context.outputs[0];
  int64_t half = attrs.rotary_dim() / 2;
  if (tables.dims[1] != half || out.dims[1] != 2 * half)
    return;
  AnglesArgs args{};
  args.step = streamOf(context).step();
  args.tables = tables.as<float>();
  args.out = rowsOf(out);
  args.originalContext = int64_t(attrs.original_context());
  args.rotary = int32_t(attrs.rotary_dim());
  args.theta = attrs.theta();
  args.factor = attrs.factor();
  args.attentionFactor = attrs.attention_factor();
  args.scaling = Scaling(attrs.scaling());
  constexpr int64_t threads = 64;
  streamOf(context).launch(Function::mlc_rope_angles, {blocksFor(half, threads), uint64_t(context.batch->tokens)},
                           unsigned(threads), args);
}

static Status checkRope(const KernelCallInfo &call) { return checkAsHost(call, "rope"); }

static void runRope(const KernelContext &context) {
  const auto &attrs = context.attrsAs<fb::RopeAttrs>();
  const TensorView &x = context.inputs[0], &angles = context.inputs[1], &out = context.outputs[0];
  int64_t columns = int64_t(attrs.heads()) * attrs.head_dim(), rows = x.dims[0];
  if (x.dims[1] != columns || out.dims[1] != columns || angles.dims[1] != int64_t(attrs.rotary_dim()))
    return;
  rows = angles.dims[0] < rows ? angles.dims[0] : rows;
  rows = out.dims[0] < rows ? out.dims[0] : rows;
  RopeArgs args{inputRows(x),           inputRows(angles),         rowsOf(out),
                int32_t(attrs.heads()), int32_t(attrs.head_dim()), int32_t(attrs.rotary_dim()),
                attrs.interleaved()};
  int64_t items = int64_t(attrs.heads()) * (attrs.head_dim() - attrs.rotary_dim() / 2);
  streamOf(context).launch(Function::mlc_rope, rowGrid(items, rows), kRowThreads, args);
}

const KernelDef ropeKernels[] = {{"rope_angles", 1, Isa::portable, checkAngles, nullptr, runAngles},
                                 {"rope", 1, Isa::portable, checkRope, nullptr, runRope}};

} // namespace mlc::cuda
