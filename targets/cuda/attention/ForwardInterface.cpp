//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
// The forward pass of 16-bit types in the C interface.
//
#include "targets/cuda/attention/Launch.h"
#include "targets/cuda/attention/decode/DecodePlan.h"
#include "targets/cuda/attention/forward/ForwardPlan.h"

using namespace mlc::attention;

size_t mlc_attention_workspace(const mlc_attention_problem *problem) {
  char text[1];
  const ErrorText ignored = {text, sizeof(text)};
  Device device = {};
  if (!problem || !checkProblem(*problem, ignored) || !decodes(*problem) || !deviceOf(device, ignored))
    return 0;
  return planDecode(*problem, device, nullptr).workspace;
}

int mlc_attention_forward(const mlc_attention_problem *problem, void *stream, void *workspace, size_t workspaceBytes,
                          char *text, size_t bytes) {
  const ErrorText error = {text, bytes};
  if (!problem)
    return error("no problem");
  if (problem->dtype == MLC_ATTENTION_F32)
    return error("f32 is the exact kernels': mlc_attention_exact_forward");
  Device device = {};
  if (!checkProblem(*problem, error) || !deviceOf(device, error))
    return 1;
  if (workspace && reinterpret_cast<uintptr_t>(workspace) % 16)
    return error("the workspace's address is not a multiple of 16 bytes");
  if (decodes(*problem)) {
    const DecodePlan plan = planDecode(*problem, device, workspace);
    if (plan.workspace && (!workspace || workspaceBytes < plan.workspace))
      return error("the workspace has %zu bytes; the problem needs %zu", workspaceBytes, plan.workspace);
    if (plan.grid[1] > 65535 || plan.grid[2] > 65535)
      return error("batch %d; at most 65535 sequences are decoded at a time", problem->batch);
    return !launch({plan.kernel, plan.grid[0], plan.threads, plan.sharedBytes, &plan.args, sizeof(plan.args), stream,
                    "Decode", plan.grid[1], plan.grid[2]},
                   error);
  }
  ForwardPlan plan;
  uint32_t *counter = workspaceBytes >= 2 * sizeof(uint32_t) ? static_cast<uint32_t *>(workspace) : nullptr;
  if (!planForward(*problem, device, counter, plan, error))
    return 1;
  return !launch({plan.kernel, plan.blocks, plan.threads, plan.sharedBytes, &plan.args, sizeof(plan.args), stream,
                  problem->dtype == MLC_ATTENTION_BF16 ? "ForwardBf16" : "ForwardF16"},
                 error);
}
