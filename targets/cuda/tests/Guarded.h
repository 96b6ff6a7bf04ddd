//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Memory behind which a page lies that nothing may touch.
//
#pragma once

#include "runtime/core/Checked.h"

#include <cstdint>
#include <cstdlib>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

namespace mlc::cuda {

/// Where `bytes` lie in whole pages, so that they begin at a multiple of `alignment`.
struct Guarded {
  size_t page = size_t(sysconf(_SC_PAGESIZE)), padded, room;
  Guarded(size_t bytes, size_t alignment) : padded(alignUp(bytes, alignment)), room(alignUp(padded, page)) {}
};

/// Null: there is no memory.
inline uint8_t *allocateGuarded(size_t bytes, size_t alignment = 1) {
  const Guarded has(bytes, alignment);
  void *at = mmap(nullptr, has.room + has.page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED)
    return nullptr;
  if (mprotect(static_cast<uint8_t *>(at) + has.room, has.page, PROT_NONE))
    abort();
  return static_cast<uint8_t *>(at) + has.room - has.padded;
}
/// With the figures that it was allocated by.
inline void releaseGuarded(uint8_t *memory, size_t bytes, size_t alignment = 1) {
  const Guarded has(bytes, alignment);
  munmap(memory + has.padded - has.room, has.room + has.page);
}

/// For containers whose elements end where such a page begins.
template <typename T> struct GuardedAllocator {
  using value_type = T;
  GuardedAllocator() = default;
  template <typename U> GuardedAllocator(const GuardedAllocator<U> &) {}
  T *allocate(size_t count) {
    uint8_t *memory = allocateGuarded(count * sizeof(T));
    if (!memory)
      abort();
    return reinterpret_cast<T *>(memory);
  }
  void deallocate(T *memory, size_t count) { releaseGuarded(reinterpret_cast<uint8_t *>(memory), count * sizeof(T)); }
  bool operator==(const GuardedAllocator &) const { return true; }
};
template <typename T> using GuardedVector = std::vector<T, GuardedAllocator<T>>;

} // namespace mlc::cuda
