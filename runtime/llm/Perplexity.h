//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// How well a model predicts a text, and how far it is from another model.
//
#pragma once

#include "runtime/llm/Session.h"

namespace mlc {

struct PerplexityOptions {
  uint64_t context = 0; // Tokens of a window; 0: the session's context.
  uint64_t stride = 0;  // Tokens from window to window; 0: `context`. Each token is scored once, in the first window
                        // that holds it and a token before it.
  void (*progress)(void *user, uint64_t done, uint64_t total) = nullptr;
  void *user = nullptr;
};

struct PerplexityResult {
  uint64_t tokens = 0; // Scored.
  double nll = 0;      // Mean negative log-likelihood in nats.
  double perplexity = 0;
  // Only against a reference: KL(reference || model) a token, and how often both prefer the same token.
  double meanKl = 0, p99Kl = 0, topAgreement = 0;
};

/// `reference` may be null; else it has the same vocabulary and at least the same context.
Result<PerplexityResult> perplexity(Session &session, Session *reference, std::span<const int32_t> tokens,
                                    const PerplexityOptions &options = {});

} // namespace mlc
