//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cpu/KvPage.h"

#include <cstring>

namespace mlc {

size_t kvCanonicalBytes(const fb::KvSpec &spec, size_t positions) {
  size_t row = size_t(spec.head_dim()) * dtypeSize(spec.dtype()) + (spec.dtype() == DType::i8 ? sizeof(float) : 0);
  return 2 * positions * spec.kv_heads() * row;
}

namespace cpu {

KvHeadLayout kvHeadLayout(const fb::KvSpec &spec) {
  KvHeadLayout layout;
  layout.elementBytes = dtypeSize(spec.dtype());
  layout.valueStride = alignUp<size_t>(spec.head_dim(), 16);
  layout.valueOffset = spec.head_dim() * kPagePositions * layout.elementBytes;
  layout.keyScales = layout.valueOffset + kPagePositions * layout.valueStride * layout.elementBytes;
  size_t scales = spec.dtype() == DType::i8 ? kPagePositions * sizeof(float) : 0;
  layout.valueScales = layout.keyScales + scales;
  layout.bytes = layout.valueScales + scales;
  return layout;
}

bool kvSpecValid(const fb::KvSpec &spec) {
  DType type = spec.dtype();
  return (type == DType::f32 || type == DType::f16 || type == DType::bf16 || type == DType::i8) &&
         spec.kv_heads() >= 1 && spec.head_dim() >= 1 && uint64_t(spec.kv_heads()) * spec.head_dim() <= 1u << 22;
}

size_t kvPageBytes(const fb::KvSpec &spec) {
  return kvSpecValid(spec) ? kvHeadLayout(spec).bytes * spec.kv_heads() : 0;
}

// Elements and scales of positions [begin, end) between a page and canonical form, in the direction of `ToCanonical`.
template <bool ToCanonical, typename Page, typename Canonical>
static void convert(const fb::KvSpec &spec, Page *page, unsigned begin, unsigned end, Canonical *canonical) {
  KvHeadLayout layout = kvHeadLayout(spec);
  size_t size = layout.elementBytes, dim = spec.head_dim(), positions = end - begin;
  auto move = [&](Page *inPage, size_t bytes) {
    if constexpr (ToCanonical)
      memcpy(canonical, inPage, bytes);
    else
      memcpy(inPage, canonical, bytes);
    canonical += bytes;
  };
  for (bool value : {false, true}) {
    for (uint32_t head = 0; head < spec.kv_heads(); ++head) {
      Page *base = page + head * layout.bytes + (value ? layout.valueOffset : 0);
      for (unsigned p = begin; p < end; ++p)
        if (value)
          move(base + p * layout.valueStride * size, dim * size);
        else
          for (size_t d = 0; d < dim; ++d)
            move(base + (d * kPagePositions + p) * size, size);
    }
    if (spec.dtype() == DType::i8)
      for (uint32_t head = 0; head < spec.kv_heads(); ++head)
        move(page + head * layout.bytes + (value ? layout.valueScales : layout.keyScales) + begin * 4, positions * 4);
  }
}

void kvToCanonical(const fb::KvSpec &spec, const uint8_t *page, unsigned begin, unsigned end, uint8_t *canonical) {
  convert<true>(spec, page, begin, end, canonical);
}
void kvFromCanonical(const fb::KvSpec &spec, uint8_t *page, unsigned begin, unsigned end, const uint8_t *canonical) {
  convert<false>(spec, page, begin, end, canonical);
}

} // namespace cpu
} // namespace mlc
