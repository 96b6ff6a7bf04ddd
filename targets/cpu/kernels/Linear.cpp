//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// linear: check, and the split of the output into row tiles and runs of panels. The products are in LinearFloat.cpp and
// LinearInt.cpp.
//
#include "targets/cpu/kernels/LinearArgs.h"
#include "targets/cpu/kernels/Shares.h"
#include "targets/cpu/pack/Pack.h"
#include "targets/cpu/simd/Simd.h"

#include "runtime/core/BlockFormats.h"
#include "runtime/core/Float16.h"

#include <cstring>

namespace mlc::cpu {

/// Rows of an item; `most` at most.
static int64_t rowTileOf(int64_t rows, int64_t most) {
  int64_t tiles = ceilDiv(rows, most);
  return tiles <= 1 ? rows : roundUp(ceilDiv(rows, tiles), 24);
}

// Bytes of x that stay in the second cache beside weights and sums.
constexpr int64_t kTiledBytes = int64_t(3) << 19;

static int64_t rowBytesOf(const fb::LinearAttrs &attrs) {
  const fb::WeightDesc &weight = attrs.weight();
  return attrs.quantized_input() ? int64_t(quantizedRow(weight).bytes) : int64_t(weight.k()) * 4;
}

/// Columns of the output: a gate joins two halves.
static uint64_t outputColumns(const fb::LinearAttrs &attrs) { return attrs.weight().n() / (attrs.gated() ? 2 : 1); }

static Status checkGate(const fb::LinearAttrs &attrs) {
  if (!attrs.gated()) {
    if (attrs.activation() != fb::Activation::none || attrs.out_group() || attrs.out_sum_group())
      return Error(ErrorCode::Corrupt, "linear: an activation or quantized output without a gate");
    return {};
  }
  if (!attrs.quantized_input() || attrs.has_residual() || attrs.weight().n() % (2 * kPanel))
    return Error(ErrorCode::Corrupt, "linear: a gate takes quantized rows, no residual and halves of whole panels");
  if (attrs.activation() > fb::Activation::MAX)
    return Error(ErrorCode::Unsupported, "linear: activation %u is unknown", unsigned(attrs.activation()));
  if (attrs.out_group() &&
      (!QuantizedRow::valid(outputColumns(attrs), attrs.out_group(), attrs.out_sum_group()) || attrs.out_group() > 256))
    return Error(ErrorCode::Corrupt, "linear: output quantized in groups of %u, sums of %u", attrs.out_group(),
                 attrs.out_sum_group());
  return {};
}

static Status check(const KernelCallInfo &call) {
  MLC_ASSIGN(const auto *attrs, attrsOrError<fb::LinearAttrs>(call, "linear"));
  MLC_TRY(checkCounts(call, 2 + attrs->has_bias() + attrs->has_residual(), 1));
  const fb::WeightDesc &weight = attrs->weight();
  MLC_TRY(checkWeight(call.inputs[1], weight));
  if (attrs->quantized_input() && !isQuantized(weight.format()))
    return Error(ErrorCode::Corrupt, "linear: weight format %u takes f32 rows", unsigned(weight.format()));
  MLC_TRY(checkGate(*attrs));
  if (attrs->bf16() && (attrs->quantized_input() || weight.format() != fb::WeightFormat::panel_bf16))
    return Error(ErrorCode::Corrupt, "linear: bf16 products with weight format %u", unsigned(weight.format()));
  if (attrs->quantized_input())
    MLC_TRY(checkMatrix(call.inputs[0], "x", DType::u8, quantizedRow(weight).bytes));
  else
    MLC_TRY(checkMatrix(call.inputs[0], "x", DType::f32, weight.k()));
  uint64_t columns = outputColumns(*attrs);
  if (attrs->out_group())
    MLC_TRY(checkMatrix(call.outputs[0], "the output", DType::u8,
                        QuantizedRow(columns, attrs->out_group(), attrs->out_sum_group()).bytes));
  else
    MLC_TRY(checkMatrix(call.outputs[0], "the output", DType::f32, columns));
  MLC_TRY(checkSameRows(call, 1));
  if (attrs->has_bias())
    MLC_TRY(checkVector(call.inputs[2], "bias", DType::f32, weight.n()));
  if (attrs->has_residual()) {
    size_t index = attrs->has_bias() ? 3 : 2;
    MLC_TRY(checkMatrix(call.inputs[index], "residual", DType::f32, weight.n()));
    if (call.inputs[index].dims[0] != call.inputs[0].dims[0] ||
        call.inputFollowsTokens[index] != call.inputFollowsTokens[0])
      return Error(ErrorCode::Corrupt, "linear: x and residual differ in rows");
  }
  return {};
}

static ScratchNeed scratch(const KernelCallInfo &call) {
  // No step's tile is above the largest one.
  int64_t rows = call.inputs[0].dims[0] < kMostRows ? call.inputs[0].dims[0] : kMostRows;
  const auto *attrs = call.attrsAs<fb::LinearAttrs>();
  // All of x rounded to bf16, or what its integer sums begin with: once for all panels.
  uint64_t shared = 0, all = uint64_t(call.inputs[0].dims[0]);
  if (attrs->bf16())
    shared = all * uint64_t(pairRowBytes(int64_t(attrs->weight().k())));
  else if (attrs->quantized_input())
    shared = all * panelLayout(attrs->weight()).groups * 4;
  return {shared, uint64_t(linearScratchBytes(roundUp(rows < 1 ? 1 : rows, 24), attrs->out_group()))};
}

static void unpackColumns(const LinearFloat &linear, int64_t row, int64_t begin, int64_t count, float *out) {
  const auto &desc = *static_cast<const fb::WeightDesc *>(linear.desc);
  if (isQuantized(desc.format()))
    return unpackQuantized(desc, linear.weight, uint64_t(row), uint64_t(begin), uint64_t(count), out);
  const uint8_t *at = linear.weight + packedOffset(desc, uint64_t(row));
  if (isBlockFormat(desc.format())) {
    // Both are multiples of the block.
    unsigned elements = blockElements(desc.format());
    at += begin / elements * blockBytes(desc.format());
    return dequantizeBlocks(desc.format(), at, size_t(count / elements), out);
  }
  if (desc.format() == fb::WeightFormat::rows_f32) {
    memcpy(out, at + begin * 4, size_t(count) * 4);
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    uint16_t bits;
    memcpy(&bits, at + (begin + i) * 2, 2);
    out[i] = desc.format() == fb::WeightFormat::rows_f16 ? f16ToF32(bits) : bf16ToF32(bits);
  }
}

static LinearFloat::Source sourceOf(fb::WeightFormat format) {
  switch (format) {
  case fb::WeightFormat::panel_f32:
    return LinearFloat::panelF32;
  case fb::WeightFormat::panel_f16:
    return LinearFloat::panelF16;
  case fb::WeightFormat::panel_bf16:
    return LinearFloat::panelBf16;
  default:
    return LinearFloat::rows;
  }
}

/// Runs fn(rowBegin, rowEnd, panelBegin, panelEnd, worker) over the output's panels, in runs of a multiple of
/// `together`.
template <typename F>
static void forEachTile(WorkerPool *pool, int64_t rows, int64_t rowTile, int64_t panels, int64_t together, int64_t k,
                        int64_t panelBytes, const F &fn) {
  int64_t tiles = ceilDiv(rows, rowTile);
  // Enough items to balance the workers, each worth handing out: 32 KiB of weights, or two panels for many rows.
  int64_t run = ceilDiv<int64_t>(panels * tiles, int64_t(pool->size()) * (rowTile > 8 ? 16 : 8));
  int64_t least = rowTile > 8 ? 2 : ceilDiv<int64_t>(32768, panelBytes);
  run = run < least ? least : run;
  // An item ends within milliseconds, for steps that wait and for cancellation: at most 2^27 products, or the least.
  int64_t most = (int64_t(1) << 27) / (rowTile * kPanelColumns * k);
  most = most < 2 ? 2 : most > 32 ? 32 : most;
  run = rowTile > 8 && run > most ? most : run;
  // Down to whole groups: more items share out more evenly than fewer.
  run = run < together ? together : rowTile > 8 ? run / together * together : roundUp(run, together);
  int64_t runs = ceilDiv(panels, run);
  pool->parallelFor(tiles * runs, 1, [&](int64_t begin, int64_t end, unsigned worker) {
    for (int64_t item = begin; item < end; ++item) {
      int64_t row = item / runs * rowTile, panel = item % runs * run;
      fn(row, row + rowTile < rows ? row + rowTile : rows, panel, panel + run < panels ? panel + run : panels, worker);
    }
  });
}

/// The same for rows that fit tiles at once, which meet `together` panels: halved shares of these.
template <typename F>
static void forEachShare(WorkerPool *pool, int64_t rows, int64_t panels, int64_t together, int64_t panelBytes,
                         const F &fn) {
  // A share is worth handing out: 32 KiB.
  const Shares shares =
      Shares::halved(ceilDiv(panels, together), ceilDiv<int64_t>(32768, panelBytes * together), int64_t(pool->size()));
  pool->parallelFor(shares.items(), 1, [&](int64_t begin, int64_t end, unsigned worker) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t panelEnd = shares.beginOf(item + 1) * together;
      fn(0, rows, shares.beginOf(item) * together, panelEnd < panels ? panelEnd : panels, worker);
    }
  });
}

