//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/core/Memory.h"

#include <sys/mman.h>

namespace mlc {

static void *systemAllocate(void *, size_t size, size_t alignment) {
  // Rows far apart then need few entries of the page tables.
  bool large = size >= 2 * kLargePage;
  alignment = large && alignment < kLargePage ? kLargePage : alignment;
  size_t rounded;
  // calloc leaves fresh pages untouched; over-allocation keeps the original pointer before the aligned block.
  if (!checkedAdd(size, alignment + sizeof(void *), rounded))
    return nullptr;
  void *base = calloc(1, rounded);
  if (!base)
    return nullptr;
  auto aligned = alignUp(reinterpret_cast<uintptr_t>(base) + sizeof(void *), uintptr_t(alignment));
  reinterpret_cast<void **>(aligned)[-1] = base;
  if (large)
    (void)madvise(reinterpret_cast<void *>(aligned), size / kLargePage * kLargePage, MADV_HUGEPAGE);
  return reinterpret_cast<void *>(aligned);
}

static void systemRelease(void *, void *memory, size_t) { free(static_cast<void **>(memory)[-1]); }

/// Writes a zero to every page of zeroed memory.
static void *residentAllocate(void *context, size_t size, size_t alignment) {
  constexpr size_t smallPage = 4096;
  auto *memory = static_cast<volatile char *>(systemAllocate(context, size, alignment));
  for (size_t offset = 0; memory && offset < size; offset += smallPage)
    memory[offset] = 0;
  return const_cast<char *>(memory);
}

const Allocator &systemAllocator() {
  static constexpr Allocator allocator{systemAllocate, systemRelease, nullptr};
  return allocator;
}

const Allocator &residentAllocator() {
  static constexpr Allocator allocator{residentAllocate, systemRelease, nullptr};
  return allocator;
}

} // namespace mlc
