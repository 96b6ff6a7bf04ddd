//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// moe_up and moe_down: a slot is a token with one of its experts. On tensor cores by the products of linear, whose
// order of sums does not depend on a row's company: few slots each for itself, a warp for a slice of k; many by tiles
// of 32 slots of one expert, a warp for a panel. Panels of floats with f32 products: a slot for itself. A linear with a
// gate is a mixture of one expert, whose slots are its rows.
//
#pragma once

#include "targets/cuda/linear/LinearTensor.cuh"
#include "targets/cuda/moe/Route.cuh"

namespace mlc::cuda {

/// A block's slots, and the rows of x that they take.
struct MoeRows {
  const MoeArgs &args;
  MoeTile tile;

  /// Tile `index` of tiles of `most` slots.
  MLC_DEVICE MoeRows(const MoeArgs &args, int index, int most) : args(args) {
    if (args.tiles) {
      tile = args.tiles[index];
      return;
    }
    if (!args.ids.data) {
      int left = args.rows - index * most;
      tile = {0, index * most, left < most ? left : most};
      return;
    }
    int expert = args.ids.data[index / args.chosen * args.ids.stride + index % args.chosen];
    tile = {expert, index, expert >= 0 && expert < args.experts};
  }
  MLC_DEVICE int64_t slot(int i) const { return args.tiles ? args.slots[tile.first + i] : tile.first + i; }
  MLC_DEVICE const float *operator()(int i) const {
    return i < tile.count ? args.x.data + slot(i) / args.share * args.x.stride : nullptr;
  }
  /// Panel `panel` of the expert's W, or V.
  MLC_DEVICE const uint8_t *weight(int64_t panel, bool gate) const {
    return args.weight + (tile.expert * args.stride + (gate ? args.gate : 0)) * args.matrixBytes +
           panel * args.panelBytes;
  }
  MLC_DEVICE void store(int i, int64_t column, float value) const {
    if (i < tile.count && column < args.n)
      args.out.data[slot(i) * args.out.stride + column] = value;
  }
};

/// Grid (panels, tiles), of up to 8 slots; a warp for each slice.
template <Panel panel> MLC_DEVICE void moeSplit(const MoeArgs &args) {
  constexpr int kOutputs = 16 * 8;
  MLC_SHARED float parts[kSlices][kOutputs];
  begin();
  MoeRows rows(args, int(blockIdx.y), 8);
  if (!rows.tile.count)
    return;
  int warp = int(threadIdx.x) / kWarp, item = int(threadIdx.x), slices = sliceCount(args.columns);
  float y = 0;
  for (int gate = 0; gate < (args.gate ? 2 : 1); ++gate) {
    if (warp < slices) {
      float sums[1][4];
      sliceSums<panel, 1>(args, rows, rows.weight(blockIdx.x, gate), warp, sums);
      shareSums<1>(sums, parts[warp]);
    }
    __syncthreads();
    if (item < kOutputs) {
      float sum = parts[0][item];
      for (int slice = 1; slice < slices; ++slice)
        sum += parts[slice][item];
      y = gate ? y * sum : activate(args.act, sum);
    }
    __syncthreads();
  }
  if (item < kOutputs)
    rows.store(item / 16, int64_t(blockIdx.x) * 16 + item % 16, y);
}

/// Grid (panels / kSlices, tiles), of up to kMoeRows slots; a warp for each panel.
template <Panel panel> MLC_DEVICE void moeWhole(const MoeArgs &args) {
  constexpr int kTiles = kMoeRows / 8;
  begin();
  MoeRows rows(args, int(blockIdx.y), kMoeRows);
  int64_t index = int64_t(blockIdx.x) * kSlices + threadIdx.x / kWarp;
  if (!rows.tile.count || index * 16 >= args.n)
    return;
  int lane = int(threadIdx.x) % kWarp, g = lane / 4, t = lane % 4;
  // What W gives waits in shared memory, where a loop activates it: once in the code instead of once for each sum.
  MLC_SHARED float activated[4 * kTiles][kGroupThreads];
  float *own = &activated[0][threadIdx.x];
  float y[kTiles][4];
#pragma unroll 1
  for (int gate = 0; gate < (args.gate ? 2 : 1); ++gate) {
    wholeSums<panel, kTiles>(args, rows, rows.weight(index, gate), y);
    if (!gate) {
#pragma unroll
      for (int i = 0; i < 4 * kTiles; ++i)
        own[i * kGroupThreads] = y[i / 4][i % 4];
#pragma unroll 1
      for (int i = 0; i < 4 * kTiles; ++i)
        own[i * kGroupThreads] = activate(args.act, own[i * kGroupThreads]);
    }
  }
#pragma unroll
  for (int i = 0; i < 4 * kTiles; ++i)
    y[i / 4][i % 4] = args.gate ? own[i * kGroupThreads] * y[i / 4][i % 4] : own[i * kGroupThreads];
  for (int i = 0; i < kTiles; ++i)
    for (int e = 0; e < 4; ++e)
      rows.store(8 * i + 2 * t + e % 2, index * 16 + 2 * g + e / 2, y[i][e]);
}

/// Weight [k][output] of a panel of floats.
MLC_DEVICE float panelFloat(const uint8_t *panel, Storage storage, int64_t k, int output) {
  int64_t at = k * 16 + output;
  return stored(panel, storage, storage == Storage::bf16 ? (k / 2 * 16 + output) * 2 + k % 2 : at);
}

} // namespace mlc::cuda

