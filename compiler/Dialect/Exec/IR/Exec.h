//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The exec dialect's C++ interface.
//
#pragma once

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/RegionKindInterface.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "compiler/Dialect/Exec/IR/ExecDialect.h.inc"
#include "compiler/Dialect/Exec/IR/ExecEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "compiler/Dialect/Exec/IR/ExecAttrs.h.inc"
#define GET_OP_CLASSES
#include "compiler/Dialect/Exec/IR/ExecOps.h.inc"

namespace mlc::exec {

/// Bytes of one element of a buffer's type.
int64_t elementBytes(mlir::Type element);
/// Bytes of a slot at its extents' bounds.
int64_t slotBytes(SlotOp slot);
/// The size of one entry of a `dims` list at its bound.
int64_t dimBound(mlir::Operation *from, mlir::Attribute dim);
/// The slot that `buffer` is or views; null for constants.
SlotOp baseSlot(mlir::Value buffer);

} // namespace mlc::exec
