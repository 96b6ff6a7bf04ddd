//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// attention: causal, grouped, paged, never materialising more scores than a page. For each row and KV head, pages of 64
// positions in order; within a chunk of 16 pages one online softmax, then the chunks are combined in order. Chunks lie
// at absolute positions and every sum of a row runs over exactly its visible positions, ascending: a row's bits depend
// on nothing else.
//
#include "targets/cpu/simd/Gemm.h"
#include "targets/cpu/simd/Math.h"
#if MLC_ISA_BASE
#include "targets/cpu/Kernels.h"
#include "targets/cpu/KvPage.h"
#endif

namespace mlc::cpu {

constexpr int64_t kPage = 64, kChunkPages = 16, kBlockRows = 48;

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
};
/// Rows [rowBegin, rowEnd), at most kBlockRows of them.
using AttentionBlockFn = void(const AttentionArgs &args, int64_t rowBegin, int64_t rowEnd, uint8_t *scratch);
using AttentionChunkFn = void(const AttentionArgs &args, int64_t rowBegin, int64_t rowEnd, int64_t chunk,
                              uint8_t *scratch);

/// The parts of a worker's scratch, in floats.
struct AttentionScratch {
  float *q, *scores, *keys, *values, *out, *total;
  static constexpr int64_t floats(int64_t headDim, int64_t paddedDim) {
    return kBlockRows * (headDim + kPage + 2 * (16 + paddedDim)) + kPage * (headDim + paddedDim) + 16;
  }
};

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
  return {begin < 0 ? 0 : begin, end > kPage ? kPage : end};
}

AttentionScratch carve(const AttentionArgs &a, uint8_t *scratch) {
  AttentionScratch s;
  int64_t record = 16 + a.paddedDim;
  s.keys = reinterpret_cast<float *>(scratch);
  s.values = s.keys + kPage * a.headDim;
  s.scores = s.values + kPage * a.paddedDim;
  s.out = s.scores + kBlockRows * kPage;
  s.total = s.out + kBlockRows * record;
  s.q = s.total + kBlockRows * record;
  return s;
}

void loadQueries(const AttentionArgs &a, int64_t rowBegin, int64_t rowEnd, float *q) {
  for (int64_t row = rowBegin; row < rowEnd; ++row, q += a.headDim) {
    const float *source = a.q + row / a.group * a.qStride + row % a.group * a.headDim;
    for (int64_t i = 0; i < a.headDim; i += kLanes)
      storePart(q + i, loadPart(source + i, a.headDim - i) * set1(a.scale), a.headDim - i);
  }
}

/// The page's K [headDim][64] and V [64][paddedDim] of this head in f32: the page itself, or converted into scratch.
void loadPage(const AttentionArgs &a, int64_t page, const AttentionScratch &s, const float *&keys,
              const float *&values) {
  const uint8_t *base = a.pool + int64_t(a.pages[page]) * a.pageBytes + a.headOffset;
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

/// One chunk for rows [rowBegin, rowEnd): fills s.out's records. Rows that see nothing of the chunk keep max -infinity.
void chunkRows(const AttentionArgs &a, int64_t rowBegin, int64_t rowEnd, int64_t chunk, const AttentionScratch &s) {
  int64_t record = 16 + a.paddedDim;
  for (int64_t r = 0; r < rowEnd - rowBegin; ++r) {
    for (int64_t i = 0; i < record; i += kLanes)
      store(s.out + r * record + i, zero());
    s.out[r * record] = -__builtin_inff();
  }
  int64_t firstPage = visible(a, rowBegin).begin / kPage, endPage = (visible(a, rowEnd - 1).end + kPage - 1) / kPage;
  firstPage = firstPage > chunk * kChunkPages ? firstPage : chunk * kChunkPages;
  endPage = endPage < (chunk + 1) * kChunkPages ? endPage : (chunk + 1) * kChunkPages;
  for (int64_t page = firstPage; page < endPage; ++page) {
    int64_t start = page * kPage, begin = rowBegin, end = rowEnd;
    // Rows that see none of the page: the first ones end before it, the last ones begin after it.
    while (begin < end && visible(a, begin).end <= start)
      ++begin;
    while (begin < end && visible(a, end - 1).begin >= start + kPage)
      --end;
    if (begin == end)
      continue;
    const float *keys, *values;
    loadPage(a, page, s, keys, values);
    int64_t seen = visibleIn(a, end - 1, start).end, skip = begin - rowBegin;
    gemm({s.q + skip * a.headDim, a.headDim, keys, kPage, kLanes, a.headDim, s.scores, kPage, true}, end - begin,
         (seen + kLanes - 1) / kLanes);
    for (int64_t row = begin; row < end; ++row)
      softmaxRow(a, s.scores + (row - begin) * kPage, visibleIn(a, row, start), s.out + (row - rowBegin) * record);
    weighValues(a, begin, end - begin, start, s.scores, values, s.out + skip * record);
  }
}

/// total = total combined with `part`, of the next chunk.
void combine(const AttentionArgs &a, float *total, const float *part) {
  float now = part[0] > total[0] ? part[0] : total[0];
  VF left = exp(set1(total[0] - now)), right = exp(set1(part[0] - now));
  total[0] = now;
  total[1] = total[1] * left[0] + part[1] * right[0];
  for (int64_t i = 16; i < 16 + a.paddedDim; i += kLanes)
    store(total + i, fma(load(part + i), right, load(total + i) * left));
}

void finish(const AttentionArgs &a, int64_t row, const float *total) {
  float *out = a.out + row / a.group * a.outStride + row % a.group * a.headDim;
  VF inverse = set1(1.0f / total[1]);
  for (int64_t i = 0; i < a.headDim; i += kLanes)
    storePart(out + i, load(total + 16 + i) * inverse, a.headDim - i);
}

constexpr int64_t kChunk = kChunkPages * kPage;

} // namespace

