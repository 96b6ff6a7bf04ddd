//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Checks of indices in a region on buffers: cf.assert of index u< constant.
//
#pragma once

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace mlc {

/// Of a region whose loops are written out: its function returns an index that lies outside, as the code object's
/// status (runtime/artifact/CodeStatus.h), or 0. One that checks nothing keeps returning nothing.
mlir::LogicalResult lowerIndexChecks(mlir::func::FuncOp function);

} // namespace mlc
