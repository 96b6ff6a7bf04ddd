//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// rope_angles and rope: a thread for a pair of columns.
//
#pragma once

#include "targets/cuda/device/Cuda.h"

namespace mlc::cuda {

/// cos and sin of an angle below 2^31, of which the whole turns are taken off exactly.
MLC_DEVICE void sineCosine(double angle, double &sine, double &cosine) {
  constexpr double inverse = 0.31830988618379067, rest = -1.9678676675182486e-17; // 1 / pi in two parts.
  double turns = angle * inverse, low = fma(angle, rest, fma(angle, inverse, -turns));
  double whole = rint(turns * 0.5) * 2.0;
  sinCosPi((turns - whole) + low, sine, cosine);
}

/// The dynamic-NTK frequency i, in the f32 steps of transformers.
MLC_DEVICE float dynamicFrequency(const AnglesArgs &args, int64_t length, int i) {
  float dim = float(args.rotary), factor = args.factor;
  float growth = factor * float(length) / float(args.originalContext) - (factor - 1.0f);
  float base = args.theta * float(pow(double(growth), double(dim) / (double(dim) - 2.0)));
  return 1.0f / float(pow(double(base), double(float(2 * i) / dim)));
}

} // namespace mlc::cuda

MLC_KERNEL(mlc_rope_angles, AnglesArgs) {
  begin();
  int row = blockIdx.y, i = int(blockIdx.x * blockDim.x + threadIdx.x), half = args.rotary / 2;
  if (i >= half)
    return;
  const StepSegment &segment = args.step.segments[args.step.segment[row]];
  bool beyond = segment.formLength > 0 && segment.formLength > args.originalContext;
  float frequency = args.tables[beyond && args.scaling == Scaling::longrope ? half + i : i];
  if (beyond && args.scaling == Scaling::dynamic)
    frequency = dynamicFrequency(args, segment.formLength, i);
  double sine, cosine;
  sineCosine(double(float(args.step.position[row]) * frequency), sine, cosine);
  float *out = args.out.data + row * args.out.stride;
  out[i] = float(cosine) * args.attentionFactor;
  out[half + i] = float(sine) * args.attentionFactor;
}

/// Grid (pairs and columns left alone of all heads, rows).
MLC_KERNEL(mlc_rope, RopeArgs) {
  begin();
  int row = blockIdx.y, half = args.rotary / 2, rest = args.headDim - args.rotary, each = half + rest;
  int64_t item = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (item >= int64_t(args.heads) * each)
    return;
  int head = int(item / each), i = int(item % each);
  const float *x = args.x.data + row * args.x.stride + int64_t(head) * args.headDim;
  float *out = args.out.data + row * args.out.stride + int64_t(head) * args.headDim;
  if (i >= half) {
    out[half + i] = x[half + i];
    return;
  }
  const float *angles = args.angles.data + row * args.angles.stride;
  float cosine = angles[i], sine = angles[half + i];
  int first = args.interleaved ? 2 * i : i, second = args.interleaved ? 2 * i + 1 : half + i;
  float a = x[first], b = x[second];
  out[first] = a * cosine - b * sine;
  out[second] = b * cosine + a * sine;
}
