//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The CUDA target's kernels: one line for each.
//
#include "targets/cpu/pack/Layout.h"
#include "targets/cuda/Kernels.h"
#include "targets/cuda/KvPage.h"
#include "targets/cuda/recurrent/Base.h"

#include <bit>

namespace mlc {

using namespace cuda;

namespace cuda {

Status checkAsHost(const KernelCallInfo &call, const char *name) {
  MLC_TRY(findKernel(cpuTarget(), name, 1, Isa::portable)->check(call));
  if (call.maxTokens > kMostGridRows)
    return Error(ErrorCode::Unsupported, "%s: steps of %lld tokens; at most %lld on a GPU", name,
                 (long long)call.maxTokens, (long long)kMostGridRows);
  return {};
}

Result<Stored> storedAs(const fb::WeightDesc &weight) {
  // Kernels count columns and the bytes of a panel in 32 bits.
  if (weight.k() > kMostColumns)
    return Error(ErrorCode::Unsupported, "a weight of %llu columns; at most %llu on a GPU",
                 (unsigned long long)weight.k(), (unsigned long long)kMostColumns);
  switch (weight.format()) {
  case fb::WeightFormat::rows_f32:
    return Stored{false, Storage::f32, {}};
  case fb::WeightFormat::rows_f16:
    return Stored{false, Storage::f16, {}};
  case fb::WeightFormat::rows_bf16:
    return Stored{false, Storage::bf16, {}};
  case fb::WeightFormat::panel_bf16:
    return Stored{true, {}, Panel::bf16};
  case fb::WeightFormat::panel_int8:
  case fb::WeightFormat::panel_q8_0:
    return Stored{true, {}, Panel::int8};
  case fb::WeightFormat::panel_int4:
  case fb::WeightFormat::panel_q4_0:
    return Stored{true, {}, Panel::int4};
  default:
    return Error(ErrorCode::Unsupported, "no CUDA kernel reads weights stored as %s; choose --quant none or int4",
                 fb::EnumNameWeightFormat(weight.format()));
  }
}

PanelArgs panelArgs(const fb::WeightDesc &weight) {
  cpu::PanelLayout layout = cpu::panelLayout(weight);
  PanelArgs args{};
  args.panelBytes = int64_t(layout.bytes);
  args.columns = int32_t(layout.columns);
  if (weight.format() == fb::WeightFormat::panel_bf16)
    return args;
  args.groupShift = layout.groups == 1 ? kWholeRow : std::countr_zero(layout.group);
  args.scales = int64_t(layout.scalesOffset);
  args.zeros = weight.asymmetric() ? int64_t(layout.offsetsOffset) : 0;
  args.halfScales = cpu::isBlockPanel(weight.format());
  return args;
}

} // namespace cuda

const TargetRegistry &cudaTarget() {
  static constexpr const KernelDef *kernels[] = {
      &embeddingKernels[0], &gatherRowsKernels[0], &pairKernels[0],      &pairKernels[1],      &pairKernels[2],
      &pairKernels[3],      &pairKernels[4],       &normKernels[0],      &normKernels[1],      &normKernels[2],
      &ropeKernels[0],      &ropeKernels[1],       &linearKernels[0],    &linearKernels[1],    &normLinearKernels[0],
      &attentionKernels[0], &attentionKernels[1],  &recurrentKernels[0], &recurrentKernels[1], &moeKernels[0],
      &moeKernels[1],       &moeKernels[2],        &allReduceKernels[0]};
  static constexpr TargetRegistry target{kernels,
                                         {kvPageBytes, kvToCanonical, kvFromCanonical},
                                         {recurrentBaseBytes, recurrentToCanonical, recurrentFromCanonical},
                                         kCudaFamily,
                                         Gpu::open,
                                         Gpu::join};
  return target;
}

} // namespace mlc
