//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// rope_angles: cos | sin of position * inverse frequency, times attention_factor. The angle is an f32 product; its
// cosine and sine are taken in double and rounded once. The table of a form that depends on length follows from the
// segment's form length: dynamic (NTK) computes its own, longrope takes the second table beyond the original context.
//
#include "targets/cpu/Kernels.h"

#include <cmath>

namespace mlc::cpu {

static Status check(const KernelCallInfo &call) {
  MLC_TRY(checkCounts(call, 1, 1));
  MLC_ASSIGN(const auto *attrs, attrsOrError<fb::RopeAnglesAttrs>(call, "rope_angles"));
  uint32_t dim = attrs->rotary_dim();
  if (attrs->scaling() > fb::RopeScaling::MAX)
    return Error(ErrorCode::Unsupported, "rope_angles: scaling %u is unknown", unsigned(attrs->scaling()));
  bool dynamic = attrs->scaling() == fb::RopeScaling::dynamic, longrope = attrs->scaling() == fb::RopeScaling::longrope;
  if (dim < 2 || dim % 2 || dim > 65536 || (dynamic && dim < 4))
    return Error(ErrorCode::Corrupt, "rope_angles: rotary_dim %u must be even and in 2..65536 (dynamic: 4)", dim);
  if (!finite(attrs->attention_factor()))
    return Error(ErrorCode::Corrupt, "rope_angles: attention_factor must be finite");
  if (dynamic && !(attrs->theta() > 0 && finite(attrs->theta()) && attrs->factor() > 0 && finite(attrs->factor())))
    return Error(ErrorCode::Corrupt, "rope_angles: theta and factor must be positive");
  if ((dynamic || longrope) && attrs->original_context() < 1)
    return Error(ErrorCode::Corrupt, "rope_angles: original_context must be positive");
  MLC_TRY(checkMatrix(call.inputs[0], "the frequency tables", DType::f32, dim / 2));
  if (call.inputs[0].dims[0] != (longrope ? 2 : 1) || call.inputFollowsTokens[0])
    return Error(ErrorCode::Corrupt, "rope_angles takes %d frequency tables", longrope ? 2 : 1);
  MLC_TRY(checkMatrix(call.outputs[0], "the angles", DType::f32, dim));
  return checkTokenRows(call, 0);
}

static ScratchNeed scratch(const KernelCallInfo &call) {
  return {call.attrsAs<fb::RopeAnglesAttrs>()->rotary_dim() / 2 * sizeof(float), 0};
}

/// The dynamic-NTK frequencies of a sequence of `length`, in the f32 steps of transformers.
static void dynamicTable(const fb::RopeAnglesAttrs &attrs, int64_t length, float *table) {
  float dim = float(attrs.rotary_dim()), factor = attrs.factor();
  float growth = factor * float(length) / float(attrs.original_context()) - (factor - 1.0f);
  float base = attrs.theta() * float(std::pow(double(growth), double(dim) / (double(dim) - 2.0)));
  for (uint32_t i = 0; i < attrs.rotary_dim() / 2; ++i)
    table[i] = 1.0f / float(std::pow(double(base), double(float(2 * i) / dim)));
}

static void run(const KernelContext &context) {
  const auto &attrs = context.attrsAs<fb::RopeAnglesAttrs>();
  const TensorView &tables = context.inputs[0], &out = context.outputs[0];
  int64_t half = attrs.rotary_dim() / 2;
  if (tables.dims[1] != half || out.dims[1] != 2 * half)
    return;
  for (const BatchSegment &segment : context.batch->segments) {
    const float *table = tables.as<float>();
    if (segment.formLength > 0 && uint64_t(segment.formLength) > attrs.original_context()) {
      if (attrs.scaling() == fb::RopeScaling::longrope)
        table = tables.row<float>(1);
      if (attrs.scaling() == fb::RopeScaling::dynamic) {
        dynamicTable(attrs, segment.formLength, reinterpret_cast<float *>(context.sharedScratch));
        table = reinterpret_cast<float *>(context.sharedScratch);
      }
    }
    context.pool->parallelFor(segment.length, 1 + 512 / half, [&](int64_t begin, int64_t end, unsigned) {
      for (int64_t t = begin; t < end; ++t) {
        float *row = out.row<float>(segment.firstRow + t), position = float(segment.firstPosition + t);
        for (int64_t i = 0; i < half; ++i) {
          double angle = position * table[i];
          row[i] = float(std::cos(angle)) * attrs.attention_factor();
          row[half + i] = float(std::sin(angle)) * attrs.attention_factor();
        }
      }
    });
  }
}

const KernelDef ropeAnglesKernels[] = {{"rope_angles", 1, Isa::portable, check, scratch, run}};

} // namespace mlc::cpu
