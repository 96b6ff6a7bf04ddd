//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Which ops on buffers one code object calculates, and its text.
//
#pragma once

#include "compiler/Conversion/GraphToExec/Lowering.h"
#include "compiler/Conversion/GraphToExec/NetworkExtents.h"

#include "llvm/ADT/SetVector.h"

namespace mlc {

/// Ops of the function's body that run one after the other in one code object.
class BufferRegion {
public:
  BufferRegion(mlir::Block &body, NetworkExtents &extents) : body(&body), extents(&extents) {}

  bool empty() const { return ops.empty(); }
  /// The names of its ops that check indices, by which a failing run is reported; empty without any.
  std::string checkedNames() const;
  int64_t work() const { return total; }
  /// The buffers that the ops read and write, arguments and allocations of the function, in order of first use.
  mlir::ArrayRef<mlir::Value> buffers() const { return bases.getArrayRef(); }

  void add(mlir::Operation *op);
  /// Those of `op` alone.
  llvm::SetVector<mlir::Value> buffersOf(mlir::Operation *op) const;

  /// The text of a module with the region's function (compiler/Codegen/RegionCode.h). split: the axis of its only op
  /// of which a call calculates a part. Its arguments are the buffers, the extents of the network's inputs and the
  /// bounds of the part.
  std::string text(std::optional<int64_t> split) const;

private:
  mlir::Block *body;
  NetworkExtents *extents;
  mlir::SmallVector<mlir::Operation *> ops;
  llvm::SetVector<mlir::Value> bases;
  int64_t total = 0;
};

/// Whether `op`, of a function's body, is calculated where its results are used: views of buffers and pure scalars.
bool isDeferred(mlir::Operation *op);
/// Argument or allocation behind a view.
mlir::Value baseOf(mlir::Value buffer);
/// A region's module as text.
std::string regionText(mlir::ModuleOp module);
/// Whether `op` checks indices while it runs.
bool checksIndices(mlir::Operation *op);
/// About how many elements `op` calculates at most.
int64_t workOf(mlir::Operation *op, NetworkExtents &extents);
/// What workers share: an axis, its extent (at most), as a dimension, and a number of which every share should be a
/// multiple.
struct Split {
  int64_t axis, extent;
  mlir::Attribute dim;
  int64_t multiple = 1;
};
/// nullopt when the op is to be calculated by one worker.
std::optional<Split> splitOf(mlir::Operation *op, NetworkExtents &extents);

} // namespace mlc
