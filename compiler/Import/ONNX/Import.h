//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// From an ONNX file to the graph dialect: one function @main of named tensors.
//
#pragma once

#include "compiler/Import/Checkpoint.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "llvm/ADT/StringMap.h"

namespace mlc::onnx {

/// What --dim says of a symbolic dimension, or of an input that is fixed.
struct DimSetting {
  llvm::SmallVector<std::string, 1> numbers; // As they were written: one, or those of a list.
  bool isList = false;
  bool isBound = false; // The extent may be anything up to the number.
  mutable bool used = false;

  /// The number as an extent; nullopt where it is none.
  std::optional<int64_t> extent() const;
};
using DimSettings = llvm::StringMap<DimSetting>;

/// The text of --dim: NAME=VALUE, NAME=[VALUE,...] and NAME<=MAX, with commas between them.
llvm::Expected<DimSettings> parseDims(llvm::StringRef text);

struct ImportedNetwork {
  Checkpoint checkpoint; // What the module's graph.weight ops point into.
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

/// Every refusal is one line that names the file and the node, tensor or dimension.
llvm::Expected<ImportedNetwork> importNetwork(llvm::StringRef path, mlir::MLIRContext &context,
                                              const DimSettings &dims = {});

} // namespace mlc::onnx
