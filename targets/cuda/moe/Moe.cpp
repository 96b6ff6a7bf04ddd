//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cpu/Kernels.h"
#include "targets/cpu/pack/Layout.h"
#include "targets/cuda/Kernels.h"

namespace mlc::cuda {

// As in Route.cuh, Experts.cuh and LinearTensor.cuh.
static constexpr uint32_t kMostExperts = 1024, kMostChosen = 64;
static constexpr int64_t kMoeRows = 32;
static constexpr unsigned kMoeThreads = 256;
/// Up to so many slots stand alone: what more would save of reading does not pay the grouping.
static constexpr int64_t kLooseSlots = 64;

Status checkExperts(uint32_t experts, uint32_t chosen) {
  if (experts > kMostExperts || chosen > kMostChosen)
    return Error(ErrorCode::Unsupported, "%u of %u experts for a token; at most %u of %u on a GPU", chosen, experts,
                 kMostChosen, kMostExperts);
  return {};
}

Status checkExpertWeight(const fb::WeightDesc &weight, bool bf16, bool quantized) {
  fb::WeightFormat format = weight.format();
  bool floats = format == fb::WeightFormat::panel_f32 || format == fb::WeightFormat::panel_f16 ||
                format == fb::WeightFormat::panel_bf16;
  if (quantized)
    return Error(ErrorCode::Unsupported, "no CUDA kernel takes quantized rows");
  if (!bf16 && floats)
    return {};
  MLC_ASSIGN(Stored stored, storedAs(weight));
  if (!bf16 || !stored.panels)
    return Error(ErrorCode::Unsupported,
                 "no CUDA kernel has %s products with experts stored as %s; choose --math fast, or --quant none",
                 bf16 ? "bf16" : "f32", fb::EnumNameWeightFormat(format));
  return {};
}

static Status checkRoute(const KernelCallInfo &call) {
  MLC_TRY(checkAsHost(call, "moe_route"));
  const auto *attrs = call.attrsAs<fb::MoeRouteAttrs>();
  return checkExperts(attrs->experts(), attrs->top_k());
}

static void runRoute(const KernelContext &context) {
  const auto &attrs = context.attrsAs<fb::MoeRouteAttrs>();
  const TensorView &logits = context.inputs[0], &ids = context.outputs[0], &weights = context.outputs[1];
  int64_t rows = cpu::commonRows({{&logits, attrs.experts()}, {&ids, attrs.top_k()}, {&weights, attrs.top_k()}});
  MoeRouteArgs args{};
  args.logits = inputRows(logits);
  args.bias = attrs.has_bias() ? context.inputs[1].as<float>() : nullptr;
  args.ids = {ids.as<int32_t>(), ids.strides[0]};
  args.weights = rowsOf(weights);
  args.experts = int32_t(attrs.experts());
  args.chosen = int32_t(attrs.top_k());
  args.groups = int32_t(attrs.groups());
  args.topGroups = int32_t(attrs.top_groups());
  args.scale = attrs.scale();
  args.form = Router(attrs.form());
  args.normalize = attrs.normalize();
  streamOf(context).launch(Function::mlc_moe_route, {uint64_t(rows)}, 32, args);
}

/// Where the parts of a call's scratch lie, in bytes.
struct MoeScratch {
  int64_t mostTiles;
  uint64_t slots, parts, bytes;
  MoeScratch(int64_t tokens, int64_t chosen, int64_t experts, int64_t partColumns) {
    int64_t count = tokens * chosen;
    // Every expert may end with a tile that is not full.
    mostTiles = ceilDiv(count, kMoeRows) + (count < experts ? count : experts);
    slots = alignUp<uint64_t>(uint64_t(mostTiles) * sizeof(MoeTile), 16);
    parts = alignUp<uint64_t>(slots + uint64_t(count) * sizeof(int32_t), 16);
    bytes = parts + uint64_t(count) * uint64_t(partColumns) * sizeof(float);
  }
};

/// The call with products that the CPU has: all else is as it would be with f32 rows.
template <typename Attrs> static Status checkCall(const KernelCallInfo &call, const char *name, const Attrs &plain) {
  KernelCallInfo hosts = call;
  hosts.attrs = &plain;
  MLC_TRY(checkAsHost(hosts, name));
  const auto *attrs = call.attrsAs<Attrs>();
  MLC_TRY(checkExperts(attrs->experts(), attrs->top_k()));
  if (call.maxTokens * int64_t(attrs->top_k()) > kMostGridRows)
    return Error(ErrorCode::Unsupported, "%s: steps of %lld tokens with %u experts each; at most %lld rows on a GPU",
                 name, (long long)call.maxTokens, attrs->top_k(), (long long)kMostGridRows);
  return checkExpertWeight(attrs->weight(), attrs->bf16(), attrs->quantized_input());
}

static Status checkUp(const KernelCallInfo &call) {
  const auto *a = call.attrsAs<fb::MoeUpAttrs>();
  if (!a)
    return checkAsHost(call, "moe_up");
  return checkCall(call, "moe_up",
                   fb::MoeUpAttrs(a->weight(), a->experts(), a->top_k(), a->stride(), a->gate_distance(),
                                  a->out_group(), a->out_sum_group(), a->activation(), a->quantized_input(), false));
}

static Status checkDown(const KernelCallInfo &call) {
  const auto *a = call.attrsAs<fb::MoeDownAttrs>();
  if (!a)
    return checkAsHost(call, "moe_down");
  return checkCall(
      call, "moe_down",
      fb::MoeDownAttrs(a->weight(), a->experts(), a->top_k(), a->quantized_input(), false, a->has_residual()));
}

static ScratchNeed scratchUp(const KernelCallInfo &call) {
  const auto *attrs = call.attrsAs<fb::MoeUpAttrs>();
  return {MoeScratch(call.inputs[0].dims[0], attrs->top_k(), attrs->experts(), 0).bytes, 0};
}

static ScratchNeed scratchDown(const KernelCallInfo &call) {
  const auto *attrs = call.attrsAs<fb::MoeDownAttrs>();
  return {MoeScratch(call.inputs[0].dims[0], attrs->top_k(), attrs->experts(), int64_t(attrs->weight().n())).bytes, 0};
}

struct MoeForm {
  Function few, many;
};
static constexpr MoeForm kMoeForms[] = {{Function::mlc_moe_bf16_8, Function::mlc_moe_bf16_32},
                                        {Function::mlc_moe_int8_8, Function::mlc_moe_int8_32},
                                        {Function::mlc_moe_int4_8, Function::mlc_moe_int4_32}};
/// Rows of one expert that a block of the first form has.
static constexpr int64_t kFewRows = 8;

void runGated(Stream &stream, const PanelLinearArgs &linear, Panel panel) {
  MoeArgs args{};
  static_cast<PanelProductArgs &>(args) = linear;
  args.x = linear.x;
  args.out = linear.out;
  args.weight = static_cast<const uint8_t *>(linear.weight);
  args.matrixBytes = linear.gate;
  args.gate = 1;
  args.n = linear.n;
  args.experts = args.chosen = args.share = 1;
  args.rows = linear.rows;
  args.act = linear.act;
  stream.launch(kMoeForms[unsigned(panel)].few, {blocksFor(args.n, 16), blocksFor(args.rows, kFewRows)}, kMoeThreads,
                args);
}

/// What both products have in common; `tokens` is how many have slots.
static void runProducts(const KernelContext &context, MoeArgs args, const fb::WeightDesc &weight, bool bf16,
                        const TensorView &ids, int64_t tokens, const MoeScratch &layout) {
  Stream &stream = streamOf(context);
  int64_t slots = tokens * args.chosen;
  args.k = int64_t(weight.k());
  args.n = int64_t(weight.n());
  args.weight = context.inputs[1].as<uint8_t>();
  args.ids = {ids.as<int32_t>(), ids.strides[0]};
  args.aligned = aligned(args.x.data, args.x.stride * 4);
  auto panels = blocksFor(args.n, 16);
  args.matrixBytes = int64_t(cpu::packedOffset(weight, weight.n()));
  if (!bf16) {
    args.panelBytes = int64_t(cpu::panelLayout(weight).bytes);
    args.floats = weight.format() == fb::WeightFormat::panel_f32   ? Storage::f32
                  : weight.format() == fb::WeightFormat::panel_f16 ? Storage::f16
                                                                   : Storage::bf16;
    stream.launch(Function::mlc_moe_float, {panels, uint64_t(slots)}, kMoeThreads, args);
    return;
  }
  static_cast<PanelArgs &>(args) = panelArgs(weight);
  const MoeForm &form = kMoeForms[unsigned((*storedAs(weight)).panel)];
  if (slots <= kLooseSlots) {
    stream.launch(form.few, {panels, uint64_t(slots)}, kMoeThreads, args);
    return;
  }
  auto *tiles = reinterpret_cast<MoeTile *>(context.sharedScratch);
  auto *order = reinterpret_cast<int32_t *>(context.sharedScratch + layout.slots);
  MoeGroupArgs group{args.ids, order, tiles, tokens, layout.mostTiles, args.experts, args.chosen};
  stream.launch(Function::mlc_moe_group, {1}, kMoeThreads, group);
  args.tiles = tiles;
  args.slots = order;
  stream.launch(form.many, {uint64_t(ceilDiv(int64_t(panels), int64_t(kSlices))), uint64_t(layout.mostTiles)},
                kMoeThreads, args);
}

static void runUp(const KernelContext &context) {
  const auto &attrs = context.attrsAs<fb::MoeUpAttrs>();
  const TensorView &x = context.inputs[0], &ids = context.inputs[2], &out = context.outputs[0];
  uint64_t columns = attrs.weight().n() * attrs.top_k();
  int64_t tokens = cpu::commonRows({{&x, attrs.weight().k()}, {&ids, attrs.top_k()}, {&out, columns}});
  MoeArgs args{};
  args.x = inputRows(x);
  args.out = {out.as<float>(), int64_t(attrs.weight().n())};
  args.stride = attrs.stride();
  args.gate = attrs.gate_distance();
  args.experts = int32_t(attrs.experts());
  args.chosen = args.share = int32_t(attrs.top_k());
  args.act = Act(attrs.activation());
  runProducts(context, args, attrs.weight(), attrs.bf16(), ids, tokens,
              MoeScratch(tokens, args.chosen, args.experts, 0));
}

static void runDown(const KernelContext &context) {
  const auto &attrs = context.attrsAs<fb::MoeDownAttrs>();
  const TensorView &hidden = context.inputs[0], &ids = context.inputs[2], &weights = context.inputs[3],
                   &out = context.outputs[0];
  const TensorView *residual = attrs.has_residual() ? &context.inputs[4] : nullptr;
  uint64_t n = attrs.weight().n(), columns = attrs.weight().k() * attrs.top_k();
  int64_t tokens = cpu::commonRows({{&hidden, columns},
                                    {&ids, attrs.top_k()},
                                    {&weights, attrs.top_k()},
                                    {residual ? residual : &out, n},
                                    {&out, n}});
  MoeScratch layout(tokens, attrs.top_k(), attrs.experts(), int64_t(n));
  auto *parts = reinterpret_cast<float *>(context.sharedScratch + layout.parts);
  MoeArgs args{};
  args.x = {hidden.as<float>(), int64_t(attrs.weight().k())};
  args.out = {parts, int64_t(n)};
  args.stride = args.share = 1;
  args.experts = int32_t(attrs.experts());
  args.chosen = int32_t(attrs.top_k());
  runProducts(context, args, attrs.weight(), attrs.bf16(), ids, tokens, layout);
  MoeJoinArgs join{};
  join.ids = {ids.as<int32_t>(), ids.strides[0]};
  join.weights = inputRows(weights);
  join.parts = {parts, int64_t(n)};
  if (residual)
    join.residual = inputRows(*residual);
  join.out = rowsOf(out);
  join.n = int64_t(n);
  join.experts = args.experts;
  join.chosen = args.chosen;
  streamOf(context).launch(Function::mlc_moe_join, rowGrid(join.n, tokens), kRowThreads, join);
}

const KernelDef moeKernels[] = {{"moe_route", 1, Isa::portable, checkRoute, nullptr, runRoute},
                                {"moe_up", 1, Isa::portable, checkUp, scratchUp, runUp},
                                {"moe_down", 1, Isa::portable, checkDown, scratchDown, runDown}};

} // namespace mlc::cuda
