//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// quantize_rows: each row in groups to int8 (simd/Quantize.h), with the negated sums that integer products need.
//
#include "targets/cpu/simd/Quantize.h"
#if MLC_ISA_BASE
#include "targets/cpu/Kernels.h"
#endif

namespace mlc::cpu {

struct QuantizeShape {
  int64_t k, group, sumGroup, columns, scalesOffset, sumsOffset;
};
using QuantizeRowFn = void(const QuantizeShape &shape, const float *x, uint8_t *out);

namespace MLC_ISA_NS {

QuantizeRowFn quantizeRow;
void quantizeRow(const QuantizeShape &shape, const float *x, uint8_t *out) {
  for (int64_t i = shape.columns; i < shape.scalesOffset; ++i)
    out[i] = 0;
  uint8_t *scales = out + shape.scalesOffset, *sums = out + shape.sumsOffset;
  for (int64_t i = 0; i < shape.columns; i += shape.group, scales += 4, sums += 4 * (shape.group / shape.sumGroup))
    quantizeGroup(x + i, shape.k - i < shape.group ? shape.k - i : shape.group, shape.group, shape.sumGroup, out + i,
                  scales, sums);
}

} // namespace MLC_ISA_NS

#if MLC_ISA_BASE

MLC_DECLARE_FORMS(MLC_BASIC_FORMS, quantizeRow, QuantizeRowFn)

static Status check(const KernelCallInfo &call) {
  MLC_TRY(checkCounts(call, 1, 1));
  MLC_ASSIGN(const auto *attrs, attrsOrError<fb::QuantizeRowsAttrs>(call, "quantize_rows"));
  if (!QuantizedRow::valid(attrs->k(), attrs->group(), attrs->sum_group()))
    return Error(ErrorCode::Corrupt, "quantize_rows: group %u, sums of %u, with %llu columns", attrs->group(),
                 attrs->sum_group(), (unsigned long long)attrs->k());
  MLC_TRY(checkMatrix(call.inputs[0], "x", DType::f32, attrs->k()));
  MLC_TRY(checkMatrix(call.outputs[0], "the output", DType::u8,
                      QuantizedRow(attrs->k(), attrs->group(), attrs->sum_group()).bytes));
  return checkSameRows(call, 1);
}

template <Isa isa> static void run(const KernelContext &context) {
  const auto &attrs = context.attrsAs<fb::QuantizeRowsAttrs>();
  uint64_t k = attrs.k();
  QuantizedRow row(k, attrs.group(), attrs.sum_group());
  QuantizeShape shape{int64_t(k),           int64_t(row.group),        int64_t(row.sumGroup),
                      int64_t(row.columns), int64_t(row.scalesOffset), int64_t(row.sumsOffset)};
  const TensorView &x = context.inputs[0], &out = context.outputs[0];
  int64_t rows = commonRows({{&x, k}, {&out, row.bytes}});
  context.pool->parallelFor(rows, 1 + 16384 / int64_t(k), [&](int64_t begin, int64_t end, unsigned) {
    for (int64_t r = begin; r < end; ++r)
      formFor(quantizeRowForms, isa)(shape, x.row<float>(r), out.row<uint8_t>(r));
  });
}

MLC_KERNEL_FORMS(MLC_BASIC_FORMS, quantizeRowsKernels, "quantize_rows", check, nullptr, run)

#endif

} // namespace mlc::cpu
