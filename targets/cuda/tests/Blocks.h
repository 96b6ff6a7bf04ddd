//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The memory that a fake driver has given out.
//
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

namespace mlc::cuda::fake {

/// Of a device, or pinned while it was the thread's.
struct Memory {
  size_t bytes;
  int device;
};
using Blocks = std::map<uintptr_t, Memory>;

/// Whether the bytes lie in memory of `device`.
inline bool inside(const Blocks &blocks, uintptr_t at, size_t bytes, int device) {
  auto next = blocks.upper_bound(at);
  if (next == blocks.begin())
    return false;
  --next;
  const Memory &memory = next->second;
  return memory.device == device && at - next->first <= memory.bytes && bytes <= memory.bytes - (at - next->first);
}
inline uint64_t bytesOf(const Blocks &blocks, int device) {
  uint64_t bytes = 0;
  for (auto &[at, memory] : blocks)
    bytes += memory.device == device ? memory.bytes : 0;
  return bytes;
}

} // namespace mlc::cuda::fake
