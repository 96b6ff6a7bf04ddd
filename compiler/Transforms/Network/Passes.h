//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The passes that lower networks; descriptions: Passes.td.
//
#pragma once

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Pass/Pass.h"

namespace mlc::graph {

/// Of arguments of a bufferized function: the weight it is (a symbol), or its values.
inline constexpr llvm::StringLiteral kWeightArgument = "network.weight";
inline constexpr llvm::StringLiteral kConstantArgument = "network.constant";

#define GEN_PASS_DECL
#include "compiler/Transforms/Network/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "compiler/Transforms/Network/Passes.h.inc"

/// graph.call_kernel on buffers.
void registerNetworkBufferization(mlir::DialectRegistry &registry);
/// That of tensor.expand_shape, to be called before MLIR's.
void registerExpandShapeBufferization(mlir::DialectRegistry &registry);
/// Replaces tensor.dim by the extents that the ops in front of it name.
mlir::LogicalResult resolveExtents(mlir::Operation *root);
/// Gives results that are written over tensors of their own in place of expanded shapes whose extents a run chooses.
void freeExpandedInits(mlir::linalg::GenericOp op);
/// Gives kernel calls of a bufferized function whole allocations or arguments, through copies where it has to.
void placeKernelOperands(mlir::func::FuncOp function);

} // namespace mlc::graph
