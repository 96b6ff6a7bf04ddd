//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// LLVM's part of compiling a region: IR to an object or to text.
//
#pragma once

#include "llvm/ADT/SmallVector.h"
#include "llvm/Analysis/TargetLibraryInfo.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/Error.h"
#include "llvm/Target/TargetMachine.h"

#include <memory>

namespace mlc {

/// A code generator for one processor, under which nothing becomes a call of a library.
class Generator {
public:
  static llvm::Expected<Generator> create(llvm::StringRef triple, llvm::StringRef cpu, llvm::StringRef features,
                                          const llvm::TargetOptions &options, llvm::CodeModel::Model codeModel);

  const llvm::Triple &triple() const { return machine->getTargetTriple(); }
  /// Makes `module` the processor's.
  void prepare(llvm::Module &module) const;
  void optimize(llvm::Module &module) const;
  llvm::Expected<llvm::SmallVector<char, 0>> emit(llvm::Module &module, llvm::CodeGenFileType type) const;

private:
  std::unique_ptr<llvm::TargetMachine> machine;
  std::unique_ptr<llvm::TargetLibraryInfoImpl> library;
};

} // namespace mlc
