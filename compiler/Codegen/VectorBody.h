//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the lowerings of structured ops to vectors share.
//
#pragma once

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

#include <optional>

namespace mlc {

/// Elements between neighbours on `axis` in an operand; nullopt when the axis is not alone in one of its indices.
std::optional<int64_t> strideOn(mlir::linalg::GenericOp op, mlir::OpOperand &operand, unsigned axis);

/// The extents of the loops, made at `b`.
llvm::SmallVector<mlir::Value> loopExtents(mlir::ImplicitLocOpBuilder &b, mlir::linalg::GenericOp op);

/// Whether every operand is a buffer of f32.
bool holdsFloats(mlir::linalg::GenericOp op);

/// Whether the body can be calculated on vectors as it stands.
bool worksOnVectors(mlir::linalg::GenericOp op);

/// The indices of `map` at `place`, `step` further on `axis`.
llvm::SmallVector<mlir::Value> shiftedIndices(mlir::ImplicitLocOpBuilder &b, mlir::AffineMap map,
                                              llvm::ArrayRef<mlir::Value> place, unsigned axis, int64_t step);

/// The value `wanted` of `body`, calculated in values of `type` from the ops in front of `end`; `mapping` holds the
/// arguments. What comes from outside is the same in every lane.
mlir::Value cloneBody(mlir::ImplicitLocOpBuilder &b, mlir::Block &body, mlir::Operation *end, mlir::IRMapping &mapping,
                      mlir::Value wanted, mlir::Type type);

} // namespace mlc
