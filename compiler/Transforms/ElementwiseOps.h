//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Which ops OutlineElementwise gathers, and their scalar form.
//
#pragma once

#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"

#include <optional>

namespace mlc::graph {

/// Marks a linalg.generic that is compiled.
inline constexpr llvm::StringLiteral kRegionAttr = "mlc.region";

/// Whether `op` computes each element of its results from the same element of its operands, all of one shape.
bool isElementwise(mlir::Operation *op);
/// Of elementwise ops: whether no kernel runs it.
bool needsCode(mlir::Operation *op);
/// The operands that `op` reads; the init operands of a linalg.generic only give a shape.
llvm::SmallVector<mlir::Value> elementwiseOperands(mlir::Operation *op);
/// The value of every element, where that is a constant.
std::optional<mlir::TypedAttr> splatOf(mlir::Value value);
/// Clones `op` for one element; `scalars` maps tensors to elements, which it receives and fills in.
void cloneScalar(mlir::OpBuilder &builder, mlir::Operation *op, mlir::IRMapping &scalars);

} // namespace mlc::graph
