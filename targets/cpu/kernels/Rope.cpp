//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// rope: rotates the first rotary_dim columns of each head by the angles' cos | sin, each product and the sum rounded on
// their own; the other columns are copied. The output may be the input.
//
#include "targets/cpu/simd/Simd.h"
#if MLC_ISA_BASE
#include "targets/cpu/Kernels.h"
#endif

namespace mlc::cpu {

struct RopeRow {
  const float *x, *angles;
  float *y;
  int64_t heads, headDim, rotaryDim;
  bool interleaved;
};
using RopeFn = void(const RopeRow &row);

namespace MLC_ISA_NS {

RopeFn ropeRow;
void ropeRow(const RopeRow &row) {
  int64_t half = row.rotaryDim / 2;
  const float *cosines = row.angles, *sines = row.angles + half;
  for (int64_t h = 0; h < row.heads; ++h) {
    const float *x = row.x + h * row.headDim;
    float *y = row.y + h * row.headDim;
    if (row.interleaved)
      for (int64_t i = 0; i < half; ++i) {
        float a = x[2 * i], b = x[2 * i + 1];
        y[2 * i] = a * cosines[i] - b * sines[i];
        y[2 * i + 1] = b * cosines[i] + a * sines[i];
      }
    else
      for (int64_t i = 0; i < half; i += kLanes) {
        VF a = loadPart(x + i, half - i), b = loadPart(x + half + i, half - i);
        VF c = loadPart(cosines + i, half - i), s = loadPart(sines + i, half - i);
        storePart(y + i, a * c - b * s, half - i);
        storePart(y + half + i, b * c + a * s, half - i);
      }
    for (int64_t i = row.rotaryDim; i < row.headDim; ++i)
      y[i] = x[i];
  }
}

} // namespace MLC_ISA_NS

#if MLC_ISA_BASE

MLC_DECLARE_FORMS(MLC_BASIC_FORMS, ropeRow, RopeFn)

static Status check(const KernelCallInfo &call) {
  MLC_TRY(checkCounts(call, 2, 1));
  MLC_ASSIGN(const auto *attrs, attrsOrError<fb::RopeAttrs>(call, "rope"));
  uint64_t columns = uint64_t(attrs->heads()) * attrs->head_dim();
  if (columns < 1 || columns > kMaxExtent || attrs->rotary_dim() < 2 || attrs->rotary_dim() % 2 ||
      attrs->rotary_dim() > attrs->head_dim())
    return Error(ErrorCode::Corrupt, "rope: %u heads of %u with rotary_dim %u: it must be even and within a head",
                 attrs->heads(), attrs->head_dim(), attrs->rotary_dim());
  MLC_TRY(checkMatrix(call.inputs[0], "x", DType::f32, columns));
  MLC_TRY(checkMatrix(call.inputs[1], "the angles", DType::f32, attrs->rotary_dim()));
  MLC_TRY(checkMatrix(call.outputs[0], "the output", DType::f32, columns));
  return checkSameRows(call, 2);
}

template <Isa isa> static void run(const KernelContext &context) {
  const auto &attrs = context.attrsAs<fb::RopeAttrs>();
  const TensorView &x = context.inputs[0], &angles = context.inputs[1], &y = context.outputs[0];
  uint64_t columns = uint64_t(attrs.heads()) * attrs.head_dim();
  int64_t rows = commonRows({{&x, columns}, {&angles, attrs.rotary_dim()}, {&y, columns}});
  context.pool->parallelFor(rows, 1 + 16384 / int64_t(columns), [&](int64_t begin, int64_t end, unsigned) {
    for (int64_t r = begin; r < end; ++r)
      formFor(ropeRowForms, isa)({x.row<float>(r), angles.row<float>(r), y.row<float>(r), attrs.heads(),
                                  attrs.head_dim(), attrs.rotary_dim(), attrs.interleaved()});
  });
}

MLC_KERNEL_FORMS(MLC_BASIC_FORMS, ropeKernels, "rope", check, nullptr, run)

#endif

} // namespace mlc::cpu
