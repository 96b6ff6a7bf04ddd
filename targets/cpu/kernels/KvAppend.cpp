//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// kv_append: stores the step's keys and values into their pages, rounded to the state's KV type. Bitwise the same in
// every form.
//
#include "targets/cpu/simd/Simd.h"
#if MLC_ISA_BASE
#include "targets/cpu/Kernels.h"
#include "targets/cpu/KvPage.h"
#endif

namespace mlc::cpu {

/// One position's K or V of a head, `count` values, into the KV type at element stride `stride`. int8 takes
/// scale = max|x| / 127, stored to `scale`; as quantize_rows does, what is not finite makes it NaN.
using KvStoreFn = void(uint8_t dtype, const float *source, int64_t count, int64_t stride, uint8_t *out, uint8_t *scale);

namespace MLC_ISA_NS {
namespace {

typedef int8_t V8 __attribute__((vector_size(16)));
typedef uint16_t V16 __attribute__((vector_size(32)));

/// To nearest even; NaN stays a quiet NaN.
MLC_SIMD V16 toBf16(VF v) {
  VI bits = (VI)v, special = bits >> 16 | 0x40, rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16, nan = v != v;
  return __builtin_convertvector((nan & special) | (~nan & rounded), V16);
}
MLC_SIMD V16 toF16(VF v) {
#if defined(__AVX512F__)
  return (V16)_mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif defined(__AVX2__)
  __m128i half[2] = {_mm256_cvtps_ph(low(v), _MM_FROUND_TO_NEAREST_INT),
                     _mm256_cvtps_ph(high(v), _MM_FROUND_TO_NEAREST_INT)};
  V16 out;
  __builtin_memcpy(&out, half, sizeof out);
  return out;
#else
  VI bits = (VI)v, sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
  // Adding 0.5 leaves the rounded subnormal in the low bits of the sum.
  VI small = (VI)((VF)size + set1(0.5f)) - 0x3f000000;
  VI normal = (size + 0xfff + (size >> 13 & 1) - 0x38000000) >> 13, nan = 0x7e00 | (size >> 13 & 0x3ff);
  VI isSmall = size < 0x38800000, isLarge = size >= 0x47800000, isNan = size > 0x7f800000;
  VI out = (isSmall & small) | (~isSmall & normal);
  out = (isLarge & 0x7c00) | (~isLarge & out);
  return __builtin_convertvector(sign | (isNan & nan) | (~isNan & out), V16);
#endif
}

/// Elements [i, i + 16) of `values`, as far as there are so many, to where they belong.
template <typename T, typename V> MLC_SIMD void put(uint8_t *out, int64_t i, int64_t count, int64_t stride, V values) {
  int64_t n = count - i < kLanes ? count - i : kLanes;
  T lanes[kLanes];
  __builtin_memcpy(lanes, &values, sizeof lanes);
  if (stride == 1 && n == kLanes)
    __builtin_memcpy(out + i * int64_t(sizeof(T)), lanes, sizeof lanes);
  else
    for (int64_t j = 0; j < n; ++j)
      __builtin_memcpy(out + (i + j) * stride * int64_t(sizeof(T)), lanes + j, sizeof(T));
}

} // namespace

KvStoreFn kvStore;
void kvStore(uint8_t dtype, const float *source, int64_t count, int64_t stride, uint8_t *out, uint8_t *scale) {
  switch (dtype) {
  case 0: // f32
    for (int64_t i = 0; i < count; i += kLanes)
      put<float>(out, i, count, stride, loadPart(source + i, count - i));
    return;
  case 1: // f16
    for (int64_t i = 0; i < count; i += kLanes)
      put<uint16_t>(out, i, count, stride, toF16(loadPart(source + i, count - i)));
    return;
  case 2: // bf16
    for (int64_t i = 0; i < count; i += kLanes)
      put<uint16_t>(out, i, count, stride, toBf16(loadPart(source + i, count - i)));
    return;
  default:
    break;
  }
  VI largest = {};
  for (int64_t i = 0; i < count; i += kLanes) {
    VI bits = (VI)magnitude(loadPart(source + i, count - i));
    largest = bits > largest ? bits : largest;
  }
  int32_t bits = maxLanes(largest);
  float amax;
  __builtin_memcpy(&amax, &bits, 4);
  float s = amax / 127.0f, inverse = 127.0f / amax;
  if (bits >= 0x7f800000 || inverse > 3.4028234e38f) {
    s = bits < 0x7f800000 ? 0.0f : __builtin_nanf("");
    __builtin_memcpy(scale, &s, 4);
    for (int64_t i = 0; i < count; ++i)
      out[i * stride] = 0;
    return;
  }
  __builtin_memcpy(scale, &s, 4);
  for (int64_t i = 0; i < count; i += kLanes) {
    VI q = __builtin_convertvector(roundEven(loadPart(source + i, count - i) * set1(inverse)), VI);
    put<int8_t>(out, i, count, stride, __builtin_convertvector(q, V8));
  }
}

} // namespace MLC_ISA_NS

#if MLC_ISA_BASE

MLC_DECLARE_FORMS(MLC_BASIC_FORMS, kvStore, KvStoreFn)

static Status check(const KernelCallInfo &call) {
  MLC_TRY(checkCounts(call, 2, 0, 1));
  MLC_ASSIGN(const auto *attrs, attrsOrError<fb::KvAppendAttrs>(call, "kv_append"));
  MLC_TRY(checkKvState(call, attrs->kv_heads(), attrs->head_dim()));
  uint64_t columns = uint64_t(attrs->kv_heads()) * attrs->head_dim();
  MLC_TRY(checkMatrix(call.inputs[0], "k", DType::f32, columns));
  MLC_TRY(checkMatrix(call.inputs[1], "v", DType::f32, columns));
  return checkTokenRows(call, 2);
}

template <Isa isa> static void run(const KernelContext &context) {
  const KvStateView &state = context.kvStates[0];
  const fb::KvSpec &spec = state.spec;
  KvHeadLayout layout = kvHeadLayout(spec);
  int64_t heads = spec.kv_heads(), dim = spec.head_dim();
  const TensorView &keys = context.inputs[0], &values = context.inputs[1];
  if (keys.dims[1] != heads * dim || values.dims[1] != heads * dim)
    return;
  KvStoreFn *store = formFor(kvStoreForms, isa);
  for (size_t s = 0; s < context.batch->segments.size(); ++s) {
    const BatchSegment &segment = context.batch->segments[s];
    context.pool->parallelFor(segment.length * heads, 1 + 8192 / dim, [&](int64_t begin, int64_t end, unsigned) {
      for (int64_t item = begin; item < end; ++item) {
        // Positions run fastest: neighbours fill one line of the transposed keys.
        int64_t head = item / segment.length, t = item % segment.length, position = segment.firstPosition + t;
        uint8_t *base = state.page(s, position / kPagePositions) + size_t(head) * layout.bytes;
        size_t p = size_t(position % kPagePositions);
        store(uint8_t(spec.dtype()), keys.row<float>(segment.firstRow + t) + head * dim, dim, kPagePositions,
              base + p * layout.elementBytes, base + layout.keyScales + p * 4);
        store(uint8_t(spec.dtype()), values.row<float>(segment.firstRow + t) + head * dim, dim, 1,
              base + layout.valueOffset + p * layout.valueStride * layout.elementBytes,
              base + layout.valueScales + p * 4);
      }
    });
  }
}

MLC_KERNEL_FORMS(MLC_BASIC_FORMS, kvAppendKernels, "kv_append", check, nullptr, run)

#endif

} // namespace mlc::cpu
