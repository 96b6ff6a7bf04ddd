//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// binary: a op b, elementwise on equal shapes; the output may be one of the inputs. max and min give b when either
// operand is NaN.
//
#include "targets/cpu/simd/Simd.h"
#if MLC_ISA_BASE
#include "targets/cpu/Kernels.h"
#endif

namespace mlc::cpu {

// The values of fb::Binary, which the forms do not include.
enum class BinaryOp : uint8_t { add = 0, sub = 1, mul = 2, div = 3, max = 4, min = 5 };
using BinaryFn = void(BinaryOp op, const float *a, const float *b, float *out, int64_t n);

namespace MLC_ISA_NS {

template <typename Op> MLC_SIMD void apply(const float *a, const float *b, float *out, int64_t n, const Op &op) {
  for (int64_t i = 0; i < n; i += kLanes)
    storePart(out + i, op(loadPart(a + i, n - i), loadPart(b + i, n - i)), n - i);
}

BinaryFn binaryRun;
void binaryRun(BinaryOp op, const float *a, const float *b, float *out, int64_t n) {
#define MLC_INLINE __attribute__((always_inline))
  switch (op) {
  case BinaryOp::add:
    return apply(a, b, out, n, [](VF x, VF y) MLC_INLINE { return x + y; });
  case BinaryOp::sub:
    return apply(a, b, out, n, [](VF x, VF y) MLC_INLINE { return x - y; });
  case BinaryOp::mul:
    return apply(a, b, out, n, [](VF x, VF y) MLC_INLINE { return x * y; });
  case BinaryOp::div:
    return apply(a, b, out, n, [](VF x, VF y) MLC_INLINE { return x / y; });
  case BinaryOp::max:
    return apply(a, b, out, n, [](VF x, VF y) MLC_INLINE { return maximum(x, y); });
  case BinaryOp::min:
    return apply(a, b, out, n, [](VF x, VF y) MLC_INLINE { return minimum(x, y); });
  }
#undef MLC_INLINE
}

} // namespace MLC_ISA_NS

#if MLC_ISA_BASE

MLC_DECLARE_FORMS(MLC_BASIC_FORMS, binaryRun, BinaryFn)

static Status check(const KernelCallInfo &call) {
  MLC_TRY(checkCounts(call, 2, 1));
  MLC_ASSIGN(const auto *attrs, attrsOrError<fb::BinaryAttrs>(call, "binary"));
  if (attrs->op() > fb::Binary::MAX)
    return Error(ErrorCode::Unsupported, "binary: operation %u is unknown", unsigned(attrs->op()));
  if (call.inputs[0].dtype != DType::f32)
    return Error(ErrorCode::Corrupt, "binary takes f32");
  MLC_TRY(checkSameShape(call.inputs[0], call.inputs[1], "a and b"));
  return checkSameShape(call.inputs[0], call.outputs[0], "a and the output");
}

template <Isa isa> static void run(const KernelContext &context) {
  BinaryOp op = BinaryOp(context.attrsAs<fb::BinaryAttrs>().op());
  const TensorView *views[] = {&context.inputs[0], &context.inputs[1], &context.outputs[0]};
  forEachRun(context.pool, views, 4, [&](uint8_t *const *at, int64_t n) {
    formFor(binaryRunForms, isa)(op, reinterpret_cast<const float *>(at[0]), reinterpret_cast<const float *>(at[1]),
                                 reinterpret_cast<float *>(at[2]), n);
  });
}

MLC_KERNEL_FORMS(MLC_BASIC_FORMS, binaryKernels, "binary", check, nullptr, run)

#endif

} // namespace mlc::cpu
