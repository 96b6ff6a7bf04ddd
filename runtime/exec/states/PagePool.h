//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Reference-counted pages of one size out of one block that is allocated once. A free list through the counters.
//
#pragma once

#include "runtime/core/Owned.h"

namespace mlc {

class DeviceStream;

/// Where pages lie: null, the host's memory; else a device's, which is reached through a stream.
struct PageMemory {
  const Allocator *allocator = nullptr;
  DeviceStream *stream = nullptr;
};

class PagePool {
public:
  /// `what` names the pool in errors.
  /// The pages themselves come from `pageMemory`, which may be a device's.
  static Result<PagePool> create(const Allocator &allocator, const Allocator &pageMemory, size_t pageBytes,
                                 uint32_t pages, const char *what);

  /// A page with one reference, or nothing when none is free.
  bool take(uint32_t &page);
  void addReference(uint32_t page) { ++references[page]; }
  /// Drops one reference; the page is free when none is left.
  void release(uint32_t page);
  bool shared(uint32_t page) const { return references[page] > 1; }

  uint8_t *page(uint32_t page) { return memory.data() + size_t(page) * bytesOfPage; }
  const uint8_t *page(uint32_t page) const { return memory.data() + size_t(page) * bytesOfPage; }
  uint8_t *base() { return memory.data(); }
  size_t pageBytes() const { return bytesOfPage; }
  uint32_t size() const { return uint32_t(references.size()); }
  uint32_t free() const { return freePages; }

private:
  OwnedArray<uint8_t> memory;
  OwnedArray<uint32_t> references, freeList;
  size_t bytesOfPage = 0;
  uint32_t freePages = 0;
};

} // namespace mlc
