//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Ops that follow a product row by row, up to and with another product (attention: scores, softmax, values): one code
// object calculates a block of rows from the first to the last, so that what lies between never leaves the cache.
//
#pragma once

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "llvm/ADT/SetVector.h"

#include <optional>
#include <string>

namespace mlc {

class RowGroup {
public:
  /// The group that begins with `first`, a product or the fill in front of one; nullopt when none is worth it.
  static std::optional<RowGroup> find(mlir::Operation *first);

  mlir::ArrayRef<mlir::Operation *> ops() const { return members; }
  bool isInternal(mlir::Value buffer) const { return internals.contains(buffer); }
  /// The buffers that the code gets: those of the function, then a place for each internal one.
  mlir::ArrayRef<mlir::Value> buffers() const { return externals.getArrayRef(); }
  /// [shares, rows of a block...] for each internal buffer.
  mlir::SmallVector<mlir::MemRefType> places() const;
  /// What workers share, whatever their number; each has places of its own.
  int64_t shares() const;
  /// The text of a module with the region's function (compiler/Codegen/RegionCode.h).
  std::string text() const;

private:
  explicit RowGroup(mlir::Block &body) : body(&body) {}

  bool begin(mlir::linalg::GenericOp product);
  bool join(mlir::Operation *op);
  std::optional<mlir::SmallVector<int64_t>> axesOf(mlir::linalg::LinalgOp op) const;
  bool isWritten(mlir::Value buffer) const { return written.contains(buffer); }
  void settle();
  void chooseRows();

  friend class RowGroupText;
  mlir::Block *body;
  mlir::SmallVector<mlir::Operation *> members;
  llvm::SetVector<mlir::Value> written, internals, externals; // Written: row by row.
  llvm::SmallPtrSet<mlir::Value, 8> results;                  // All that the members write.
  mlir::SmallVector<int64_t> lead; // Extents of the axes that all ops share; the last one is that of the rows.
  int64_t rows = 0;                // Of a block.
};

} // namespace mlc
