//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/core/Memory.h"

namespace mlc {

static void *systemAllocate(void *, size_t size, size_t alignment) {
  size_t rounded;
  // calloc leaves fresh pages untouched; over-allocation keeps the original pointer before the aligned block.
  if (!checkedAdd(size, alignment + sizeof(void *), rounded))
    return nullptr;
  void *base = calloc(1, rounded);
  if (!base)
    return nullptr;
  auto aligned = alignUp(reinterpret_cast<uintptr_t>(base) + sizeof(void *), uintptr_t(alignment));
  reinterpret_cast<void **>(aligned)[-1] = base;
  return reinterpret_cast<void *>(aligned);
}

static void systemRelease(void *, void *memory, size_t) { free(static_cast<void **>(memory)[-1]); }

const Allocator &systemAllocator() {
  static constexpr Allocator allocator{systemAllocate, systemRelease, nullptr};
  return allocator;
}

} // namespace mlc
