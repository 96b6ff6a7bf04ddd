//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Which extent every dynamic dimension follows.
//
#pragma once

#include "compiler/Dialect/Graph/IR/Graph.h"

#include "llvm/ADT/DenseMap.h"

namespace mlc::graph {

/// The extent of a step's tokens, which batch-derived values follow.
inline constexpr llvm::StringLiteral kTokensExtent = "tokens";
/// The extent of the rows whose logits are wanted.
inline constexpr llvm::StringLiteral kRowsExtent = "rows";

/// A value of f32 rows that a quantized value shares its rows with: what was quantized, or what a product took; null
/// when it comes from elsewhere. Other values as they are.
mlir::Value unquantized(mlir::Value value);

/// Answers, for each axis of a tensor, its static size (IntegerAttr) or the extent it follows (StringAttr).
class ExtentAnalysis {
public:
  /// The axes of `value`; failure, after a diagnostic that names the op, where an axis follows nothing that is known.
  mlir::FailureOr<llvm::ArrayRef<mlir::Attribute>> dims(mlir::Value value);

private:
  mlir::Attribute dynamicDim(mlir::Value value, unsigned axis);
  llvm::DenseMap<mlir::Value, llvm::SmallVector<mlir::Attribute>> known;
};

} // namespace mlc::graph
