//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// linear of few rows: they stay in shared memory, rounded, while panel after panel of weights streams past. The sums
// are LinearTensor.cuh's: a warp for each slice of a panel, the slices added in order.
//
#pragma once

#include "targets/cuda/elementwise/Elementwise.cuh"
#include "targets/cuda/linear/LinearTensor.cuh"
#include "targets/cuda/norm/NormScale.cuh"

namespace mlc::cuda {

/// A step's columns of a lane's row in shared memory, in quads as Steps::round gives them.
template <typename Steps> MLC_DEVICE void loadShared(const uint32_t *from, uint32_t (&x)[Steps::kMultiplies][2]) {
  if constexpr (Steps::kMultiplies == 2) {
    const uint4 both = *reinterpret_cast<const uint4 *>(from);
    x[0][0] = both.x, x[0][1] = both.y, x[1][0] = both.z, x[1][1] = both.w;
  } else {
    const uint2 one = *reinterpret_cast<const uint2 *>(from);
    x[0][0] = one.x, x[0][1] = one.y;
  }
}

/// The block's share of rows on their way to shared memory, in whole steps; normed, with `sums`, where that is asked
/// for.
template <Panel panel> MLC_DEVICE void keepRows(const PanelLinearArgs &args, uint32_t *x, NormSums &sums) {
  using Steps = PanelSteps<panel>;
  constexpr int kThreads = kSlices * kWarp;
  for (int r = 0; r < args.rows; ++r, x += args.rowWords) {
    if constexpr (takesBytes(panel)) {
      const uint8_t *row = args.bytes.rows.data + r * args.bytes.rows.stride;
      const int words = args.columns / 4; // A multiple of 8, as of a row that is quantized.
      for (int i = int(threadIdx.x); i < words; i += kThreads)
        x[i / 8 * 8 + Steps::place(i % 8)] = loadWord(row + 4 * i, args.aligned);
      for (int i = int(threadIdx.x); i <= (args.columns - 1) >> args.bytes.shift; i += kThreads)
        x[words + i] = loadWord(row + args.bytes.scales + 4 * i, args.aligned);
    } else {
      const float *row = args.x.data + r * args.x.stride;
      const int quads = (args.columns + 31) / 32 * 8, k = int(args.k); // With zeros beyond k.
      float scale = 0;
      if (args.norm.weight) {
        static_assert(kThreads == kNormThreads);
        if (r)
          __syncthreads();
        scale = rowScale(row, k, args.norm.eps, sums);
      }
      for (int quad = int(threadIdx.x); quad < quads; quad += kThreads) {
        float v[4];
        loadFour(row, quad * 4, k, args.aligned, v);
        if (args.norm.weight)
          for (int i = 0; i < 4; ++i)
            v[i] = quad * 4 + i < k ? normed(v[i], scale, args.norm, quad * 4 + i) : 0.0f;
        uint32_t pairs[2];
        Steps::round(v, pairs);
        *reinterpret_cast<uint2 *>(x + quad * 2) = {pairs[0], pairs[1]};
      }
    }
  }
}

/// Grid (blocks): block b has panels b, b + blocks, ...; up to 8 rows. kGate: each panel of W is followed by that of V,
/// and act(W x) * (V x) comes out.
template <Panel panel, bool kZeros, bool kGate> MLC_DEVICE void linearStream(const PanelLinearArgs &args) {
  using Batch = PanelBatch<panel, kZeros>;
  using Steps = typename Batch::Steps;
  constexpr int kOutputs = 16 * 8;
  MLC_SHARED uint4 shared[kStreamWords / 4];
  MLC_SHARED float parts[2][kSlices][kOutputs]; // In turns: one panel's are read while the next one's are written.
  letNextStart();
  const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
  const int slices = sliceCount(args.columns);
  const SliceColumns columns(args.columns, warp);
  const int panels = int((args.n + 15) / 16), stride = args.rowWords;
  if (int(blockIdx.x) >= panels)
    return awaitInputs();
  auto *x = reinterpret_cast<uint32_t *>(shared);
  const auto *data = static_cast<const uint8_t *>(args.weight) + blockIdx.x * args.panelBytes;
  typename Batch::Place place(args, data, columns.begin, columns.end, g, t);
  Batch batch;
  if (warp < slices)
    batch.load(args, place, t);
  awaitInputs();
  keepRows<panel>(args, x, reinterpret_cast<NormSums &>(parts[0][0]));
  __syncthreads();
  // A lane without a row of its own takes the first one's, for sums that nobody reads.
  const uint32_t *row = x + (g < args.rows ? g : 0) * stride + 2 * Steps::kMultiplies * t;
  constexpr int kWordColumns = takesBytes(panel) ? 4 : 2;
  auto scalesOf = [&](int r, int column) {
    return x[(r < args.rows ? r : 0) * stride + args.columns / 4 + (column >> args.bytes.shift)];
  };
  const int item = int(threadIdx.x);
  float activated = 0;
  bool second = false; // V's turn.
  for (int index = int(blockIdx.x), turn = 0; index < panels; turn ^= 1) {
    const bool toGate = kGate && !second;
    const bool last = !toGate && index + int(gridDim.x) >= panels;
    const int64_t ahead = toGate ? args.gate : int(gridDim.x) * args.panelBytes - (kGate ? args.gate : 0);
    if (warp < slices) {
      SliceSums<panel, 1, kZeros> slice;
      slice.begin();
      for (int k = columns.begin; k < columns.end; k += Batch::kColumns) {
        // Behind the slice's end comes that of the next panel.
        const bool ends = k + Batch::kColumns >= columns.end;
        const int at = ends ? columns.begin : k + Batch::kColumns;
        const typename Batch::Place next(args, ends ? data + ahead : data, at, ends && last ? at : columns.end, g, t);
        slice.add(
            args, batch, place,
            [&](int, int column, uint32_t(&pairs)[Steps::kMultiplies][2]) {
              loadShared<Steps>(row + (k + column) / kWordColumns, pairs);
            },
            [&](int i) { batch.load(i, args, next, t); },
            [&](int b, int) {
              if constexpr (!takesBytes(panel))
                return uint2{};
              else
                return uint2{scalesOf(2 * t, k + b * Steps::kColumns), scalesOf(2 * t + 1, k + b * Steps::kColumns)};
            });
        place = next;
      }
      shareSums<1>(slice.sums, parts[turn][warp]);
    }
    __syncthreads();
    if (item < 16 * args.rows) {
      float sum = parts[turn][0][item];
      for (int slice = 1; slice < slices; ++slice)
        sum += parts[turn][slice][item];
      if (toGate)
        activated = activate(args.act, sum);
      else
        storeOutput(args, int64_t(index) * 16 + item % 16, item / 16, kGate ? activated * sum : sum);
    }
    data += ahead;
    if (!toGate)
      index += int(gridDim.x);
    second = toGate;
  }
}

// Before Hopper there is no shared memory for a fourth block; nor would zeros find registers there.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
constexpr int kBlocksTogether = 3;
#else
constexpr int kBlocksTogether = kStreamBlocks;
#endif

} // namespace mlc::cuda

#define MLC_STREAM_LINEAR(NAME, PANEL, ZEROS, BLOCKS)                                                                  \
  MLC_KERNEL_TOGETHER(mlc_stream_##NAME, PanelLinearArgs, 256, BLOCKS) {                                               \
    linearStream<Panel::PANEL, ZEROS, false>(args);                                                                    \
  }                                                                                                                    \
  MLC_KERNEL_TOGETHER(mlc_gate_##NAME, PanelLinearArgs, 256, 3) { linearStream<Panel::PANEL, ZEROS, true>(args); }

MLC_STREAM_LINEAR(bf16, bf16, false, kBlocksTogether)
MLC_STREAM_LINEAR(int8, int8, false, kBlocksTogether)
MLC_STREAM_LINEAR(int4, int4, false, kBlocksTogether)
MLC_STREAM_LINEAR(int4_zeros, int4, true, 3)
MLC_STREAM_LINEAR(w8a8, w8a8, false, kBlocksTogether)
MLC_STREAM_LINEAR(w4a8, w4a8, false, kBlocksTogether)
