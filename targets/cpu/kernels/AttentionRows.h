//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What attention's two product types share: the positions a row sees, the order of chunks, their combination. `Rows`
// computes the chunks of a block.
//
#pragma once

#include "targets/cpu/kernels/Attention.h"
#include "targets/cpu/simd/Math.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

struct Span {
  int64_t begin, end;
};

/// Positions that row `row` sees.
MLC_SIMD Span visible(const AttentionArgs &a, int64_t row) {
  int64_t position = a.firstPosition + row / a.group, begin = 0;
  if (a.window && position - a.window + 1 > 0)
    begin = position - a.window + 1;
  return {begin, position + 1};
}

/// The same inside the page that begins at `start`.
MLC_SIMD Span visibleIn(const AttentionArgs &a, int64_t row, int64_t start) {
  Span s = visible(a, row);
  int64_t begin = s.begin - start, end = s.end - start;
  return {begin < 0 ? 0 : begin, end > kAttentionPage ? kAttentionPage : end};
}

/// Calls page(start, base, first, last) for every page of `chunk` of which the rows [first, last) of [rowBegin, rowEnd)
/// see something, in order; `base` is this head's part of the page.
template <typename Page>
MLC_SIMD void forEachPage(const AttentionArgs &a, int64_t rowBegin, int64_t rowEnd, int64_t chunk, const Page &body) {
  int64_t firstPage = visible(a, rowBegin).begin / kAttentionPage,
          endPage = (visible(a, rowEnd - 1).end + kAttentionPage - 1) / kAttentionPage;
  firstPage = firstPage > chunk * kChunkPages ? firstPage : chunk * kChunkPages;
  endPage = endPage < (chunk + 1) * kChunkPages ? endPage : (chunk + 1) * kChunkPages;
  for (int64_t page = firstPage; page < endPage; ++page) {
    int64_t start = page * kAttentionPage, begin = rowBegin, end = rowEnd;
    // Rows that see none of the page: the first ones end before it, the last ones begin after it.
    while (begin < end && visible(a, begin).end <= start)
      ++begin;
    while (begin < end && visible(a, end - 1).begin >= start + kAttentionPage)
      --end;
    if (begin < end)
      body(start, a.pool + int64_t(a.pages[page]) * a.pageBytes + a.headOffset, begin, end);
  }
}

/// total = total combined with `part`, of the next chunk.
template <typename Rows> void combine(const AttentionArgs &a, float *total, const float *part) {
  float now = part[0] > total[0] ? part[0] : total[0];
  VF left = Rows::power(set1(total[0] - now)), right = Rows::power(set1(part[0] - now));
  total[0] = now;
  total[1] = total[1] * left[0] + part[1] * right[0];
  for (int64_t i = 16; i < 16 + a.paddedDim; i += kLanes)
    store(total + i, fma(load(part + i), right, load(total + i) * left));
}

MLC_SIMD void finish(const AttentionArgs &a, int64_t row, const float *total) {
  float *out = a.out + row / a.group * a.outStride + row % a.group * a.headDim;
  VF inverse = set1(1.0f / total[1]);
  // A sum that is a negative zero alone may be a positive one beside rows that see more.
  for (int64_t i = 0; i < a.headDim; i += kLanes)
    storePart(out + i, fma(load(total + 16 + i), inverse, zero()), a.headDim - i);
}

template <typename Rows>
MLC_SIMD void blockOf(const AttentionArgs &a, int64_t rowBegin, int64_t rowEnd, uint8_t *scratch) {
  Rows rows(a, rowBegin, rowEnd, scratch);
  int64_t record = 16 + a.paddedDim;
  int64_t last = (visible(a, rowEnd - 1).end - 1) / kChunkPositions;
  for (int64_t chunk = visible(a, rowBegin).begin / kChunkPositions; chunk <= last; ++chunk) {
    rows.chunk(chunk);
    for (int64_t row = rowBegin; row < rowEnd; ++row) {
      Span span = visible(a, row);
      float *total = rows.totals + (row - rowBegin) * record, *part = rows.parts + (row - rowBegin) * record;
      if (chunk == span.begin / kChunkPositions)
        __builtin_memcpy(total, part, size_t(record) * sizeof(float));
      else if (chunk > span.begin / kChunkPositions && chunk <= (span.end - 1) / kChunkPositions)
        combine<Rows>(a, total, part);
    }
  }
  for (int64_t row = rowBegin; row < rowEnd; ++row)
    finish(a, row, rows.totals + (row - rowBegin) * record);
}

template <typename Rows>
MLC_SIMD void chunkOf(const AttentionArgs &a, int64_t rowBegin, int64_t rowEnd, int64_t chunk, uint8_t *scratch) {
  Rows rows(a, rowBegin, rowEnd, scratch);
  rows.chunk(chunk);
  int64_t record = 16 + a.paddedDim;
  for (int64_t row = rowBegin; row < rowEnd; ++row)
    __builtin_memcpy(a.partials + (row * a.chunks + chunk) * record, rows.parts + (row - rowBegin) * record,
                     size_t(record) * sizeof(float));
}

template <typename Rows> MLC_SIMD void combineOf(const AttentionArgs &a, int64_t rowBegin, int64_t rowEnd) {
  int64_t record = 16 + a.paddedDim;
  for (int64_t row = rowBegin; row < rowEnd; ++row) {
    Span span = visible(a, row);
    float *total = a.partials + (row * a.chunks + span.begin / kChunkPositions) * record;
    for (int64_t chunk = span.begin / kChunkPositions + 1; chunk <= (span.end - 1) / kChunkPositions; ++chunk)
      combine<Rows>(a, total, a.partials + (row * a.chunks + chunk) * record);
    finish(a, row, total);
  }
}

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
