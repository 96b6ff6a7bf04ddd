//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Memory for trees that are built and dropped at once: bump allocation in growing blocks, up to a limit.
//
#pragma once

#include "runtime/core/Memory.h"

#include <string_view>

namespace mlc {

/// Hands out uninitialised memory and frees all of it at once. Not thread-safe.
class Arena {
public:
  explicit Arena(size_t limit, const Allocator &allocator = systemAllocator()) : allocator(allocator), limit(limit) {}
  Arena(const Arena &) = delete;
  Arena &operator=(const Arena &) = delete;
  ~Arena() { clear(); }

  /// Null when the limit or the memory is reached.
  void *allocate(size_t bytes) {
    if (bytes > limit)
      return nullptr;
    bytes = alignUp<size_t>(bytes, 16);
    if (bytes > size_t(end - at) && !grow(bytes))
      return nullptr;
    void *memory = at;
    at += bytes;
    return memory;
  }
  template <typename T> T *array(size_t count) {
    static_assert(std::is_trivially_destructible_v<T> && alignof(T) <= 16);
    return count > limit / sizeof(T) ? nullptr : static_cast<T *>(allocate(count * sizeof(T)));
  }
  /// An object made from its default.
  template <typename T> T *make() {
    T *memory = array<T>(1);
    return memory ? new (memory) T() : nullptr;
  }
  /// A copy of `text`; null data when there is no room.
  std::string_view copy(std::string_view text) {
    char *memory = array<char>(text.size() + 1);
    if (!memory)
      return {};
    if (!text.empty())
      memcpy(memory, text.data(), text.size());
    memory[text.size()] = 0;
    return {memory, text.size()};
  }
  void clear();
  /// Bytes taken from the allocator.
  size_t bytes() const { return taken; }

private:
  struct Block {
    Block *previous;
    size_t size;
  };
  bool grow(size_t bytes);

  Allocator allocator;
  size_t limit, taken = 0;
  Block *last = nullptr;
  char *at = nullptr, *end = nullptr;
};

/// A list in an arena that grows by doubling; what it leaves behind stays in the arena.
template <typename T> struct ArenaList {
  T *items = nullptr;
  uint32_t size = 0, capacity = 0;

  /// False when there is no room.
  bool push(Arena &arena, const T &value) {
    if (size == capacity) {
      if (capacity > UINT32_MAX / 2)
        return false;
      uint32_t more = capacity ? capacity * 2 : 4;
      T *grown = arena.array<T>(more);
      if (!grown)
        return false;
      for (uint32_t i = 0; i < size; ++i)
        grown[i] = items[i];
      items = grown;
      capacity = more;
    }
    items[size++] = value;
    return true;
  }
  T &operator[](size_t i) { return items[i]; }
  const T &operator[](size_t i) const { return items[i]; }
  T *begin() const { return items; }
  T *end() const { return items + size; }
};

} // namespace mlc
