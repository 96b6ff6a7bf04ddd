//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// embedding: out[t] = weight[ids[t]] * scale, from any weight format. The runtime validates token ids; an id out of
// range gives a row of NaN.
//
#include "targets/cpu/Kernels.h"
#include "targets/cpu/pack/Pack.h"

#include <cmath>

namespace mlc::cpu {

static Status check(const KernelCallInfo &call) {
  MLC_TRY(checkCounts(call, 2, 1));
  MLC_ASSIGN(const auto *attrs, attrsOrError<fb::EmbeddingAttrs>(call, "embedding"));
  MLC_TRY(checkWeight(call.inputs[1], attrs->weight()));
  if (!finite(attrs->scale()))
    return Error(ErrorCode::Corrupt, "embedding: the scale must be finite");
  MLC_TRY(checkMatrix(call.outputs[0], "the output", DType::f32, attrs->weight().k()));
  MLC_TRY(checkVector(call.inputs[0], "ids", DType::i32, uint64_t(call.outputs[0].dims[0])));
  return checkSameRows(call, 1);
}

static void run(const KernelContext &context) {
  const auto &attrs = context.attrsAs<fb::EmbeddingAttrs>();
  const TensorView &ids = context.inputs[0], &out = context.outputs[0];
  const fb::WeightDesc &weight = attrs.weight();
  int64_t k = int64_t(weight.k()), count = ids.dims[0] < out.dims[0] ? ids.dims[0] : out.dims[0];
  if (out.dims[1] != k)
    return;
  context.pool->parallelFor(count, 1 + 8192 / k, [&](int64_t begin, int64_t end, unsigned) {
    for (int64_t t = begin; t < end; ++t) {
      int32_t id = ids.as<int32_t>()[t];
      float *to = out.row<float>(t);
      bool known = id >= 0 && uint64_t(id) < weight.n();
      if (known)
        unpackRow(weight, context.inputs[1].as<uint8_t>(), uint64_t(id), to);
      for (int64_t i = 0; i < k; ++i)
        to[i] = known ? to[i] * attrs.scale() : NAN;
    }
  });
}

const KernelDef embeddingKernels[] = {{"embedding", 1, Isa::portable, check, nullptr, run}};

} // namespace mlc::cpu
