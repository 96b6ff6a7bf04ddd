//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// attention: causal, grouped, paged, never materialising more scores than a page. For each row and KV head, pages of 64
// positions in order; within a chunk of 16 pages one online softmax, then the chunks are combined in order. Chunks lie
// at absolute positions. This file checks, and splits the work; AttentionF32.cpp and AttentionBf16.cpp do it.
//
#include "targets/cpu/kernels/Attention.h"

#include "targets/cpu/Kernels.h"
#include "targets/cpu/KvPage.h"
#include "targets/cpu/kernels/TileForms.h"

namespace mlc::cpu {

static_assert(kAttentionPage == kPagePositions);

#define MLC_ATTENTION_FORMS(FORMS, PRODUCTS)                                                                           \
  MLC_DECLARE_FORMS(FORMS, attentionBlock##PRODUCTS, AttentionBlockFn)                                                 \
  MLC_DECLARE_FORMS(FORMS, attentionChunk##PRODUCTS, AttentionChunkFn)                                                 \
  MLC_DECLARE_FORMS(FORMS, attentionCombine##PRODUCTS, AttentionBlockFn)
MLC_ATTENTION_FORMS(MLC_BASIC_FORMS, F32)
MLC_ATTENTION_FORMS(MLC_BF16_FORMS, Bf16)
#undef MLC_ATTENTION_FORMS

// A step of up to kSplitTokens tokens over at most kSplitChunks chunks may give every chunk to another worker.
constexpr int64_t kSplitTokens = 8, kSplitChunks = 64;

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
  if (attrs->products() > fb::Products::i8)
    return Error(ErrorCode::Corrupt, "attention: unknown products %u", unsigned(attrs->products()));
  bool codes = call.states[0]->kv()->dtype() == DType::i8;
  if (attrs->products() != fb::Products::f32 && codes != (attrs->products() == fb::Products::i8))
    return Error(ErrorCode::Corrupt, "attention: products %s over a KV state of %s; compile the model again",
                 fb::EnumNameProducts(attrs->products()), fb::EnumNameDType(call.states[0]->kv()->dtype()));
  if (attrs->products() == fb::Products::i8 && attrs->head_dim() > kCodesHeadDim)
    return Error(ErrorCode::Corrupt, "attention: products i8 of head_dim %u, at most %u", attrs->head_dim(),
                 kCodesHeadDim);
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
  int64_t padded = alignUp<int64_t>(attrs->head_dim(), 16);
  int64_t chunks = kSplitChunks;
  if (call.maxPositions < kSplitChunks * kChunkPositions)
    chunks = ceilDiv(call.maxPositions, kChunkPositions);
  int64_t tokens = call.maxTokens < kSplitTokens ? call.maxTokens : kSplitTokens;
  return {uint64_t(tokens * attrs->heads() * chunks * (16 + padded)) * sizeof(float),
          uint64_t(attentionScratch(padded)) * sizeof(float)};
}

/// One segment's share of a step.
struct SegmentPlan {
  int64_t rows, blocks, chunks, firstChunk;
};

static SegmentPlan planOf(const BatchSegment &segment, int64_t group, int64_t window, int64_t blockRows) {
  SegmentPlan plan{};
  plan.rows = segment.length * group;
  plan.blocks = ceilDiv(plan.rows, blockRows);
  plan.chunks = (segment.firstPosition + segment.length - 1) / kChunkPositions + 1;
  if (window && segment.firstPosition + 1 > window)
    plan.firstChunk = (segment.firstPosition + 1 - window) / kChunkPositions;
  return plan;
}

static AttentionArgs argsOf(const KernelContext &context, size_t s, int64_t head, int64_t chunks, PairTilesFn *tiles) {
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
  a.tiles = tiles;
  return a;
}

/// The functions of one product type in one form.
struct Functions {
  AttentionBlockFn *block;
  AttentionChunkFn *chunk;
  AttentionBlockFn *combine;
  PairTilesFn *tiles; // AttentionArgs::tiles.
};

static void runWith(const KernelContext &context, const Functions &functions) {
  const auto &attrs = context.attrsAs<fb::AttentionAttrs>();
  std::span<const BatchSegment> segments = context.batch->segments;
  int64_t kvHeads = attrs.kv_heads(), group = attrs.heads() / kvHeads,
          columns = int64_t(attrs.heads()) * attrs.head_dim(),
          blockRows = attentionBlockRows(alignUp<int64_t>(attrs.head_dim(), 16));
  if (context.inputs[0].dims[1] != columns || context.outputs[0].dims[1] != columns)
    return;
  auto planFor = [&](size_t s) { return planOf(segments[s], group, attrs.window(), blockRows); };
  int64_t items = 0, chunks = 0, mostUsed = 0;
  for (size_t s = 0; s < segments.size(); ++s) {
    SegmentPlan plan = planFor(s);
    items += plan.blocks * kvHeads;
    chunks = plan.chunks > chunks ? plan.chunks : chunks;
    mostUsed = plan.chunks - plan.firstChunk > mostUsed ? plan.chunks - plan.firstChunk : mostUsed;
  }
  auto rowEnd = [&](const SegmentPlan &plan, int64_t block) {
    return (block + 1) * blockRows < plan.rows ? (block + 1) * blockRows : plan.rows;
  };
  // Calls fn(segment, plan, head, block) for the item, counted through the segments.
  auto withItem = [&](int64_t item, auto &&fn) {
    for (size_t s = 0; s < segments.size(); ++s) {
      SegmentPlan plan = planFor(s);
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
          functions.block(argsOf(context, s, head, 1, functions.tiles), block * blockRows, rowEnd(plan, block),
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
          functions.chunk(argsOf(context, s, head, chunks, functions.tiles), block * blockRows, rowEnd(plan, block),
                          chunk, context.scratchOf(worker));
      });
  });
  for (size_t s = 0; s < segments.size(); ++s)
    for (int64_t head = 0; head < kvHeads; ++head)
      functions.combine(argsOf(context, s, head, chunks, nullptr), 0, planFor(s).rows, nullptr);
}

template <Isa isa> static void run(const KernelContext &context) {
  if (context.attrsAs<fb::AttentionAttrs>().products() == fb::Products::f32)
    return runWith(context, {formFor(attentionBlockF32Forms, isa), formFor(attentionChunkF32Forms, isa),
                             formFor(attentionCombineF32Forms, isa), nullptr});
  runWith(context, {formFor(attentionBlockBf16Forms, isa), formFor(attentionChunkBf16Forms, isa),
                    formFor(attentionCombineBf16Forms, isa), kPairTiles<isa>});
}

MLC_KERNEL_FORMS(MLC_ALL_FORMS, attentionKernels, "attention", check, scratch, run)

} // namespace mlc::cpu
