//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Allocators: zeroed and aligned blocks of any size, resident where that is promised.
//
#include "runtime/core/Memory.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

using namespace mlc;

namespace {

/// Pages of [memory, memory + size) that are in memory, of all.
std::pair<size_t, size_t> residentPages(const void *memory, size_t size) {
  auto page = size_t(sysconf(_SC_PAGESIZE));
  auto begin = reinterpret_cast<uintptr_t>(memory) / page * page;
  size_t pages = (reinterpret_cast<uintptr_t>(memory) + size - begin + page - 1) / page;
  std::vector<unsigned char> in(pages);
  EXPECT_EQ(mincore(reinterpret_cast<void *>(begin), pages * page, in.data()), 0);
  return {size_t(std::count_if(in.begin(), in.end(), [](unsigned char p) { return p & 1; })), pages};
}

TEST(Memory, BlocksAreZeroedAndAligned) {
  for (const Allocator *allocator : {&systemAllocator(), &residentAllocator()})
    for (size_t size : {size_t(1), size_t(100), size_t(5000), size_t(3) << 20, size_t(9) << 20})
      for (size_t alignment : {size_t(16), size_t(64), size_t(4096)}) {
        auto *memory = static_cast<char *>(allocator->allocate(allocator->context, size, alignment));
        ASSERT_NE(memory, nullptr);
        EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % alignment, 0u);
        EXPECT_EQ(std::count(memory, memory + size, 0), ptrdiff_t(size));
        allocator->release(allocator->context, memory, size);
      }
}

TEST(Memory, ResidentBlocksAreInMemoryAtOnce) {
  constexpr size_t kSize = (size_t(32) << 20) + 5;
  const Allocator &resident = residentAllocator(), &lazy = systemAllocator();
  void *memory = resident.allocate(resident.context, kSize, 64);
  auto [in, all] = residentPages(memory, kSize);
  EXPECT_EQ(in, all);
  resident.release(resident.context, memory, kSize);
  void *untouched = lazy.allocate(lazy.context, kSize, 64);
  EXPECT_LT(residentPages(untouched, kSize).first, all);
  lazy.release(lazy.context, untouched, kSize);
}

TEST(Memory, SizesThatOverflowAreRefused) {
  for (const Allocator *allocator : {&systemAllocator(), &residentAllocator()})
    EXPECT_EQ(allocator->allocate(allocator->context, SIZE_MAX - 8, 64), nullptr);
}

} // namespace
