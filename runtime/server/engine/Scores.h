//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Log-probabilities of a row of logits, as the model gives them.
//
#pragma once

#include "runtime/server/engine/Request.h"

namespace mlc::server {

struct RowScore {
  float logprob = 0;
  std::vector<TokenScore> top;
};

/// Of `token`, and of the `alternatives` likeliest, the likeliest first and of equals the lowest id. NaN counts as
/// -inf.
RowScore scoreRow(std::span<const float> logits, int32_t token, size_t alternatives);

} // namespace mlc::server
