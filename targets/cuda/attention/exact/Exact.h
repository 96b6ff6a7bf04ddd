//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The f32-exact forward pass, as a C interface.
//
#pragma once

#include "targets/cuda/attention/Attention.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Attention of a problem whose types are all F32, on `stream` (a CUstream) of the current context: every product is an
/// f32 FMA. With `compensated` scores are kept as two floats. Needs no workspace. 0, or 1 and a line in `error`; then
/// nothing was launched.
__attribute__((visibility("default"))) int mlc_attention_exact_forward(const mlc_attention_problem *problem,
                                                                       int compensated, void *stream, char *error,
                                                                       size_t error_bytes);

#ifdef __cplusplus
}
#endif