static IntFormat intFormatOf(const fb::WeightDesc &weight) {
  if (isBlockPanel(weight.format()))
    return IntFormat(unsigned(IntFormat::q4_0) + unsigned(weight.format()) - unsigned(fb::WeightFormat::panel_q4_0));
  if (weight.format() == fb::WeightFormat::panel_int8)
    return IntFormat::int8;
  return weight.asymmetric() ? IntFormat::int4Asymmetric : IntFormat::int4;
}

static bool formatHasOffsets(const fb::WeightDesc &weight) {
  return isBlockPanel(weight.format()) ? blockShape(blockOfPanel(weight.format())).offsets : weight.asymmetric();
}

LinearInt linearIntOf(const fb::WeightDesc &weight) {
  PanelLayout layout = panelLayout(weight);
  QuantizedRow row = quantizedRow(weight);
  LinearInt linear{};
  linear.xScales = int64_t(row.scalesOffset);
  linear.xSums = int64_t(row.sumsOffset);
  linear.panelBytes = int64_t(layout.bytes);
  linear.scalesOffset = int64_t(layout.scalesOffset);
  linear.offsetsOffset = int64_t(layout.offsetsOffset);
  linear.group = int64_t(layout.group);
  linear.groups = int64_t(layout.groups);
  linear.format = intFormatOf(weight);
  unsigned zero =
      isBlockPanel(weight.format()) ? blockShape(blockOfPanel(weight.format())).zero : 1u << (layout.bits - 1);
  linear.zeroShift = uint8_t(zero ? __builtin_ctz(zero) : 0);
  linear.scaleShift = uint8_t(__builtin_ctzll(row.group / layout.group));
  return linear;
}

