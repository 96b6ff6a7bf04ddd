//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the host hands to the forward kernels.
//
#pragma once

#include "targets/cuda/attention/Sequence.h"

namespace mlc::attention {

/// CUtensorMap of the driver: a tensor and the boxes that are copied of it.
struct alignas(64) TensorMap {
  uint64_t words[16];
};

struct ForwardArgs {
  TensorMap q, k, v; // sm_90a alone
  mlc_attention_problem problem;
  float scaleLog2;    // of the scores as softmax sees them, times log2(e); positive
  float capScaleLog2; // 2 * log2(e) * scale / softcap
  float premultiply;  // of the scores, when the scale is not positive; else 0
  int32_t group;      // query heads that share a head of K and V
  cuda::TileOrder order;
  uint32_t *counter; // two words, zero between launches (tiles handed out, blocks that have ended), or null
};

} // namespace mlc::attention
