//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Values that follow from weights alone, computed while compiling: transposed or reordered weights, folded scales.
//
#pragma once

#include "compiler/Reference/Weights.h"

#include "mlir/IR/BuiltinOps.h"

namespace mlc::graph {

/// Replaces what the functions of a network compute from weights and constants by constants; a mere view of a weight
/// stays one. Run on structured ops, before they are fused. Errors are the interpreter's.
llvm::Error foldWeights(mlir::ModuleOp module, reference::WeightSource &weights);

} // namespace mlc::graph
