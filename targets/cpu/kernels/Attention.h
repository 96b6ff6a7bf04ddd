//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What attention's blocks share with the kernel: which rows, which state, where results go. Plain: the forms include
// it.
//
#pragma once

#include "targets/cpu/kernels/PairTiles.h"

#include <stdint.h>

namespace mlc::cpu {

// Most columns of a head whose scores are products of codes: up to 1040 such sums are exact in f32.
constexpr uint32_t kCodesHeadDim = 1024;
// Positions of a page, and pages of a chunk: inside a chunk one online softmax, then the chunks are combined in order.
constexpr int64_t kAttentionPage = 64, kChunkPages = 16, kChunkPositions = kChunkPages * kAttentionPage;

/// One KV head of one segment. Rows are (query, head of the group) pairs, the group's heads fastest.
struct AttentionArgs {
  const float *q; // Of the group's first head, first query.
  float *out;
  int64_t qStride, outStride; // Between queries.
  int64_t group, headDim, paddedDim, firstPosition, window;
  float scale, softcap;
  // The KV state.
  uint8_t dtype; // As fb::DType: 0 f32, 1 f16, 2 bf16, 4 i8.
  const uint8_t *pool;
  int64_t pageBytes, headOffset, valueOffset, keyScales, valueScales;
  const uint32_t *pages;
  // Partial results of chunk c of row r: record r * chunks + c, of 16 + paddedDim floats: max, sum, ..., values.
  float *partials;
  int64_t chunks;
  PairTilesFn *tiles; // Multiply pairs of bf16; null: registers do.
};
/// Rows [rowBegin, rowEnd), at most a block of them: to `out`, or from `partials` to `out`.
using AttentionBlockFn = void(const AttentionArgs &args, int64_t rowBegin, int64_t rowEnd, uint8_t *scratch);
/// One chunk of them to `partials`.
using AttentionChunkFn = void(const AttentionArgs &args, int64_t rowBegin, int64_t rowEnd, int64_t chunk,
                              uint8_t *scratch);

/// Most rows of a block: its page tiles are shared by its rows, which lie in L2.
constexpr int64_t attentionBlockRows(int64_t paddedDim) { return paddedDim <= 64 ? 192 : paddedDim <= 128 ? 96 : 48; }
constexpr int64_t kGroupRows = 16; // Rows of a group, at most; the scores of two groups exist at once.
/// Floats of a worker's scratch, aligned to 64 bytes.
constexpr int64_t attentionScratch(int64_t paddedDim) {
  return attentionBlockRows(paddedDim) * (3 * paddedDim + 16 + 2 * 16 + 5) + 2 * kAttentionPage * (paddedDim + 16) +
         4 * kGroupRows * kAttentionPage + 16;
}

} // namespace mlc::cpu
