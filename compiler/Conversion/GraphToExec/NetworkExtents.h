//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Extents that a run chooses, in a bufferized function of a network: those of its inputs, and what follows from them.
//
#pragma once

#include "compiler/Dialect/Exec/IR/Exec.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"

namespace mlc {

class NetworkExtents {
public:
  /// Extents are declared at `builder`.
  NetworkExtents(mlir::func::FuncOp function, mlir::OpBuilder builder) : function(function), builder(builder) {}

  /// Gives the function an argument of type index for every extent of its inputs, which stands for it from here on.
  /// Failure after a diagnostic: an input's axis follows no extent.
  mlir::LogicalResult addArguments();
  /// The names of these, in their order.
  llvm::ArrayRef<mlir::Attribute> names() const { return given; }

  /// The extents of an argument's or an allocation's axes, as exec.slot names them: numbers, and extents that are
  /// declared where they are not yet. Failure after a diagnostic: an extent follows from values.
  mlir::FailureOr<llvm::SmallVector<mlir::Attribute>> dimsOf(mlir::Value buffer);
  /// The same as values, of the axes that are dynamic.
  llvm::SmallVector<mlir::Value> sizesOf(mlir::Value buffer) const;
  /// The extent of a buffer's axis, made at `at` where it is no argument's.
  mlir::Value sizeOf(mlir::OpBuilder &at, mlir::Value buffer, int64_t axis) const;
  /// The most elements that a buffer holds.
  mlir::FailureOr<int64_t> mostElements(mlir::Value buffer);
  /// The extent of a buffer's axis, of a view too; null where it is none of these, without a diagnostic.
  mlir::Attribute knownAxis(mlir::Value buffer, int64_t axis);
  /// The most that an extent can be.
  int64_t boundOf(mlir::Attribute dim) const { return ranges.lookup(dim).most; }

private:
  struct Range {
    int64_t least = 0, most = 0;
  };
  mlir::FailureOr<mlir::Attribute> dimOf(mlir::Value index);
  mlir::FailureOr<mlir::Attribute> dimOf(mlir::AffineExpr expr, mlir::ValueRange operands, unsigned dims);
  /// Of an axis of a view.
  mlir::FailureOr<mlir::Attribute> axisOf(mlir::Value buffer, int64_t axis);
  mlir::FailureOr<mlir::Attribute> combine(exec::ExtentRule rule, mlir::FailureOr<mlir::Attribute> left,
                                           mlir::FailureOr<mlir::Attribute> right);
  mlir::Attribute number(int64_t value);
  mlir::LogicalResult fail(const llvm::Twine &what);

  mlir::func::FuncOp function;
  mlir::OpBuilder builder;
  llvm::SmallVector<mlir::Attribute> given;
  llvm::DenseMap<mlir::Value, mlir::Attribute> known;
  llvm::DenseMap<mlir::Attribute, Range> ranges;
  llvm::DenseMap<mlir::Attribute, exec::ExtentOp> declared;
  llvm::DenseMap<mlir::Attribute, mlir::Attribute> symbols; // Of formulas.
  llvm::DenseMap<std::pair<mlir::Value, int64_t>, mlir::Value> argumentAxes;
  mlir::Operation *user = nullptr; // Whose buffer is looked at; null: nothing is said of what fails.
};

} // namespace mlc
