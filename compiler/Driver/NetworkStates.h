//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// --state: which outputs of a network its next run reads.
//
#pragma once

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"

namespace mlc {

/// Marks the inputs of @main that `states` ("OUT=IN,...") names. Errors are one line that begins with `path`.
llvm::Error applyStates(mlir::ModuleOp module, llvm::StringRef path, llvm::StringRef states);

} // namespace mlc
