//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// rms_norm and add_rms_norm: a block for a group of `width` columns of one row, grid (groups, rows). Each thread sums
// the squares of its columns in order; lanes, then warps are added by halves.
//
#pragma once

#include "targets/cuda/device/Cuda.h"

namespace mlc::cuda {
constexpr int kNormThreads = 256;
} // namespace mlc::cuda

MLC_KERNEL(mlc_rms_norm, NormArgs) {
  begin();
  MLC_SHARED float partial[kNormThreads / kWarp];
  int64_t row = blockIdx.y, first = blockIdx.x * args.width;
  const float *x = args.x.data + row * args.x.stride + first;
  const float *residual = args.residual.data ? args.residual.data + row * args.residual.stride + first : nullptr;
  float *sum = args.sum.data ? args.sum.data + row * args.sum.stride + first : nullptr;
  float *out = args.out.data + row * args.out.stride + first;
  float squares = 0;
  for (int64_t i = threadIdx.x; i < args.width; i += kNormThreads) {
    float v = x[i];
    if (residual)
      sum[i] = v = v + residual[i];
    squares = fmaf(v, v, squares);
  }
  squares = warpSum(squares);
  if (threadIdx.x % kWarp == 0)
    partial[threadIdx.x / kWarp] = squares;
  __syncthreads();
  float total = 0;
  for (int i = 0; i < kNormThreads / kWarp; ++i)
    total += partial[i];
  float scale = 1.0f / sqrtf(total / float(args.width) + args.eps);
  for (int64_t i = threadIdx.x; i < args.width; i += kNormThreads) {
    // The thread that wrote a sum reads it.
    float v = residual ? sum[i] : x[i];
    out[i] = v * scale * (args.weight[i] + args.offset);
  }
}
