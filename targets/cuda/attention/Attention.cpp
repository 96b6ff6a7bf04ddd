//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cuda/Kernels.h"
#include "targets/cuda/KvPage.h"

namespace mlc::cuda {

// As in attentionPages.
constexpr unsigned kThreads = 128, kMostGroup = 64;
/// Steps of at most so many tokens share a row's pages out over blocks; what they give is joined by a second kernel.
constexpr int64_t kSplitTokens = 16;

static Status checkState(const KernelCallInfo &call, const char *name) {
  MLC_TRY(checkAsHost(call, name));
  const fb::KvSpec &spec = *call.states[0]->kv();
  if (!kvPageBytes(spec))
    return Error(ErrorCode::Unsupported,
                 "%s: a KV state of %u heads of %u in %s; the CUDA target stores f32, f16, bf16", name, spec.kv_heads(),
                 spec.head_dim(), fb::EnumNameDType(spec.dtype()));
  return {};
}

static Status checkAppend(const KernelCallInfo &call) { return checkState(call, "kv_append"); }

static Function by(Storage storage, Function f32, Function f16, Function bf16) {
  return storage == Storage::f32 ? f32 : storage == Storage::f16 ? f16 : bf16;
}

static void runAppend(const KernelContext &context) {
  Stream &stream = streamOf(context);
  AppendArgs args{stream.step(), stream.kv(context.kvStates[0]), inputRows(context.inputs[0]),
                  inputRows(context.inputs[1])};
  int64_t columns = int64_t(args.kv.heads) * args.kv.headDim;
  if (context.inputs[0].dims[1] != columns || context.inputs[1].dims[1] != columns)
    return;
  stream.launch(
      by(args.kv.storage, Function::mlc_kv_append_f32, Function::mlc_kv_append_f16, Function::mlc_kv_append_bf16),
      rowGrid(columns, context.batch->tokens), kRowThreads, args);
}

Status checkAttentionAttrs(const fb::AttentionAttrs &attrs) {
  if (attrs.heads() / attrs.kv_heads() > kMostGroup)
    return Error(ErrorCode::Unsupported, "%u heads over %u KV heads; at most %u share one on a GPU", attrs.heads(),
                 attrs.kv_heads(), kMostGroup);
  return {};
}

static Status checkAttention(const KernelCallInfo &call) {
  MLC_TRY(checkState(call, "attention"));
  return checkAttentionAttrs(*call.attrsAs<fb::AttentionAttrs>());
}

static ScratchNeed scratch(const KernelCallInfo &call) {
  const auto *attrs = call.attrsAs<fb::AttentionAttrs>();
  int64_t tokens = call.maxTokens < kSplitTokens ? call.maxTokens : kSplitTokens;
  int64_t pages = pageBucket(ceilDiv(call.maxPositions, kPagePositions), INT64_MAX);
  return {uint64_t(tokens) * attrs->heads() * uint64_t(pages) * (2 + attrs->head_dim()) * sizeof(float), 0};
}

/// Kernels of tensor cores by the largest head_dim that they take.
struct AttentionForm {
  int dim;
  Function row, rows;
};
static constexpr AttentionForm kAttentionForms[] = {
    {64, Function::mlc_attention_row_64, Function::mlc_attention_rows_64},
    {128, Function::mlc_attention_row_128, Function::mlc_attention_rows_128},
    {256, Function::mlc_attention_row_256, Function::mlc_attention_rows_256},
};

static const AttentionForm *formOf(int dim) {
  for (const AttentionForm &form : kAttentionForms)
    if (dim <= form.dim)
      return &form;
  return nullptr;
}

static void runAttention(const KernelContext &context) {
  const auto &attrs = context.attrsAs<fb::AttentionAttrs>();
  Stream &stream = streamOf(context);
  const TensorView &q = context.inputs[0], &out = context.outputs[0];
  int64_t columns = int64_t(attrs.heads()) * attrs.head_dim(), tokens = context.batch->tokens;
  if (q.dims[1] != columns || out.dims[1] != columns)
    return;
  AttentionArgs args{};
  args.step = stream.step();
  args.kv = stream.kv(context.kvStates[0]);
  args.q = inputRows(q);
  args.out = rowsOf(out);
  args.rows = int32_t(tokens);
  args.group = int32_t(attrs.heads() / attrs.kv_heads());
  args.window = int32_t(attrs.window());
  args.scale = attrs.scale();
  args.softcap = attrs.softcap();
  args.bf16 = attrs.products() == fb::Products::bf16;
  bool split = tokens <= kSplitTokens;
  if (split) {
    args.parts = reinterpret_cast<float *>(context.sharedScratch);
    args.chunks = stream.pages();
  }
  Function each =
      by(args.kv.storage, Function::mlc_attention_f32, Function::mlc_attention_f16, Function::mlc_attention_bf16);
  unsigned shared = 0;
  if (const AttentionForm *form = args.bf16 && args.kv.storage == Storage::bf16 ? formOf(args.kv.headDim) : nullptr) {
    each = form->row;
    shared = unsigned(attentionTileBytes(form->dim));
    // Rows of one sequence share its pages.
    const int64_t together = kPagePositions / args.group;
    if (!split && tokens >= int64_t(context.batch->segments.size()) * ceilDiv(together, int64_t(2)))
      return stream.launch(form->rows, {blocksFor(tokens, together), uint64_t(args.kv.heads)},
                           kThreads * unsigned(attentionHalves(form->dim)), args, shared);
  }
  stream.launch(each, {split ? uint64_t(args.chunks) : 1, uint64_t(args.kv.heads), uint64_t(tokens)}, kThreads, args,
                shared);
  if (split)
    stream.launch(Function::mlc_attention_join, {1, attrs.heads(), uint64_t(tokens)}, kThreads, args);
}

const KernelDef attentionKernels[] = {{"kv_append", 1, Isa::portable, checkAppend, nullptr, runAppend},
                                      {"attention", 1, Isa::portable, checkAttention, scratch, runAttention}};

} // namespace mlc::cuda
