//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/exec/states/PagePool.h"

namespace mlc {

Result<PagePool> PagePool::create(const Allocator &allocator, const Allocator &pageMemory, size_t pageBytes,
                                  uint32_t pages, const char *what) {
  PagePool pool;
  size_t bytes;
  if (!checkedMul(pageBytes, size_t(pages), bytes))
    return Error(ErrorCode::OutOfMemory, "%s: %u pages of %zu bytes overflow the address space", what, pages,
                 pageBytes);
  MLC_ASSIGN(pool.memory, OwnedArray<uint8_t>::create(pageMemory, bytes, what));
  MLC_ASSIGN(pool.references, OwnedArray<uint32_t>::create(allocator, pages, what));
  MLC_ASSIGN(pool.freeList, OwnedArray<uint32_t>::create(allocator, pages, what));
  // Taken from the end, so the first pages of the block are used first.
  for (uint32_t i = 0; i < pages; ++i)
    pool.freeList[i] = pages - 1 - i;
  pool.bytesOfPage = pageBytes;
  pool.freePages = pages;
  return pool;
}

bool PagePool::take(uint32_t &page) {
  if (!freePages)
    return false;
  page = freeList[--freePages];
  references[page] = 1;
  return true;
}

void PagePool::release(uint32_t page) {
  if (!--references[page])
    freeList[freePages++] = page;
}

} // namespace mlc
