//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Gradients of attention in bf16 and f16, head 64 and 128, as a C interface. With P = exp(scores - lse) and
// delta = rowsum(dout * out):
//
//   dV = P^T dout      dS = P * (dout V^T - delta)      dQ = scale dS K      dK = scale dS^T Q
//
// One kernel makes delta, one dQ, one dK and dV. Scores are computed in both of the latter, seven products instead of
// five, so nothing is added atomically: the gradients are the same bits in every run, and beside them only delta is
// stored.
//
#pragma once

#include "targets/cuda/attention/Attention.h"

#ifdef __cplusplus
extern "C" {
#endif

/// dq as q, dk and dv as k and v with heads_kv heads, dout as out, in the problem's dtype. The forward problem must
/// have `out` and `lse`; pages and lengths_kv are not supported.
typedef struct mlc_attention_gradients {
  mlc_attention_tensor dout, dq, dk, dv;
} mlc_attention_gradients;

/// Bytes of device memory that mlc_attention_backward() needs, aligned to 4: a float for each query and head.
__attribute__((visibility("default"))) size_t mlc_attention_backward_workspace(const mlc_attention_problem *problem);
/// Launches the three kernels on `stream` (a CUstream) of the current context. 0, or 1 and a line in `error`; what is
/// wrong with the problem is said before anything is launched.
__attribute__((visibility("default"))) int mlc_attention_backward(const mlc_attention_problem *problem,
                                                                  const mlc_attention_gradients *gradients,
                                                                  void *stream, void *workspace, size_t workspace_bytes,
                                                                  char *error, size_t error_bytes);

#ifdef __cplusplus
}
#endif
