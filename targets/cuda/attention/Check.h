//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What is wrong with a problem, before anything is launched.
//
#pragma once

#include "targets/cuda/attention/backward/Backward.h"

namespace mlc::attention {

/// Where a function of the C interface writes its error: one line.
struct ErrorText {
  char *text;
  size_t bytes;

  /// Writes and gives 1, what the function returns.
  [[gnu::format(printf, 2, 3)]] int operator()(const char *format, ...) const;
};

/// Everything that both passes ask of shapes, types, strides, addresses and options. False, with an error, if not.
bool checkProblem(const mlc_attention_problem &problem, const ErrorText &error);
/// What the backward pass asks beyond that.
bool checkGradients(const mlc_attention_problem &problem, const mlc_attention_gradients &gradients,
                    const ErrorText &error);

} // namespace mlc::attention
