//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/Import/ONNX/GraphImporter.h"

namespace mlc::onnx {

/// False, with a failure, where a constant index lies outside its axis: one for each of `extents` in turn.
bool areInside(Node &n, const Tensor &indices, llvm::ArrayRef<Dim> extents);

} // namespace mlc::onnx
