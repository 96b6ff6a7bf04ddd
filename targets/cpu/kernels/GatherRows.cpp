//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// gather_rows: out[r] = x[rows[r]]. The runtime validates the rows of a step; an index out of range gives a row of NaN.
//
#include "targets/cpu/Kernels.h"

#include <cmath>
#include <cstring>

namespace mlc::cpu {

static Status check(const KernelCallInfo &call) {
  MLC_TRY(checkCounts(call, 2, 1));
  MLC_ASSIGN(const auto *attrs, attrsOrError<fb::GatherRowsAttrs>(call, "gather_rows"));
  if (attrs->columns() < 1 || attrs->columns() > kMaxExtent)
    return Error(ErrorCode::Corrupt, "gather_rows: %llu columns", (unsigned long long)attrs->columns());
  MLC_TRY(checkMatrix(call.inputs[0], "x", DType::f32, attrs->columns()));
  MLC_TRY(checkMatrix(call.outputs[0], "the output", DType::f32, attrs->columns()));
  return checkVector(call.inputs[1], "rows", DType::i32, uint64_t(call.outputs[0].dims[0]));
}

static void run(const KernelContext &context) {
  const TensorView &x = context.inputs[0], &rows = context.inputs[1], &out = context.outputs[0];
  int64_t columns = int64_t(context.attrsAs<fb::GatherRowsAttrs>().columns());
  if (x.dims[1] != columns || out.dims[1] != columns)
    return;
  int64_t count = rows.dims[0] < out.dims[0] ? rows.dims[0] : out.dims[0];
  context.pool->parallelFor(count, 1 + 65536 / columns, [&](int64_t begin, int64_t end, unsigned) {
    for (int64_t r = begin; r < end; ++r) {
      int32_t index = rows.as<int32_t>()[r];
      float *to = out.row<float>(r);
      if (index >= 0 && index < x.dims[0])
        memmove(to, x.row<float>(index), size_t(columns) * sizeof(float));
      else
        for (int64_t i = 0; i < columns; ++i)
          to[i] = NAN;
    }
  });
}

const KernelDef gatherRowsKernels[] = {{"gather_rows", 1, Isa::portable, check, nullptr, run}};

} // namespace mlc::cpu
