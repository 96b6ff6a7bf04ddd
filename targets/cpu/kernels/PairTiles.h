//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Products of bf16 pairs with AMX tiles, as `linear` and attention call them. Plain: the forms include it.
//
#pragma once

#include <stdint.h>

namespace mlc::cpu {

/// acc[r][j] += sum over pairs of x[r] . w[.][j], in blocks of 16 pairs from the first one: inside a block the first
/// values' products and the second ones' are summed apart, then both sums together are added to acc.
struct PairTiles {
  const uint8_t *x; // bf16 pairs of the first row.
  int64_t xStride;  // In bytes.
  const uint8_t *w; // For each pair of the sum: pairs of 16 columns side by side, 64 bytes.
  int64_t wStride;  // Bytes between pairs of the sum.
  int64_t wVector;  // Bytes between one 16 columns and the next.
  int64_t pairs;
  float *acc;
  int64_t accStride; // In floats.
  bool fresh;        // acc starts at 0 and is not read.
  int64_t ahead;     // Bytes that w is fetched ahead; 0: not.
};

/// `vectors`: of 16 columns. `shape`: what the tiles are configured for, 0 at first; a call with 0 rows sets them free.
using PairTilesFn = void(const PairTiles &, int64_t rows, int64_t vectors, int64_t &shape);

} // namespace mlc::cpu
