//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// linear on tensor cores: panels of 16 outputs (docs/kernels.md) of bf16, int8 or int4, rows rounded to bf16, products
// of bf16, f32 sums. The weights are the m16 x k16 operand as they lie in memory, 8 rows the k16 x n8 one. Integers
// become bf16 exactly in registers, and a group's sum is scaled once, in f32. Where they meet rows of bytes, products
// are of bytes and a group's sum of i32, exact, which is scaled once by the weight's scale times the row's.
//
// One order of sums for any number of rows: k is cut into units of 128 columns, units into kSlices slices; a slice is
// summed from its first column on, and the slices are added in order. Up to 16 rows give a warp of a block a slice
// each; more rows are LinearTile.cuh's.
//
#pragma once

#include "targets/cuda/device/TensorCore.h"

namespace mlc::cuda {

MLC_DEVICE void roundInOrder(const float (&v)[4], uint32_t (&out)[2]) {
  out[0] = pairToBf16(v[0], v[1]);
  out[1] = pairToBf16(v[2], v[3]);
}

/// Eight bytes of weights; kShared: of shared memory.
template <bool kShared> MLC_DEVICE uint2 loadWeights(const uint8_t *at) {
  if constexpr (kShared)
    return *reinterpret_cast<const uint2 *>(at);
  else
    return loadPairOnce(at);
}

/// What one weight format gives a lane at a step. Lane 4 g + t works on rows 2 g and 2 g + 1 of the panel. load: from
/// the lane's own place, of a step with `left` columns to the end. round: four columns of x as the pairs that its
/// fragments meet.
template <Panel panel> struct PanelSteps;

/// Step of 16 columns: t's are 4 t, ..., 4 t + 3.
template <> struct PanelSteps<Panel::bf16> {
  using Sum = float;
  static constexpr int kColumns = 16, kMultiplies = 1, kColumnBytes = 32, kLaneBytes = 128;
  uint2 low, high; // Pairs of columns (4 t, 4 t + 1) and the next, of both rows.

  template <bool kShared> MLC_DEVICE void load(const uint8_t *at, int left, int t) {
    low = left > 4 * t ? loadWeights<kShared>(at) : uint2{0, 0};
    high = left > 4 * t + 2 ? loadWeights<kShared>(at + 64) : uint2{0, 0};
  }
  MLC_DEVICE void fragment(int, const uint32_t (&)[2], uint32_t (&a)[4]) const {
    a[0] = low.x;
    a[1] = low.y;
    a[2] = high.x;
    a[3] = high.y;
  }
  MLC_DEVICE static void round(const float (&v)[4], uint32_t (&out)[2]) { roundInOrder(v, out); }
};

/// Step of 16 columns, bytes w + 128.
template <> struct PanelSteps<Panel::int8> {
  using Sum = float;
  static constexpr int kColumns = 16, kMultiplies = 1, kColumnBytes = 16, kLaneBytes = 64;
  uint2 words; // Four columns of both rows.

  template <bool kShared> MLC_DEVICE void load(const uint8_t *at, int left, int) {
    if (left > 0) // Units are whole.
      words = loadWeights<kShared>(at);
  }
  MLC_DEVICE void fragment(int, const uint32_t (&)[2], uint32_t (&a)[4]) const {
    a[0] = bytesToBf16(words.x, 0);
    a[1] = bytesToBf16(words.y, 0);
    a[2] = bytesToBf16(words.x, 1);
    a[3] = bytesToBf16(words.y, 1);
  }
  MLC_DEVICE static void round(const float (&v)[4], uint32_t (&out)[2]) { roundInOrder(v, out); }
};

/// What steps of nibbles load.
struct NibbleStep {
  static constexpr int kColumns = 32, kColumnBytes = 8, kLaneBytes = 64;
  uint2 words; // Eight columns of both rows.

