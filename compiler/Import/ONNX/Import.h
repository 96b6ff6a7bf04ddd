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

/// What --dim says of a symbolic dimension.
struct DimSetting {
  int64_t value = 0;
  bool isBound = false; // The extent may be anything up to `value`.
  mutable bool used = false;
};
using DimSettings = llvm::StringMap<DimSetting>;

/// The text of --dim: NAME=VALUE and NAME<=MAX, with commas between them.
llvm::Expected<DimSettings> parseDims(llvm::StringRef text);

struct ImportedNetwork {
  Checkpoint checkpoint; // What the module's graph.weight ops point into.
  mlir::OwningOpRef<mlir::ModuleOp> module;
};

/// Every refusal is one line that names the file and the node, tensor or dimension.
llvm::Expected<ImportedNetwork> importNetwork(llvm::StringRef path, mlir::MLIRContext &context,
                                              const DimSettings &dims = {});

} // namespace mlc::onnx
