//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the host hands to the forward kernels.
//
#pragma once

#include "targets/cuda/attention/Attention.h"
#include "targets/cuda/attention/Tiles.h"

#include <cstdint>
#ifdef __CUDACC__
#include <cuda.h>
#else
struct alignas(64) CUtensorMap {
  uint64_t opaque[16];
};
#endif

namespace mlc::cuda {

struct ForwardParameters {
  CUtensorMap q, k, v;                            // sm_90a
  mlc_attention_tensor qTensor, kTensor, vTensor; // sm_80
  void *out;
  int64_t outBatch, outToken, outHead; // strides in elements
  float *lse;                          // or null
  int64_t lseBatch, lseHead;
  const int32_t *cuQ, *cuKv, *lengths, *pages; // as in mlc_attention_problem, or null
  int pagesPerSequence, pageSize, pageCount;
  int seqQ, seqKv, headsQ, group;
  int windowLeft, windowRight;
  float scaleLog2;             // of the scores as softmax sees them, times log2(e)
  float softcap, capScaleLog2; // 2 * log2(e) * scale / softcap
  TileOrder order;
  unsigned *counter; // two words, zero between launches: tiles handed out, blocks that have ended
};

MLC_BOTH Mask maskOf(const ForwardParameters &p, int batch) {
  const int rows = p.cuQ ? p.cuQ[batch + 1] - p.cuQ[batch] : p.seqQ;
  int columns = p.cuKv ? p.cuKv[batch + 1] - p.cuKv[batch] : p.seqKv;
  if (p.lengths)
    columns = least(columns, p.lengths[batch]);
  return {rows, columns, p.windowLeft, p.windowRight};
}

} // namespace mlc::cuda
