//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// From the path of a checkpoint to its graph: what `mlc compile` and `mlc interpret` begin with.
//
#pragma once

#include "compiler/Import/Checkpoint.h"
#include "compiler/Import/GGUF/Reader.h"
#include "compiler/Import/ModelConfig.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace mlc {

struct ImportOptions {
  std::string rope; // The text of --rope, or "".
};

struct ImportedModel {
  Checkpoint checkpoint; // What the module's graph.weight ops point into.
  ModelConfig config;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  /// Of a GGUF file, for its tokenizer; the values point into `checkpoint`'s files.
  std::optional<gguf::Metadata> metadata;
};

/// Imports a GGUF file (of a split: its first part) or a Hugging Face directory. Every refusal is one line that names
/// the file and what in it.
llvm::Expected<ImportedModel> importCheckpoint(llvm::StringRef path, mlir::MLIRContext &context,
                                               const ImportOptions &options = {});

} // namespace mlc
