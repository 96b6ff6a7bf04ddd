//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Products of short integers by way of floats: whole numbers up to 2^24 are exact in f32, whose products are the
// fastest that every ISA level has.
//
#pragma once

#include "mlir/IR/Value.h"

#include <optional>

namespace mlc::graph {

/// How sums of products of x's and w's elements, i32, are calculated in f32.
struct ExactProduct {
  int64_t terms;      // So many products have a sum that is exact, in any order.
  mlir::Type weights; // What w is kept as: i8 or i16 when it follows from weights, else f32.
};

/// Of what is known to be short: integers that were extended, moved, added and subtracted. nullopt: too few terms.
std::optional<ExactProduct> exactProduct(mlir::Value x, mlir::Value w);

} // namespace mlc::graph
