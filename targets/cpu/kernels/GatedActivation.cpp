//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// gated_activation: act(gate) * up, elementwise; the output may be one of the inputs.
//
#include "targets/cpu/simd/Activation.h"
#if MLC_ISA_BASE
#include "targets/cpu/Kernels.h"
#endif

namespace mlc::cpu {

using GatedFn = void(Act act, const float *gate, const float *up, float *out, int64_t n);

namespace MLC_ISA_NS {

GatedFn gatedRun;
void gatedRun(Act act, const float *gate, const float *up, float *out, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes)
    storePart(out + i, activateUsually<Act::silu>(act, loadPart(gate + i, n - i)) * loadPart(up + i, n - i), n - i);
}

} // namespace MLC_ISA_NS

#if MLC_ISA_BASE

MLC_DECLARE_FORMS(MLC_BASIC_FORMS, gatedRun, GatedFn)

static Status check(const KernelCallInfo &call) {
  MLC_TRY(checkCounts(call, 2, 1));
  MLC_ASSIGN(const auto *attrs, attrsOrError<fb::GatedActivationAttrs>(call, "gated_activation"));
  if (attrs->activation() > fb::Activation::MAX)
    return Error(ErrorCode::Unsupported, "gated_activation: activation %u is unknown", unsigned(attrs->activation()));
  if (call.inputs[0].dtype != DType::f32)
    return Error(ErrorCode::Corrupt, "gated_activation takes f32");
  MLC_TRY(checkSameShape(call.inputs[0], call.inputs[1], "gate and up"));
  return checkSameShape(call.inputs[0], call.outputs[0], "gate and the output");
}

template <Isa isa> static void run(const KernelContext &context) {
  Act act = Act(context.attrsAs<fb::GatedActivationAttrs>().activation());
  const TensorView *views[] = {&context.inputs[0], &context.inputs[1], &context.outputs[0]};
  forEachRun(context.pool, views, 4, [&](uint8_t *const *at, int64_t n) {
    formFor(gatedRunForms, isa)(act, reinterpret_cast<const float *>(at[0]), reinterpret_cast<const float *>(at[1]),
                                reinterpret_cast<float *>(at[2]), n);
  });
}

MLC_KERNEL_FORMS(MLC_BASIC_FORMS, gatedActivationKernels, "gated_activation", check, nullptr, run)

#endif

} // namespace mlc::cpu
