//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Forms of the decode kernel, what the host hands to them, and how K and V are shared out.
//
#pragma once

#include "targets/cuda/attention/Sequence.h"

namespace mlc::attention {

constexpr int kDecodeTokens = 16; // of a warp's step
constexpr int kMostSplits = 256;
constexpr int kMostArrived = 16384; // rows of blocks beyond which K and V are not shared out
enum class KvCode { same, int8, fp8 };

/// Bytes of a row of K or V in shared memory: 16 more than its values, so that eight rows lie in different banks.
MLC_BOTH constexpr int decodeRowBytes(int headDim, int elementBytes) { return headDim * elementBytes + 16; }

/// Sizes of one form. kRowTiles: 16-row fragments; kStages: copies in flight of a warp, one more than it waits for.
template <int kHeadDim_, KvCode kCode_, int kRowTiles_, int kWarps_, int kStages_> struct DecodeShape {
  static constexpr int kHeadDim = kHeadDim_, kRowTiles = kRowTiles_, kWarps = kWarps_, kStages = kStages_;
  static constexpr KvCode kCode = kCode_;
  static constexpr int kRows = 16 * kRowTiles;
  static constexpr int kQStride = kHeadDim + 8; // in elements
  static constexpr int kTileBytes = kDecodeTokens * decodeRowBytes(kHeadDim, kCode == KvCode::same ? 2 : 1);
  static constexpr int kScaleBytes = kCode == KvCode::int8 ? 2 * kDecodeTokens * 4 : 0;
  static constexpr int kStageBytes = 2 * kTileBytes + kScaleBytes;
  static constexpr int kQBytes = kRows * kQStride * 2;
  // The ring, and later each warp's sums [rows, head_dim], maxima and totals.
  static constexpr int kSumStride = kHeadDim + 4;
  static constexpr int kRingBytes = kWarps * kStages * kStageBytes, kSumBytes = kWarps * kRows * (kSumStride + 2) * 4;
  static constexpr int kSharedBytes = kQBytes + cuda::most(kRingBytes, kSumBytes);
  static constexpr int kThreads = 32 * kWarps;
};

/// The forms that are compiled: those of sm_90 have 227 KB of shared memory, the others must do with 99.
template <int kHeadDim, KvCode kCode, int kRowTiles, bool kHopper> constexpr int decodeWarps() {
  if (kCode != KvCode::same)
    return 4;
  return kHopper ? (kHeadDim == 256 ? 4 : 8) : kHeadDim == 256 ? 2 : 4;
}
template <int kHeadDim, KvCode kCode, int kRowTiles, bool kHopper> constexpr int decodeStages() {
  if (!kHopper && kHeadDim >= 128)
    return 2;
  if (kHeadDim == 256 || kCode == KvCode::same)
    return 3;
  return 4;
}
template <int kHeadDim, KvCode kCode, int kRowTiles, bool kHopper>
using DecodeForm = DecodeShape<kHeadDim, kCode, kRowTiles, decodeWarps<kHeadDim, kCode, kRowTiles, kHopper>(),
                               decodeStages<kHeadDim, kCode, kRowTiles, kHopper>()>;

struct DecodeArgs {
  mlc_attention_problem problem;
  mlc_attention_tensor scales;            // strides of k_scales and v_scales (int8)
  float scaleLog2, capScaleLog2;          // of the scores as softmax sees them, times log2(e); 2 log2(e) scale / cap
  float premultiply;                      // of the scores, when the scale is not positive; else 0
  int32_t group;                          // query heads that share a head of K and V
  int32_t splitTokens, splits, rowGroups; // of a share; shares; blocks that make a head's rows
  float *partial, *partialLse;            // [batch, heads_q, seq_q, splits, head_dim] and [..., splits], in bits
  uint32_t *arrived;                      // [batch, heads_kv * rowGroups], zero between launches
};

struct SplitPlan {
  int tokens, splits;
};
/// How to share out `columns` tokens in whole steps of `step`, for `lanes` blocks a share and `parallel` at a time: the
/// fewest shares with which the processors are nearly always busy, or those that keep them busiest.
MLC_BOTH constexpr SplitPlan planSplits(int columns, int64_t lanes, int parallel, int step) {
  const int steps = cuda::most(1, cuda::ceilDiv(columns, step));
  int best = steps;
  double busiest = 0;
  for (int splits = 1; splits <= cuda::least(steps, kMostSplits); ++splits) {
    const int each = cuda::ceilDiv(steps, splits);
    if (cuda::ceilDiv(steps, each) != splits)
      continue;
    const int64_t waves = (lanes * splits + parallel - 1) / parallel;
    // All steps, against those that the processors could make while the longest of them works.
    const double busy = double(steps) * double(lanes) / (double(waves) * each * parallel);
    if (busy > busiest + 0.02) {
      busiest = busy;
      best = each;
    }
    if (busy >= 0.92)
      break;
  }
  return {best * step, cuda::ceilDiv(steps, best)};
}

} // namespace mlc::attention
