//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Arithmetic on sizes that come from files: every overflow is seen.
//
#pragma once

#include <cstddef>
#include <cstdint>

namespace mlc {

/// The largest object of this address space: 2 GiB less a byte where pointers have 32 bits.
constexpr uint64_t kMaxObjectBytes = PTRDIFF_MAX;

/// a + b and a * b into `out`; false on overflow (out is then unspecified).
template <typename T> [[nodiscard]] constexpr bool checkedAdd(T a, T b, T &out) {
  return !__builtin_add_overflow(a, b, &out);
}
template <typename T> [[nodiscard]] constexpr bool checkedMul(T a, T b, T &out) {
  return !__builtin_mul_overflow(a, b, &out);
}

/// Whether [offset, offset + size) lies inside [0, limit).
[[nodiscard]] constexpr bool extentInside(uint64_t offset, uint64_t size, uint64_t limit) {
  return size <= limit && offset <= limit - size;
}

/// `value` rounded up to a multiple of `alignment` (a power of two). The caller bounds `value`.
template <typename T> constexpr T alignUp(T value, T alignment) { return (value + alignment - 1) & ~(alignment - 1); }
template <typename T> constexpr T ceilDiv(T value, T divisor) { return (value + divisor - 1) / divisor; }

} // namespace mlc
