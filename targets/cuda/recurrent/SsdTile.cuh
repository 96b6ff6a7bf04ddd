//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// ssd on tensor cores: factors rounded to bf16, f32 sums, the meaning of targets/cpu/kernels/SsdRounded.h. A block has
// up to 64 columns of one head of one segment, grid (heads x tiles of columns, segments). Four warps have 16 columns of
// the state each, transposed, as the sums of products: rounded in pairs they are the left operand of S c^T as they lie,
// and b^T (w x) is added to them. What depends on no state runs ahead: two warps round b and c of one page into shared
// memory while one takes its steps, and another makes g of the page before. The block meets once a page. Of prompts
// mlc_ssd_pack_* rounds and multiplies b and c before, once for all heads.
//
// A row's sums are those of its page's base, and of the page's entries in an order of its own; what it does not see
// weighs 0. So any split of a sequence into steps gives the same bits.
//
#pragma once

#include "targets/cuda/recurrent/SsdTileAhead.cuh"
#include "targets/cuda/recurrent/SsdTileColumns.cuh"

namespace mlc::cuda {

template <int kStates> MLC_DEVICE void ssdTile(const SsdArgs &args) {
  constexpr int kColumnWarps = kSsdTileColumns / 16;
  static_assert(kSsdTileThreads == (kColumnWarps + 4) * kWarp);
  // Each kind of warp has registers of its own.
  const int warp = agreed(int(threadIdx.x) / kWarp), tiles = (args.headDim + kSsdTileColumns - 1) / kSsdTileColumns;
  const int head = int(blockIdx.x) / tiles, firstColumn = int(blockIdx.x) % tiles * kSsdTileColumns;
  if (warp < kColumnWarps)
    SsdTileColumns<kStates>(args, head, firstColumn).run();
  else if (warp == kColumnWarps)
    SsdTileProducts<kStates>(args, head, firstColumn).run();
  else if (warp == kColumnWarps + 1)
    SsdTileSteps<kStates>(args, head, firstColumn).run();
  else
    SsdTileFactors<kStates>(args, head, firstColumn).run();
}

/// Grid (pages, segments, groups): what every head of a group would do for itself.
template <int kStates> MLC_DEVICE void ssdPack(const SsdArgs &args) {
  const int page = int(blockIdx.x), head = int(blockIdx.z) * (args.heads / args.groups);
  SsdTileFactors<kStates> factors(args, head, 0);
  static_assert(kSsdPackThreads == factors.kThreads);
  if (page >= factors.pages)
    return;
  if (factors.wide)
    factors.fetch(page);
  factors.placeFetched(page);
  __syncthreads();
  factors.forPacked(page, [](const uint8_t *row, uint8_t *to) {
    *reinterpret_cast<uint4 *>(to) = *reinterpret_cast<const uint4 *>(row);
  });
  if (threadIdx.x >= kWarp)
    return;
  const SsdTileProducts<kStates> products(args, head, 0);
  float sums[2][4];
  products.multiplyPage(page, sums);
  float4 *to = products.packedSums(page);
  for (int half = 0; half < 2; ++half)
    to[half] = {sums[half][0], sums[half][1], sums[half][2], sums[half][3]};
}

} // namespace mlc::cuda

// Before Hopper the compiler finds no 128 registers that do.
MLC_KERNEL_TOGETHER(mlc_ssd_tile_128, SsdArgs, kSsdTileThreads, kHopper ? 2 : 1) {
  begin();
  ssdTile<128>(args);
}
MLC_KERNEL_OF(mlc_ssd_tile_256, SsdArgs, kSsdTileThreads) {
  begin();
  ssdTile<256>(args);
}
MLC_KERNEL_OF(mlc_ssd_pack_128, SsdArgs, kSsdPackThreads) {
  begin();
  ssdPack<128>(args);
}
MLC_KERNEL_OF(mlc_ssd_pack_256, SsdArgs, kSsdPackThreads) {
  begin();
  ssdPack<256>(args);
}
