//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/grammar/Grammar.h"
#include "runtime/llm/grammar/Trie.h"
#include "runtime/llm/grammar/Walker.h"

#include <algorithm>

namespace mlc {

using namespace grammar;

//===----------------------------------------------------------------------===//
// Grammars
//===----------------------------------------------------------------------===//

/// A grammar whose rules `build` gives.
template <typename Build> static Status buildInto(Arena &nodes, Automaton &automaton, Arena &kept, Build build) {
  Builder builder(nodes);
  MLC_ASSIGN(uint32_t root, build(builder));
  Automaton made;
  MLC_TRY(compile(builder, root, made));
  // The nodes go, the positions stay.
  auto *positions = kept.array<Position>(made.positions.size);
  auto *starts = kept.array<uint32_t>(made.starts.size);
  if (!positions || !starts)
    return Error(ErrorCode::OutOfMemory, "no memory for a grammar");
  std::copy(made.positions.begin(), made.positions.end(), positions);
  std::copy(made.starts.begin(), made.starts.end(), starts);
  automaton = made;
  automaton.positions.items = positions;
  automaton.starts.items = starts;
  return {};
}

#define MLC_GRAMMAR(BUILD)                                                                                             \
  auto *memory = allocator.allocate(allocator.context, sizeof(Grammar), alignof(Grammar));                             \
  auto *stateMemory = allocator.allocate(allocator.context, sizeof(State), alignof(State));                            \
  if (!memory || !stateMemory) {                                                                                       \
    if (memory)                                                                                                        \
      allocator.release(allocator.context, memory, sizeof(Grammar));                                                   \
    if (stateMemory)                                                                                                   \
      allocator.release(allocator.context, stateMemory, sizeof(State));                                                \
    return Error(ErrorCode::OutOfMemory, "no memory for a grammar");                                                   \
  }                                                                                                                    \
  Owned<Grammar> made(new (memory) Grammar());                                                                         \
  made->state = new (stateMemory) State(allocator);                                                                    \
  Arena nodes(size_t(256) << 20, allocator);                                                                           \
  MLC_TRY(buildInto(nodes, made->state->automaton, made->state->arena, BUILD));                                        \
  return made.release()

Result<Grammar *> Grammar::fromGbnf(std::string_view text, const Allocator &allocator) {
  MLC_GRAMMAR([&](Builder &builder) { return parseGbnf(builder, text); });
}

Result<Grammar *> Grammar::fromJsonSchema(std::string_view schema, const Allocator &allocator) {
  MLC_GRAMMAR([&](Builder &builder) { return parseSchema(builder, schema); });
}

Result<Grammar *> Grammar::jsonObject(const Allocator &allocator) {
  MLC_GRAMMAR([&](Builder &builder) { return Result<uint32_t>(anyObject(builder)); });
}

void Grammar::destroy(Grammar *grammar) {
  Allocator allocator = grammar->state->allocator;
  grammar->state->~State();
  allocator.release(allocator.context, grammar->state, sizeof(State));
  grammar->~Grammar();
  allocator.release(allocator.context, grammar, sizeof(Grammar));
}

size_t Grammar::positions() const { return state->automaton.positions.size; }

//===----------------------------------------------------------------------===//
// Matchers
//===----------------------------------------------------------------------===//

struct GrammarMatcher::State {
  State(const Grammar::State &grammar, const TokenTrie::State &trie, const Allocator &allocator)
      : allocator(allocator), trie(trie), walker(grammar.automaton, allocator) {}

  static constexpr size_t kMasks = 32;
  struct Mask {
    uint32_t state = 0; // 0: none.
    bool any = false;   // Whether a token is allowed.
  };
  size_t words() const { return size_t((trie.vocab + 63) / 64); }
  Status walk(std::span<uint64_t> allowed, bool &any);
  Status step(std::string_view text, uint32_t &out);
  bool isEnd(uint32_t token) const { return std::find(ends.begin(), ends.end(), token) != ends.end(); }