  template <bool kShared> MLC_DEVICE void load(const uint8_t *at, int left, int) {
    if (left > 0)
      words = loadWeights<kShared>(at);
  }
};

/// Step of 32 columns, of which t's are 8 t, ..., 8 t + 7: two products, of the low nibbles and of the high ones.
template <> struct PanelSteps<Panel::int4> : NibbleStep {
  using Sum = float;
  static constexpr int kMultiplies = 2;
  /// zeros: -(128 + zero point) of each row, twice. A word's halves give columns 0 and 2 of four, then 1 and 3.
  MLC_DEVICE void fragment(int half, const uint32_t (&zeros)[2], uint32_t (&a)[4]) const {
    a[0] = nibblesToBf16(words.x >> 4 * half, zeros[0]);
    a[1] = nibblesToBf16(words.y >> 4 * half, zeros[1]);
    a[2] = nibblesToBf16(words.x >> (4 * half + 8), zeros[0]);
    a[3] = nibblesToBf16(words.y >> (4 * half + 8), zeros[1]);
  }
  MLC_DEVICE static void round(const float (&v)[4], uint32_t (&out)[2]) {
    out[0] = pairToBf16(v[0], v[2]);
    out[1] = pairToBf16(v[1], v[3]);
  }
};

/// Step of 32 columns of rows of bytes: t's are 4 t, ..., 4 t + 3 and those 16 further.
template <> struct PanelSteps<Panel::w8a8> {
  using Sum = int32_t;
  static constexpr int kColumns = 32, kMultiplies = 1, kColumnBytes = 16, kLaneBytes = 64;
  uint2 low, high; // Four columns of both rows.

  template <bool kShared> MLC_DEVICE void load(const uint8_t *at, int left, int) {
    if (left > 0) { // Units are whole.
      low = loadWeights<kShared>(at);
      high = loadWeights<kShared>(at + 256);
    }
  }
  MLC_DEVICE void fragment(int, const uint32_t (&)[2], uint32_t (&a)[4]) const {
    a[0] = low.x ^ 0x80808080;
    a[1] = low.y ^ 0x80808080;
    a[2] = high.x ^ 0x80808080;
    a[3] = high.y ^ 0x80808080;
  }
  /// Of a step's eight quads of columns: whose quad `i` is, 2 t + 0 (the first one) or 1.
  MLC_DEVICE static constexpr int place(int i) { return i % 4 * 2 + i / 4; }
  static constexpr float kScale = 1;
};

/// The same of nibbles: t's are 8 t, ..., 8 t + 7. They are multiplied as 16 (nibble - 8).
template <> struct PanelSteps<Panel::w4a8> : NibbleStep {
  using Sum = int32_t;
  static constexpr int kMultiplies = 1;
  MLC_DEVICE void fragment(int, const uint32_t (&)[2], uint32_t (&a)[4]) const {
    a[0] = nibblesToBytes(words.x << 4);
    a[1] = nibblesToBytes(words.y << 4);
    a[2] = nibblesToBytes(words.x);
    a[3] = nibblesToBytes(words.y);
  }
  MLC_DEVICE static constexpr int place(int i) { return i; }
  static constexpr float kScale = 0.0625f;
};

/// A word of a row, where a row may begin anywhere.
MLC_DEVICE uint32_t loadWord(const uint8_t *from, bool aligned) {
  if (aligned)
    return *reinterpret_cast<const uint32_t *>(from);
  return from[0] | from[1] << 8 | from[2] << 16 | uint32_t(from[3]) << 24;
}

/// row[k .. k + 3], zeros from `end` on; aligned: k and the row begin at multiples of 16 bytes.
MLC_DEVICE void loadFour(const float *row, int k, int end, bool aligned, float (&v)[4]) {
  if (aligned && k + 4 <= end) {
    float4 four = *reinterpret_cast<const float4 *>(row + k);
    v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
  } else {
    for (int i = 0; i < 4; ++i)
      v[i] = k + i < end ? row[k + i] : 0.0f;
  }
}
/// Columns [k, k + 4) of a row as Steps has them; zeros beyond `end`.
template <typename Steps>
MLC_DEVICE void loadRounded(const float *row, int k, int end, bool aligned, uint32_t (&out)[2]) {
  float v[4];
  loadFour(row, k, end, aligned, v);
  Steps::round(v, out);
}

/// Four steps of a slice in registers, and what scales them: loaded long before it is met. kZeros: where PanelArgs has
/// zeros, they are taken.
template <Panel panel, bool kZeros> struct PanelBatch {
  using Steps = PanelSteps<panel>;
  static constexpr int kSteps = 4, kColumns = kSteps * Steps::kColumns;
  static constexpr bool kScaled = panel != Panel::bf16;
  Steps steps[kSteps];
  uint32_t scales[kSteps]; // Of both rows, where a group ends with the step.
  uint16_t zeros[kSteps];  // Of both rows, where one begins.

  /// The batch of a panel from column k on, a multiple of kColumns, of a slice that ends at `end`. A lane's addresses;
  /// bit i of `closes` and `opens`: a group, or what the slice has of it, ends or begins with step i.
  struct Place {
    const uint8_t *values, *scales, *zeros;
    int left;
    unsigned closes, opens;

    MLC_DEVICE Place(const PanelArgs &args, const uint8_t *data, int k, int end, int g, int t) {
      values = data + k * Steps::kColumnBytes + t * Steps::kLaneBytes + 8 * g;
      left = end - k;
      if constexpr (kScaled) {
        const int group = k >> args.groupShift, mask = int((1u << args.groupShift) - 1);
        scales = data + args.scales + group * 32 + 4 * g;
        zeros = data + args.zeros + group * 16 + 2 * g;
        closes = 0;
#pragma unroll
        for (int i = 0; i < kSteps; ++i) {
          const int after = (i + 1) * Steps::kColumns; // Of steps that the slice has: they are whole.
          if (left == after || (left > after && ((k + after) & mask) == 0))
            closes |= 1u << i;
        }
        opens = closes << 1 | unsigned((k & mask) == 0);
      }
    }
  };

  template <bool kShared> MLC_DEVICE void loadValues(int i, const Place &place, int t) {
    const int column = i * Steps::kColumns;
    steps[i].template load<kShared>(place.values + column * Steps::kColumnBytes, place.left - column, t);
  }
  MLC_DEVICE void loadScales(int i, const PanelArgs &args, const Place &place) {
    const int column = i * Steps::kColumns;
    if constexpr (kScaled)
      if (place.closes >> i & 1)
        scales[i] = *reinterpret_cast<const uint32_t *>(place.scales + (column >> args.groupShift) * 32);
    if constexpr (kZeros)
      if (args.zeros && place.left > column && (place.opens >> i & 1))
        zeros[i] = *reinterpret_cast<const uint16_t *>(place.zeros + (column >> args.groupShift) * 16);
  }
  MLC_DEVICE void load(int i, const PanelArgs &args, const Place &place, int t) {
    loadValues<false>(i, place, t);
    loadScales(i, args, place);
  }
  MLC_DEVICE void load(const PanelArgs &args, const Place &place, int t) {
#pragma unroll
    for (int i = 0; i < kSteps; ++i)
      load(i, args, place, t);
  }
};

/// Scales of rows of floats: none.
struct NoScales {
  MLC_DEVICE uint2 operator()(int, int) const { return {}; }
};

/// The sums of a slice of a panel for 8 kTiles rows, in the order of a product's result.
template <Panel panel, int kTiles, bool kZeros> struct SliceSums {
  using Batch = PanelBatch<panel, kZeros>;
  using Steps = typename Batch::Steps;
  using Sum = typename Steps::Sum;
  float sums[kTiles][4];
  Sum group[kTiles][4];
  uint32_t zeros[2]; // -(128 + zero point) of each row, twice.

  MLC_DEVICE void begin() {
#pragma unroll
    for (int i = 0; i < kTiles; ++i)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        sums[i][e] = float(group[i][e] = 0);
    zeros[0] = zeros[1] = 0xc308c308; // -136: the zero point of int4 is 8.
  }

  /// Adds the batch of `place`. meet(column, a, sums): adds the batch's products of the step from `column` on, whose
  /// fragments are a. closes(): those sums are about to be read. refill(i): step i has been met. scalesOf(b, i): the
  /// scales at step b of rows 8 i + 2 t and the next one, of rows of bytes.
  template <typename Meet, typename Closes, typename Refill, typename ScalesOf>
  MLC_DEVICE void add(const PanelArgs &args, const Batch &batch, const typename Batch::Place &place, const Meet &meet,
                      const Closes &closes, const Refill &refill, const ScalesOf &scalesOf) {
#pragma unroll
    for (int b = 0; b < Batch::kSteps; ++b) {
      if (b * Steps::kColumns < place.left) {
        if constexpr (kZeros)
          if (args.zeros && (place.opens >> b & 1))
            for (int r = 0; r < 2; ++r) {
              float zero = float(-128 - int8_t(batch.zeros[b] >> 8 * r));
              zeros[r] = pairToBf16(zero, zero);
            }
        uint32_t a[Steps::kMultiplies][4];
#pragma unroll
        for (int half = 0; half < Steps::kMultiplies; ++half)
          batch.steps[b].fragment(half, zeros, a[half]);
        if constexpr (Batch::kScaled)
          meet(b * Steps::kColumns, a, group);
        else
          meet(b * Steps::kColumns, a, sums);
        if constexpr (Batch::kScaled)
          if (place.closes >> b & 1) { // A group that a slice cuts is scaled in both.
            closes();
            const uint32_t pair = batch.scales[b];
            float scale0 = args.halfScales ? halfToFloat(uint16_t(pair)) : bf16ToFloat(uint16_t(pair));
            float scale1 = args.halfScales ? halfToFloat(uint16_t(pair >> 16)) : bf16ToFloat(uint16_t(pair >> 16));
            if constexpr (takesBytes(panel)) {
              scale0 *= Steps::kScale;
              scale1 *= Steps::kScale;
            }
#pragma unroll
            for (int i = 0; i < kTiles; ++i) {
              [[maybe_unused]] const uint2 ofRows = scalesOf(b, i);
#pragma unroll
              for (int e = 0; e < 4; ++e) {
                float scale = e < 2 ? scale0 : scale1;
                if constexpr (takesBytes(panel))
                  scale *= __uint_as_float(e % 2 ? ofRows.y : ofRows.x);
                sums[i][e] = fmaf(float(group[i][e]), scale, sums[i][e]);
                group[i][e] = 0;
              }
            }
          }
      }
      refill(b);
    }
  }
  /// The same by a warp's products. xAt(tile, column, x): what the lane has of x at the step from `column` on, for each
  /// of its products.
  template <typename XAt, typename Refill, typename ScalesOf = NoScales>
  MLC_DEVICE void add(const PanelArgs &args, const Batch &batch, const typename Batch::Place &place, const XAt &xAt,
                      const Refill &refill, const ScalesOf &scalesOf = {}) {
    auto meet = [&](int column, const uint32_t(&a)[Steps::kMultiplies][4], Sum(&to)[kTiles][4]) {
      uint32_t x[kTiles][Steps::kMultiplies][2];
#pragma unroll
      for (int i = 0; i < kTiles; ++i)
        xAt(i, column, x[i]);
#pragma unroll
      for (int half = 0; half < Steps::kMultiplies; ++half)
#pragma unroll
        for (int i = 0; i < kTiles; ++i)
          multiply(to[i], a[half], x[i][half]);
    };
    add(args, batch, place, meet, [] {}, refill, scalesOf);
  }
};

/// Columns [begin, end) of slice `slice`.
struct SliceColumns {
  int begin, end;
  MLC_DEVICE SliceColumns(int columns, int slice) {
    const int each = sliceColumns(columns);
    begin = slice * each;
    end = begin + each < columns ? begin + each : columns;
  }
};

/// The sums of one slice of one panel for 8 kTiles rows: sums[tile] in the order of a product's result. rowAt(i): where
/// the i-th row begins; null: there is none.
template <Panel panel, int kTiles, typename RowAt>
MLC_DEVICE void sliceSums(const PanelProductArgs &args, const RowAt &rowAt, const uint8_t *data, int slice,
                          float (&sums)[kTiles][4]) {
  constexpr bool kZeros = panel == Panel::int4;
  using Batch = PanelBatch<panel, kZeros>;
  using Steps = typename Batch::Steps;
  int lane = int(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
  const SliceColumns columns(args.columns, slice);
  bool aligned = args.aligned;
  const float *rows[kTiles];
#pragma unroll
  for (int i = 0; i < kTiles; ++i)
    rows[i] = rowAt(8 * i + g);
  SliceSums<panel, kTiles, kZeros> slices;
  slices.begin();
  typename Batch::Place place(args, data, columns.begin, columns.end, g, t);
  Batch batch;
  batch.load(args, place, t);
  // The first weights are on their way while the inputs are still computed.
  awaitInputs();
  for (int k = columns.begin; k < columns.end; k += Batch::kColumns) {
    const typename Batch::Place next(args, data, k + Batch::kColumns, columns.end, g, t);
    auto xAt = [&](int i, int column, uint32_t(&x)[Steps::kMultiplies][2]) {
#pragma unroll
      for (int half = 0; half < Steps::kMultiplies; ++half) {
        x[half][0] = x[half][1] = 0;
        if (rows[i])
          loadRounded<Steps>(rows[i], k + column + 4 * Steps::kMultiplies * t + 4 * half, int(args.k), aligned,
                             x[half]);
      }
    };
    slices.add(args, batch, place, xAt, [&](int i) { batch.load(i, args, next, t); });
    place = next;
  }
  for (int i = 0; i < kTiles; ++i)
    for (int e = 0; e < 4; ++e)
      sums[i][e] = slices.sums[i][e];
}

/// The same of all slices, in order.
template <Panel panel, int kTiles, typename RowAt>
MLC_DEVICE void wholeSums(const PanelProductArgs &args, const RowAt &rowAt, const uint8_t *data,
                          float (&total)[kTiles][4]) {
  float sums[kTiles][4];
#pragma unroll 1
  for (int slice = 0; slice < sliceCount(args.columns); ++slice) {
    sliceSums<panel, kTiles>(args, rowAt, data, slice, sums);
    for (int i = 0; i < kTiles; ++i)
      for (int e = 0; e < 4; ++e)
        total[i][e] = slice ? total[i][e] + sums[i][e] : sums[i][e];
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

/// Element [row][column] of a packed weight.
MLC_DEVICE float panelElement(const PanelArgs &args, Panel panel, const void *weight, int64_t row, int64_t column) {
  const uint8_t *data = static_cast<const uint8_t *>(weight) + row / 16 * args.panelBytes;
  int r = int(row % 16);
  if (panel == Panel::bf16)
    return bf16ToFloat(reinterpret_cast<const uint16_t *>(data)[(column / 2 * 16 + r) * 2 + column % 2]);
  int64_t group = column >> args.groupShift;
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
  MLC_KERNEL_OF(mlc_panel_##PANEL##_16, PanelLinearArgs, 256) { linearSplit<Panel::PANEL, 2>(args); }

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
