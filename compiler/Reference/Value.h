//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What an SSA value of the graph level is on the host. T is the float type that everything is computed in.
//
#pragma once

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"

#include <cstdint>
#include <memory>
#include <numeric>
#include <variant>
#include <vector>

namespace mlc::reference {

using Shape = llvm::SmallVector<int64_t, 4>;

inline int64_t elementCount(llvm::ArrayRef<int64_t> shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t(1), std::multiplies<int64_t>());
}

/// Row-major. A scalar has no axes.
template <typename E> struct Dense {
  Shape shape;
  std::vector<E> data;

  /// Length of the last axis and product of the others; a scalar is one row of one column.
  int64_t columns() const { return shape.empty() ? 1 : shape.back(); }
  int64_t rows() const { return shape.empty() ? 1 : elementCount(llvm::ArrayRef<int64_t>(shape).drop_back()); }
  E *row(int64_t i) { return data.data() + i * columns(); }
  const E *row(int64_t i) const { return data.data() + i * columns(); }

  static Dense filled(llvm::ArrayRef<int64_t> shape, E value = {}) {
    return {Shape(shape), std::vector<E>(size_t(elementCount(shape)), value)};
  }
  static Dense scalar(E value) { return {{}, {value}}; }
};

template <typename T> using Floats = Dense<T>;
/// Every integer type, sign-extended; i1 is 0 or 1.
using Integers = Dense<int64_t>;

/// `!graph.quantized`: codes [rows, columns], one scale for each row and `group` columns.
struct QuantizedRows {
  int64_t rows = 0, columns = 0, group = 0;
  std::vector<int8_t> codes;
  std::vector<float> scales;

  int64_t groups() const { return (columns + group - 1) / group; }
};

/// One sequence's share of a step: tokens at positions firstPosition, ... .
struct Segment {
  uint64_t sequence = 0;
  int64_t firstPosition = 0;
  int64_t length = 0;
  int64_t promptLength = 0; // Of the complete prompt: it fixes RoPE forms that depend on length.
};

/// `!graph.batch`: segments in row order without gaps.
struct Batch {
  std::vector<Segment> segments;

  int64_t tokens() const {
    int64_t count = 0;
    for (const Segment &segment : segments)
      count += segment.length;
    return count;
  }
};

template <typename T> using HostValue = std::variant<Floats<T>, Integers, QuantizedRows, Batch>;
template <typename T> using ValueRef = std::shared_ptr<const HostValue<T>>;

} // namespace mlc::reference
