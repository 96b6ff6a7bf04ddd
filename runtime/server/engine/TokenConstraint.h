//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What may come next by a grammar: the engine asks before it draws each token, and tells what was drawn.
//
#pragma once

#include "runtime/core/Result.h"

#include <memory>
#include <span>

namespace mlc::server {

/// The state of one answer under a grammar. Calls for one object never overlap, but may come from any thread of the
/// engine's pool; nothing may block. The engine fails closed: an error ends the request with FinishReason::error.
class TokenConstraint {
public:
  virtual ~TokenConstraint() = default;

  /// Sets bit t % 64 of allowed[t / 64] for every token t that may come next; `allowed` comes cleared, as long as the
  /// model's vocabulary needs. End tokens need not be set: canEnd() decides about them alone. Nothing set and canEnd()
  /// false is an error of the grammar, for which the engine has a message.
  virtual Status allow(std::span<uint64_t> allowed) = 0;
  /// `token` was drawn from what allow() gave; never an end token.
  virtual Status accept(int32_t token) = 0;
  /// Whether the answer may end here. When nothing but the end is left, the answer ends without an end token.
  virtual bool canEnd() const = 0;
  /// An independent object in the same state, for candidates of one prompt.
  virtual std::unique_ptr<TokenConstraint> clone() const = 0;
};

} // namespace mlc::server