#define MLC_MOE(PANEL)                                                                                                 \
  MLC_KERNEL_OF(mlc_moe_##PANEL##_8, MoeArgs, 256) { moeSplit<Panel::PANEL>(args); }                                   \
  MLC_KERNEL_OF(mlc_moe_##PANEL##_32, MoeArgs, 256) { moeWhole<Panel::PANEL>(args); }

MLC_MOE(bf16)
MLC_MOE(int8)
MLC_MOE(int4)

/// Grid (panels, slots): thread 16 s + o sums columns s, s + 16, ... of output o.
MLC_KERNEL_OF(mlc_moe_float, MoeArgs, 256) {
  begin();
  MLC_SHARED float parts[16][16];
  MoeRows rows(args, int(blockIdx.y), 1);
  if (!rows.tile.count)
    return;
  int output = int(threadIdx.x) % 16, slice = int(threadIdx.x) / 16;
  const float *x = rows(0);
  float y = 0;
  for (int gate = 0; gate < (args.gate ? 2 : 1); ++gate) {
    const uint8_t *panel = rows.weight(blockIdx.x, gate);
    float sum = 0;
    for (int64_t k = slice; k < args.k; k += 16)
      sum = fmaf(panelFloat(panel, args.floats, k, output), x[k], sum);
    parts[slice][output] = sum;
    __syncthreads();
    sum = parts[0][output];
    for (int i = 1; i < 16; ++i)
      sum += parts[i][output];
    y = gate ? y * sum : activate(args.act, sum);
    __syncthreads();
  }
  if (slice == 0)
    rows.store(0, int64_t(blockIdx.x) * 16 + output, y);
}

/// Grid (columns, tokens).
MLC_KERNEL(mlc_moe_join, MoeJoinArgs) {
  begin();
  int64_t token = blockIdx.y, column = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (column >= args.n)
    return;
  const int32_t *ids = args.ids.data + token * args.ids.stride;
  float y = args.residual.data ? args.residual.data[token * args.residual.stride + column] : 0.0f;
  // The next of the token's slots by (expert, place), as many times as it has; an id that names no expert has none.
  for (int expert = -1, place = 0;;) {
    int next = args.experts, nextPlace = 0;
    for (int j = 0; j < args.chosen; ++j)
      if (ids[j] >= 0 && ids[j] < next && (ids[j] > expert || (ids[j] == expert && j > place))) {
        next = ids[j];
        nextPlace = j;
      }
    if (next == args.experts)
      break;
    expert = next;
    place = nextPlace;
    y = fmaf(args.weights.data[token * args.weights.stride + place],
             args.parts.data[(token * args.chosen + place) * args.parts.stride + column], y);
  }
  args.out.data[token * args.out.stride + column] = y;
}
