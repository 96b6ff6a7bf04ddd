//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// rms_norm and add_rms_norm: y = x * rsqrt(mean(x^2) + eps) * (weight + offset) over groups of `width` columns. The
// squares are summed in 16 lanes along the row, the lanes by halving.
//
#include "targets/cpu/simd/Simd.h"
#if MLC_ISA_BASE
#include "targets/cpu/Kernels.h"
#endif

namespace mlc::cpu {

struct NormRow {
  const float *x, *residual, *weight; // residual null: none.
  float *sum, *y;                     // sum null: none; else it receives x + residual, which is what is normalised.
  int64_t width;
  float eps, offset;
};
using NormFn = void(const NormRow &row);

namespace MLC_ISA_NS {

NormFn rmsNormRow;
void rmsNormRow(const NormRow &row) {
  VF squares = zero();
  const float *x = row.x;
  for (int64_t i = 0; i < row.width; i += kLanes) {
    VF v = loadPart(x + i, row.width - i);
    if (row.sum) {
      v = v + loadPart(row.residual + i, row.width - i);
      storePart(row.sum + i, v, row.width - i);
    }
    squares = fma(v, v, squares);
  }
  if (row.sum)
    x = row.sum;
  VF scale = set1(1.0f / __builtin_sqrtf(sumLanes(squares) / float(row.width) + row.eps)), offset = set1(row.offset);
  for (int64_t i = 0; i < row.width; i += kLanes) {
    VF v = loadPart(x + i, row.width - i) * scale * (loadPart(row.weight + i, row.width - i) + offset);
    storePart(row.y + i, v, row.width - i);
  }
}

} // namespace MLC_ISA_NS

#if MLC_ISA_BASE

MLC_DECLARE_FORMS(MLC_BASIC_FORMS, rmsNormRow, NormFn)

static Status checkNorm(const KernelCallInfo &call, bool adds) {
  MLC_TRY(checkCounts(call, adds ? 3 : 2, adds ? 2 : 1));
  MLC_ASSIGN(const auto *attrs, attrsOrError<fb::RmsNormAttrs>(call, adds ? "add_rms_norm" : "rms_norm"));
  uint64_t width = attrs->width(), columns = call.inputs[0].rank == 2 ? uint64_t(call.inputs[0].dims[1]) : 0;
  if (width < 1 || width > kMaxExtent || columns < width || columns > kMaxExtent || columns % width ||
      (adds && columns != width))
    return Error(ErrorCode::Corrupt, "rms_norm of width %llu over %llu columns: must divide them",
                 (unsigned long long)width, (unsigned long long)columns);
  if (!finite(attrs->eps()) || attrs->eps() < 0 || !finite(attrs->offset()))
    return Error(ErrorCode::Corrupt, "rms_norm: eps and offset must be finite, eps not negative");
  MLC_TRY(checkMatrix(call.inputs[0], "x", DType::f32, columns));
  if (adds)
    MLC_TRY(checkMatrix(call.inputs[1], "residual", DType::f32, columns));
  MLC_TRY(checkVector(call.inputs[adds ? 2 : 1], "weight", DType::f32, width));
  for (const TensorView &output : call.outputs)
    MLC_TRY(checkMatrix(output, "the output", DType::f32, columns));
  return checkSameRows(call, adds ? 2 : 1);
}

static Status checkRmsNorm(const KernelCallInfo &call) { return checkNorm(call, false); }
static Status checkAddRmsNorm(const KernelCallInfo &call) { return checkNorm(call, true); }

template <Isa isa> static void runNorm(const KernelContext &context) {
  const auto &attrs = context.attrsAs<fb::RmsNormAttrs>();
  bool adds = context.outputs.size() == 2;
  const TensorView &x = context.inputs[0], &y = context.outputs[adds ? 1 : 0];
  uint64_t columns = uint64_t(x.dims[1]);
  int64_t rows = commonRows(
      {{&x, columns}, {&y, columns}, {&context.inputs[adds ? 1 : 0], columns}, {&context.outputs[0], columns}});
  int64_t width = int64_t(attrs.width()), groups = int64_t(columns) / width;
  NormRow norm{};
  norm.weight = context.inputs[adds ? 2 : 1].as<float>();
  norm.width = width;
  norm.eps = attrs.eps();
  norm.offset = attrs.offset();
  context.pool->parallelFor(rows, 1 + 16384 / int64_t(columns), [&](int64_t begin, int64_t end, unsigned) {
    for (int64_t r = begin; r < end; ++r)
      for (int64_t g = 0; g < groups; ++g) {
        NormRow row = norm;
        row.x = x.row<float>(r) + g * width;
        row.y = y.row<float>(r) + g * width;
        if (adds) {
          row.residual = context.inputs[1].row<float>(r);
          row.sum = context.outputs[0].row<float>(r);
        }
        formFor(rmsNormRowForms, isa)(row);
      }
  });
}

MLC_KERNEL_FORMS(MLC_BASIC_FORMS, rmsNormKernels, "rms_norm", checkRmsNorm, nullptr, runNorm)
MLC_KERNEL_FORMS(MLC_BASIC_FORMS, addRmsNormKernels, "add_rms_norm", checkAddRmsNorm, nullptr, runNorm)

#endif

} // namespace mlc::cpu
