//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// quantize_rows: each row in groups to int8 with scale = max|x| / 127 and q = round_even(x * (127 / max|x|)), and each
// group's sum of q. A group whose largest value is below f32's useful range becomes zeros with scale 0; a group with a
// value that is not finite becomes zeros with scale NaN, so that the row's products are NaN.
//
#include "targets/cpu/simd/Simd.h"
#if MLC_ISA_BASE
#include "targets/cpu/Kernels.h"
#endif

namespace mlc::cpu {

struct QuantizeShape {
  int64_t k, group, groups, padded, scalesOffset, sumsOffset;
};
using QuantizeRowFn = void(const QuantizeShape &shape, const float *x, uint8_t *out);

namespace MLC_ISA_NS {

QuantizeRowFn quantizeRow;
void quantizeRow(const QuantizeShape &shape, const float *x, uint8_t *out) {
  typedef int8_t V8 __attribute__((vector_size(16)));
  for (int64_t i = shape.padded; i < shape.scalesOffset; ++i)
    out[i] = 0;
  for (int64_t g = 0; g < shape.groups; ++g) {
    int64_t begin = g * shape.group, end = begin + shape.group;
    // Magnitudes order as integers do, NaN above infinity: no comparison of floats depends on the form.
    VI largest = {};
    for (int64_t i = begin; i < end && i < shape.k; i += kLanes) {
      VI bits = (VI)magnitude(loadPart(x + i, shape.k - i));
      largest = bits > largest ? bits : largest;
    }
    int32_t bits = maxLanes(largest);
    float amax;
    __builtin_memcpy(&amax, &bits, 4);
    float scale = amax / 127.0f, inverse = 127.0f / amax;
    int32_t sum = 0;
    if (bits < 0x7f800000 && inverse <= 3.4028234e38f) {
      VI sums = {};
      for (int64_t i = begin; i < end; i += kLanes) {
        VF v = i < shape.k ? loadPart(x + i, shape.k - i) : zero();
        VI q = __builtin_convertvector(roundEven(v * set1(inverse)), VI);
        sums += q;
        V8 bytes = __builtin_convertvector(q, V8);
        __builtin_memcpy(out + i, &bytes, sizeof bytes);
      }
      sum = sumLanes(sums);
    } else {
      scale = bits < 0x7f800000 ? 0.0f : __builtin_nanf("");
      for (int64_t i = begin; i < end; ++i)
        out[i] = 0;
    }
    __builtin_memcpy(out + shape.scalesOffset + 4 * g, &scale, 4);
    __builtin_memcpy(out + shape.sumsOffset + 4 * g, &sum, 4);
  }
}

} // namespace MLC_ISA_NS

#if MLC_ISA_BASE

MLC_DECLARE_FORMS(MLC_BASIC_FORMS, quantizeRow, QuantizeRowFn)

static Status check(const KernelCallInfo &call) {
  MLC_TRY(checkCounts(call, 1, 1));
  MLC_ASSIGN(const auto *attrs, attrsOrError<fb::QuantizeRowsAttrs>(call, "quantize_rows"));
  if (!quantizedRowValid(attrs->k(), attrs->group()))
    return Error(ErrorCode::Corrupt, "quantize_rows: group %u with %llu columns", attrs->group(),
                 (unsigned long long)attrs->k());
  MLC_TRY(checkMatrix(call.inputs[0], "x", DType::f32, attrs->k()));
  MLC_TRY(checkMatrix(call.outputs[0], "the output", DType::u8, quantizedRowBytes(attrs->k(), attrs->group())));
  return checkSameRows(call, 1);
}

template <Isa isa> static void run(const KernelContext &context) {
  const auto &attrs = context.attrsAs<fb::QuantizeRowsAttrs>();
  uint64_t k = attrs.k(), group = attrs.group();
  QuantizeShape shape{int64_t(k),
                      int64_t(effectiveGroup(k, group)),
                      int64_t(groupCount(k, group)),
                      int64_t(paddedColumns(k, group)),
                      int64_t(quantizedScalesOffset(k, group)),
                      int64_t(quantizedSumsOffset(k, group))};
  const TensorView &x = context.inputs[0], &out = context.outputs[0];
  int64_t rows = commonRows({{&x, k}, {&out, quantizedRowBytes(k, group)}});
  context.pool->parallelFor(rows, 1 + 16384 / int64_t(k), [&](int64_t begin, int64_t end, unsigned) {
    for (int64_t r = begin; r < end; ++r)
      formFor(quantizeRowForms, isa)(shape, x.row<float>(r), out.row<uint8_t>(r));
  });
}

MLC_KERNEL_FORMS(MLC_BASIC_FORMS, quantizeRowsKernels, "quantize_rows", check, nullptr, run)

#endif

} // namespace mlc::cpu
