//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Transforms over the exec dialect.
//
#pragma once

#include "compiler/Dialect/Exec/IR/Exec.h"

#include "mlir/Pass/Pass.h"

namespace mlc::exec {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "compiler/Dialect/Exec/Transforms/Passes.h.inc"

} // namespace mlc::exec
