//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The triples that mlc compiles for and the names of --cpu. A name is a level, for which compiled code has a variant,
// or a feature that kernels of the runtime use; a feature brings the level that every CPU with it has.
//
#pragma once

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

namespace mlc {

struct CpuName {
  llvm::StringLiteral name;
  llvm::StringLiteral level; // Equal to the name where it is a level.
  bool isLevel() const { return name == level; }
};

struct TargetTriple {
  llvm::StringLiteral triple; // As artifacts hold it.
  llvm::StringLiteral family; // Whose packed layouts it reads.
  llvm::ArrayRef<CpuName> names;
};

/// The triple that `text` means in any spelling ("armv7l-unknown-linux-gnueabihf"), or null.
const TargetTriple *findTargetTriple(llvm::StringRef text);
/// "x86_64-linux-gnu, aarch64-linux-gnu or arm-linux-gnueabihf".
llvm::StringRef targetTripleNames();

} // namespace mlc
