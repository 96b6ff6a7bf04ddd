//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Runs a network by the reference interpreter: .npy files in and out.
//
#pragma once

#include "compiler/Reference/Weights.h"
#include "runtime/run/Options.h"

#include "mlir/IR/BuiltinOps.h"

namespace mlc {

struct NetworkArguments {
  cli::TextList inputs; // NAME=F.npy
  const char *outputDir = nullptr;
  bool json = false, f64 = false;
};

bool isNetwork(mlir::ModuleOp module);
/// `file` names the network in messages.
llvm::Error interpretNetwork(const std::string &file, mlir::ModuleOp module, reference::WeightSource &weights,
                             const NetworkArguments &arguments);

} // namespace mlc
