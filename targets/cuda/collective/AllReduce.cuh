//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// all_reduce: what every rank of tensor parallelism has of a sum, gathered by NCCL, then added here in the order of the
// ranks. NCCL's own sums depend on how many there are; these are the same bits on every rank, whatever the batch.
//
#pragma once

#include "targets/cuda/device/Cuda.h"

MLC_KERNEL(mlc_join_ranks, JoinRanksArgs) {
  begin();
  const int64_t row = blockIdx.y, column = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (column >= args.columns)
    return;
  const float *part = args.parts + row * args.columns + column;
  float sum = *part;
  if (args.residual.data)
    sum = args.residual.data[row * args.residual.stride + column] + sum;
  for (int rank = 1; rank < args.ranks; ++rank)
    sum += part[rank * args.partStride];
  args.out.data[row * args.out.stride + column] = sum;
}
