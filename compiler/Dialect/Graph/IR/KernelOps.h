//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/Dialect/Graph/IR/Graph.h"

#include "mlir/Interfaces/DestinationStyleOpInterface.h"

#define GET_OP_CLASSES
#include "compiler/Dialect/Graph/IR/KernelOps.h.inc"

namespace mlc::graph {

/// Of the module: which kernel each op of a network got, and why.
inline constexpr llvm::StringLiteral kChoicesAttr = "network.kernel_choices";

} // namespace mlc::graph
