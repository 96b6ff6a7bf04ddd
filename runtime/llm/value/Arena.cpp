//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/value/Arena.h"

#include <algorithm>

namespace mlc {

bool Arena::grow(size_t bytes) {
  // Blocks double, so a large tree takes few of them and a small one little.
  size_t wanted = std::max<size_t>(bytes + sizeof(Block), std::min<size_t>(taken ? taken : 4096, size_t(1) << 20));
  if (wanted > limit - taken) {
    wanted = bytes + sizeof(Block);
    if (wanted > limit - taken)
      return false;
  }
  auto *block = static_cast<Block *>(allocator.allocate(allocator.context, wanted, 64));
  if (!block)
    return false;
  block->previous = last;
  block->size = wanted;
  last = block;
  taken += wanted;
  at = reinterpret_cast<char *>(block + 1);
  end = reinterpret_cast<char *>(block) + wanted;
  return true;
}

void Arena::clear() {
  while (last) {
    Block *block = last;
    last = block->previous;
    allocator.release(allocator.context, block, block->size);
  }
  taken = 0;
  at = end = nullptr;
}

} // namespace mlc
