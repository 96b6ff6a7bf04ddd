//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Quantized values as ONNX's operators write them: 8 bits, widened to i32, less a zero point.
//
#pragma once

#include "compiler/Transforms/Network/Structured.h"

#include <optional>

namespace mlc::graph {

/// What `value` repeats or reshapes, if it does nothing else; else null.
mlir::Value repeated(mlir::Value value);
/// The number that every element of `value` is; f32 is computed as the network would.
std::optional<double> numberOf(mlir::Value value);

struct ShiftedBytes {
  mlir::Value wide;                 // Of i32, before the zero point is taken from it.
  mlir::Value values;               // Of i8; null where `wide` is a constant (the folder widens small weights).
  mlir::DenseElementsAttr constant; // Those of `wide`, as i8.
  mlir::Value zero;                 // Of i32, as large as `wide`; null: 0.
  bool isUnsigned = false;          // `values` lie in 0 to 255.

  static std::optional<ShiftedBytes> of(mlir::Value shifted);

  /// The zero point, if it is known.
  std::optional<double> knownZero() const { return zero ? numberOf(zero) : 0; }
  mlir::Value get(Structured &s) const;
  /// The values less 128 where they are unsigned, so that both kinds lie in -128 to 127.
  mlir::Value centered(Structured &s) const;
};

} // namespace mlc::graph
