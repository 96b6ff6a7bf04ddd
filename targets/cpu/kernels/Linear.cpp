//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// linear: check, and the split of the output into row tiles and runs of panels. The products are in LinearFloat.cpp and
// LinearInt.cpp.
//
#include "targets/cpu/kernels/Linear.h"
#include "targets/cpu/Kernels.h"
#include "targets/cpu/pack/Pack.h"
#include "targets/cpu/simd/Simd.h"

#include "runtime/core/BlockFormats.h"
#include "runtime/core/Float16.h"

#include <cstring>

namespace mlc::cpu {

MLC_DECLARE_FORMS(MLC_BF16_FORMS, linearFloat, LinearFloatFn)
MLC_DECLARE_FORMS(MLC_DOT_FORMS, linearInt, LinearIntFn)

// Rows of a tile are read again for every panel: they stay in most of a common L2.
static int64_t rowTileOf(int64_t rows, int64_t rowBytes) {
  int64_t most = 655360 / rowBytes;
  most = most < 24 ? 24 : most > 192 ? 192 : most;
  if (rows <= most)
    return rows < 1 ? 1 : rows;
  int64_t tiles = ceilDiv(rows, most);
  int64_t tile = ceilDiv<int64_t>(ceilDiv(rows, tiles), 24) * 24;
  return tile < most ? tile : most;
}

static Status check(const KernelCallInfo &call) {
  MLC_ASSIGN(const auto *attrs, attrsOrError<fb::LinearAttrs>(call, "linear"));
  MLC_TRY(checkCounts(call, 2 + attrs->has_bias() + attrs->has_residual(), 1));
  const fb::WeightDesc &weight = attrs->weight();
  MLC_TRY(checkWeight(call.inputs[1], weight));
  if (attrs->quantized_input() && !isQuantized(weight.format()))
    return Error(ErrorCode::Corrupt, "linear: weight format %u takes f32 rows", unsigned(weight.format()));
  if (attrs->quantized_input())
    MLC_TRY(checkMatrix(call.inputs[0], "x", DType::u8, quantizedRowBytes(weight.k(), weight.group())));
  else
    MLC_TRY(checkMatrix(call.inputs[0], "x", DType::f32, weight.k()));
  MLC_TRY(checkMatrix(call.outputs[0], "the output", DType::f32, weight.n()));
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

static int64_t rowBytesOf(const fb::LinearAttrs &attrs) {
  const fb::WeightDesc &weight = attrs.weight();
  return attrs.quantized_input() ? int64_t(quantizedRowBytes(weight.k(), weight.group())) : int64_t(weight.k()) * 4;
}

static ScratchNeed scratch(const KernelCallInfo &call) {
  // No step's tile is above the largest one.
  int64_t rows = call.inputs[0].dims[0] < 192 ? call.inputs[0].dims[0] : 192;
  return {0, uint64_t(linearScratchBytes(rows < 1 ? 1 : rows))};
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

/// Runs fn(rowBegin, rowEnd, panelBegin, panelEnd, worker) over the whole output.
template <typename F>
static void forEachTile(WorkerPool *pool, int64_t rows, int64_t rowTile, int64_t n, int64_t panelBytes, const F &fn) {
  int64_t panels = ceilDiv(n, kPanelColumns), tiles = ceilDiv(rows, rowTile);
  // Enough items to balance the workers, each worth handing out: 32 KiB of weights, or 2^20 products.
  int64_t run = ceilDiv<int64_t>(panels * tiles, int64_t(pool->size()) * 8);
  int64_t least = rowTile > 8 ? 4 : ceilDiv<int64_t>(32768, panelBytes);
  run = run < least ? least : run;
  run = alignUp<int64_t>(rowTile > 8 && run > 32 ? 32 : run, kPanelsTogether);
  int64_t runs = ceilDiv(panels, run);
  pool->parallelFor(tiles * runs, 1, [&](int64_t begin, int64_t end, unsigned worker) {
    for (int64_t item = begin; item < end; ++item) {
      int64_t row = item / runs * rowTile, panel = item % runs * run;
      fn(row, row + rowTile < rows ? row + rowTile : rows, panel, panel + run < panels ? panel + run : panels, worker);
    }
  });
}

template <Isa isa> static void run(const KernelContext &context) {
  const auto &attrs = context.attrsAs<fb::LinearAttrs>();
  const fb::WeightDesc &weight = attrs.weight();
  const TensorView &x = context.inputs[0], &out = context.outputs[0];
  const TensorView *residual = attrs.has_residual() ? &context.inputs[attrs.has_bias() ? 3 : 2] : nullptr;
  const float *bias = attrs.has_bias() ? context.inputs[2].as<float>() : nullptr;
  int64_t n = int64_t(weight.n()), rowBytes = rowBytesOf(attrs);
  uint64_t xColumns = attrs.quantized_input() ? uint64_t(rowBytes) : weight.k();
  int64_t rows = commonRows({{&x, xColumns}, {&out, weight.n()}, {residual ? residual : &out, weight.n()}});
  if (rows < 1)
    return;
  int64_t rowTile = rowTileOf(rows, rowBytes);
  const float *residualData = residual ? residual->as<float>() : nullptr;
  int64_t residualStride = residual ? residual->strides[0] : 0;
  PanelLayout layout{};
  if (isPanel(weight.format()))
    layout = panelLayout(weight);
  int64_t panelBytes =
      isPanel(weight.format()) ? int64_t(layout.bytes) : int64_t(plainRowBytes(weight)) * kPanelColumns;
  if (!attrs.quantized_input()) {
    LinearFloat linear{x.as<float>(),
                       bias,
                       residualData,
                       out.as<float>(),
                       x.strides[0],
                       out.strides[0],
                       residualStride,
                       context.inputs[1].as<uint8_t>(),
                       n,
                       int64_t(weight.k()),
                       panelBytes,
                       sourceOf(weight.format()),
                       unpackColumns,
                       &weight,
                       rowTile};
    forEachTile(context.pool, rows, rowTile, n, panelBytes,
                [&](int64_t row, int64_t rowEnd, int64_t panel, int64_t panelEnd, unsigned worker) {
                  formFor(linearFloatForms, isa)(linear, row, rowEnd, panel, panelEnd, context.scratchOf(worker));
                });
    return;
  }
  LinearInt linear{};
  linear.x = x.as<uint8_t>();
  linear.bias = bias;
  linear.residual = residualData;
  linear.out = out.as<float>();
  linear.xStride = x.strides[0];
  linear.outStride = out.strides[0];
  linear.residualStride = residualStride;
  linear.xScales = int64_t(quantizedScalesOffset(weight.k(), weight.group()));
  linear.xSums = int64_t(quantizedSumsOffset(weight.k(), weight.group()));
  linear.weight = context.inputs[1].as<uint8_t>();
  linear.n = n;
  linear.panelBytes = panelBytes;
  linear.scalesOffset = int64_t(layout.scalesOffset);
  linear.zerosOffset = int64_t(layout.zerosOffset);
  linear.group = int64_t(layout.group);
  linear.groups = int64_t(layout.groups);
  linear.int4 = weight.format() == fb::WeightFormat::panel_int4;
  linear.asymmetric = weight.asymmetric();
  linear.rowTile = rowTile;
  forEachTile(context.pool, rows, rowTile, n, panelBytes,
              [&](int64_t row, int64_t rowEnd, int64_t panel, int64_t panelEnd, unsigned worker) {
                formFor(linearIntForms, isa)(linear, row, rowEnd, panel, panelEnd, context.scratchOf(worker));
              });
}

MLC_KERNEL_FORMS(MLC_ALL_FORMS, linearKernels, "linear", check, scratch, run)

} // namespace mlc::cpu
