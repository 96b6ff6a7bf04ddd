//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The activation functions, as `activation`, `gated_activation` and a linear's gate evaluate them.
//
#pragma once

#include "compiler/Dialect/Graph/IR/Graph.h"

#include <cmath>
#include <numbers>

namespace mlc::reference {

/// function(x), by its formula.
template <typename T> T activate(graph::Activation function, T x) {
  using graph::Activation;
  switch (function) {
  case Activation::silu:
    return x / (T(1) + std::exp(-x));
  case Activation::gelu_tanh:
    return T(0.5) * x *
           (T(1) + std::tanh(T(std::numbers::sqrt2 / std::sqrt(std::numbers::pi)) * (x + T(0.044715) * x * x * x)));
  case Activation::gelu_erf:
    return T(0.5) * x * (T(1) + std::erf(x / T(std::numbers::sqrt2)));
  case Activation::relu:
    return x > T(0) || std::isnan(x) ? x : T(0);
  case Activation::relu2: {
    T positive = x > T(0) || std::isnan(x) ? x : T(0);
    return positive * positive;
  }
  case Activation::tanh:
    return std::tanh(x);
  case Activation::sigmoid:
    return T(1) / (T(1) + std::exp(-x));
  }
  llvm_unreachable("covered switch");
}

} // namespace mlc::reference
