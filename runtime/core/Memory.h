//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Where the runtime's memory comes from: a caller's allocator, and arrays that own what they took from it.
//
#pragma once

#include "runtime/core/Checked.h"
#include "runtime/core/Result.h"

#include <cstdlib>
#include <cstring>
#include <span>

namespace mlc {

/// Every allocation of the runtime goes through one of these, at load or session creation only.
struct Allocator {
  /// Zeroed memory of `size` bytes at `alignment` (a power of two), or null.
  void *(*allocate)(void *context, size_t size, size_t alignment);
  void (*release)(void *context, void *memory, size_t size);
  void *context;
};

/// What a large page of the common processors holds.
constexpr size_t kLargePage = size_t(2) << 20;

/// malloc behind an Allocator. Large blocks come zeroed from the system, in large pages where it has them, and are not
/// touched.
const Allocator &systemAllocator();

/// The same, but every page is in memory at once: what a program has started with, it keeps.
const Allocator &residentAllocator();

/// An array of trivially copyable T, owned, zero-initialised, 64-byte aligned. Never grows.
template <typename T> class OwnedArray {
public:
  OwnedArray() = default;
  OwnedArray(OwnedArray &&other) noexcept { swap(other); }
  OwnedArray &operator=(OwnedArray &&other) noexcept {
    swap(other);
    return *this;
  }
  ~OwnedArray() {
    if (memory)
      allocator.release(allocator.context, memory, length * sizeof(T));
  }

  /// `length` may come from a file: one that the address space cannot hold is refused.
  static Result<OwnedArray> create(const Allocator &allocator, uint64_t length, const char *what) {
    static_assert(std::is_trivially_destructible_v<T>);
    uint64_t bytes;
    OwnedArray array;
    array.allocator = allocator;
    if (!length)
      return array;
    if (!checkedMul(length, uint64_t(sizeof(T)), bytes) || bytes > kMaxObjectBytes)
      return Error(ErrorCode::OutOfMemory, "%s: %llu elements of %zu bytes overflow the address space", what,
                   static_cast<unsigned long long>(length), sizeof(T));
    array.memory =
        static_cast<T *>(allocator.allocate(allocator.context, size_t(bytes), alignof(T) > 64 ? alignof(T) : 64));
    if (!array.memory)
      return Error(ErrorCode::OutOfMemory, "%s: no memory for %llu bytes", what,
                   static_cast<unsigned long long>(bytes));
    array.length = size_t(length);
    return array;
  }

  T *data() { return memory; }
  const T *data() const { return memory; }
  size_t size() const { return length; }
  T &operator[](size_t i) { return memory[i]; }
  const T &operator[](size_t i) const { return memory[i]; }
  T *begin() { return memory; }
  T *end() { return memory + length; }
  const T *begin() const { return memory; }
  const T *end() const { return memory + length; }
  std::span<T> span() { return {memory, length}; }
  std::span<const T> span() const { return {memory, length}; }

private:
  void swap(OwnedArray &other) {
    std::swap(memory, other.memory);
    std::swap(length, other.length);
    std::swap(allocator, other.allocator);
  }
  T *memory = nullptr;
  size_t length = 0;
  Allocator allocator{};
};

} // namespace mlc
