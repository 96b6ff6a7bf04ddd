//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cuda/Kernels.h"

namespace mlc::cuda {

static Status checkAllReduce(const KernelCallInfo &call) {
  const auto *attrs = call.attrsAs<fb::AllReduceAttrs>();
  auto rows = [](const TensorView &view) { return view.rank == 2 && view.dtype == DType::f32 && view.strides[1] == 1; };
  bool good = attrs && call.inputs.size() == (attrs->has_residual() ? 2u : 1u) && call.outputs.size() == 1 &&
              call.states.empty() && rows(call.outputs[0]);
  for (const TensorView &view : call.inputs)
    good = good && rows(view) && view.dims[0] == call.outputs[0].dims[0] && view.dims[1] == call.outputs[0].dims[1];
  // What is gathered is one stretch.
  good = good && call.inputs[0].strides[0] == call.inputs[0].dims[1];
  if (!good)
    return Error(ErrorCode::Corrupt,
                 "all_reduce: x and residual must be rows of f32 like those of the output, x without "
                 "gaps");
  if (attrs->ranks() != call.ranks || call.ranks < 2)
    return Error(ErrorCode::Corrupt, "all_reduce: of %u ranks in a plan of %u", attrs->ranks(), call.ranks);
  if (call.outputs[0].dims[0] > kMostGridRows)
    return Error(ErrorCode::Unsupported, "all_reduce: %lld rows; at most %lld on a GPU",
                 (long long)call.outputs[0].dims[0], (long long)kMostGridRows);
  return {};
}

/// The parts of all ranks.
static ScratchNeed scratchAllReduce(const KernelCallInfo &call) {
  const TensorView &x = call.inputs[0];
  return {uint64_t(call.ranks) * uint64_t(x.dims[0]) * uint64_t(x.dims[1]) * sizeof(float)};
}

static void runAllReduce(const KernelContext &context) {
  const auto &attrs = context.attrsAs<fb::AllReduceAttrs>();
  const TensorView &x = context.inputs[0], &out = context.outputs[0];
  Stream &stream = streamOf(context);
  auto *parts = reinterpret_cast<float *>(context.sharedScratch);
  JoinRanksArgs args{};
  args.parts = parts;
  args.columns = out.dims[1];
  args.partStride = out.dims[0] * out.dims[1];
  args.ranks = int32_t(attrs.ranks());
  args.residual = attrs.has_residual() ? inputRows(context.inputs[1]) : Rows<const float>{};
  args.out = rowsOf(out);
  stream.gather(x.as<float>(), parts, uint64_t(args.partStride));
  stream.launch(Function::mlc_join_ranks, rowGrid(args.columns, out.dims[0]), kRowThreads, args);
}

const KernelDef allReduceKernels[] = {{"all_reduce", 1, Isa::portable, checkAllReduce, scratchAllReduce, runAllReduce}};

} // namespace mlc::cuda
