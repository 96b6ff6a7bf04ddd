//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// linear on tensor cores: panels of 16 outputs (docs/kernels.md) of bf16, int8 or int4, rows rounded to bf16, products
// of bf16, f32 sums. The weights are the m16 x k16 operand as they lie in memory, 8 rows the k16 x n8 one. Integers
// become bf16 exactly in registers, and a group's sum is scaled once, in f32.
//
// One order of sums for any number of rows: k is cut into units of 128 columns, units into kSlices slices; a slice is
// summed from its first column on, and the slices are added in order. Up to kSplitRows rows give a warp of a block a
// slice each; more rows give a warp a panel with all of its slices.
//
#pragma once

#include "targets/cuda/device/TensorCore.h"

namespace mlc::cuda {

constexpr int kUnit = 128, kSlices = 8;

/// What one weight format gives a lane, four steps at a time. Lane 4 g + t works on rows 2 g and 2 g + 1 of the panel.
template <Panel panel> struct PanelSteps;

/// Step of 16 columns: t's are 4 t, ..., 4 t + 3.
template <> struct PanelSteps<Panel::bf16> {
  static constexpr int kColumns = 16, kMultiplies = 1;
  uint2 low, high; // Pairs of columns (4 t, 4 t + 1) and the next, of both rows.

  MLC_DEVICE void load(const uint8_t *data, int64_t column, int64_t columns, int g, int t) {
    const uint8_t *at = data + (column / 2 + 2 * t) * 64 + 8 * g;
    low = column + 4 * t < columns ? loadPairOnce(at) : uint2{0, 0};
    high = column + 4 * t + 2 < columns ? loadPairOnce(at + 64) : uint2{0, 0};
  }
  MLC_DEVICE void fragment(int, const uint32_t (&)[2], uint32_t (&a)[4]) const {
    a[0] = low.x;
    a[1] = low.y;
    a[2] = high.x;
    a[3] = high.y;
  }
};

/// Step of 16 columns, bytes w + 128.
template <> struct PanelSteps<Panel::int8> {
  static constexpr int kColumns = 16, kMultiplies = 1;
  uint2 words; // Four columns of both rows.

  MLC_DEVICE void load(const uint8_t *data, int64_t column, int64_t columns, int g, int t) {
    words = column + 4 * t < columns ? loadPairOnce(data + (column / 4 + t) * 64 + 8 * g) : uint2{0, 0};
  }
  MLC_DEVICE void fragment(int, const uint32_t (&)[2], uint32_t (&a)[4]) const {
    a[0] = bytesToBf16(words.x, 0);
    a[1] = bytesToBf16(words.y, 0);
    a[2] = bytesToBf16(words.x, 1);
    a[3] = bytesToBf16(words.y, 1);
  }
};

/// Step of 32 columns, of which t's are 8 t, ..., 8 t + 7: two products, of the low nibbles and of the high ones.
template <> struct PanelSteps<Panel::int4> {
  static constexpr int kColumns = 32, kMultiplies = 2;
  uint2 words; // Eight columns of both rows.

  MLC_DEVICE void load(const uint8_t *data, int64_t column, int64_t columns, int g, int t) {
    words = column + 8 * t < columns ? loadPairOnce(data + (column / 8 + t) * 64 + 8 * g) : uint2{0, 0};
  }
  /// zeros: -(128 + zero point) of each row, twice.
  MLC_DEVICE void fragment(int half, const uint32_t (&zeros)[2], uint32_t (&a)[4]) const {
    a[0] = nibblesToBf16(words.x >> 4 * half, 0, zeros[0]);
    a[1] = nibblesToBf16(words.y >> 4 * half, 0, zeros[1]);
    a[2] = nibblesToBf16(words.x >> 4 * half, 1, zeros[0]);
    a[3] = nibblesToBf16(words.y >> 4 * half, 1, zeros[1]);
  }
};

/// Columns [k, k + 4) of a row as two pairs of bf16; zeros beyond `end`.
MLC_DEVICE void loadRounded(const float *row, int64_t k, int64_t end, bool aligned, uint32_t (&out)[2]) {
  if (aligned && k + 4 <= end) {
    float4 v = *reinterpret_cast<const float4 *>(row + k);
    out[0] = pairToBf16(v.x, v.y);
    out[1] = pairToBf16(v.z, v.w);
    return;
  }
  float v[4];
  for (int i = 0; i < 4; ++i)
    v[i] = k + i < end ? row[k + i] : 0.0f;
  out[0] = pairToBf16(v[0], v[1]);
  out[1] = pairToBf16(v[2], v[3]);
}

/// The sums of one slice of one panel for 8 kTiles rows: sums[tile] in the order of a product's result. rowAt(i): where
/// the i-th row begins; null: there is none.
template <Panel panel, int kTiles, typename RowAt>
MLC_DEVICE void sliceSums(const PanelProductArgs &args, const RowAt &rowAt, const uint8_t *data, int slice,
                          float (&sums)[kTiles][4]) {
  using Steps = PanelSteps<panel>;
  constexpr int kBatch = 4;
  int lane = int(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
  int64_t units = (args.columns + kUnit - 1) / kUnit, each = (units + kSlices - 1) / kSlices;
  int64_t begin = slice * each * kUnit, end = begin + each * kUnit < args.columns ? begin + each * kUnit : args.columns;
  bool aligned = args.aligned;
  const float *rows[kTiles];
#pragma unroll
  for (int i = 0; i < kTiles; ++i)
    rows[i] = rowAt(8 * i + g);
  float group[kTiles][4];
  for (int i = 0; i < kTiles; ++i)
    for (int e = 0; e < 4; ++e)
      group[i][e] = sums[i][e] = 0;
  Steps next[kBatch];
  for (int b = 0; b < kBatch; ++b)
    next[b].load(data, begin + b * Steps::kColumns, end, g, t);
  // The first weights are on their way while the inputs are still computed.
  awaitInputs();
  uint32_t zeros[2] = {0xc308c308, 0xc308c308}; // -136: the zero point of int4 is 8.
  for (int64_t k = begin; k < end; k += kBatch * Steps::kColumns) {
    Steps steps[kBatch];
    for (int b = 0; b < kBatch; ++b)
      steps[b] = next[b];
    for (int b = 0; b < kBatch; ++b)
      next[b].load(data, k + (kBatch + b) * Steps::kColumns, end, g, t);
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      int64_t column = k + b * Steps::kColumns;
      if (column >= end)
        break;
      if constexpr (panel == Panel::int4)
        if (args.zeros && column % args.group == 0) {
          const auto *zero = reinterpret_cast<const int8_t *>(data + args.zeros + column / args.group * 16 + 2 * g);
          zeros[0] = pairToBf16(float(-128 - zero[0]), float(-128 - zero[0]));
          zeros[1] = pairToBf16(float(-128 - zero[1]), float(-128 - zero[1]));
        }
#pragma unroll
      for (int half = 0; half < Steps::kMultiplies; ++half) {
        uint32_t a[4];
        steps[b].fragment(half, zeros, a);
#pragma unroll
        for (int i = 0; i < kTiles; ++i) {
          uint32_t x[2] = {0, 0};
          if (rows[i])
            loadRounded(rows[i], column + 4 * Steps::kMultiplies * t + 4 * half, args.k, aligned, x);
          if constexpr (panel == Panel::bf16)
            multiply(sums[i], a, x);
          else
            multiply(group[i], a, x);
        }
      }
      if constexpr (panel != Panel::bf16) {
        // A group that a slice cuts is scaled in both.
        int64_t after = column + Steps::kColumns;
        if (after % args.group != 0 && after < end)
          continue;
        uint32_t pair =
            *reinterpret_cast<const uint32_t *>(data + args.scales + (column / args.group * 16 + 2 * g) * 2);
        float scale0 = args.halfScales ? halfToFloat(uint16_t(pair)) : bf16ToFloat(uint16_t(pair));
        float scale1 = args.halfScales ? halfToFloat(uint16_t(pair >> 16)) : bf16ToFloat(uint16_t(pair >> 16));
        for (int i = 0; i < kTiles; ++i)
          for (int e = 0; e < 4; ++e) {
            sums[i][e] = fmaf(group[i][e], e < 2 ? scale0 : scale1, sums[i][e]);
            group[i][e] = 0;
          }
      }
    }
  }
}

MLC_DEVICE int sliceCount(int64_t columns) {
  int64_t units = (columns + kUnit - 1) / kUnit, each = (units + kSlices - 1) / kSlices;
  return int((units + each - 1) / each);
}

/// The same of all slices, in order.
template <Panel panel, int kTiles, typename RowAt>
MLC_DEVICE void wholeSums(const PanelProductArgs &args, const RowAt &rowAt, const uint8_t *data,
                          float (&total)[kTiles][4]) {
  float sums[kTiles][4];
  sliceSums<panel, kTiles>(args, rowAt, data, 0, total);
  for (int slice = 1; slice < sliceCount(args.columns); ++slice) {
    sliceSums<panel, kTiles>(args, rowAt, data, slice, sums);
    for (int i = 0; i < kTiles; ++i)
      for (int e = 0; e < 4; ++e)
        total[i][e] += sums[i][e];
  }
}

/// The rows of x from `first` on.
struct LinearRows {
  const PanelLinearArgs &args;
  int first;
  MLC_DEVICE const float *operator()(int i) const {
    return first + i < args.rows ? args.x.data + (first + i) * args.x.stride : nullptr;
  }
};

/// Where warp `slice` of a block leaves its slice's sums: [row][output].
template <int kTiles> MLC_DEVICE void shareSums(const float (&sums)[kTiles][4], float *parts) {
  int lane = int(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
  for (int i = 0; i < kTiles; ++i)
    for (int e = 0; e < 4; ++e)
      parts[(8 * i + 2 * t + e % 2) * 16 + 2 * g + e / 2] = sums[i][e];
}

/// Stores one output; `panelRow` of `panel`, in the order of the panel.
MLC_DEVICE void storeOutput(const PanelLinearArgs &args, int64_t column, int row, float sum) {
  if (row >= args.rows || column >= args.n)
    return;
  if (args.bias)
    sum += args.bias[column];
  if (args.residual.data)
    sum += args.residual.data[row * args.residual.stride + column];
  args.out.data[row * args.out.stride + column] = sum;
}

/// Grid (panels, rows / (8 kTiles)); a warp for each slice.
template <Panel panel, int kTiles> MLC_DEVICE void linearSplit(const PanelLinearArgs &args) {
  constexpr int kOutputs = 16 * 8 * kTiles;
  MLC_SHARED float parts[kSlices][kOutputs];
  letNextStart();
  int warp = int(threadIdx.x) / kWarp, firstRow = int(blockIdx.y) * 8 * kTiles, slices = sliceCount(args.columns);
  const uint8_t *data = static_cast<const uint8_t *>(args.weight) + blockIdx.x * args.panelBytes;
  if (warp < slices) {
    float sums[kTiles][4];
    sliceSums<panel, kTiles>(args, LinearRows{args, firstRow}, data, warp, sums);
    shareSums<kTiles>(sums, parts[warp]);
  }
  awaitInputs();
  __syncthreads();
  for (int item = int(threadIdx.x); item < kOutputs; item += kSlices * kWarp) {
    float sum = parts[0][item];
    for (int slice = 1; slice < slices; ++slice)
      sum += parts[slice][item];
    storeOutput(args, int64_t(blockIdx.x) * 16 + item % 16, firstRow + item / 16, sum);
  }
}

/// Grid (panels / kSlices, rows / (8 kTiles)); a warp for each panel.
template <Panel panel, int kTiles> MLC_DEVICE void linearWhole(const PanelLinearArgs &args) {
  int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
  int firstRow = int(blockIdx.y) * 8 * kTiles;
  int64_t index = int64_t(blockIdx.x) * kSlices + warp;
  letNextStart();
  if (index * 16 >= args.n)
    return awaitInputs();
  const uint8_t *data = static_cast<const uint8_t *>(args.weight) + index * args.panelBytes;
  float total[kTiles][4];
  wholeSums<panel, kTiles>(args, LinearRows{args, firstRow}, data, total);
  for (int i = 0; i < kTiles; ++i)
    for (int e = 0; e < 4; ++e)
      storeOutput(args, index * 16 + 2 * g + e / 2, firstRow + 8 * i + 2 * t + e % 2, total[i][e]);
}

/// Element [row][column] of a packed weight.
MLC_DEVICE float panelElement(const PanelArgs &args, Panel panel, const void *weight, int64_t row, int64_t column) {
  const uint8_t *data = static_cast<const uint8_t *>(weight) + row / 16 * args.panelBytes;
  int r = int(row % 16);
  if (panel == Panel::bf16)
    return bf16ToFloat(reinterpret_cast<const uint16_t *>(data)[(column / 2 * 16 + r) * 2 + column % 2]);
  int64_t group = column / args.group;
  uint16_t bits = reinterpret_cast<const uint16_t *>(data + args.scales)[group * 16 + r];
  float scale = args.halfScales ? halfToFloat(bits) : bf16ToFloat(bits);
  if (panel == Panel::int8)
    return float(int(data[column / 4 * 64 + r * 4 + column % 4]) - 128) * scale;
  int zero = args.zeros ? int(reinterpret_cast<const int8_t *>(data + args.zeros)[group * 16 + r]) : 8;
  int code = data[column / 8 * 64 + r * 4 + column % 4] >> (column / 4 % 2 * 4) & 15;
  return float(code - zero) * scale;
}

} // namespace mlc::cuda

#define MLC_PANEL_LINEARS(PANEL)                                                                                       \
  MLC_KERNEL_OF(mlc_panel_##PANEL##_8, PanelLinearArgs, 256) { linearSplit<Panel::PANEL, 1>(args); }                   \
  MLC_KERNEL_OF(mlc_panel_##PANEL##_16, PanelLinearArgs, 256) { linearSplit<Panel::PANEL, 2>(args); }                  \
  MLC_KERNEL_OF(mlc_panel_##PANEL##_32, PanelLinearArgs, 256) { linearWhole<Panel::PANEL, 4>(args); }

MLC_PANEL_LINEARS(bf16)
MLC_PANEL_LINEARS(int8)
MLC_PANEL_LINEARS(int4)

MLC_KERNEL(mlc_panel_embedding, PanelEmbeddingArgs) {
  begin();
  int64_t row = blockIdx.y, column = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (column >= args.columns)
    return;
  int32_t id = args.ids[row];
  args.out.data[row * args.out.stride + column] =
      id >= 0 && id < args.vocabulary ? panelElement(args.panels, args.panel, args.weight, id, column) * args.scale
                                      : notANumber();
}