AttentionBlockFn attentionBlock;
void attentionBlock(const AttentionArgs &a, int64_t rowBegin, int64_t rowEnd, uint8_t *scratch) {
  AttentionScratch s = carve(a, scratch);
  loadQueries(a, rowBegin, rowEnd, s.q);
  int64_t record = 16 + a.paddedDim;
  int64_t last = (visible(a, rowEnd - 1).end - 1) / kChunk;
  for (int64_t chunk = visible(a, rowBegin).begin / kChunk; chunk <= last; ++chunk) {
    chunkRows(a, rowBegin, rowEnd, chunk, s);
    for (int64_t row = rowBegin; row < rowEnd; ++row) {
      Span span = visible(a, row);
      float *total = s.total + (row - rowBegin) * record, *part = s.out + (row - rowBegin) * record;
      if (chunk == span.begin / kChunk)
        __builtin_memcpy(total, part, size_t(record) * sizeof(float));
      else if (chunk > span.begin / kChunk && chunk <= (span.end - 1) / kChunk)
        combine(a, total, part);
    }
  }
  for (int64_t row = rowBegin; row < rowEnd; ++row)
    finish(a, row, s.total + (row - rowBegin) * record);
}

AttentionChunkFn attentionChunk;
void attentionChunk(const AttentionArgs &a, int64_t rowBegin, int64_t rowEnd, int64_t chunk, uint8_t *scratch) {
  AttentionScratch s = carve(a, scratch);
  loadQueries(a, rowBegin, rowEnd, s.q);
  chunkRows(a, rowBegin, rowEnd, chunk, s);
  int64_t record = 16 + a.paddedDim;
  for (int64_t row = rowBegin; row < rowEnd; ++row)
    __builtin_memcpy(a.partials + (row * a.chunks + chunk) * record, s.out + (row - rowBegin) * record,
                     size_t(record) * sizeof(float));
}

AttentionBlockFn attentionCombine;
void attentionCombine(const AttentionArgs &a, int64_t rowBegin, int64_t rowEnd, uint8_t *) {
  int64_t record = 16 + a.paddedDim;
  for (int64_t row = rowBegin; row < rowEnd; ++row) {
    Span span = visible(a, row);
    float *total = a.partials + (row * a.chunks + span.begin / kChunk) * record;
    for (int64_t chunk = span.begin / kChunk + 1; chunk <= (span.end - 1) / kChunk; ++chunk)
      combine(a, total, a.partials + (row * a.chunks + chunk) * record);
    finish(a, row, total);
  }
}

} // namespace MLC_ISA_NS

#if MLC_ISA_BASE

