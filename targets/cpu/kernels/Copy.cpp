//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// copy: a strided copy of equal shape and dtype.
//
#include "targets/cpu/Kernels.h"

#include <cstring>

namespace mlc::cpu {

static Status check(const KernelCallInfo &call) {
  MLC_TRY(checkCounts(call, 1, 1));
  MLC_TRY(attrsOrError<fb::NoAttrs>(call, "copy"));
  if (call.inputs[0].dtype > DType::MAX)
    return Error(ErrorCode::Unsupported, "copy: dtype %u is unknown", unsigned(call.inputs[0].dtype));
  return checkSameShape(call.inputs[0], call.outputs[0], "x and the output");
}

static void run(const KernelContext &context) {
  size_t size = dtypeSize(context.inputs[0].dtype);
  const TensorView *views[] = {&context.inputs[0], &context.outputs[0]};
  forEachRun(context.pool, views, size,
             [&](uint8_t *const *at, int64_t n) { memmove(at[1], at[0], size_t(n) * size); });
}

const KernelDef copyKernels[] = {{"copy", 1, Isa::portable, check, nullptr, run}};

} // namespace mlc::cpu
