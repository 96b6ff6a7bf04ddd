//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Constants: from the values of a file, and folded by the reference interpreter.
//
#pragma once

#include "compiler/Import/Checkpoint.h"

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Operation.h"

#include <optional>

namespace mlc::onnx {

/// The values of a tensor of the file as an attribute of `type`.
mlir::DenseElementsAttr constantOf(const TensorInfo &info, mlir::RankedTensorType type);

/// What `values`, results of `ops`, are, when everything that `ops` read is constant (or a weight of `weights`) and all
/// of it is small; nullopt otherwise.
std::optional<llvm::SmallVector<mlir::DenseElementsAttr>> foldConstants(llvm::ArrayRef<mlir::Operation *> ops,
                                                                        llvm::ArrayRef<mlir::Value> values,
                                                                        llvm::ArrayRef<TensorInfo> weights);

} // namespace mlc::onnx