  Allocator allocator;
  const TokenTrie::State &trie;
  Walker walker;
  OwnedArray<uint32_t> ends;
  OwnedArray<uint64_t> bits; // Of the masks kept.
  OwnedArray<uint32_t> path;
  Mask masks[kMasks];
  size_t nextMask = 0;
  uint32_t current = kDead;
  bool finished = false;
};

Result<GrammarMatcher *> GrammarMatcher::create(const Grammar &grammar, const TokenTrie &trie,
                                                std::span<const uint32_t> endTokens, const Allocator &allocator) {
  auto *memory = allocator.allocate(allocator.context, sizeof(GrammarMatcher), alignof(GrammarMatcher));
  auto *stateMemory = allocator.allocate(allocator.context, sizeof(State), alignof(State));
  if (!memory || !stateMemory) {
    if (memory)
      allocator.release(allocator.context, memory, sizeof(GrammarMatcher));
    if (stateMemory)
      allocator.release(allocator.context, stateMemory, sizeof(State));
    return Error(ErrorCode::OutOfMemory, "no memory for a grammar's matcher");
  }
  Owned<GrammarMatcher> made(new (memory) GrammarMatcher());
  State &state = *(made->state = new (stateMemory) State(*grammar.state, *trie.state, allocator));
  MLC_ASSIGN(state.ends, OwnedArray<uint32_t>::create(allocator, endTokens.size(), "end tokens"));
  std::copy(endTokens.begin(), endTokens.end(), state.ends.begin());
  for (uint32_t token : endTokens)
    if (token >= trie.state->vocab)
      return Error(ErrorCode::InvalidArgument, "end token %u is outside the vocabulary of %llu", token,
                   (unsigned long long)trie.state->vocab);
  MLC_ASSIGN(state.bits, OwnedArray<uint64_t>::create(allocator, state.words() * State::kMasks, "token masks"));
  MLC_ASSIGN(state.path, OwnedArray<uint32_t>::create(allocator, kMaxTokenBytes + 1, "token trie path"));
  MLC_TRY(state.walker.start(state.current));
  return made.release();
}

void GrammarMatcher::destroy(GrammarMatcher *matcher) {
  Allocator allocator = matcher->state->allocator;
  matcher->state->~State();
  allocator.release(allocator.context, matcher->state, sizeof(State));
  matcher->~GrammarMatcher();
  allocator.release(allocator.context, matcher, sizeof(GrammarMatcher));
}

/// Sets the bits of all tokens whose bytes lead from the current state to a live one.
Status GrammarMatcher::State::walk(std::span<uint64_t> allowed, bool &any) {
  std::fill(allowed.begin(), allowed.end(), 0);
  any = false;
  const TrieNode *nodes = trie.nodes.data();
  const uint32_t *order = trie.order.data();
  uint32_t end = nodes[0].next;
  path[0] = current;
  auto give = [&](uint32_t from, uint32_t to) {
    for (uint32_t i = from; i < to; ++i)
      allowed[order[i] / 64] |= uint64_t(1) << order[i] % 64;
    any |= from < to;
  };
  for (uint32_t i = 1; i < end;) {
    const TrieNode &node = nodes[i];
    uint32_t at;
    MLC_TRY(walker.next(path[node.depth - 1], node.label, at));
    if (at == kDead) {
      i = node.next;
      continue;
    }
    uint32_t tokens = nodes[node.next].first - node.first;
    if (node.below && node.next > i + 1 && tokens > 4) {
      uint8_t run;
      MLC_TRY(walker.run(at, run));
      if (node.height < 255 && run >= node.height) {
        give(node.first, nodes[node.next].first);
        i = node.next;
        continue;
      }
    }
    give(node.first, nodes[i + 1].first);
    path[node.depth] = at;
    ++i;
  }
  return {};
}

Status GrammarMatcher::mask(std::span<uint64_t> allowed) {
  State &self = *state;
  if (allowed.size() < self.words())
    return Error(ErrorCode::InvalidArgument, "a mask of %zu words for a vocabulary of %llu", allowed.size(),
                 (unsigned long long)self.trie.vocab);
  if (self.finished)
    return Error(ErrorCode::InvalidArgument, "the text that the grammar constrains has ended");
  allowed = allowed.first(self.words());
  if (self.walker.crowded()) {
    MLC_TRY(self.walker.forget(self.current));
    for (State::Mask &each : self.masks)
      each = {};
  }
  State::Mask *known = nullptr;
  for (State::Mask &each : self.masks)
    if (each.state == self.current)
      known = &each;
  if (!known) {
    known = &self.masks[self.nextMask];
    self.nextMask = (self.nextMask + 1) % State::kMasks;
    known->state = 0;
    auto bits = self.bits.span().subspan(size_t(known - self.masks) * self.words(), self.words());
    MLC_TRY(self.walk(bits, known->any));
    known->state = self.current;
  }
  auto bits = self.bits.span().subspan(size_t(known - self.masks) * self.words(), self.words());
  std::copy(bits.begin(), bits.end(), allowed.begin());
  bool ends = canEnd() && self.ends.size();
  for (uint32_t token : self.ends)
    if (ends)
      allowed[token / 64] |= uint64_t(1) << token % 64;
    else
      allowed[token / 64] &= ~(uint64_t(1) << token % 64);
  if (!known->any && !ends)
    return Error(ErrorCode::Unsupported, canEnd()
                                             ? "the grammar is complete and the model has no end token"
                                             : "no token of the vocabulary continues the text as the grammar wants it");
  return {};
}

Status GrammarMatcher::State::step(std::string_view text, uint32_t &out) {
  out = current;
  for (size_t i = 0; i < text.size(); ++i) {
    MLC_TRY(walker.next(out, uint8_t(text[i]), out));
    if (out == kDead)
      return Error(ErrorCode::InvalidArgument, "byte %zu of what is accepted is not what the grammar allows", i + 1);
  }
  return {};
}

Status GrammarMatcher::accept(int32_t token) {
  State &self = *state;
  if (token < 0 || uint64_t(token) >= self.trie.vocab)
    return Error(ErrorCode::OutOfRange, "token %d is outside the vocabulary", token);
  if (self.finished)
    return Error(ErrorCode::InvalidArgument, "token %d follows the end of the text", token);
  if (self.isEnd(uint32_t(token))) {
    if (!canEnd())
      return Error(ErrorCode::InvalidArgument, "the text may not end here");
    self.finished = true;
    return {};
  }
  const Tokenizer &tokenizer = *self.trie.tokenizer;
  std::string_view text = tokenizer.decodedText(uint32_t(token));
  if (tokenizer.isHole(uint32_t(token)) || tokenizer.isSpecial(uint32_t(token)) || text.empty() ||
      text.size() > kMaxTokenBytes)
    return Error(ErrorCode::InvalidArgument, "token %d is no text", token);
  return acceptText(text);
}

Status GrammarMatcher::acceptText(std::string_view text) {
  uint32_t after;
  if (text.size() > kMaxTokenBytes)
    return Error(ErrorCode::OutOfRange, "%zu bytes at once; %zu are the most", text.size(), kMaxTokenBytes);
  if (state->finished)
    return Error(ErrorCode::InvalidArgument, "the text that the grammar constrains has ended");
  if (state->walker.crowded()) {
    MLC_TRY(state->walker.forget(state->current));
    for (State::Mask &each : state->masks)
      each = {};
  }
  MLC_TRY(state->step(text, after));
  state->current = after;
  return {};
}

bool GrammarMatcher::canEnd() const { return !state->finished && state->walker.accepts(state->current); }

Status GrammarMatcher::reset() {
  state->finished = false;
  for (State::Mask &each : state->masks)
    each = {};
  return state->walker.start(state->current);
}

} // namespace mlc
