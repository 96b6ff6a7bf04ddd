//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the warps of ssd on tensor cores share.
//
#pragma once

#include "targets/cuda/device/Ring.cuh"
#include "targets/cuda/recurrent/States.cuh"

namespace mlc::cuda {

/// A page as the block's warps share it. Rows of b and c begin 4 banks apart. Of each 16 columns the pairs (2 i, 2 i +
/// 1) with even i come first: then a lane of the state has four values that are neighbours in a base.
template <int kStates> struct SsdTilePage {
  static constexpr int kStride = 2 * kStates + 16;
  alignas(16) uint8_t b[kStatePage * kStride];
  alignas(16) uint8_t c[kStatePage * kStride];
  // (c_t . b_j) exp(cum_t - cum_j) dt_j for j <= t, as right operands: a lane's two words of rows 0 to 7, then of 8 on.
  uint4 g[kWarp];
  // Every other row begins 8 banks further.
  static constexpr int kColumns = kSsdTileColumns + 4;
  alignas(16) float x[kStatePage * kColumns];
  StatePage kept;
  float d, fresh; // args.d of the head; not 0: the state before the page is zeros.
  float dt[kStatePage], cum[kStatePage];
  alignas(8) float decay[kStatePage], weight[kStatePage]; // exp(cum), exp(cum_15 - cum) dt.
};
static_assert(kSsdTilePages * sizeof(SsdTilePage<128>) == ssdTileBytes(128));
static_assert(kSsdTilePages * sizeof(SsdTilePage<256>) == ssdTileBytes(256));

/// Whether rows begin at multiples of `values` floats.
template <typename T> MLC_DEVICE bool beginAt(const T *data, int64_t stride, int values) {
  return (uintptr_t(data) / sizeof(float) | uint64_t(stride)) % unsigned(values) == 0;
}

/// What all warps of a block know, which has columns of a head from `firstColumn` on.
template <int kStates> struct SsdTileBlock {
  using Page = SsdTilePage<kStates>;
  const SsdArgs &args;
  int head, firstColumn;
  Page *shared = reinterpret_cast<Page *>(dynamicShared());
  int lane = int(threadIdx.x) % kWarp;
  int sharers = args.heads / args.groups, group = head / sharers; // Heads that share b and c.
  const StateSegment &blocks = args.state.segments[blockIdx.y];
  const StatePage *behind = args.state.pages + blocks.firstPage; // What is kept of each page.
  int first = int(args.step.segments[blockIdx.y].firstPosition % kStatePage);
  int total = first + args.step.segments[blockIdx.y].length; // Entries from the first page's first on.
  int firstRow = args.step.segments[blockIdx.y].firstRow;
  int pages = (total + kStatePage - 1) / kStatePage;
  // Where b and dt begin in a log entry.
  int64_t entryB = int64_t(args.heads) * args.headDim, entryDt = entryB + int64_t(args.groups) * args.size;

  MLC_DEVICE Page &at(int page) const { return shared[page % kSsdTilePages]; }
  // The step's rows are entries [begin, end) of a page; `row` is where entry 0 would be.
  MLC_DEVICE int begin(int page) const { return page ? 0 : first; }
  MLC_DEVICE int end(int page) const {
    return total - page * kStatePage < kStatePage ? total - page * kStatePage : kStatePage;
  }
  MLC_DEVICE int64_t row(int page) const { return firstRow + page * kStatePage - first; }
  MLC_DEVICE uint8_t *packed(int page) const {
    return args.packed + ((blocks.firstPage + page) * args.groups + group) * ssdPackedBytes(kStates);
  }
  MLC_DEVICE const StatePage &kept(int page) const { return behind[page]; }
};

} // namespace mlc::cuda