MLC_DECLARE_FORMS(MLC_BF16_FORMS, attentionBlock, AttentionBlockFn)
MLC_DECLARE_FORMS(MLC_BF16_FORMS, attentionChunk, AttentionChunkFn)
MLC_DECLARE_FORMS(MLC_BF16_FORMS, attentionCombine, AttentionBlockFn)

// A step of up to kSplitTokens tokens over at most kSplitChunks chunks may give every chunk to another worker.
constexpr int64_t kSplitTokens = 8, kSplitChunks = 64, kChunkPositions = kChunkPages * kPage;

static Status check(const KernelCallInfo &call) {
  MLC_TRY(checkCounts(call, 1, 1, 1));
  MLC_ASSIGN(const auto *attrs, attrsOrError<fb::AttentionAttrs>(call, "attention"));
  MLC_TRY(checkKvState(call, attrs->kv_heads(), attrs->head_dim()));
  if (attrs->heads() < 1 || attrs->heads() % attrs->kv_heads())
    return Error(ErrorCode::Corrupt, "attention: %u heads over %u KV heads: must divide", attrs->heads(),
                 attrs->kv_heads());
  uint64_t columns = uint64_t(attrs->heads()) * attrs->head_dim();
  if (columns > kMaxExtent)
    return Error(ErrorCode::Corrupt, "attention: %u heads of %u are too many", attrs->heads(), attrs->head_dim());
  if (!finite(attrs->scale()) || !finite(attrs->softcap()) || attrs->softcap() < 0)
    return Error(ErrorCode::Corrupt, "attention: scale and softcap must be finite, softcap not negative");
  uint32_t kept = call.states[0]->kv()->window();
  if (kept && (!attrs->window() || attrs->window() > kept))
    return Error(ErrorCode::Corrupt, "attention: window %u over a state that keeps %u positions", attrs->window(),
                 kept);
  MLC_TRY(checkMatrix(call.inputs[0], "q", DType::f32, columns));
  MLC_TRY(checkMatrix(call.outputs[0], "the output", DType::f32, columns));
  return checkTokenRows(call, 1);
}

static ScratchNeed scratch(const KernelCallInfo &call) {
  const auto *attrs = call.attrsAs<fb::AttentionAttrs>();
  int64_t dim = attrs->head_dim(), padded = alignUp<int64_t>(dim, 16);
  int64_t chunks = kSplitChunks;
  if (call.maxPositions < kSplitChunks * kChunkPositions)
    chunks = ceilDiv(call.maxPositions, kChunkPositions);
  int64_t tokens = call.maxTokens < kSplitTokens ? call.maxTokens : kSplitTokens;
  return {uint64_t(tokens * attrs->heads() * chunks * (16 + padded)) * sizeof(float),
          uint64_t(AttentionScratch::floats(dim, padded)) * sizeof(float)};
}

/// One segment's share of a step.
struct SegmentPlan {
  int64_t rows, blocks, chunks, firstChunk;
};

static SegmentPlan planOf(const BatchSegment &segment, int64_t group, int64_t window) {
  SegmentPlan plan{};
  plan.rows = segment.length * group;
  plan.blocks = ceilDiv(plan.rows, kBlockRows);
  plan.chunks = (segment.firstPosition + segment.length - 1) / kChunkPositions + 1;
  if (window && segment.firstPosition + 1 > window)
    plan.firstChunk = (segment.firstPosition + 1 - window) / kChunkPositions;
  return plan;
}

