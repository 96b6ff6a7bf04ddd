//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What `mlc compile`, `mlc interpret` and `mlc tokenize` read: a checkpoint, or graph text with its weights.
//
#pragma once

#include "compiler/Import/Checkpoint.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

#include <optional>
#include <string>
#include <vector>

namespace mlc {

struct SourceOptions {
  std::string path;      // SRC of the command line.
  std::string weights;   // Of graph text: --weights.
  std::string tokenizer; // Of graph text: --tokenizer; a directory, a GGUF file or a .model.
  std::string rope;      // --rope
  std::string dims;      // --dim: of a network, or bounds of the extents of graph text.
  std::string states;    // --state: of a network.
};

struct Source {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::optional<Checkpoint> checkpoint;
  /// A finished FlatBuffer of fb::Tokenizer; empty when the source has none.
  std::vector<uint8_t> tokenizer;
};

/// Opens and imports, with `dims` and `states` applied. Errors are one line that begins with the file.
llvm::Expected<Source> openSource(const SourceOptions &options, mlir::MLIRContext &context);

/// The tokenizer of a checkpoint (a GGUF file that holds only a vocabulary will do), a directory or a .model file;
/// empty when it has none.
llvm::Expected<std::vector<uint8_t>> readTokenizer(llvm::StringRef path, uint64_t vocabulary = 0);

/// Keeps the first diagnostic of a context as one line, in front of which stands `file`, unless it has a line of its
/// own.
class DiagnosticLine {
public:
  DiagnosticLine(mlir::MLIRContext &context, std::string file);
  ~DiagnosticLine();
  llvm::Error error(llvm::StringRef otherwise) const;

private:
  mlir::MLIRContext &context;
  std::string file, line;
  uint64_t handler;
};

} // namespace mlc
