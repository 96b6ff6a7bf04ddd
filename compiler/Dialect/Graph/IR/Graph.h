//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The graph dialect's C++ interface.
//
#pragma once

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "compiler/Dialect/Graph/IR/GraphDialect.h.inc"
#include "compiler/Dialect/Graph/IR/GraphEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "compiler/Dialect/Graph/IR/GraphAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "compiler/Dialect/Graph/IR/GraphTypes.h.inc"
#define GET_OP_CLASSES
#include "compiler/Dialect/Graph/IR/GraphOps.h.inc"

namespace mlc::graph {

/// Discardable attributes of the dialect.
inline constexpr llvm::StringLiteral kTapAttr = "graph.tap";
inline constexpr llvm::StringLiteral kInnerTapsAttr = "graph.inner_taps";
inline constexpr llvm::StringLiteral kDimsAttr = "graph.dims";
/// Of arguments and results of a network's functions.
inline constexpr llvm::StringLiteral kNameAttr = "graph.name";
inline constexpr llvm::StringLiteral kUnsignedAttr = "graph.unsigned";
/// Of an argument: the name of the result that the run before leaves in it.
inline constexpr llvm::StringLiteral kCarryAttr = "graph.carry";

/// Positions between the points where a recurrent state is kept: it rolls back to the last so many at no cost.
inline constexpr int64_t kStatePage = 16;

/// Most columns of a head whose scores are products of codes.
inline constexpr int64_t kCodesHeadDim = 1024;

/// How values of `element` are stored as they are.
Storage storageOf(mlir::Type element);
/// Columns (last axis) of a rows type, or of a quantized one.
int64_t getColumns(mlir::Type type);
/// Whether `linear` decides where tokens go or how much of them: its products are of f32 always.
bool isRouting(LinearOp linear);
/// Elements in one block of a storage type along the fastest axis.
int64_t blockElements(Storage storage);
/// The weight `name` names in the module that holds `from`; null when there is none.
WeightOp lookupWeight(mlir::Operation *from, mlir::FlatSymbolRefAttr name);

/// `into` computes what `replaced` did: takes over its tap and what it had swallowed.
void takeTaps(mlir::Operation *replaced, mlir::Operation *into);
/// Records on `into` that the tapped value of `gone` (and what it had swallowed) now lies inside it.
void swallowTaps(mlir::Operation *gone, mlir::Operation *into);

} // namespace mlc::graph
