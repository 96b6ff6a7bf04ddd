//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Transforms over the graph dialect.
//
#pragma once

#include "compiler/Dialect/Graph/IR/Graph.h"

#include "mlir/Pass/Pass.h"

namespace mlc::graph {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "compiler/Transforms/Passes.h.inc"

} // namespace mlc::graph
