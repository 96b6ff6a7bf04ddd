//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
#include "targets/cuda/attention/decode/DecodePlan.h"
#include "targets/cuda/attention/Plan.h"

#include <algorithm>
#include <cstdio>

namespace mlc::attention {

namespace {

struct Form {
  int rows, threads, sharedBytes, stepTokens;
};
template <class S> constexpr Form formOf() {
  return {S::kRows, S::kThreads, S::kSharedBytes, kDecodeTokens * S::kWarps};
}

template <KvCode kCode, int kRowTiles, bool kHopper> constexpr Form formOf(int headDim) {
  switch (headDim) {
  case 64:
    return formOf<DecodeForm<64, kCode, kRowTiles, kHopper>>();
  case 80:
    return formOf<DecodeForm<80, kCode, kRowTiles, kHopper>>();
  case 96:
    return formOf<DecodeForm<96, kCode, kRowTiles, kHopper>>();
  case 128:
    return formOf<DecodeForm<128, kCode, kRowTiles, kHopper>>();
  default:
    return formOf<DecodeForm<256, kCode, kRowTiles, kHopper>>();
  }
}
template <bool kHopper> Form formOf(KvCode code, int rowTiles, int headDim) {
  if (code == KvCode::same)
    return rowTiles == 1 ? formOf<KvCode::same, 1, kHopper>(headDim) : formOf<KvCode::same, 2, kHopper>(headDim);
  return code == KvCode::int8 ? formOf<KvCode::int8, 1, kHopper>(headDim) : formOf<KvCode::fp8, 1, kHopper>(headDim);
}

KvCode codeOf(const mlc_attention_problem &problem) {
  return problem.kv_dtype == problem.dtype        ? KvCode::same
         : problem.kv_dtype == MLC_ATTENTION_INT8 ? KvCode::int8
                                                  : KvCode::fp8;
}

/// The share of a caller who asked for `splits`.
SplitPlan given(int columns, int splits, int step) {
  const int steps = std::max(1, cuda::ceilDiv(columns, step));
  const int each = cuda::ceilDiv(steps, std::min({splits, steps, kMostSplits}));
  return {each * step, cuda::ceilDiv(steps, each)};
}

} // namespace

DecodePlan planDecode(const mlc_attention_problem &problem, const Device &device, void *workspace) {
  DecodePlan plan = {};
  DecodeArgs &args = plan.args;
  takeProblem(args, problem);
  const int64_t tokens = problem.page_table ? problem.page_size : problem.seq_kv;
  args.scales = {nullptr, tokens * problem.heads_kv, problem.heads_kv, 1};

  const KvCode code = codeOf(problem);
  const int64_t rows = int64_t(problem.seq_q) * args.group;
  const int rowTiles = rows > 16 && code == KvCode::same && problem.head_dim < 256 ? 2 : 1;
  const Form form =
      device.hopper ? formOf<true>(code, rowTiles, problem.head_dim) : formOf<false>(code, rowTiles, problem.head_dim);
  args.rowGroups = int((rows + form.rows - 1) / form.rows);
  const int64_t groups = int64_t(problem.heads_kv) * args.rowGroups, lanes = problem.batch * groups;
  const int blocksAtATime = std::clamp(device.sharedBytes / form.sharedBytes, 1, 2);
  // Two blocks a processor pay where one does not keep the memory busy: 8-bit values, which are also converted.
  const int parallel = device.processors * (code == KvCode::same ? 1 : blocksAtATime);
  const SplitPlan split = lanes > kMostArrived ? SplitPlan{cuda::most(1, args.problem.seq_kv), 1}
                          : problem.splits > 0 ? given(args.problem.seq_kv, problem.splits, form.stepTokens)
                                               : planSplits(args.problem.seq_kv, lanes, parallel, form.stepTokens);
  args.splitTokens = split.tokens;
  args.splits = split.splits;
  if (args.splits > 1) {
    constexpr size_t kArrivedBytes = kMostArrived * sizeof(uint32_t);
    const size_t shares = size_t(problem.batch) * problem.heads_q * problem.seq_q * args.splits;
    plan.workspace = kArrivedBytes + shares * (problem.head_dim + 1) * sizeof(float);
    args.arrived = static_cast<uint32_t *>(workspace);
    if (workspace) {
      args.partial = reinterpret_cast<float *>(static_cast<char *>(workspace) + kArrivedBytes);
      args.partialLse = args.partial + shares * problem.head_dim;
    }
  }
  plan.grid[0] = int(groups);
  plan.grid[1] = args.splits;
  plan.grid[2] = problem.batch;
  plan.threads = form.threads;
  plan.sharedBytes = form.sharedBytes;
  std::snprintf(plan.kernel, sizeof(plan.kernel), "mlc_attention_decode_%s_%s_%d_%d",
                problem.dtype == MLC_ATTENTION_BF16 ? "bf16" : "f16",
                code == KvCode::same   ? "same"
                : code == KvCode::int8 ? "int8"
                                       : "fp8",
                problem.head_dim, rowTiles);
  return plan;
}

} // namespace mlc::attention
