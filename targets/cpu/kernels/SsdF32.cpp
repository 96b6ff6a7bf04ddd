//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// ssd with products of f32 values, and the step sizes of both kinds.
//
#include "targets/cpu/kernels/SsdRows.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

struct F32 {
  using T = float;
  using Vec = VF;
  static constexpr int64_t kStep = 1;
  static constexpr bool kTile = false;
  static constexpr int64_t kTileRows = 1;
  MLC_SIMD VF load(const float *p) { return MLC_ISA_NS::load(p); }
  MLC_SIMD VF broadcast(const float *p) { return set1(*p); }
  MLC_SIMD VF firstOf(VF v) { return v; }
  MLC_SIMD VF mac(VF a, VF b, VF c) { return multiplyAdd(a, b, c); }
  MLC_SIMD void storeRow(float *p, VF v) { store(p, v); }
  MLC_SIMD void storeTile(float *tile, int64_t columns, int64_t row, int64_t column, VF even, VF odd) {
    store(tile + row * columns + column, even);
    store(tile + (row + 1) * columns + column, odd);
  }
};

/// log(1 + exp(v)) = max(v, 0) + log1p(z), z = exp(-|v|), log1p(z) = 2 artanh(z / (2 + z)) by its series to s^15.
MLC_SIMD VF softplus(VF v) {
  VF z = exp(-magnitude(v)), s = z / (set1(2.0f) + z), q = s * s;
  VF p = set1(2.0f / 15);
  p = fma(p, q, set1(2.0f / 13));
  p = fma(p, q, set1(2.0f / 11));
  p = fma(p, q, set1(2.0f / 9));
  p = fma(p, q, set1(2.0f / 7));
  p = fma(p, q, set1(2.0f / 5));
  p = fma(p, q, set1(2.0f / 3));
  p = fma(p, q, set1(2.0f));
  return fma(p, s, select(v < zero(), zero(), v));
}

} // namespace

SsdStepFn ssdStep;
void ssdStep(const float *dt, const float *bias, float low, float high, float *out, int64_t n) {
  for (int64_t i = 0; i < n; i += kLanes) {
    VF v = softplus(loadPart(dt + i, n - i) + loadPart(bias + i, n - i));
    // NaN stays NaN.
    v = select(v < set1(low), set1(low), v);
    storePart(out + i, select(v > set1(high), set1(high), v), n - i);
  }
}

SsdPackFn ssdPackF32;
void ssdPackF32(const SsdPackArgs &args) { ssdPackOf<F32>(args); }
SsdHeadFn ssdHeadF32;
void ssdHeadF32(const SsdHeadArgs &args) { ssdHeadOf<F32>(args); }

} // namespace MLC_ISA_NS
} // namespace mlc::cpu