LinearFloat linearFloatOf(const fb::WeightDesc &weight) {
  LinearFloat linear{};
  linear.n = int64_t(weight.n());
  linear.k = int64_t(weight.k());
  linear.panelBytes =
      isPanel(weight.format()) ? int64_t(panelLayout(weight).bytes) : int64_t(plainRowBytes(weight)) * kPanelColumns;
  linear.source = sourceOf(weight.format());
  linear.unpack = unpackColumns;
  linear.desc = &weight;
  return linear;
}

LinearBf16 linearBf16Of(const fb::WeightDesc &weight) {
  LinearBf16 linear{};
  linear.xStride = pairRowBytes(int64_t(weight.k()));
  linear.pairs = (int64_t(weight.k()) + 1) / 2;
  linear.panelBytes = int64_t(panelLayout(weight).bytes);
  return linear;
}

int sumShiftOf(const fb::WeightDesc &weight) { return formatHasOffsets(weight) ? -1 : linearIntOf(weight).zeroShift; }

static void runWith(const KernelContext &context, const LinearFunctions &functions) {
  const auto &attrs = context.attrsAs<fb::LinearAttrs>();
  const fb::WeightDesc &weight = attrs.weight();
  const TensorView &x = context.inputs[0], &out = context.outputs[0];
  const TensorView *residual = attrs.has_residual() ? &context.inputs[attrs.has_bias() ? 3 : 2] : nullptr;
  int64_t rowBytes = rowBytesOf(attrs), columns = int64_t(outputColumns(attrs));
  uint64_t xColumns = attrs.quantized_input() ? uint64_t(rowBytes) : weight.k();
  LinearOutput output{};
  output.columns = columns;
  output.stride = out.strides[0];
  output.bias = attrs.has_bias() ? context.inputs[2].as<float>() : nullptr;
  output.residual = residual ? residual->as<float>() : nullptr;
  output.residualStride = residual ? residual->strides[0] : 0;
  output.gatePanels = attrs.gated() ? columns / int64_t(kPanel) : 0;
  output.activation = uint8_t(attrs.activation());
  uint64_t outColumns = uint64_t(columns);
  int64_t together = kPanelsTogether;
  if (attrs.out_group()) {
    QuantizedRow row(outColumns, attrs.out_group(), attrs.out_sum_group());
    outColumns = row.bytes;
    output.quantized = out.as<uint8_t>();
    output.group = int64_t(row.group);
    output.sumGroup = int64_t(row.sumGroup);
    output.scalesOffset = int64_t(row.scalesOffset);
    output.sumsOffset = int64_t(row.sumsOffset);
    // A worker has whole groups.
    together = output.group / kPanelColumns;
  } else {
    output.out = out.as<float>();
  }
  int64_t rows = commonRows({{&x, xColumns}, {&out, outColumns}, {residual ? residual : &out, outColumns}});
  if (rows < 1)
    return;
  // Tiles outrun the caches beyond the second one, which x has to stay in.
  int64_t most =
      functions.tiles && attrs.quantized_input() && rowBytes * kMostRows > kTiledBytes ? kMostRows / 2 : kMostRows;
  int64_t rowTile = rowTileOf(rows, most), panels = ceilDiv<int64_t>(columns, kPanelColumns);
  if (attrs.bf16()) {
    int64_t k = int64_t(weight.k());
    LinearBf16 linear = linearBf16Of(weight);
    context.pool->parallelFor(rows, 1 + 16384 / k, [&](int64_t begin, int64_t end, unsigned) {
      for (int64_t r = begin; r < end; ++r)
        functions.roundRow(x.row<float>(r), k, context.sharedScratch + r * linear.xStride);
    });
    linear.x = context.sharedScratch;
    linear.tiles = functions.pairTiles;
    linear.weight = context.inputs[1].as<uint8_t>();
    linear.rowTile = rowTile;
    linear.output = output;
    forEachTile(context.pool, rows, rowTile, panels, together, int64_t(weight.k()), linear.panelBytes,
                [&](int64_t row, int64_t rowEnd, int64_t panel, int64_t panelEnd, unsigned worker) {
                  functions.bf16(linear, row, rowEnd, panel, panelEnd, context.scratchOf(worker));
                });
    return;
  }
  if (!attrs.quantized_input()) {
    LinearFloat linear = linearFloatOf(weight);
    linear.x = x.as<float>();
    linear.xStride = x.strides[0];
    linear.weight = context.inputs[1].as<uint8_t>();
    linear.rowTile = rowTile;
    linear.output = output;
    // A router's few columns are of use to two workers, too.
    if (rowTile <= 8 && !output.quantized)
      together = 1;
    forEachTile(context.pool, rows, rowTile, panels, together, int64_t(weight.k()), linear.panelBytes,
                [&](int64_t row, int64_t rowEnd, int64_t panel, int64_t panelEnd, unsigned worker) {
                  functions.real(linear, row, rowEnd, panel, panelEnd, context.scratchOf(worker));
                });
    return;
  }
  LinearInt linear = linearIntOf(weight);
  linear.x = x.as<uint8_t>();
  linear.xStride = x.strides[0];
  linear.weight = context.inputs[1].as<uint8_t>();
  linear.rowTile = rowTile;
  linear.output = output;
  linear.sums = context.sharedScratch;
  linear.tiles = functions.tiles;
  linear.few = functions.few;
  linear.streams = functions.streams;
  linear.gateBytes = output.gatePanels * linear.panelBytes;
  int shift = sumShiftOf(weight);
  context.pool->parallelFor(rows, 1 + 65536 / linear.groups, [&](int64_t begin, int64_t end, unsigned) {
    for (int64_t r = begin; r < end; ++r)
      functions.prepareSums(linear.x + r * linear.xStride + linear.xSums, linear.groups, shift,
                            context.sharedScratch + r * linear.groups * 4);
  });
  const int64_t panelBytes = linear.panelBytes * (attrs.gated() ? 2 : 1);
  auto product = [&](int64_t row, int64_t rowEnd, int64_t panel, int64_t panelEnd, unsigned worker) {
    functions.integer(linear, row, rowEnd, panel, panelEnd, context.scratchOf(worker));
  };
  if (rows == 1 ? linear.streams : rows <= kFewRows && linear.tiles)
    forEachShare(context.pool, rows, panels, attrs.gated() ? together : kPanelsOfRow, panelBytes, product);
  else
    forEachTile(context.pool, rows, rowTile, panels, together, int64_t(weight.k()), panelBytes, product);
}

template <Isa isa> static void run(const KernelContext &context) { runWith(context, kLinearFunctions<isa>); }

MLC_KERNEL_FORMS(MLC_ALL_FORMS, linearKernels, "linear", check, scratch, run)

} // namespace mlc::cpu
