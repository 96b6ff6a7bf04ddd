//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// attention with f32 products: each page of the KV head converted to f32 once for a block, the products by simd/Gemm.h.
// Every sum of a row runs over exactly its visible positions, ascending: a row's bits depend on nothing else.
//
#include "targets/cpu/kernels/AttentionRows.h"
#include "targets/cpu/simd/Gemm.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

constexpr int64_t kPage = kAttentionPage;

/// The parts of a worker's scratch.
struct AttentionScratch {
  float *q, *scores, *keys, *values;
};

void loadQueries(const AttentionArgs &a, int64_t rowBegin, int64_t rowEnd, float *q) {
  for (int64_t row = rowBegin; row < rowEnd; ++row, q += a.headDim) {
    const float *source = a.q + row / a.group * a.qStride + row % a.group * a.headDim;
    for (int64_t i = 0; i < a.headDim; i += kLanes)
      storePart(q + i, loadPart(source + i, a.headDim - i) * set1(a.scale), a.headDim - i);
  }
}

/// The page's K [headDim][64] and V [64][paddedDim] of this head in f32: the page itself, or converted into scratch.
void loadPage(const AttentionArgs &a, const uint8_t *base, const AttentionScratch &s, const float *&keys,
              const float *&values) {
  if (a.dtype == 0) {
    keys = reinterpret_cast<const float *>(base);
    values = reinterpret_cast<const float *>(base + a.valueOffset);
    return;
  }
  keys = s.keys;
  values = s.values;
  int64_t keyVectors = a.headDim * (kPage / kLanes), valueVectors = a.paddedDim / kLanes;
  const uint8_t *v = base + a.valueOffset;
  if (a.dtype == 1) {
    for (int64_t i = 0; i < keyVectors; ++i)
      store(s.keys + i * kLanes, loadF16(base + i * 32));
    for (int64_t i = 0; i < kPage * valueVectors; ++i)
      store(s.values + i * kLanes, loadF16(v + i * 32));
  } else if (a.dtype == 2) {
    for (int64_t i = 0; i < keyVectors; ++i)
      store(s.keys + i * kLanes, loadBf16(base + i * 32));
    for (int64_t i = 0; i < kPage * valueVectors; ++i)
      store(s.values + i * kLanes, loadBf16(v + i * 32));
  } else {
    const float *keyScales = reinterpret_cast<const float *>(base + a.keyScales);
    const float *valueScales = reinterpret_cast<const float *>(base + a.valueScales);
    for (int64_t i = 0; i < keyVectors; ++i)
      store(s.keys + i * kLanes, toFloat(loadI8(base + i * kLanes)) * load(keyScales + i % 4 * kLanes));
    for (int64_t p = 0; p < kPage; ++p)
      for (int64_t i = p * valueVectors; i < (p + 1) * valueVectors; ++i)
        store(s.values + i * kLanes, toFloat(loadI8(v + i * kLanes)) * set1(valueScales[p]));
  }
}

/// One page into a row's online softmax: scores become probabilities relative to the new maximum, and the record
/// (max, sum, ..., values) is rescaled to it.
MLC_SIMD void softmaxRow(const AttentionArgs &a, float *scores, Span span, float *record) {
  VF s[kPage / kLanes], top = set1(-__builtin_inff());
  for (int c = 0; c < kPage / kLanes; ++c) {
    VI mask = laneMask(span.begin - c * kLanes, span.end - c * kLanes);
    VF v = load(scores + c * kLanes);
    if (a.softcap != 0)
      v = tanh(v / set1(a.softcap)) * set1(a.softcap);
    s[c] = select(mask, v, set1(-__builtin_inff()));
    top = maximum(s[c], top);
  }
  float old = record[0], now = maxLanes(top);
  now = now > old ? now : old;
  VF sum = zero();
  for (int c = 0; c < kPage / kLanes; ++c) {
    // Masked lanes are -infinity: their exponential is exactly 0.
    s[c] = exp(s[c] - set1(now));
    sum = sum + s[c];
    store(scores + c * kLanes, s[c]);
  }
  float total = sumLanes(sum);
  if (now == old) {
    record[1] = record[1] + total;
    return;
  }
  VF rescale = exp(set1(old - now));
  record[0] = now;
  record[1] = record[1] * rescale[0] + total;
  for (int64_t i = 0; i < a.paddedDim; i += kLanes)
    store(record + 16 + i, load(record + 16 + i) * rescale);
}

