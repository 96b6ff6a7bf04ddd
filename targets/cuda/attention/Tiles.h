//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The arithmetic of tiles, masks and schedules, the same on the host and on the device.
//
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define MLC_BOTH __host__ __device__ __forceinline__
#else
#define MLC_BOTH inline
#endif

namespace mlc::cuda {

MLC_BOTH constexpr int least(int a, int b) { return a < b ? a : b; }
MLC_BOTH constexpr int most(int a, int b) { return a > b ? a : b; }
MLC_BOTH constexpr int ceilDiv(int a, int b) { return (a + b - 1) / b; }

/// Which columns the rows of one sequence see: row r those in [first(r), end(r)). -1: a window without that bound.
/// Rows and columns end together ("bottom right").
struct Mask {
  int rows, columns; // of the sequence
  int left, right;

  MLC_BOTH constexpr int first(int row) const { return left < 0 ? 0 : most(0, row + columns - rows - left); }
  MLC_BOTH constexpr int end(int row) const {
    // The sum is at most columns + right, which the host keeps below 2^31.
    return right < 0 ? columns : most(0, least(columns, row + columns - rows + right + 1));
  }
  /// Whether a row in [row, row + count) does not see all of [column, column + width).
  MLC_BOTH constexpr bool cuts(int row, int count, int column, int width) const {
    return column + width > end(row) || column < first(row + count - 1);
  }
};

/// Blocks [begin, end) of `width` columns that rows [row, row + count) see.
struct BlockRange {
  int begin, end;
  MLC_BOTH constexpr int count() const { return end > begin ? end - begin : 0; }
};
MLC_BOTH constexpr BlockRange blocksOf(const Mask &mask, int row, int count, int width) {
  const int last = least(row + count, mask.rows) - 1;
  if (last < row)
    return {0, 0};
  const int begin = mask.first(row), end = mask.end(last);
  if (end <= begin)
    return {0, 0};
  return {begin / width, ceilDiv(end, width)};
}

/// The order of the tiles: sections of as many heads as the L2 cache holds K and V of; in a section the last rows (the
/// longest under a causal mask) first, so that the short tiles fill the end.
struct TileOrder {
  int rowBlocks, heads, section; // heads: of all sequences
  struct Tile {
    int rowBlock, head;
  };
  MLC_BOTH constexpr int tiles() const { return rowBlocks * heads; }
  MLC_BOTH constexpr Tile tile(int index) const {
    const int inSection = section * rowBlocks, at = index / inSection, rest = index - at * inSection;
    const int wide = least(section, heads - at * section);
    return {rowBlocks - 1 - rest / wide, at * section + rest % wide};
  }
};

/// Rows of kHeadDim 16-bit values in shared memory without bank conflicts: eight rows' 16-byte chunks of one number,
/// and eight chunks of a row where there are as many, lie in different banks.
template <int kHeadDim> struct SwizzledRows {
  static constexpr int kChunks = kHeadDim / 8, kRowBytes = kHeadDim * 2;
  static constexpr int kGroup = kChunks % 8 == 0 ? 8 : kChunks % 4 == 0 ? 4 : 2; // chunks that are permuted
  static_assert(kHeadDim % 16 == 0);

  MLC_BOTH static constexpr int offset(int row, int chunk) {
    return row * kRowBytes + (chunk ^ row / (8 / kGroup) % kGroup) * 16;
  }
  /// From the address of chunk 0 or 1 of a row to that of the chunk `pairs` pairs on; the rows' base lies at a multiple
  /// of 128.
  MLC_BOTH static constexpr uint32_t along(uint32_t address, int pairs) {
    return (address ^ 2 * pairs % kGroup * 16) + 2 * pairs / kGroup * kGroup * 16;
  }
};

} // namespace mlc::cuda
