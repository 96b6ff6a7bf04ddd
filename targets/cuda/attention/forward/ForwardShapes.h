//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Sizes of the forms of the forward kernels.
//
#pragma once

#include "targets/cuda/attention/Tiles.h"

namespace mlc::attention {

/// Of one form for sm_90a: warpgroups that multiply, 64 rows each; columns of a block; blocks in flight.
template <int kHeadDim_, int kConsumers_, int kColumns_, int kStages_> struct HopperShape {
  static constexpr int kHeadDim = kHeadDim_, kConsumers = kConsumers_, kColumns = kColumns_, kStages = kStages_;
  static constexpr int kChunks = (kHeadDim + 63) / 64; // of 64 columns: 128 bytes, the widest swizzle
  static constexpr int kRows = 64 * kConsumers;
  static constexpr int kThreads = 128 * (kConsumers + 1);
  static constexpr int kQBytes = 64 * 128 * kChunks, kKvBytes = kColumns * 128 * kChunks;
  static constexpr int kConsumerRegisters = kConsumers == 2 ? 232 : 160, kProducerRegisters = kConsumers == 2 ? 40 : 32;
  struct Tile {
    int row, head, batch;        // its first row; -1: no more
    int rows, columns, firstKey; // of the sequence
  };
  struct Shared {
    alignas(1024) uint8_t q[kConsumers][kQBytes];
    alignas(1024) uint8_t k[kStages][kKvBytes];
    alignas(1024) uint8_t v[kStages][kKvBytes];
    uint64_t qFull[kConsumers], qEmpty[kConsumers];
    uint64_t kFull[kStages], kEmpty[kStages], vFull[kStages], vEmpty[kStages];
    uint64_t tileFull[2], tileEmpty[2], copied;
    Tile tile[2];
  };
  static constexpr int kSharedBytes = sizeof(Shared) + 1024; // the base is aligned by hand
  static_assert(kSharedBytes <= 227 * 1024);
};
/// The form for a head dimension.
template <int kHeadDim> struct HopperForm;
template <> struct HopperForm<64> : HopperShape<64, 3, 128, 4> {};
template <> struct HopperForm<80> : HopperShape<80, 3, 96, 3> {};
template <> struct HopperForm<96> : HopperShape<96, 3, 96, 3> {};
template <> struct HopperForm<128> : HopperShape<128, 3, 80, 3> {};
template <> struct HopperForm<256> : HopperShape<256, 2, 80, 2> {};
/// Boxes of K and V of a paged cache: as many rows; a page has a multiple of them.
constexpr int kPagedBoxRows = 16;

/// Of one form for sm_80. kRowTiles: 16-row fragments of a warp. kKeepQ: Q in registers, not in shared
/// memory. kBlocks: that share a multiprocessor.
template <int kHeadDim_, int kWarps_, int kRowTiles_, int kColumns_, int kSlots_, bool kKeepQ_, int kBlocks_>
struct AmpereShape {
  static constexpr int kHeadDim = kHeadDim_, kRowTiles = kRowTiles_, kColumns = kColumns_, kSlots = kSlots_;
  static constexpr bool kKeepQ = kKeepQ_;
  static constexpr int kBlocks = kBlocks_;
  static constexpr int kWarpRows = 16 * kRowTiles, kRows = kWarps_ * kWarpRows, kThreads = 32 * kWarps_;
  static constexpr int kTileBytes = kColumns * kHeadDim * 2, kQBytes = kKeepQ ? 0 : kRows * kHeadDim * 2;
  static constexpr int kSharedBytes = kQBytes + kSlots * kTileBytes;
  static_assert(kTileBytes % 128 == 0 && kQBytes % 128 == 0 && kSlots >= 2);
};

/// The form for a head dimension. kSmall: for processors with 100 KiB of shared memory (sm_86, sm_89, sm_120), not 164.
template <int kHeadDim, bool kSmall> struct AmpereForm;
template <bool kSmall> struct AmpereForm<64, kSmall> : AmpereShape<64, 4, 2, 128, 2, false, 2> {};
template <bool kSmall> struct AmpereForm<80, kSmall> : AmpereShape<80, 4, 2, 64, 3, true, 2> {};
template <bool kSmall> struct AmpereForm<96, kSmall> : AmpereShape<96, 4, 2, 64, 2, false, 2> {};
template <> struct AmpereForm<128, false> : AmpereShape<128, 4, 2, 64, 3, false, 2> {};
template <> struct AmpereForm<128, true> : AmpereShape<128, 4, 2, 32, 2, false, 2> {};
template <> struct AmpereForm<256, false> : AmpereShape<256, 8, 1, 64, 2, false, 1> {};
template <> struct AmpereForm<256, true> : AmpereShape<256, 8, 1, 32, 4, true, 1> {};

} // namespace mlc::attention
