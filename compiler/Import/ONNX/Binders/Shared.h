//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What binders of several files use.
//
#pragma once

#include "compiler/Import/ONNX/Node.h"

namespace mlc::onnx {

/// graph.conv by the attributes of a convolution; `bias` may be null.
Tensor convolution(Node &n, Tensor x, Tensor w, Tensor bias);

/// saturate(round(x) + zero) as `type`, integers of up to 16 bits; x is f32.
Tensor saturate(Emitter &e, const Tensor &x, const Tensor &zero, DType type);

} // namespace mlc::onnx
