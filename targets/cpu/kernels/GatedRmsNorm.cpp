//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// gated_rms_norm over groups of columns: norm(x * act(gate)) * weight, or norm(x) * weight * act(gate). The squares are
// summed in 16 lanes along the group, the lanes by halving.
//
#include "targets/cpu/simd/Activation.h"
#if MLC_ISA_BASE
#include "targets/cpu/Kernels.h"
#endif

namespace mlc::cpu {

struct GatedNormRow {
  const float *x, *gate, *weight;
  float *y; // May be x or gate.
  int64_t width;
  float eps;
  bool normFirst;
  Act act;
};
using GatedNormFn = void(const GatedNormRow &row);

namespace MLC_ISA_NS {

GatedNormFn gatedNormRow;
void gatedNormRow(const GatedNormRow &row) {
  auto at = [&](const float *p, int64_t i) __attribute__((always_inline)) { return loadPart(p + i, row.width - i); };
  auto gate = [&](int64_t i)
                  __attribute__((always_inline)) { return activateUsually<Act::silu>(row.act, at(row.gate, i)); };
  VF squares = zero();
  for (int64_t i = 0; i < row.width; i += kLanes) {
    VF v = at(row.x, i);
    if (!row.normFirst) {
      v = v * gate(i);
      storePart(row.y + i, v, row.width - i);
    }
    squares = fma(v, v, squares);
  }
  VF scale = set1(1.0f / __builtin_sqrtf(sumLanes(squares) / float(row.width) + row.eps));
  for (int64_t i = 0; i < row.width; i += kLanes) {
    VF v = at(row.normFirst ? row.x : row.y, i) * scale * at(row.weight, i);
    if (row.normFirst)
      v = v * gate(i);
    storePart(row.y + i, v, row.width - i);
  }
}

} // namespace MLC_ISA_NS

#if MLC_ISA_BASE

MLC_DECLARE_FORMS(MLC_BASIC_FORMS, gatedNormRow, GatedNormFn)

static Status check(const KernelCallInfo &call) {
  MLC_TRY(checkCounts(call, 3, 1));
  MLC_ASSIGN(const auto *attrs, attrsOrError<fb::GatedRmsNormAttrs>(call, "gated_rms_norm"));
  uint64_t group = attrs->group(), columns = call.inputs[0].rank == 2 ? uint64_t(call.inputs[0].dims[1]) : 0;
  if (group < 1 || columns < group || columns > kMaxExtent || columns % group)
    return Error(ErrorCode::Corrupt, "gated_rms_norm of groups of %llu over %llu columns: must divide them",
                 (unsigned long long)group, (unsigned long long)columns);
  if (!finite(attrs->eps()) || attrs->eps() < 0)
    return Error(ErrorCode::Corrupt, "gated_rms_norm: eps must be finite and not negative");
  if (attrs->activation() > fb::Activation::MAX)
    return Error(ErrorCode::Unsupported, "gated_rms_norm: activation %u is unknown", unsigned(attrs->activation()));
  MLC_TRY(checkMatrix(call.inputs[0], "x", DType::f32, columns));
  MLC_TRY(checkMatrix(call.inputs[1], "gate", DType::f32, columns));
  MLC_TRY(checkVector(call.inputs[2], "weight", DType::f32, columns));
  MLC_TRY(checkMatrix(call.outputs[0], "the output", DType::f32, columns));
  return checkSameRows(call, 2);
}

template <Isa isa> static void run(const KernelContext &context) {
  const auto &attrs = context.attrsAs<fb::GatedRmsNormAttrs>();
  const TensorView &x = context.inputs[0], &gate = context.inputs[1], &y = context.outputs[0];
  // The weight's extent is fixed, so its length is what check() saw.
  uint64_t columns = uint64_t(context.inputs[2].dims[0]);
  int64_t rows = commonRows({{&x, columns}, {&gate, columns}, {&y, columns}});
  int64_t group = int64_t(attrs.group()), groups = int64_t(columns) / group;
  context.pool->parallelFor(rows, 1 + 8192 / int64_t(columns), [&](int64_t begin, int64_t end, unsigned) {
    for (int64_t r = begin; r < end; ++r)
      for (int64_t g = 0; g < groups; ++g)
        formFor(gatedNormRowForms, isa)({x.row<float>(r) + g * group, gate.row<float>(r) + g * group,
                                         context.inputs[2].as<float>() + g * group, y.row<float>(r) + g * group, group,
                                         attrs.eps(), attrs.norm_before_gate(), Act(attrs.activation())});
  });
}

MLC_KERNEL_FORMS(MLC_BASIC_FORMS, gatedRmsNormKernels, "gated_rms_norm", check, nullptr, run)

#endif

} // namespace mlc::cpu
