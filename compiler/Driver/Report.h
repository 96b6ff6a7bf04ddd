//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// --report: which kernel every op got, and what runs on a slower path than asked.
//
#pragma once

#include "compiler/Dialect/Exec/IR/Exec.h"

#include "llvm/Support/JSON.h"

namespace mlc {

/// One object: arena, weights, ops {op, kernel, format, slow?} and `slow`, the distinct reasons.
llvm::json::Object makeReport(mlir::ModuleOp exec);

/// The first op that runs on a slower path than asked, in words; empty when there is none (what --strict refuses).
std::string firstSlowPath(mlir::ModuleOp exec);

} // namespace mlc
