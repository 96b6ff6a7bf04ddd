//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Values that follow from constants and weights, computed at compile time.
//
#pragma once

#include "compiler/Reference/Interpreter.h"

namespace mlc::reference {

/// A tensor's values as an attribute, of the shape that it has.
template <typename T> mlir::DenseElementsAttr attributeOf(const HostValue<T> &value, mlir::Type element);
extern template mlir::DenseElementsAttr attributeOf<float>(const HostValue<float> &, mlir::Type);
extern template mlir::DenseElementsAttr attributeOf<double>(const HostValue<double> &, mlir::Type);

/// Declares the weight of a read that stands in another module.
using DeclareWeight = llvm::function_ref<void(mlir::OpBuilder &builder, graph::ReadOp read)>;

/// What `values` are, results of `ops` (in order) that read nothing beside each other, `leaves` (constants and
/// graph.reads, whose weights `declare` declares, each once) and what their own regions hold. In f64 where T is double.
/// An error also when they do not verify. The work that it took is taken off `limits`.
template <typename T>
llvm::Expected<llvm::SmallVector<mlir::DenseElementsAttr>>
evaluateOps(llvm::ArrayRef<mlir::Operation *> leaves, llvm::ArrayRef<mlir::Operation *> ops,
            llvm::ArrayRef<mlir::Value> values, WeightSource &weights, DeclareWeight declare, Limits &limits);

extern template llvm::Expected<llvm::SmallVector<mlir::DenseElementsAttr>>
evaluateOps<float>(llvm::ArrayRef<mlir::Operation *>, llvm::ArrayRef<mlir::Operation *>, llvm::ArrayRef<mlir::Value>,
                   WeightSource &, DeclareWeight, Limits &);
extern template llvm::Expected<llvm::SmallVector<mlir::DenseElementsAttr>>
evaluateOps<double>(llvm::ArrayRef<mlir::Operation *>, llvm::ArrayRef<mlir::Operation *>, llvm::ArrayRef<mlir::Value>,
                    WeightSource &, DeclareWeight, Limits &);

} // namespace mlc::reference
