//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The ceiling of products: warps multiply one tile again and again, and nothing else.
//
#pragma once

#include "targets/cuda/device/Ring.cuh"

namespace mlc::cuda {
constexpr int kPeakTiles = 24; // Of 8 rows, as the widest products have.
} // namespace mlc::cuda

/// Grid (blocks), 8 warps. A round is 4 m16 n192 k16 for each.
MLC_KERNEL_OF(mlc_peak, PeakArgs, 256) {
  begin();
  MLC_SHARED uint4 shared[(kPeakTiles * 8 * kTileRowBytes + kTileAlignment) / 16];
  auto *tile = reinterpret_cast<uint8_t *>(shared);
  tile += (kTileAlignment - reinterpret_cast<uintptr_t>(tile) % kTileAlignment) % kTileAlignment;
  // Numbers of either sign between 1 and 2, so that as many bits change as with a model's.
  const auto number = [](uint32_t i) { return 0x3f803f80 | ((i * 2654435761u) & 0x807f807f); };
  for (int i = int(threadIdx.x); i < kPeakTiles * 8 * kTileRowBytes / 4; i += int(blockDim.x))
    reinterpret_cast<uint32_t *>(tile)[i] = number(uint32_t(i));
  uint32_t a[4];
  for (int i = 0; i < 4; ++i)
    a[i] = number(threadIdx.x * 4 + uint32_t(i) + 1);
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  fenceAsyncProxy();
#endif
  __syncthreads();
  const uint32_t b[2] = {a[2], a[1]};
  float sums[kPeakTiles][4] = {};
  for (int round = 0; round < args.rounds; ++round) {
    beginProducts<kHopper>();
#pragma unroll
    for (int step = 0; step < 4; ++step) {
      if constexpr (kHopper)
        multiplyTile<true>(sums, a, tile, step);
      else // Loads of b would be the limit.
        for (int i = 0; i < kPeakTiles; ++i)
          multiply(sums[i], a, b);
    }
    awaitProducts<kHopper>();
  }
  float total = 0;
  for (int i = 0; i < kPeakTiles; ++i)
    total += (sums[i][0] + sums[i][1]) + (sums[i][2] + sums[i][3]);
  args.out[blockIdx.x * blockDim.x + threadIdx.x] = total;
}
