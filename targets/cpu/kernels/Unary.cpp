//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// unary: scale_out * act(x * scale_in), elementwise; the output may be the input.
//
#include "targets/cpu/simd/Activation.h"
#if MLC_ISA_BASE
#include "targets/cpu/Kernels.h"
#endif

namespace mlc::cpu {

using UnaryFn = void(Act act, float scaleIn, float scaleOut, const float *x, float *out, int64_t n);

namespace MLC_ISA_NS {

UnaryFn unaryRun;
void unaryRun(Act act, float scaleIn, float scaleOut, const float *x, float *out, int64_t n) {
  VF in = set1(scaleIn), by = set1(scaleOut);
  withActivation(act, [&]<Act A>() __attribute__((always_inline)) {
    for (int64_t i = 0; i < n; i += kLanes)
      storePart(out + i, activate<A>(loadPart(x + i, n - i) * in) * by, n - i);
  });
}

} // namespace MLC_ISA_NS

#if MLC_ISA_BASE

MLC_DECLARE_FORMS(MLC_BASIC_FORMS, unaryRun, UnaryFn)

static Status check(const KernelCallInfo &call) {
  MLC_TRY(checkCounts(call, 1, 1));
  MLC_ASSIGN(const auto *attrs, attrsOrError<fb::UnaryAttrs>(call, "unary"));
  if (attrs->activation() > fb::Activation::MAX)
    return Error(ErrorCode::Unsupported, "unary: activation %u is unknown", unsigned(attrs->activation()));
  if (!finite(attrs->scale_in()) || !finite(attrs->scale_out()))
    return Error(ErrorCode::Corrupt, "unary: the scales must be finite");
  if (call.inputs[0].dtype != DType::f32)
    return Error(ErrorCode::Corrupt, "unary takes f32");
  return checkSameShape(call.inputs[0], call.outputs[0], "x and the output");
}

template <Isa isa> static void run(const KernelContext &context) {
  const auto &attrs = context.attrsAs<fb::UnaryAttrs>();
  const TensorView *views[] = {&context.inputs[0], &context.outputs[0]};
  forEachRun(context.pool, views, 4, [&](uint8_t *const *at, int64_t n) {
    formFor(unaryRunForms, isa)(Act(attrs.activation()), attrs.scale_in(), attrs.scale_out(),
                                reinterpret_cast<const float *>(at[0]), reinterpret_cast<float *>(at[1]), n);
  });
}

MLC_KERNEL_FORMS(MLC_BASIC_FORMS, unaryKernels, "unary", check, nullptr, run)

#endif

} // namespace mlc::cpu
