//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cuda/KvPage.h"

#include <cstring>

namespace mlc::cuda {

size_t kvPageBytes(const fb::KvSpec &spec) {
  DType type = spec.dtype();
  if ((type != DType::f32 && type != DType::f16 && type != DType::bf16) || !spec.kv_heads() || !spec.head_dim() ||
      uint64_t(spec.kv_heads()) * spec.head_dim() > 1u << 16)
    return 0;
  return 2 * size_t(spec.kv_heads()) * kPagePositions * spec.head_dim() * dtypeSize(type);
}

/// Calls move(offset in the page, bytes) for every head of K, then of V.
template <typename Move> static void forEachHead(const fb::KvSpec &spec, unsigned begin, unsigned end, Move &&move) {
  size_t row = size_t(spec.head_dim()) * dtypeSize(spec.dtype());
  for (size_t head = 0; head < 2 * size_t(spec.kv_heads()); ++head)
    move((head * kPagePositions + begin) * row, (end - begin) * row);
}

void kvToCanonical(const fb::KvSpec &spec, const uint8_t *page, unsigned begin, unsigned end, uint8_t *canonical) {
  forEachHead(spec, begin, end, [&](size_t at, size_t bytes) {
    memcpy(canonical, page + at, bytes);
    canonical += bytes;
  });
}

void kvFromCanonical(const fb::KvSpec &spec, uint8_t *page, unsigned begin, unsigned end, const uint8_t *canonical) {
  forEachHead(spec, begin, end, [&](size_t at, size_t bytes) {
    memcpy(page + at, canonical, bytes);
    canonical += bytes;
  });
}

} // namespace mlc::cuda
