//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "targets/cpu/Kernels.h"
#include "targets/cpu/pack/Layout.h"
#include "targets/cuda/Kernels.h"

#include <algorithm>
#include <bit>

namespace mlc::cuda {

Status checkLinearAttrs(const fb::LinearAttrs &attrs) {
  MLC_ASSIGN(Stored stored, storedAs(attrs.weight()));
  const bool bytes = attrs.quantized_input();
  if (bytes && (attrs.bf16() || !stored.panels || stored.panel == Panel::bf16 || attrs.weight().asymmetric() ||
                attrs.out_group()))
    return Error(ErrorCode::Unsupported, "no CUDA kernel takes quantized rows with %s; choose --activations bf16",
                 fb::EnumNameWeightFormat(attrs.weight().format()));
  if (attrs.gated() && ((!attrs.bf16() && !bytes) || attrs.has_bias() || attrs.weight().n() % 32))
    return Error(ErrorCode::Unsupported,
                 "no CUDA kernel has a gate with f32 products or a bias, or of halves that are no whole panels");
  if (stored.panels && !attrs.bf16() && !bytes)
    return Error(ErrorCode::Unsupported,
                 "no CUDA kernel has f32 products with weights stored as %s; choose "
                 "--math fast, or --quant none",
                 fb::EnumNameWeightFormat(attrs.weight().format()));
  if (!stored.panels && attrs.bf16())
    return Error(ErrorCode::Corrupt, "bf16 products with weights stored as %s",
                 fb::EnumNameWeightFormat(attrs.weight().format()));
  return {};
}

Status checkLinear(const KernelCallInfo &call) {
  const auto *attrs = call.attrsAs<fb::LinearAttrs>();
  if (!attrs)
    return checkAsHost(call, "linear");
  MLC_TRY(checkLinearAttrs(*attrs));
  if (attrs->quantized_input())
    return checkAsHost(call, "linear");
  // The CPU has no bf16 products with integers; all else of such a call is as it would be with f32 rows.
  const fb::LinearAttrs &a = *attrs;
  const fb::LinearAttrs plain(a.weight(), a.quantized_input(), a.has_bias(), a.has_residual(), false,
                              a.gated() ? fb::Activation::none : a.activation(), a.out_group(), a.out_sum_group(),
                              false);
  KernelCallInfo hosts = call;
  hosts.attrs = &plain;
  if (!a.gated() || call.outputs.size() != 1)
    return checkAsHost(hosts, "linear");
  // The host's has no gate with f32 rows: its check sees both halves as the output, and what is there is checked here.
  if (a.activation() > fb::Activation::MAX)
    return Error(ErrorCode::Unsupported, "linear: activation %u is unknown", unsigned(a.activation()));
  if (a.has_residual())
    return Error(ErrorCode::Corrupt, "linear: a gate takes no residual");
  MLC_TRY(cpu::checkMatrix(call.outputs[0], "the output", DType::f32, a.weight().n() / 2));
  TensorView both = call.outputs[0];
  both.dims[1] = both.strides[0] = int64_t(a.weight().n());
  hosts.outputs = {&both, 1};
  return checkAsHost(hosts, "linear");
}

/// The kernel for so many rows, by the storage of the weights.
struct Form {
  int64_t rows, columns; // Of a warp.
  Function f32, f16, bf16;
};
static constexpr Form kForms[] = {
    {1, 2, Function::mlc_linear_f32_1, Function::mlc_linear_f16_1, Function::mlc_linear_bf16_1},
    {2, 2, Function::mlc_linear_f32_2, Function::mlc_linear_f16_2, Function::mlc_linear_bf16_2},
    {4, 2, Function::mlc_linear_f32_4, Function::mlc_linear_f16_4, Function::mlc_linear_bf16_4},
    {8, 4, Function::mlc_linear_f32_8, Function::mlc_linear_f16_8, Function::mlc_linear_bf16_8},
};
// Rows that are not aligned for loads of 16 bytes.
static constexpr Form kAny{4, 2, Function::mlc_linear_f32_any, Function::mlc_linear_f16_any,
                           Function::mlc_linear_bf16_any};

// Kernels of panels, a block for each: up to 8 rows, and 16. Threads as in linearStream and linearSplit.
static constexpr unsigned kPanelThreads = 256;
static constexpr Function kPanelForms[][2] = {{Function::mlc_panel_bf16_8, Function::mlc_panel_bf16_16},
                                              {Function::mlc_panel_int8_8, Function::mlc_panel_int8_16},
                                              {Function::mlc_panel_int4_8, Function::mlc_panel_int4_16}};

bool runStaying(Stream &stream, PanelLinearArgs &args, Panel panel) {
  constexpr int64_t kRows = 8;
  // By Panel, and int4 with zeros.
  constexpr Function kStream[] = {Function::mlc_stream_bf16, Function::mlc_stream_int8,
                                  Function::mlc_stream_int4, Function::mlc_stream_w8a8,
                                  Function::mlc_stream_w4a8, Function::mlc_stream_int4_zeros},
                     kGate[] = {Function::mlc_gate_bf16, Function::mlc_gate_int8, Function::mlc_gate_int4,
                                Function::mlc_gate_w8a8, Function::mlc_gate_w4a8, Function::mlc_gate_int4_zeros};
  const int64_t words = takesBytes(panel) ? streamByteWords(args.columns, ((args.columns - 1) >> args.bytes.shift) + 1)
                                          : streamRowWords(args.columns, panel == Panel::int4 ? 2 : 1);
  if (args.rows < 1 || args.rows > kRows || args.rows * words > kStreamWords)
    return false;
  args.rowWords = int32_t(words);
  const int64_t panels = ceilDiv(args.n, int64_t(16)),
                each = ceilDiv(panels, int64_t(kStreamBlocks) * stream.device().multiprocessors());
  const unsigned which = args.zeros ? unsigned(std::size(kStream)) - 1 : unsigned(panel);
  stream.launch(args.gate ? kGate[which] : kStream[which], {blocksFor(panels, each)}, kPanelThreads, args);
  return true;
}

// Tiles of more rows: the narrow ones, and those of rows beyond.
struct TileForm {
  Function narrow, wide;
  int64_t narrowRows, wideRows;
};
static constexpr TileForm kTileForms[] = {{Function::mlc_tile_bf16_64, Function::mlc_tile_bf16_192, 64, 192},
                                          {Function::mlc_tile_int8_64, Function::mlc_tile_int8_96, 64, 96},
                                          {Function::mlc_tile_int4_64, Function::mlc_tile_int4_96, 64, 96},
                                          {Function::mlc_tile_w8a8_32, Function::mlc_tile_w8a8_96, 32, 96},
                                          {Function::mlc_tile_w4a8_32, Function::mlc_tile_w4a8_96, 32, 96}};
/// Where a product's blocks are as few as this or fewer, more of them share its slices.
static constexpr int64_t kShareBlocks = 64;

static int64_t tileRows(Panel panel, int64_t rows) {
  const TileForm &form = kTileForms[unsigned(panel)];
  return rows <= form.narrowRows ? form.narrowRows : form.wideRows;
}
/// Blocks that the panels of a product take.
static int64_t panelBlocks(const PanelLinearArgs &args) {
  return ceilDiv(args.n, int64_t(16) * (args.gate ? kTilePanels / 2 : kTilePanels));
}
static uint64_t roundedBytes(const PanelLinearArgs &args, Panel panel, int64_t rows) {
  const int64_t each = tileRows(panel, rows);
  return uint64_t(ceilDiv(rows, each) * each) * uint64_t(ceilDiv<int64_t>(args.columns, tileColumns(panel))) *
         uint64_t(tileRowBytes(panel));
}

uint64_t tileScratch(const PanelLinearArgs &args, Panel panel, int64_t rows) {
  if (rows <= kSplitRows && !takesBytes(panel))
    return 0;
  const TileForm &form = kTileForms[unsigned(panel)];
  uint64_t bytes =
      std::max(roundedBytes(args, panel, rows), roundedBytes(args, panel, std::min(rows, form.narrowRows)));
  if (int64_t shared = kShareBlocks / panelBlocks(args) * form.wideRows; !args.gate && shared)
    bytes += uint64_t(kSlices) * uint64_t(std::min(rows, shared)) * uint64_t(args.n) * sizeof(float);
  return bytes;
}

void runTiles(Stream &stream, const PanelLinearArgs &linear, Panel panel, uint8_t *scratch) {
  const Gpu &gpu = stream.device();
  TileLinearArgs args{};
  static_cast<PanelLinearArgs &>(args) = linear;
  const int64_t rows = args.rows, each = tileRows(panel, rows), panels = panelBlocks(args);
  const auto rowBlocks = int64_t(blocksFor(rows, each));
  const auto columnStages = int32_t(ceilDiv<int64_t>(args.columns, tileColumns(panel)));
  // A thread for 16 bytes, of which rows of bytes may have fewer.
  const Stream::Grid grid{blocksFor(columnStages * each * tileRowBytes(panel) / 16, kRowThreads), uint64_t(rowBlocks)};
  if (takesBytes(panel))
    stream.launch(
        Function::mlc_place_rows, grid, kRowThreads,
        PlaceRowsArgs{args.bytes, scratch, args.columns, args.rows, int32_t(each), columnStages, args.aligned, panel});
  else if (RoundRowsArgs round{args.x, scratch, args.k, args.rows, int32_t(each), columnStages, panel, args.norm};
           round.norm.weight)
    stream.launch(Function::mlc_norm_rows, {uint64_t(each), uint64_t(rowBlocks)}, kRowThreads, round);
  else
    stream.launch(Function::mlc_round_rows, grid, kRowThreads, round);
  args.rounded = scratch;
  const int64_t stageBytes = tileStageBytes(panel, each);
  // Before Hopper one stage is copied while another one is read.
  args.stages =
      gpu.hopper() ? int32_t(std::min<int64_t>((gpu.tileMemory() - kTileAlignment) / stageBytes, kMostTileStages)) : 2;
  const int64_t slices = sliceCount(args.columns), blocks = panels * rowBlocks;
  int64_t shares = 1;
  if (!args.gate && blocks <= kShareBlocks)
    shares = std::clamp<int64_t>(gpu.multiprocessors() / blocks, 1, slices);
  args.slicesEach = int32_t(ceilDiv(slices, shares));
  if (args.slicesEach < slices)
    args.parts = reinterpret_cast<float *>(scratch + roundedBytes(args, panel, rows));
  const TileForm &form = kTileForms[unsigned(panel)];
  stream.launch(each == form.narrowRows ? form.narrow : form.wide,
                {uint64_t(panels), uint64_t(rowBlocks), blocksFor(slices, args.slicesEach)}, tileThreads(gpu.hopper()),
                args, unsigned(args.stages * stageBytes + kTileAlignment));
  if (args.parts)
    stream.launch(Function::mlc_join_slices, rowGrid(args.n, rows), kRowThreads, args);
}

/// Panels of integers that meet rows of bytes.
static Panel panelOf(const Stored &stored, bool bytes) {
  return Panel(unsigned(stored.panel) + (bytes ? unsigned(Panel::w8a8) - unsigned(Panel::int8) : 0));
}

static void runPanels(const KernelContext &context, const LinearArgs &linear, const fb::LinearAttrs &attrs,
                      const Stored &stored, const InputNorm &norm) {
  Stream &stream = streamOf(context);
  const fb::WeightDesc &both = attrs.weight();
  const fb::WeightDesc weight(attrs.gated() ? both.n() / 2 : both.n(), both.k(), both.group(), both.format(),
                              both.asymmetric());
  const Panel panel = panelOf(stored, attrs.quantized_input());
  PanelLinearArgs args{};
  static_cast<PanelArgs &>(args) = panelArgs(weight);
  args.x = linear.x;
  args.norm = norm;
  if (takesBytes(panel)) {
    const cpu::QuantizedRow row = cpu::quantizedRow(weight);
    args.bytes = {{context.inputs[0].as<uint8_t>(), args.x.stride},
                  int32_t(row.scalesOffset),
                  row.groups == 1 ? kWholeRow : std::countr_zero(row.group)};
  }
  args.weight = linear.weight;
  args.bias = linear.bias;
  args.residual = linear.residual;
  args.out = linear.out;
  args.n = int64_t(weight.n());
  args.k = linear.k;
  args.rows = linear.rows;
  args.aligned = aligned(args.x.data, args.x.stride * (takesBytes(panel) ? 1 : 4));
  args.act = Act(attrs.activation());
  if (attrs.gated())
    args.gate = int64_t(cpu::packedOffset(weight, weight.n()));
  if (args.rows < 1 || runStaying(stream, args, panel))
    return;
  if (args.rows > kSplitRows || takesBytes(panel))
    return runTiles(stream, args, panel, context.sharedScratch);
  // A block of these reads its rows panel by panel.
  if (norm.weight) {
    auto *normed = reinterpret_cast<float *>(context.sharedScratch);
    runInputNorm(stream, norm, args.x, args.k, args.rows, normed);
    args.x = {normed, args.k};
    args.aligned = aligned(normed, args.k * 4);
  }
  if (args.gate)
    return runGated(stream, args, panel);
  stream.launch(kPanelForms[unsigned(panel)][args.rows > 8], {blocksFor(args.n, 16)}, kPanelThreads, args);
}

void runLinear(const KernelContext &context, const InputNorm &norm) {
  const auto &attrs = context.attrsAs<fb::LinearAttrs>();
  const TensorView &x = context.inputs[0], &out = context.outputs[0];
  Stored stored = *storedAs(attrs.weight());
  Storage storage = stored.storage;
  LinearArgs args{};
  args.x = inputRows(x);
  args.weight = context.inputs[1].data;
  args.n = int64_t(attrs.weight().n());
  args.k = int64_t(attrs.weight().k());
  int64_t rows = x.dims[0] < out.dims[0] ? x.dims[0] : out.dims[0];
  if (attrs.has_bias())
    args.bias = context.inputs[2].as<float>();
  if (attrs.has_residual()) {
    const TensorView &residual = context.inputs[attrs.has_bias() ? 3 : 2];
    args.residual = inputRows(residual);
    rows = residual.dims[1] != args.n ? 0 : residual.dims[0] < rows ? residual.dims[0] : rows;
  }
  if (x.dims[1] != (attrs.quantized_input() ? int64_t(cpu::quantizedRow(attrs.weight()).bytes) : args.k) ||
      out.dims[1] != (attrs.gated() ? args.n / 2 : args.n))
    return;
  args.out = rowsOf(out);
  args.rows = int32_t(rows);
  if (stored.panels)
    return runPanels(context, args, attrs, stored, norm);
  const Form *form = &kAny;
  if (aligned(args.weight, args.k * (storage == Storage::f32 ? 4 : 2)) && aligned(args.x.data, args.x.stride * 4))
    for (form = kForms; form != std::end(kForms) - 1 && form->rows < rows;)
      ++form;
  // As in linearRows.
  constexpr int64_t warps = 4;
  streamOf(context).launch(storage == Storage::f32   ? form->f32
                           : storage == Storage::f16 ? form->f16
                                                     : form->bf16,
                           {blocksFor(args.n, warps * form->columns), blocksFor(rows, form->rows)},
                           unsigned(32 * warps), args);
}

static void run(const KernelContext &context) { runLinear(context, {}); }

uint64_t linearScratch(const fb::LinearAttrs &attrs, int64_t rows) {
  const fb::WeightDesc &weight = attrs.weight();
  const Stored stored = *storedAs(weight);
  if (!stored.panels)
    return 0;
  PanelLinearArgs args{};
  static_cast<PanelArgs &>(args) = panelArgs(weight);
  args.n = int64_t(attrs.gated() ? weight.n() / 2 : weight.n());
  args.gate = attrs.gated();
  return tileScratch(args, panelOf(stored, attrs.quantized_input()), rows);
}
static ScratchNeed scratchLinear(const KernelCallInfo &call) {
  return {linearScratch(*call.attrsAs<fb::LinearAttrs>(), call.inputs[0].dims[0]), 0};
}

static Status checkQuantize(const KernelCallInfo &call) {
  MLC_TRY(checkAsHost(call, "quantize_rows"));
  const auto &attrs = *call.attrsAs<fb::QuantizeRowsAttrs>();
  const cpu::QuantizedRow row(attrs.k(), attrs.group(), attrs.sum_group());
  if (attrs.k() > kMostColumns || (128 % row.sumGroup && row.sumGroup != row.group))
    return Error(ErrorCode::Unsupported, "no CUDA kernel quantizes rows of %llu columns with sums of %llu",
                 (unsigned long long)attrs.k(), (unsigned long long)row.sumGroup);
  return {};
}

static void runQuantize(const KernelContext &context) {
  const auto &attrs = context.attrsAs<fb::QuantizeRowsAttrs>();
  const TensorView &x = context.inputs[0], &out = context.outputs[0];
  const cpu::QuantizedRow row(attrs.k(), attrs.group(), attrs.sum_group());
  const QuantizeRowsArgs args{inputRows(x),
                              {out.as<uint8_t>(), out.strides[0]},
                              int64_t(attrs.k()),
                              int32_t(row.columns),
                              int32_t(row.group),
                              int32_t(row.sumGroup),
                              int32_t(row.scalesOffset),
                              int32_t(row.sumsOffset),
                              aligned(x.data, x.strides[0] * 4) && aligned(out.data, out.strides[0])};
  // As in QuantizeRows.cuh: a warp for a span.
  streamOf(context).launch(Function::mlc_quantize_rows,
                           {blocksFor(args.columns, int64_t(8) * quantizedSpan(args.group)),
                            uint64_t(cpu::commonRows({{&x, attrs.k()}, {&out, row.bytes}}))},
                           256, args);
}

const KernelDef linearKernels[] = {{"linear", 1, Isa::portable, checkLinear, scratchLinear, run},
                                   {"quantize_rows", 1, Isa::portable, checkQuantize, nullptr, runQuantize}};

} // namespace mlc::cuda
