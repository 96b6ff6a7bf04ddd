//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
#include "targets/cuda/attention/Launch.h"
#include "targets/cuda/attention/Plan.h"
#include "targets/cuda/attention/exact/Exact.h"

#include <cstdio>

using namespace mlc::attention;

int mlc_attention_exact_forward(const mlc_attention_problem *problem, int compensated, void *stream, char *text,
                                size_t bytes) {
  const ErrorText error = {text, bytes};
  if (!problem)
    return error("no problem");
  if (problem->dtype != MLC_ATTENTION_F32 || problem->kv_dtype != MLC_ATTENTION_F32)
    return error("the exact kernels take f32 alone");
  if (!checkProblem(*problem, error))
    return 1;
  if (problem->page_table && problem->page_size % kExactTile)
    return error("pages of %d tokens; f32 needs a multiple of %d", problem->page_size, kExactTile);
  const ExactArgs args = exactArgs(*problem);
  char kernel[64];
  std::snprintf(kernel, sizeof(kernel), "mlc_attention_%s_%d", compensated ? "compensated" : "exact",
                problem->head_dim);
  return !launch({kernel, args.order.tiles(), kExactThreads, exactSharedBytes(problem->head_dim), &args, sizeof(args),
                  stream, "Exact"},
                 error);
}

size_t mlc_attention_backward_workspace(const mlc_attention_problem *problem) {
  return problem ? backwardWorkspace(*problem) : 0;
}

int mlc_attention_backward(const mlc_attention_problem *problem, const mlc_attention_gradients *gradients, void *stream,
                           void *workspace, size_t workspaceBytes, char *text, size_t bytes) {
  const ErrorText error = {text, bytes};
  if (!problem || !gradients)
    return error("no problem, or no gradients");
  if (!checkProblem(*problem, error) || !checkGradients(*problem, *gradients, error))
    return 1;
  const size_t needed = backwardWorkspace(*problem);
  if (needed && (!workspace || workspaceBytes < needed || reinterpret_cast<uintptr_t>(workspace) % sizeof(float)))
    return error("the workspace has %zu bytes; the backward pass needs %zu, aligned to 4", workspaceBytes, needed);
  if (deltaBlocks(*problem) > INT32_MAX)
    return error("%zu rows and heads are too many", needed / sizeof(float));
  const BackwardArgs args = backwardArgs(*problem, *gradients, static_cast<float *>(workspace));
  const int shared = backwardSharedBytes(problem->head_dim);
  const struct {
    const char *name;
    int64_t blocks;
    int sharedBytes;
  } kernels[] = {{"delta", deltaBlocks(*problem), 0},
                 {"dq", args.rowOrder.tiles(), shared},
                 {"dkdv", args.keyOrder.tiles(), shared}};
  for (const auto &[name, blocks, sharedBytes] : kernels) {
    char kernel[64];
    std::snprintf(kernel, sizeof(kernel), "mlc_attention_%s_%s_%d", name,
                  problem->dtype == MLC_ATTENTION_BF16 ? "bf16" : "f16", problem->head_dim);
    if (!launch({kernel, blocks, kBackwardThreads, sharedBytes, &args, sizeof(args), stream, "Backward"}, error))
      return 1;
  }
  return 0;
}
