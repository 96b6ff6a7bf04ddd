//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What a constraint on the next token looks like to whoever samples: a grammar's matcher is one.
//
#pragma once

#include "runtime/core/Result.h"

#include <span>

namespace mlc {

/// One sequence's constraint. Used by one thread at a time; may allocate within its own bounds.
class TokenConstraint {
public:
  /// Sets bit t % 64 of allowed[t / 64] for every token t that may come next, clears all others. `allowed` holds
  /// ceil(vocabulary / 64) words. End tokens are allowed only where the text may end. An error, never an empty mask,
  /// where no token can follow.
  virtual Status mask(std::span<uint64_t> allowed) = 0;
  /// Takes the token that was chosen; one that mask() does not allow is refused and changes nothing. After an end token
  /// nothing follows.
  virtual Status accept(int32_t token) = 0;
  /// Whether the text may end here.
  virtual bool canEnd() const = 0;

protected:
  ~TokenConstraint() = default; // Owners know the class.
};

} // namespace mlc
