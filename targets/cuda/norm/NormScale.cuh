//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What an RMS norm multiplies a row with: one order of sums wherever it is needed.
//
#pragma once

#include "targets/cuda/device/Cuda.h"

namespace mlc::cuda {
constexpr int kNormThreads = 256;

/// Shared memory that a block's sum takes.
using NormSums = float[kNormThreads / kWarp];

/// 1 / sqrt(mean + eps) of a group whose squares the block's threads have summed.
MLC_DEVICE float normScale(float squares, int64_t width, float eps, NormSums &partial) {
  squares = warpSum(squares);
  if (threadIdx.x % kWarp == 0)
    partial[threadIdx.x / kWarp] = squares;
  __syncthreads();
  float total = 0;
  for (int i = 0; i < kNormThreads / kWarp; ++i)
    total += partial[i];
  return 1.0f / sqrtf(total / float(width) + eps);
}

/// Of a row of k values, as mlc_rms_norm has it. Between two calls all threads of the block meet.
MLC_DEVICE float rowScale(const float *row, int k, float eps, NormSums &partial) {
  float squares = 0;
  for (int i = int(threadIdx.x); i < k; i += kNormThreads)
    squares = fmaf(row[i], row[i], squares);
  return normScale(squares, k, eps, partial);
}

/// Column `column` of a normed row.
MLC_DEVICE float normed(float x, float scale, const InputNorm &norm, int column) {
  return x * scale * (norm.weight[column] + norm.offset);
}

} // namespace mlc::cuda
