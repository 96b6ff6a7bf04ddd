//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// rms_norm, add_rms_norm and gated_rms_norm: a block for a group of `width` columns of one row, grid (groups, rows).
// Each thread sums the squares of its columns in order; lanes are added by halves, then the warps in order.
//
#pragma once

#include "targets/cuda/elementwise/Elementwise.cuh"
#include "targets/cuda/norm/NormScale.cuh"

MLC_KERNEL(mlc_rms_norm, NormArgs) {
  begin();
  int64_t row = blockIdx.y, first = blockIdx.x * args.width;
  const float *x = args.x.data + row * args.x.stride + first;
  const float *residual = args.residual.data ? args.residual.data + row * args.residual.stride + first : nullptr;
  float *sum = args.sum.data ? args.sum.data + row * args.sum.stride + first : nullptr;
  float *out = args.out.data + row * args.out.stride + first;
  MLC_SHARED NormSums partial;
  float squares = 0;
  for (int64_t i = threadIdx.x; i < args.width; i += kNormThreads) {
    float v = x[i];
    if (residual)
      sum[i] = v = v + residual[i];
    squares = fmaf(v, v, squares);
  }
  float scale = normScale(squares, args.width, args.eps, partial);
  for (int64_t i = threadIdx.x; i < args.width; i += kNormThreads) {
    // The thread that wrote a sum reads it.
    float v = residual ? sum[i] : x[i];
    out[i] = v * scale * (args.weight[i] + args.offset);
  }
}

/// A thread reads and writes the same columns, so the output may be x or the gate.
MLC_KERNEL(mlc_gated_rms_norm, GatedNormArgs) {
  begin();
  int64_t row = blockIdx.y, first = blockIdx.x * args.width;
  const float *x = args.x.data + row * args.x.stride + first;
  const float *gate = args.gate.data + row * args.gate.stride + first;
  float *out = args.out.data + row * args.out.stride + first;
  MLC_SHARED NormSums partial;
  float squares = 0;
  for (int64_t i = threadIdx.x; i < args.width; i += kNormThreads) {
    float v = args.normFirst ? x[i] : x[i] * activate(args.act, gate[i]);
    squares = fmaf(v, v, squares);
  }
  float scale = normScale(squares, args.width, args.eps, partial);
  for (int64_t i = threadIdx.x; i < args.width; i += kNormThreads) {
    float v = x[i], factor = activate(args.act, gate[i]), weight = args.weight[first + i];
    out[i] = args.normFirst ? v * scale * weight * factor : v * factor * scale * weight;
  }
}
