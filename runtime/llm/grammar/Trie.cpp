//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/grammar/Trie.h"
#include "runtime/llm/grammar/Grammar.h"
#include "runtime/llm/tokenizer/Utf8.h"

#include <algorithm>

namespace mlc {

namespace {

/// Sorts tokens by their bytes; equal ones by id.
struct ByText {
  const Tokenizer &tokenizer;
  bool operator()(uint32_t a, uint32_t b) const {
    int which = tokenizer.decodedText(a).compare(tokenizer.decodedText(b));
    return which ? which < 0 : a < b;
  }
};

/// Where a path of bytes stands in UTF-8: 0 between characters, else how many bytes are due, 255: no text.
constexpr uint8_t kBroken = 255;

} // namespace

Result<TokenTrie *> TokenTrie::create(const Tokenizer &tokenizer, uint64_t vocab, const Allocator &allocator) {
  uint32_t known = uint32_t(std::min<uint64_t>(tokenizer.vocabSize(), vocab)), count = 0;
  MLC_ASSIGN(auto order, OwnedArray<uint32_t>::create(allocator, known, "token trie"));
  uint64_t bytes = 1;
  for (uint32_t id = 0; id < known; ++id)
    if (!tokenizer.isHole(id) && !tokenizer.isSpecial(id) && !tokenizer.decodedText(id).empty() &&
        tokenizer.decodedText(id).size() <= kMaxTokenBytes) {
      order[count++] = id;
      bytes += tokenizer.decodedText(id).size();
    }
  std::sort(order.begin(), order.begin() + count, ByText{tokenizer});
  if (bytes > UINT32_MAX / 2)
    return Error(ErrorCode::OutOfRange, "the vocabulary's tokens are too long for a token trie");
  // First the number of nodes, then the nodes, both in order of the sorted tokens.
  uint64_t nodes = 1;
  auto shared = [&](uint32_t i) {
    if (!i)
      return size_t(0);
    std::string_view a = tokenizer.decodedText(order[i - 1]), b = tokenizer.decodedText(order[i]);
    size_t common = 0;
    while (common < a.size() && common < b.size() && a[common] == b[common])
      ++common;
    return common;
  };
  for (uint32_t i = 0; i < count; ++i)
    nodes += tokenizer.decodedText(order[i]).size() - shared(i);
  auto *memory = allocator.allocate(allocator.context, sizeof(TokenTrie), alignof(TokenTrie));
  auto *stateMemory = allocator.allocate(allocator.context, sizeof(State), alignof(State));
  if (!memory || !stateMemory) {
    if (memory)
      allocator.release(allocator.context, memory, sizeof(TokenTrie));
    if (stateMemory)
      allocator.release(allocator.context, stateMemory, sizeof(State));
    return Error(ErrorCode::OutOfMemory, "no memory for a token trie");
  }
  Owned<TokenTrie> made(new (memory) TokenTrie());
  State &state = *(made->state = new (stateMemory) State());
  state.allocator = allocator;
  state.tokenizer = &tokenizer;
  state.vocab = vocab;
  MLC_ASSIGN(state.nodes, OwnedArray<TrieNode>::create(allocator, nodes + 1, "token trie"));
  state.tokenCount = count;
  uint32_t path[kMaxTokenBytes + 1] = {};
  uint32_t used = 1;
  state.nodes[0] = {};
  size_t depth = 0;
  auto close = [&](size_t to) {
    for (; depth > to; --depth)
      state.nodes[path[depth]].next = used;
  };
  for (uint32_t i = 0; i < count; ++i) {
    std::string_view text = tokenizer.decodedText(order[i]);
    close(shared(i));
    for (size_t at = depth; at < text.size(); ++at) {
      TrieNode &node = state.nodes[used];
      node = {};
      node.label = uint8_t(text[at]);
      node.depth = uint16_t(at + 1);
      node.first = i;
      path[++depth] = used++;
    }
  }
  close(0);
  state.nodes[0].next = used;
  state.nodes[used].first = count; // Behind the last node, so that a node's own tokens end where the next one's begin.
  // Tokens of one text share a node, the others come first: `first` of a node counts tokens of all nodes before it.
  state.order = std::move(order);
  // Where every path stands in UTF-8, going down; which subtrees are nothing but text, going up.
  MLC_ASSIGN(auto due, OwnedArray<uint8_t>::create(allocator, used, "token trie"));
  uint8_t dueAt[kMaxTokenBytes + 1] = {};
  uint8_t leadAt[kMaxTokenBytes + 1] = {};
  for (uint32_t i = 1; i < used; ++i) {
    const TrieNode &node = state.nodes[i];
    uint8_t before = dueAt[node.depth - 1], lead = leadAt[node.depth - 1], byte = node.label, now = kBroken;
    if (!before) {
      now = byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\' ? 0
            : byte >= 0xc2 && byte < 0xe0                              ? 1
            : byte >= 0xe0 && byte < 0xf0                              ? 2
            : byte >= 0xf0 && byte < 0xf5                              ? 3
                                                                       : kBroken;
      lead = byte;
    } else if (before != kBroken && byte >= 0x80 && byte < 0xc0) {
      bool bad = (lead == 0xe0 && byte < 0xa0) || (lead == 0xed && byte > 0x9f) || (lead == 0xf0 && byte < 0x90) ||
                 (lead == 0xf4 && byte > 0x8f);
      now = bad ? kBroken : uint8_t(before - 1);
      lead = 0;
    }
    due[i] = dueAt[node.depth] = now;
    leadAt[node.depth] = lead;
  }
  for (uint32_t i = used; i--;) {
    TrieNode &node = state.nodes[i];
    bool own = i && state.nodes[i + 1].first != node.first;
    bool whole = true;
    uint32_t height = 0;
    for (uint32_t child = i + 1; child < node.next; child = state.nodes[child].next) {
      whole &= state.nodes[child].whole;
      height = std::max<uint32_t>(height, state.nodes[child].height + (due[child] == 0));
    }
    node.below = whole && (!i || due[i] == 0);
    node.whole = whole && i && due[i] != kBroken && (!own || due[i] == 0);
    node.height = uint8_t(std::min<uint32_t>(height, 255));
  }
  return made.release();
}

void TokenTrie::destroy(TokenTrie *trie) {
  Allocator allocator = trie->state->allocator;
  trie->state->~State();
  allocator.release(allocator.context, trie->state, sizeof(State));
  trie->~TokenTrie();
  allocator.release(allocator.context, trie, sizeof(TokenTrie));
}

size_t TokenTrie::bytes() const {
  return state->nodes.size() * sizeof(TrieNode) + state->order.size() * sizeof(uint32_t);
}

} // namespace mlc
