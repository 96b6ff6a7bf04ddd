//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Every dialect and pass of the compiler, in one place.
//
#pragma once

#include "mlir/IR/MLIRContext.h"

namespace mlc {

void registerDialects(mlir::DialectRegistry &registry);
void registerPasses();

/// A context with every dialect loaded; single-threaded, so that diagnostics come in one order.
std::unique_ptr<mlir::MLIRContext> makeContext();

} // namespace mlc
