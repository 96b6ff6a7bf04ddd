//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The token trie's nodes, in the order of a walk.
//
#pragma once

#include "runtime/llm/grammar/Grammar.h"

namespace mlc {

/// Tokens of more bytes are never allowed.
constexpr size_t kMaxTokenBytes = 1024;

/// A node; its children follow it. Its own tokens are order[first .. first of the node behind it).
struct TrieNode {
  uint32_t next = 0;  // The node behind the subtree.
  uint32_t first = 0; // Tokens of the nodes before it.
  uint16_t depth = 0; // Bytes of the path.
  uint8_t label = 0;
  uint8_t height = 0; // Most characters below it; 255: or more.
  bool whole =
      false; // From this byte on, every token is text: printable ASCII but " and \, and whole UTF-8 characters.
  bool below = false; // The same for what follows the node, which ends a character.
};

struct TokenTrie::State {
  Allocator allocator{};
  const Tokenizer *tokenizer = nullptr;
  uint64_t vocab = 0;
  OwnedArray<TrieNode> nodes; // One more than there are.
  OwnedArray<uint32_t> order; // Tokens by their bytes.
  uint32_t tokenCount = 0;
};

} // namespace mlc
