//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
#include "targets/cuda/attention/Plan.h"

#include <algorithm>
#include <cmath>

namespace mlc::attention {

namespace {

constexpr double kLog2E = 1.44269504088896340736;
/// What K and V of the heads that run at a time may take of the L2 cache.
constexpr int64_t kSectionBytes = 16 << 20;

void twoTerms(double value, float &high, float &low) {
  high = float(value);
  low = std::isfinite(high) ? float(value - high) : 0;
}

} // namespace

cuda::TileOrder orderOf(int perHead, int64_t heads, int group, int64_t bytes) {
  const int64_t section = std::max<int64_t>(1, kSectionBytes / std::max<int64_t>(1, bytes)) * group;
  return {perHead, int(heads), int(std::min(section, heads))};
}

ScoreFactors scoreFactors(const mlc_attention_problem &problem) {
  if (problem.softcap > 0)
    return {float(kLog2E), float(2 * kLog2E * problem.scale / problem.softcap), 0};
  if (problem.scale > 0)
    return {float(kLog2E * problem.scale), 0, 0};
  // Softmax looks for the largest score, so that the sign is applied before it. Zero times a score is negative zero or
  // zero; as a factor it would say "none".
  return {float(kLog2E), 0, problem.scale < 0 ? problem.scale : 1e-38f};
}

void simplifyWindow(mlc_attention_problem &problem) {
  const int64_t beyond = int64_t(problem.seq_q) + problem.seq_kv;
  if (problem.window_left >= beyond)
    problem.window_left = -1;
  if (problem.window_right >= beyond)
    problem.window_right = -1;
}

int keysOf(const mlc_attention_problem &problem) {
  if (!problem.page_table)
    return problem.seq_kv;
  return int(std::min<int64_t>(problem.seq_kv, int64_t(problem.pages_per_sequence) * problem.page_size));
}

ExactArgs exactArgs(const mlc_attention_problem &problem) {
  ExactArgs args = {};
  args.problem = problem;
  args.problem.seq_kv = keysOf(problem);
  simplifyWindow(args.problem);
  const int rows = exactRows(problem.head_dim);
  const int64_t keyBytes = 2 * int64_t(sizeof(float)) * problem.head_dim * args.problem.seq_kv;
  args.order = orderOf((problem.seq_q + rows - 1) / rows, int64_t(problem.batch) * problem.heads_q,
                       problem.heads_q / problem.heads_kv, keyBytes);
  if (problem.softcap > 0) {
    twoTerms(kLog2E, args.factor, args.factorLow);
    twoTerms(double(problem.scale) / problem.softcap, args.capFactor, args.capFactorLow);
  } else {
    twoTerms(problem.scale * kLog2E, args.factor, args.factorLow);
  }
  return args;
}

int exactRows(int headDim) { return headDim > 128 ? ExactTiles<256>::kRows : ExactTiles<128>::kRows; }

int exactSharedBytes(int headDim) {
  switch (headDim) {
  case 64:
    return ExactTiles<64>::kSharedBytes;
  case 80:
    return ExactTiles<80>::kSharedBytes;
  case 96:
    return ExactTiles<96>::kSharedBytes;
  case 128:
    return ExactTiles<128>::kSharedBytes;
  case 256:
    return ExactTiles<256>::kSharedBytes;
  default:
    return 0;
  }
}

BackwardArgs backwardArgs(const mlc_attention_problem &problem, const mlc_attention_gradients &gradients,
                          float *delta) {
  BackwardArgs args = {};
  args.problem = problem;
  simplifyWindow(args.problem);
  args.gradients = gradients;
  args.delta = delta;
  const int group = problem.heads_q / problem.heads_kv;
  const int64_t rowBytes = 4 * int64_t(problem.head_dim);
  args.rowOrder = orderOf((problem.seq_q + kBackwardTile - 1) / kBackwardTile, int64_t(problem.batch) * problem.heads_q,
                          group, rowBytes * problem.seq_kv);
  args.keyOrder = orderOf((problem.seq_kv + kBackwardTile - 1) / kBackwardTile,
                          int64_t(problem.batch) * problem.heads_kv, 1, rowBytes * problem.seq_q);
  args.factor = float(problem.softcap > 0 ? kLog2E : problem.scale * kLog2E);
  args.capFactor = problem.softcap > 0 ? problem.scale / problem.softcap : 0;
  return args;
}

size_t backwardWorkspace(const mlc_attention_problem &problem) {
  const size_t rows = problem.cu_seqlens_q ? size_t(problem.total_q) : size_t(problem.batch) * size_t(problem.seq_q);
  return rows * size_t(problem.heads_q) * sizeof(float);
}

int backwardSharedBytes(int headDim) {
  return headDim == 64 ? BackwardTiles<64>::kSharedBytes : headDim == 128 ? BackwardTiles<128>::kSharedBytes : 0;
}

int64_t deltaBlocks(const mlc_attention_problem &problem) {
  const int64_t warps = kBackwardThreads / 32;
  return (int64_t(backwardWorkspace(problem) / sizeof(float)) + warps - 1) / warps;
}

} // namespace mlc::attention
