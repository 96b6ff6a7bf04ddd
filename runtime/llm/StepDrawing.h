//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Which rows of a step a device draws, and how. Of a session without a device it gathers nothing: logits come.
//
#pragma once

#include "runtime/llm/Sampler.h"
#include "runtime/llm/Session.h"

namespace mlc {

class StepDrawing {
public:
  /// For the steps of `session`; the one allocation.
  static Result<StepDrawing> create(const Session &session, const Allocator &allocator = systemAllocator());

  void clear() { rowCount = adjustmentCount = 0; }
  /// The next row is drawn by `sampler` at `uniform`, or not: on the host, or where bias and penalties name more tokens
  /// than a step carries.
  void add(const Sampler &sampler, double uniform);
  /// The next row's logits go to the host.
  void addLogits();
  StepDraws draws() const { return {rows.span().first(rowCount), adjustments.span().first(adjustmentCount)}; }

private:
  OwnedArray<RowDraw> rows; // Empty: nothing is drawn.
  OwnedArray<TokenAdjustment> adjustments;
  size_t rowCount = 0, adjustmentCount = 0;
};

/// The next token of row `i`: what the device drew, or `sampler` draws.
Result<int32_t> nextToken(Sampler &sampler, const LogitsView &logits, size_t i);

} // namespace mlc
