//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// How panels of channels by blocks of positions are shared among workers: conv and matmul.
//
#pragma once

#include "targets/cpu/Kernels.h"
#include "targets/cpu/kernels/Conv.h"

#include <algorithm>

namespace mlc::cpu {

MLC_DECLARE_FORMS(MLC_BASIC_FORMS, convTile, ConvTileFn)

/// `groups` matrices of m channels and k products each, over `rows` rows of `length` positions.
struct ConvWork {
  int64_t groups, m, k, rows, length;
};

/// Where a tile stands: fill() gives it its weight, windows, output and what follows the sum.
struct ConvPlace {
  int64_t group, panel, row, first;
};

/// Calls fill(tile, place), then the kernel, for every tile. Those of one panel follow one another.
template <typename Fill>
void forEachTile(WorkerPool *pool, ConvTileFn *kernel, const ConvWork &work, const Fill &fill) {
  // Few positions leave registers for more panels.
  const int64_t most = work.length == 1 ? 4 : work.length <= 3 ? 2 : 1, all = ceilDiv(work.m, kConvPanel);
  const int64_t wide = all / most, runs = wide + all % most, blocks = ceilDiv(work.length, kConvBlock);
  const int64_t items = runs * work.rows * blocks,
                macs = work.k * kConvPanel * most * std::min(work.length, kConvBlock);
  pool->parallelFor(work.groups * items, 1 + (int64_t(1) << 17) / macs, [&](int64_t begin, int64_t end, unsigned) {
    ConvTile tile;
    tile.k = work.k;
    for (int64_t item = begin; item < end; ++item) {
      int64_t run = item / (blocks * work.rows) % runs;
      ConvPlace place{item / items, run * most, item / blocks % work.rows, item % blocks * kConvBlock};
      tile.panels = most;
      // What `most` does not divide goes a panel at a time.
      if (run >= wide) {
        tile.panels = 1;
        place.panel = wide * most + run - wide;
      }
      tile.channels = std::min(work.m - place.panel * kConvPanel, tile.panels * kConvPanel);
      tile.positions = std::min(work.length - place.first, kConvBlock);
      fill(tile, place);
      kernel(tile);
    }
  });
}

} // namespace mlc::cpu
