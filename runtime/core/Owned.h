//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Owned<T>: one object made from an Allocator, released by its T::destroy.
//
#pragma once

#include "runtime/core/Memory.h"

#include <memory>

namespace mlc {

template <typename T> struct Destroyer {
  void operator()(T *object) const { T::destroy(object); }
};

/// Owns an object whose class has `static void destroy(T *)`.
template <typename T> using Owned = std::unique_ptr<T, Destroyer<T>>;

} // namespace mlc
