//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// kv_append: stores the step's keys and values into their pages, rounded to the state's KV type.
//
#include "targets/cpu/Kernels.h"
#include "targets/cpu/KvPage.h"

namespace mlc::cpu {

static Status check(const KernelCallInfo &call) {
  MLC_TRY(checkCounts(call, 2, 0, 1));
  MLC_ASSIGN(const auto *attrs, attrsOrError<fb::KvAppendAttrs>(call, "kv_append"));
  MLC_TRY(checkKvState(call, attrs->kv_heads(), attrs->head_dim()));
  uint64_t columns = uint64_t(attrs->kv_heads()) * attrs->head_dim();
  MLC_TRY(checkMatrix(call.inputs[0], "k", DType::f32, columns));
  MLC_TRY(checkMatrix(call.inputs[1], "v", DType::f32, columns));
  return checkTokenRows(call, 2);
}

static void run(const KernelContext &context) {
  const KvStateView &state = context.kvStates[0];
  const fb::KvSpec &spec = state.spec;
  KvHeadLayout layout = kvHeadLayout(spec);
  int64_t heads = spec.kv_heads(), dim = spec.head_dim();
  const TensorView &keys = context.inputs[0], &values = context.inputs[1];
  if (keys.dims[1] != heads * dim || values.dims[1] != heads * dim)
    return;
  for (size_t s = 0; s < context.batch->segments.size(); ++s) {
    const BatchSegment &segment = context.batch->segments[s];
    context.pool->parallelFor(segment.length * heads, 1 + 8192 / dim, [&](int64_t begin, int64_t end, unsigned) {
      for (int64_t item = begin; item < end; ++item) {
        // Positions run fastest: neighbours fill one line of the transposed keys.
        int64_t head = item / segment.length, t = item % segment.length, position = segment.firstPosition + t;
        uint8_t *base = state.page(s, position / kPagePositions) + size_t(head) * layout.bytes;
        size_t p = size_t(position % kPagePositions);
        kvStore(spec.dtype(), keys.row<float>(segment.firstRow + t) + head * dim, size_t(dim), kPagePositions,
                base + p * layout.elementBytes, base + layout.keyScales + p * 4);
        kvStore(spec.dtype(), values.row<float>(segment.firstRow + t) + head * dim, size_t(dim), 1,
                base + layout.valueOffset + p * layout.valueStride * layout.elementBytes,
                base + layout.valueScales + p * 4);
      }
    });
  }
}

const KernelDef kvAppendKernels[] = {{"kv_append", 1, Isa::portable, check, nullptr, run}};

} // namespace mlc::cpu
