//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// ssd on tensor cores: factors rounded to bf16, f32 sums, the meaning of targets/cpu/kernels/SsdRounded.h. A block has
// up to 64 columns of one head of one segment, grid (heads x tiles of columns, segments). Four warps have 16 columns of
// the state each, transposed, as the sums of products: rounded in pairs they are the left operand of S c^T as they lie,
// and b^T (w x) is added to them. What depends on no state runs ahead: two warps round b and c of one page into shared
// memory while one takes its steps, and another makes g of the page before. The block meets once a page.
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
  const int warp = agreed(int(threadIdx.x) / kWarp);
  if (warp < kColumnWarps)
    SsdTileColumns<kStates>(args).run();
  else if (warp == kColumnWarps)
    SsdTileProducts<kStates>(args).run();
  else if (warp == kColumnWarps + 1)
    SsdTileSteps<kStates>(args).run();
  else
    SsdTileFactors<kStates>(args).run();
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
