//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// How a few queries' attention over a long cache is shared out, from a problem that has been checked.
//
#pragma once

#include "targets/cuda/attention/Device.h"
#include "targets/cuda/attention/decode/DecodeShape.h"

namespace mlc::attention {

/// Queries of a sequence up to which the decode kernels are taken.
constexpr int kDecodeQueries = 8;
/// Whether the decode kernels make the problem: few queries, or a cache of 8-bit values.
inline bool decodes(const mlc_attention_problem &problem) {
  return problem.seq_q <= kDecodeQueries || problem.kv_dtype != problem.dtype;
}

struct DecodePlan {
  DecodeArgs args;
  char kernel[64];
  int grid[3];
  int threads, sharedBytes;
  size_t workspace; // bytes; the first kMostArrived words are zero between launches
};

/// `workspace`: on the device, or null for the sizes alone.
DecodePlan planDecode(const mlc_attention_problem &problem, const Device &device, void *workspace);

} // namespace mlc::attention
