//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The final hidden states of a step, for embeddings: what the product that gives the logits reads, before it is
// quantized. No artifact exports them; they are copied when the kernel that reads them is about to run.
//
#pragma once

#include "runtime/llm/Session.h"

#include <vector>

namespace mlc::server {

class HiddenStates {
public:
  /// Looks for them in the plan of the model's step.
  explicit HiddenStates(const Model &model);

  /// Ok, or why the artifact has none to give.
  const Status &support() const { return found; }
  /// Floats of a row; 0 without support.
  size_t width() const { return columns; }

  /// The rows of the session's next steps are kept; `on` false: no more.
  Status observe(Session &session, bool on);
  /// Row i of the step's rows, as the last one left it.
  std::span<const float> row(size_t i) const { return {rows.data() + i * columns, columns}; }

private:
  Status find(const Model &model);
  static void before(void *self, uint32_t call, const KernelContext &context);

  uint32_t reader = 0; // The kernel call whose first input they are.
  size_t columns = 0;
  std::vector<float> rows;
  Status found; // Last: find() sets the others.
};

} // namespace mlc::server