/// values += probabilities x V over each row's own span.
void weighValues(const AttentionArgs &a, int64_t firstRow, int64_t count, int64_t start, const float *scores,
                 const float *values, float *records) {
  int64_t record = 16 + a.paddedDim, vectors = a.paddedDim / kLanes;
  auto part = [&](int64_t r, int64_t rows, int64_t begin, int64_t end) {
    if (begin < end)
      gemm({scores + r * kPage + begin, kPage, values + begin * a.paddedDim, a.paddedDim, kLanes, end - begin,
            records + r * record + 16, record, false},
           rows, vectors);
  };
  Span first = visibleIn(a, firstRow, start), last = visibleIn(a, firstRow + count - 1, start);
  if (first.begin == last.begin && first.end == last.end)
    return part(0, count, first.begin, first.end);
  for (int64_t r = 0; r < count; r += kGemmRows) {
    int64_t rows = count - r < kGemmRows ? count - r : kGemmRows;
    // Spans move forward with the row: the last row begins last, the first ends first.
    int64_t begin = visibleIn(a, firstRow + r + rows - 1, start).begin, end = visibleIn(a, firstRow + r, start).end;
    for (int64_t i = r; i < r + rows; ++i) {
      Span own = visibleIn(a, firstRow + i, start);
      part(i, 1, own.begin, begin < end ? begin : own.end);
    }
    if (begin < end) {
      part(r, rows, begin, end);
      for (int64_t i = r; i < r + rows; ++i)
        part(i, 1, end, visibleIn(a, firstRow + i, start).end);
    }
  }
}

struct F32Rows {
  MLC_SIMD VF power(VF x) { return exp(x); }

  F32Rows(const AttentionArgs &a, int64_t rowBegin, int64_t rowEnd, uint8_t *scratch)
      : a(a), rowBegin(rowBegin), rowEnd(rowEnd), record(16 + a.paddedDim) {
    s.keys = reinterpret_cast<float *>(scratch);
    s.values = s.keys + kPage * a.headDim;
    s.scores = s.values + kPage * a.paddedDim;
    parts = s.scores + kBlockRows * kPage;
    totals = parts + kBlockRows * record;
    s.q = totals + kBlockRows * record;
    loadQueries(a, rowBegin, rowEnd, s.q);
  }

  /// Fills the records of `parts`. Rows that see nothing of the chunk keep max -infinity.
  void chunk(int64_t chunk) {
    for (int64_t r = 0; r < rowEnd - rowBegin; ++r) {
      for (int64_t i = 0; i < record; i += kLanes)
        store(parts + r * record + i, zero());
      parts[r * record] = -__builtin_inff();
    }
    forEachPage(a, rowBegin, rowEnd, chunk, [&](int64_t start, const uint8_t *base, int64_t begin, int64_t end) {
      const float *keys, *values;
      loadPage(a, base, s, keys, values);
      int64_t seen = visibleIn(a, end - 1, start).end, skip = begin - rowBegin;
      gemm({s.q + skip * a.headDim, a.headDim, keys, kPage, kLanes, a.headDim, s.scores, kPage, true}, end - begin,
           (seen + kLanes - 1) / kLanes);
      for (int64_t row = begin; row < end; ++row)
        softmaxRow(a, s.scores + (row - begin) * kPage, visibleIn(a, row, start), parts + (row - rowBegin) * record);
      weighValues(a, begin, end - begin, start, s.scores, values, parts + skip * record);
    });
  }

  const AttentionArgs &a;
  int64_t rowBegin, rowEnd, record;
  AttentionScratch s;
  float *parts, *totals;
};

} // namespace

AttentionBlockFn attentionBlockF32;
void attentionBlockF32(const AttentionArgs &a, int64_t rowBegin, int64_t rowEnd, uint8_t *scratch) {
  blockOf<F32Rows>(a, rowBegin, rowEnd, scratch);
}

AttentionChunkFn attentionChunkF32;
void attentionChunkF32(const AttentionArgs &a, int64_t rowBegin, int64_t rowEnd, int64_t chunk, uint8_t *scratch) {
  chunkOf<F32Rows>(a, rowBegin, rowEnd, chunk, scratch);
}

AttentionBlockFn attentionCombineF32;
void attentionCombineF32(const AttentionArgs &a, int64_t rowBegin, int64_t rowEnd, uint8_t *) {
  combineOf<F32Rows>(a, rowBegin, rowEnd);
}

} // namespace MLC_ISA_NS
} // namespace mlc::cpu
