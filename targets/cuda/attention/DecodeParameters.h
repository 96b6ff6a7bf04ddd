//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the host hands to the decode kernels.
//
#pragma once

#include <cstdint>

#include "attention/Tiles.h"

namespace mlc::cuda {

struct DecodeParameters {
  const void *q, *k, *v;
  void *out;
  // Strides in elements: of a sequence (of a page in K and V of a paged cache), a token, a head.
  int64_t qBatch, qToken, qHead, kBatch, kToken, kHead, vBatch, vToken, vHead, outBatch, outToken, outHead;
  float *lse; // or null
  int64_t lseBatch, lseHead;
  const int32_t *cuQ, *cuKv, *lengths, *pages; // as in mlc_attention_problem, or null
  int pagesPerSequence, pageSize;
  int seqQ, seqKv, headsQ, headsKv, group, batch;
  int windowLeft, windowRight;
  float scaleLog2, softcap, capScaleLog2; // as in ForwardParameters
  const float *kScales, *vScales;
  int64_t scaleBatch, scaleToken; // int8: of a sequence or page, of a token; a head's are beside each other
  int splitTokens, splits, rowGroups;
  float *partial, *partialLse; // [batch, headsQ, seqQ, splits, head_dim] and [batch, headsQ, seqQ, splits]
  unsigned *arrived;           // [batch, headsKv * rowGroups], zero before and after
};

/// The shares of K and V: `tokens` in each, a multiple of `step`, so that `lanes` blocks of `parallel` running at once
/// end together: the fewest shares whose last wave is at least 0.85 full, or the fullest last wave.
struct SplitPlan {
  int tokens, splits;
};
MLC_BOTH constexpr SplitPlan planSplits(int columns, int lanes, int parallel, int step) {
  int bestSplits = 1;
  double best = 0;
  const int steps = most(1, ceilDiv(columns, step));
  for (int splits = 1; splits <= least(steps, 256); ++splits) {
    const int each = ceilDiv(steps, splits);
    if (ceilDiv(steps, each) != splits)
      continue;
    const double waves = double(lanes) * splits / parallel;
    const int whole = static_cast<int>(waves) + (waves > static_cast<int>(waves) ? 1 : 0);
    // The work of the longest block times the waves, against all the work on all processors.
    const double efficiency = double(steps) * lanes / (double(whole) * each * parallel);
    if (efficiency >= 0.92) {
      bestSplits = splits;
      break;
    }
    if (efficiency > best + 0.02) {
      best = efficiency;
      bestSplits = splits;
    }
  }
  const int each = ceilDiv(steps, bestSplits);
  return {each * step, ceilDiv(steps, each)};
}

} // namespace mlc::cuda
