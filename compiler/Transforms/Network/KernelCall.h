//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A graph op as a call of one of XNNPACK's kernels (targets/xnnpack).
//
#pragma once

#include "compiler/Dialect/Graph/IR/KernelOps.h"
#include "compiler/Transforms/Network/Structured.h"

#include <functional>

namespace mlc::graph {

/// What XNNPACK makes of an op: its kernel, the fields of that, and its form in the cost table.
struct KernelMatch {
  std::string kernel; // Without the "xnnpack." in front.
  llvm::SmallVector<mlir::NamedAttribute> fields;
  std::string form;
  /// Writes the call in front of the op, and gives what replaces it.
  std::function<mlir::Value(Structured &, KernelMatch &)> build;
  /// Compiled code does the op together with its neighbours: what the table says of the op alone is not its cost.
  bool inPassing = false;
  /// Of an op that XNNPACK cannot do, why not.
  std::string refusal;
};

/// nullopt: nothing that the XNNPACK of `year`, 2022 or 2024, has a kernel for. `folds`: filters are rearranged while
/// compiling.
std::optional<KernelMatch> matchKernel(mlir::Operation *op, unsigned year, bool folds);

/// The call of `match` on `inputs`, with a result of `shape` and the element of the first input, or another.
mlir::Value callKernel(Structured &s, KernelMatch &match, mlir::ValueRange inputs, llvm::ArrayRef<int64_t> shape,
                       mlir::Type element = {});

/// A line of the measured table (targets/xnnpack/Costs.def), microseconds.
struct KernelCost {
  llvm::StringRef isa, form;
  double own, xnnpack;
};
llvm::ArrayRef<KernelCost> kernelCosts();

} // namespace mlc::graph