static AttentionArgs argsOf(const KernelContext &context, size_t s, int64_t head, int64_t chunks) {
  const auto &attrs = context.attrsAs<fb::AttentionAttrs>();
  const KvStateView &state = context.kvStates[0];
  KvHeadLayout layout = kvHeadLayout(state.spec);
  const BatchSegment &segment = context.batch->segments[s];
  int64_t group = attrs.heads() / attrs.kv_heads(), dim = attrs.head_dim();
  AttentionArgs a{};
  a.q = context.inputs[0].row<float>(segment.firstRow) + head * group * dim;
  a.out = context.outputs[0].row<float>(segment.firstRow) + head * group * dim;
  a.qStride = context.inputs[0].strides[0];
  a.outStride = context.outputs[0].strides[0];
  a.group = group;
  a.headDim = dim;
  a.paddedDim = int64_t(layout.valueStride);
  a.firstPosition = segment.firstPosition;
  a.window = attrs.window();
  a.scale = attrs.scale();
  a.softcap = attrs.softcap();
  a.dtype = uint8_t(state.spec.dtype());
  a.pool = state.pool;
  a.pageBytes = int64_t(state.pageBytes);
  a.headOffset = head * int64_t(layout.bytes);
  a.valueOffset = int64_t(layout.valueOffset);
  a.keyScales = int64_t(layout.keyScales);
  a.valueScales = int64_t(layout.valueScales);
  a.pages = state.pages[s];
  // At most kSplitTokens tokens lie before this segment's when partials are used.
  int64_t record = 16 + a.paddedDim;
  a.partials = reinterpret_cast<float *>(context.sharedScratch) +
               (segment.firstRow * attrs.heads() + head * segment.length * group) * chunks * record;
  a.chunks = chunks;
  return a;
}

template <Isa isa> static void run(const KernelContext &context) {
  const auto &attrs = context.attrsAs<fb::AttentionAttrs>();
  std::span<const BatchSegment> segments = context.batch->segments;
  int64_t kvHeads = attrs.kv_heads(), group = attrs.heads() / kvHeads,
          columns = int64_t(attrs.heads()) * attrs.head_dim();
  if (context.inputs[0].dims[1] != columns || context.outputs[0].dims[1] != columns)
    return;
  int64_t items = 0, chunks = 0, mostUsed = 0;
  for (const BatchSegment &segment : segments) {
    SegmentPlan plan = planOf(segment, group, attrs.window());
    items += plan.blocks * kvHeads;
    chunks = plan.chunks > chunks ? plan.chunks : chunks;
    mostUsed = plan.chunks - plan.firstChunk > mostUsed ? plan.chunks - plan.firstChunk : mostUsed;
  }
  auto rowEnd = [](const SegmentPlan &plan, int64_t block) {
    return (block + 1) * kBlockRows < plan.rows ? (block + 1) * kBlockRows : plan.rows;
  };
  // Calls fn(segment, plan, head, block) for the item, counted through the segments.
  auto withItem = [&](int64_t item, auto &&fn) {
    for (size_t s = 0; s < segments.size(); ++s) {
      SegmentPlan plan = planOf(segments[s], group, attrs.window());
      int64_t count = plan.blocks * kvHeads;
      // Late blocks see most: they go first.
      if (item < count)
        return fn(s, plan, item % kvHeads, plan.blocks - 1 - item / kvHeads);
      item -= count;
    }
  };
  int64_t workers = context.pool->size();
  bool split = workers > 1 && items < 2 * workers && mostUsed > 1 && chunks <= kSplitChunks &&
               context.batch->tokens <= kSplitTokens;
  if (!split) {
    context.pool->parallelFor(items, 1, [&](int64_t begin, int64_t end, unsigned worker) {
      for (int64_t item = begin; item < end; ++item)
        withItem(item, [&](size_t s, const SegmentPlan &plan, int64_t head, int64_t block) {
          formFor(attentionBlockForms, isa)(argsOf(context, s, head, 1), block * kBlockRows, rowEnd(plan, block),
                                            context.scratchOf(worker));
        });
    });
    return;
  }
  context.pool->parallelFor(items * mostUsed, 1, [&](int64_t begin, int64_t end, unsigned worker) {
    for (int64_t i = begin; i < end; ++i)
      withItem(i / mostUsed, [&](size_t s, const SegmentPlan &plan, int64_t head, int64_t block) {
        int64_t chunk = plan.firstChunk + i % mostUsed;
        if (chunk < plan.chunks)
          formFor(attentionChunkForms, isa)(argsOf(context, s, head, chunks), block * kBlockRows, rowEnd(plan, block),
                                            chunk, context.scratchOf(worker));
      });
  });
  for (size_t s = 0; s < segments.size(); ++s)
    for (int64_t head = 0; head < kvHeads; ++head)
      formFor(attentionCombineForms, isa)(argsOf(context, s, head, chunks), 0,
                                          planOf(segments[s], group, attrs.window()).rows, nullptr);
}

MLC_KERNEL_FORMS(MLC_BF16_FORMS, attentionKernels, "attention", check, scratch, run)

#endif

} // namespace mlc::cpu
