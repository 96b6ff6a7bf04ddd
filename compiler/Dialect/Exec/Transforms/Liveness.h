//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// When the slots of a function are live.
//
#pragma once

#include "compiler/Dialect/Exec/IR/Exec.h"

namespace mlc::exec {

/// A slot and the ops, numbered in program order, from `first` to `last` between which it holds a value.
struct LiveSlot {
  SlotOp slot;
  int64_t first, last, bytes;
  bool overlaps(const LiveSlot &other) const { return first <= other.last && other.first <= last; }
};

/// The slots of `function` in program order; slots that nothing touches are left out unless they are inputs.
llvm::SmallVector<LiveSlot> liveSlots(FuncOp function);

} // namespace mlc::exec
