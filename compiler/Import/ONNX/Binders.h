//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The operators that are understood, by domain.
//
#pragma once

#include "compiler/Import/ONNX/Node.h"

namespace mlc::onnx {

/// Null: not supported.
Binder findBinder(llvm::StringRef domain, llvm::StringRef op);
/// "Conv", "com.microsoft.MatMulNBits": for messages.
std::string printableOp(const ::onnx::NodeProto &node);

/// Of the domain com.microsoft.
void addMicrosoft(BinderTable &table);

} // namespace mlc::onnx
