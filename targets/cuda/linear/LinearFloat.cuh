//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// linear of float weights with f32 products and sums, in any number of rows alike: a warp computes kColumns outputs of
// kRows rows. Lane l takes the columns [V l, V l + V) of every 32 V, in order, by fmaf; the lanes are added by halves.
// So a row's sums do not depend on the other rows, nor on the tile.
//
#pragma once

#include "targets/cuda/device/Cuda.h"

namespace mlc::cuda {

constexpr int kLinearWarps = 4;

/// Elements of one 16-byte load.
template <Storage storage> constexpr int kVector = storage == Storage::f32 ? 4 : 8;

/// V weights of a row from column k on; beyond the row: zeros.
template <Storage storage, bool aligned>
MLC_DEVICE void loadWeights(const void *row, int64_t k, int64_t end, float (&out)[kVector<storage>]) {
  if constexpr (!aligned) {
    for (int e = 0; e < kVector<storage>; ++e)
      out[e] = k + e < end ? stored(row, storage, k + e) : 0.0f;
  } else if constexpr (storage == Storage::f32) {
    uint4 v = loadOnce(static_cast<const float *>(row) + k);
    out[0] = __uint_as_float(v.x);
    out[1] = __uint_as_float(v.y);
    out[2] = __uint_as_float(v.z);
    out[3] = __uint_as_float(v.w);
  } else {
    uint4 v = loadOnce(static_cast<const uint16_t *>(row) + k);
    const uint32_t words[4] = {v.x, v.y, v.z, v.w};
    for (int i = 0; i < 4; ++i) {
      out[2 * i] = storage == Storage::bf16 ? __uint_as_float(words[i] << 16) : halfToFloat(uint16_t(words[i]));
      out[2 * i + 1] =
          storage == Storage::bf16 ? __uint_as_float(words[i] & 0xffff0000u) : halfToFloat(uint16_t(words[i] >> 16));
    }
  }
}

template <int V, bool aligned> MLC_DEVICE void loadInputs(const float *row, int64_t k, int64_t end, float (&out)[V]) {
  if constexpr (aligned)
    for (int e = 0; e < V; e += 4) {
      float4 v = *reinterpret_cast<const float4 *>(row + k + e);
      out[e] = v.x;
      out[e + 1] = v.y;
      out[e + 2] = v.z;
      out[e + 3] = v.w;
    }
  else
    for (int e = 0; e < V; ++e)
      out[e] = k + e < end ? row[k + e] : 0.0f;
}

/// Grid (columns / (kLinearWarps kColumns), rows / kRows).
template <Storage storage, int kRows, int kColumns, bool aligned> MLC_DEVICE void linearRows(const LinearArgs &args) {
  constexpr int V = kVector<storage>;
  constexpr int64_t size = storage == Storage::f32 ? 4 : 2;
  int lane = threadIdx.x % kWarp;
  int64_t column = (int64_t(blockIdx.x) * kLinearWarps + threadIdx.x / kWarp) * kColumns;
  int first = int(blockIdx.y) * kRows;
  if (column >= args.n)
    return;
  // Beyond the last row or column the last one is computed again and not stored.
  const uint8_t *weights[kColumns];
  for (int c = 0; c < kColumns; ++c) {
    int64_t at = column + c < args.n ? column + c : args.n - 1;
    weights[c] = static_cast<const uint8_t *>(args.weight) + at * args.k * size;
  }
  const float *inputs[kRows];
  for (int r = 0; r < kRows; ++r)
    inputs[r] = args.x.data + (first + r < args.rows ? first + r : args.rows - 1) * args.x.stride;
  float sums[kRows][kColumns] = {};
#pragma unroll 2
  for (int64_t k = lane * V; k < args.k; k += kWarp * V) {
    float w[kColumns][V];
    for (int c = 0; c < kColumns; ++c)
      loadWeights<storage, aligned>(weights[c], k, args.k, w[c]);
    for (int r = 0; r < kRows; ++r) {
      float x[V];
      loadInputs<V, aligned>(inputs[r], k, args.k, x);
      for (int c = 0; c < kColumns; ++c)
        for (int e = 0; e < V; ++e)
          sums[r][c] = fmaf(w[c][e], x[e], sums[r][c]);
    }
  }
  for (int r = 0; r < kRows; ++r)
    for (int c = 0; c < kColumns; ++c) {
      float y = warpSum(sums[r][c]);
      int64_t row = first + r, at = column + c;
      if (lane != 0 || row >= args.rows || at >= args.n)
        continue;
      if (args.bias)
        y += args.bias[at];
      if (args.residual.data)
        y += args.residual.data[row * args.residual.stride + at];
      args.out.data[row * args.out.stride + at] = y;
    }
}

} // namespace mlc::cuda

#define MLC_LINEAR(STORAGE, ROWS, COLUMNS)                                                                             \
  MLC_KERNEL(mlc_linear_##STORAGE##_##ROWS, LinearArgs) {                                                              \
    begin();                                                                                                           \
    linearRows<Storage::STORAGE, ROWS, COLUMNS, true>(args);                                                           \
  }
#define MLC_LINEARS(STORAGE)                                                                                           \
  MLC_LINEAR(STORAGE, 1, 2)                                                                                            \
  MLC_LINEAR(STORAGE, 2, 2)                                                                                            \
  MLC_LINEAR(STORAGE, 4, 2)                                                                                            \
  MLC_LINEAR(STORAGE, 8, 4)                                                                                            \
  MLC_KERNEL(mlc_linear_##STORAGE##_any, LinearArgs) {                                                                 \
    begin();                                                                                                           \
    linearRows<Storage::STORAGE, 4, 2, false>(args);                                                                   \
  }

MLC_LINEARS(f32)
MLC_LINEARS(f16)
MLC_LINEARS(bf16)
