//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the verifiers of the dialect's ops share.
//
#pragma once

#include "compiler/Dialect/Graph/IR/Graph.h"

namespace mlc::graph {

/// The weight `name`, of `rank` axes; null after a diagnostic.
WeightOp resolveWeight(mlir::Operation *op, mlir::SymbolTableCollection &symbols, mlir::FlatSymbolRefAttr name,
                       int64_t rank);

} // namespace mlc::graph
