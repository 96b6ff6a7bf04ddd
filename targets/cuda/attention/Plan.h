//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What a launch of the exact and of the backward kernels takes, from a problem that has been checked: blocks, shared
// memory, arguments.
//
#pragma once

#include "targets/cuda/attention/backward/BackwardTiles.h"
#include "targets/cuda/attention/exact/ExactTiles.h"

#include <cstddef>

namespace mlc::attention {

/// Bounds of a window that no row reaches become none, so that no sum of a row and a bound overflows.
void simplifyWindow(mlc_attention_problem &problem);

/// The problem's keys: of the longest sequence, or all that its pages hold if that is less.
int keysOf(const mlc_attention_problem &problem);

/// `heads` heads of `perHead` tiles whose K and V take `bytes` each: as many at a time as fit the L2 cache, whole
/// groups.
cuda::TileOrder orderOf(int perHead, int64_t heads, int group, int64_t bytes);

/// What 16-bit kernels multiply scores by.
struct ScoreFactors {
  float scaleLog2;    // of the scores as softmax sees them, times log2(e): always positive
  float capScaleLog2; // with a soft-cap: 2 * log2(e) * scale / cap, of the products
  float premultiply;  // of the products when the scale is not positive; else 0
};
ScoreFactors scoreFactors(const mlc_attention_problem &problem);

/// What the arguments of every 16-bit kernel have of a problem.
template <class Args> void takeProblem(Args &args, const mlc_attention_problem &problem) {
  args.problem = problem;
  args.problem.seq_kv = keysOf(problem);
  simplifyWindow(args.problem);
  const ScoreFactors factors = scoreFactors(problem);
  args.scaleLog2 = factors.scaleLog2;
  args.capScaleLog2 = factors.capScaleLog2;
  args.premultiply = factors.premultiply;
  args.group = problem.heads_q / problem.heads_kv;
}

ExactArgs exactArgs(const mlc_attention_problem &problem);
int exactSharedBytes(int headDim);
/// Rows of a block.
int exactRows(int headDim);

/// `delta`: backwardWorkspace() bytes on the device.
BackwardArgs backwardArgs(const mlc_attention_problem &problem, const mlc_attention_gradients &gradients, float *delta);
size_t backwardWorkspace(const mlc_attention_problem &problem);
int backwardSharedBytes(int headDim);
/// Blocks of the kernel that makes delta; 2^31 or more cannot be launched.
int64_t deltaBlocks(const mlc_attention_problem &problem);

} // namespace mlc::attention
