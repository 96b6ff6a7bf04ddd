//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// scale_rows: each row times an activation of its factor.
//
#include "targets/cpu/simd/Activation.h"
#if MLC_ISA_BASE
#include "targets/cpu/Kernels.h"
#endif

namespace mlc::cpu {

using ScaleRowFn = void(Act act, float factor, const float *x, float *out, int64_t n);

namespace MLC_ISA_NS {

ScaleRowFn scaleRow;
void scaleRow(Act act, float factor, const float *x, float *out, int64_t n) {
  VF by = activateUsually<Act::none>(act, set1(factor));
  for (int64_t i = 0; i < n; i += kLanes)
    storePart(out + i, loadPart(x + i, n - i) * by, n - i);
}

} // namespace MLC_ISA_NS

#if MLC_ISA_BASE

MLC_DECLARE_FORMS(MLC_BASIC_FORMS, scaleRow, ScaleRowFn)

static Status check(const KernelCallInfo &call) {
  MLC_TRY(checkCounts(call, 2, 1));
  MLC_ASSIGN(const auto *attrs, attrsOrError<fb::ScaleRowsAttrs>(call, "scale_rows"));
  if (attrs->activation() > fb::Activation::MAX)
    return Error(ErrorCode::Unsupported, "scale_rows: activation %u is unknown", unsigned(attrs->activation()));
  if (call.inputs[0].rank != 2)
    return Error(ErrorCode::Corrupt, "scale_rows takes a matrix");
  uint64_t columns = uint64_t(call.inputs[0].dims[1]);
  MLC_TRY(checkMatrix(call.inputs[0], "x", DType::f32, columns));
  MLC_TRY(checkMatrix(call.inputs[1], "the factors", DType::f32, 1));
  MLC_TRY(checkMatrix(call.outputs[0], "the output", DType::f32, columns));
  return checkSameRows(call, 2);
}

template <Isa isa> static void run(const KernelContext &context) {
  const TensorView &x = context.inputs[0], &factors = context.inputs[1], &out = context.outputs[0];
  auto columns = uint64_t(x.dims[1]);
  int64_t rows = commonRows({{&x, columns}, {&factors, 1}, {&out, columns}});
  Act act = Act(context.attrsAs<fb::ScaleRowsAttrs>().activation());
  context.pool->parallelFor(rows, 1 + 16384 / int64_t(columns + 1), [&](int64_t begin, int64_t end, unsigned) {
    for (int64_t t = begin; t < end; ++t)
      formFor(scaleRowForms, isa)(act, *factors.row<float>(t), x.row<float>(t), out.row<float>(t), int64_t(columns));
  });
}

MLC_KERNEL_FORMS(MLC_BASIC_FORMS, scaleRowsKernels, "scale_rows", check, nullptr, run)

#endif

} // namespace mlc::cpu
