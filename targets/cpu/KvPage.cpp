//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cpu/KvPage.h"

#include "runtime/core/Float16.h"

#include <cmath>
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

void kvStore(DType dtype, const float *source, size_t count, size_t stride, uint8_t *out, uint8_t *scale) {
  switch (dtype) {
  case DType::f32:
    for (size_t i = 0; i < count; ++i)
      memcpy(out + i * stride * 4, source + i, 4);
    return;
  case DType::f16:
  case DType::bf16:
    for (size_t i = 0; i < count; ++i) {
      uint16_t bits = dtype == DType::f16 ? f32ToF16(source[i]) : f32ToBf16(source[i]);
      memcpy(out + i * stride * 2, &bits, 2);
    }
    return;
  default:
    break;
  }
  // As quantize_rows does: what is not finite makes the scale NaN.
  uint32_t largest = 0;
  for (size_t i = 0; i < count; ++i) {
    uint32_t bits = std::bit_cast<uint32_t>(source[i]) & 0x7fffffff;
    largest = bits > largest ? bits : largest;
  }
  float amax = std::bit_cast<float>(largest), s = amax / 127.0f, inverse = 127.0f / amax;
  bool usable = largest < 0x7f800000 && inverse <= 3.4028234e38f;
  if (!usable)
    s = largest < 0x7f800000 ? 0.0f : NAN;
  memcpy(scale, &s, 4);
  for (size_t i = 0; i < count; ++i)
    out[i * stride] = uint8_t(usable ? int8_t(__builtin_rintf(source[i] * inverse)) : 0);
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
