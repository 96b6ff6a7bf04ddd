//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cuda/Kernels.h"

namespace mlc::cuda {

//===----------------------------------------------------------------------===//
// embedding, gather_rows
//===----------------------------------------------------------------------===//

static Status checkEmbedding(const KernelCallInfo &call) {
  MLC_TRY(checkAsHost(call, "embedding"));
  MLC_TRY(storedAs(call.attrsAs<fb::EmbeddingAttrs>()->weight()));
  return {};
}

static void runEmbedding(const KernelContext &context) {
  const auto &attrs = context.attrsAs<fb::EmbeddingAttrs>();
  const TensorView &ids = context.inputs[0], &out = context.outputs[0];
  auto columns = int64_t(attrs.weight().k());
  if (out.dims[1] != columns)
    return;
  Stored stored = *storedAs(attrs.weight());
  Stream::Grid grid = rowGrid(columns, ids.dims[0] < out.dims[0] ? ids.dims[0] : out.dims[0]);
  const auto launch = [&](Function function, auto args) {
    args.ids = ids.as<int32_t>();
    args.weight = context.inputs[1].data;
    args.out = rowsOf(out);
    args.vocabulary = int64_t(attrs.weight().n());
    args.columns = columns;
    args.scale = attrs.scale();
    streamOf(context).launch(function, grid, kRowThreads, args);
  };
  if (stored.panels) {
    PanelEmbeddingArgs args{};
    args.panels = panelArgs(attrs.weight());
    args.panel = stored.panel;
    return launch(Function::mlc_panel_embedding, args);
  }
  EmbeddingArgs args{};
  args.storage = stored.storage;
  launch(Function::mlc_embedding, args);
}

static Status checkGather(const KernelCallInfo &call) { return checkAsHost(call, "gather_rows"); }

static void runGather(const KernelContext &context) {
  const TensorView &x = context.inputs[0], &rows = context.inputs[1], &out = context.outputs[0];
  auto columns = int64_t(context.attrsAs<fb::GatherRowsAttrs>().columns());
  if (x.dims[1] != columns || out.dims[1] != columns)
    return;
  GatherArgs args{inputRows(x), rows.as<int32_t>(), rowsOf(out), x.dims[0], columns};
  streamOf(context).launch(Function::mlc_gather_rows,
                           rowGrid(columns, rows.dims[0] < out.dims[0] ? rows.dims[0] : out.dims[0]), kRowThreads,
                           args);
}

const KernelDef embeddingKernels[] = {{"embedding", 1, Isa::portable, checkEmbedding, nullptr, runEmbedding}};
const KernelDef gatherRowsKernels[] = {{"gather_rows", 1, Isa::portable, checkGather, nullptr, runGather}};

//===----------------------------------------------------------------------===//
// gated_activation, unary, binary, copy, scale_rows
//===----------------------------------------------------------------------===//

static Status checkPair(const KernelCallInfo &call, const char *name) {
  MLC_TRY(checkAsHost(call, name));
  for (std::span<const TensorView> views : {call.inputs, call.outputs})
    for (const TensorView &view : views)
      if (view.rank != 2 || view.dtype != DType::f32)
        return Error(ErrorCode::Unsupported, "%s: on a GPU of matrices of f32 alone", name);
  return {};
}

static void runPair(const KernelContext &context, PairArgs args) {
  const TensorView &out = context.outputs[0];
  int64_t rows = out.dims[0], columns = out.dims[1];
  for (const TensorView &view : context.inputs) {
    rows = view.dims[0] < rows ? view.dims[0] : rows;
    // A factor stands for its row.
    columns = args.op == Pair::scale && &view != &context.inputs[0] ? columns
              : view.dims[1] < columns                              ? view.dims[1]
                                                                    : columns;
  }
  args.a = inputRows(context.inputs[0]);
  args.b = context.inputs.size() > 1 ? inputRows(context.inputs[1]) : Rows<const float>{};
  args.out = rowsOf(out);
  args.columns = columns;
  streamOf(context).launch(Function::mlc_pair, rowGrid(columns, rows), kRowThreads, args);
}

static Status checkGated(const KernelCallInfo &call) { return checkPair(call, "gated_activation"); }
static void runGated(const KernelContext &context) {
  PairArgs args{};
  args.op = Pair::gate;
  args.act = Act(context.attrsAs<fb::GatedActivationAttrs>().activation());
  runPair(context, args);
}

static Status checkUnary(const KernelCallInfo &call) { return checkPair(call, "unary"); }
static void runUnary(const KernelContext &context) {
  const auto &attrs = context.attrsAs<fb::UnaryAttrs>();
  PairArgs args{};
  args.op = Pair::unary;
  args.act = Act(attrs.activation());
  args.scaleIn = attrs.scale_in();
  args.scaleOut = attrs.scale_out();
  runPair(context, args);
}

static Status checkBinary(const KernelCallInfo &call) { return checkPair(call, "binary"); }
static void runBinary(const KernelContext &context) {
  PairArgs args{};
  args.op = Pair(context.attrsAs<fb::BinaryAttrs>().op());
  runPair(context, args);
}

static Status checkCopy(const KernelCallInfo &call) { return checkPair(call, "copy"); }
static void runCopy(const KernelContext &context) {
  PairArgs args{};
  args.op = Pair::copy;
  runPair(context, args);
}

static Status checkScale(const KernelCallInfo &call) { return checkPair(call, "scale_rows"); }
static void runScale(const KernelContext &context) {
  PairArgs args{};
  args.op = Pair::scale;
  args.act = Act(context.attrsAs<fb::ScaleRowsAttrs>().activation());
  runPair(context, args);
}

const KernelDef pairKernels[] = {{"gated_activation", 1, Isa::portable, checkGated, nullptr, runGated},
                                 {"unary", 1, Isa::portable, checkUnary, nullptr, runUnary},
                                 {"binary", 1, Isa::portable, checkBinary, nullptr, runBinary},
                                 {"copy", 1, Isa::portable, checkCopy, nullptr, runCopy},
                                 {"scale_rows", 1, Isa::portable, checkScale, nullptr, runScale}};

} // namespace mlc::cuda
