//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/tokenizer/PieceModel.h"
#include "runtime/llm/tokenizer/Tokenizer.h"
#include "runtime/llm/tokenizer/Transform.h"
#include "runtime/llm/tokenizer/Utf8.h"

#include <algorithm>

namespace mlc {
namespace {

/// A piece and its tokens, as last encoded. Sized for two cache lines.
struct CachedPiece {
  static constexpr size_t maxBytes = 44, maxTokens = 18;
  uint32_t hash;
  uint16_t size;
  uint16_t count;
  char bytes[maxBytes];
  uint32_t tokens[maxTokens];
  uint32_t unused;
};
static_assert(sizeof(CachedPiece) == 128);
constexpr size_t cacheSlots = 8192;
constexpr size_t maxStages = 16;

} // namespace

/// Scratch of one pre-tokenizer stage; pieces nest, so no two stages share it.
struct StageState {
  explicit StageState(const Allocator &allocator) : matcher(allocator), text(allocator) {}
  Matcher matcher;
  Scratch<char> text;
};

struct Encoder::State {
  State(const Tokenizer &tokenizer, const Allocator &allocator)
      : allocator(allocator), tables(tokenizer.tables()), view(&tables), transformer(tables, allocator),
        model(tables, allocator), ids(allocator), even(allocator), odd(allocator) {}
  ~State() {
    for (size_t i = 0; i < stageCount; ++i)
      stage(i).~StageState();
  }

  Status encode(std::string_view text, EncodeOptions options);

private:
  friend class Encoder;
  enum class Source { Raw, Normalized };
  StageState &stage(size_t i) { return reinterpret_cast<StageState *>(stageMemory)[i]; }
  template <Source source> Status addedTokens(std::string_view text, bool atStart);
  Status section(std::string_view text, bool atStart);
  Status stages(size_t index, std::string_view piece, bool atStart);
  Status split(size_t index, const fb::Split &step, std::string_view piece, bool atStart);
  Status piece(std::string_view text);
  Status word(std::string_view text, bool &unknownBefore);
  bool isWord(uint32_t code) const;
  /// Whether bytes [begin, end) of the text at `base` touch a plain range.
  bool isPlain(const char *begin, const char *end) const {
    auto after = [&](const TextRange &range) { return range.end > size_t(begin - base); };
    auto found = std::partition_point(options.plain.begin(), options.plain.end(),
                                      [&](const TextRange &range) { return !after(range); });
    return found != options.plain.end() && found->begin < size_t(end - base);
  }
  const char *base = nullptr;     // Of the text being encoded, which the plain ranges count from.
  bool specialNormalized = false; // Some special token is found in normalized text.
  bool inPlain = false;           // What is normalized now is plain.
  Allocator allocator;
  const TokenizerView tables;
  const TokenizerView *view;
  Transformer transformer;
  PieceModel model;
  Scratch<uint32_t> ids;
  Scratch<char> even, odd;
  OwnedArray<CachedPiece> cache;
  EncodeOptions options;
  size_t stageCount = 0;
  alignas(StageState) char stageMemory[maxStages * sizeof(StageState)];
  bool rawFirst[256] = {}, normalizedFirst[256] = {};
};

Result<Encoder> Encoder::create(const Tokenizer &tokenizer, const Allocator &allocator) {
  void *memory = allocator.allocate(allocator.context, sizeof(State), alignof(State));
  if (!memory)
    return Error(ErrorCode::OutOfMemory, "tokenizer encoder: no memory for %zu bytes", sizeof(State));
  Encoder encoder(new (memory) State(tokenizer, allocator));
  State &state = *encoder.state;
  MLC_ASSIGN(state.cache, OwnedArray<CachedPiece>::create(allocator, cacheSlots, "tokenizer piece cache"));
  auto *stages = tokenizer.tables().tables->stages();
  for (size_t i = 0, count = stages ? stages->size() : 0; i < count; ++i) {
    new (&state.stage(i)) StageState(allocator);
    ++state.stageCount;
  }
  auto mark = [](std::span<const fb::TrieNode> trie, bool *first) {
    for (uint32_t i = 0; !trie.empty() && i < trie[0].count(); ++i)
      first[trie[trie[0].first() + i].label()] = true;
  };
  mark(tokenizer.tables().addedRaw, state.rawFirst);
  mark(tokenizer.tables().addedNormalized, state.normalizedFirst);
  for (const fb::AddedToken &token : tokenizer.tables().added)
    state.specialNormalized |= (token.flags() & addedSpecial) && (token.flags() & addedNormalized);
  return encoder;
}

Encoder::~Encoder() {
  if (!state)
    return;
  Allocator allocator = state->allocator;
  state->~State();
  allocator.release(allocator.context, state, sizeof(State));
}

Result<std::span<const uint32_t>> Encoder::encode(std::string_view text, EncodeOptions options) {
  MLC_TRY(state->encode(text, options));
  return std::span<const uint32_t>(state->ids.data(), state->ids.size());
}

Status Encoder::State::encode(std::string_view text, EncodeOptions chosen) {
  options = chosen;
  base = text.data();
  inPlain = false;
  ids.clear();
  if (text.size() > size_t(1) << 30)
    return Error(ErrorCode::OutOfRange, "text: %zu bytes; give at most 1 GiB at a time", text.size());
  size_t valid = validUtf8(text);
  if (valid != text.size())
    return Error(ErrorCode::InvalidArgument, "text: byte 0x%02x at offset %zu is not UTF-8; convert the text first",
                 unsigned(uint8_t(text[valid])), valid);
  transformer.limit(size_t(std::min<uint64_t>(uint64_t(text.size()) * 64 + 65536, kMaxObjectBytes / 2)));
  if (options.addSpecial)
    MLC_TRY(ids.append(view->prefix.data(), view->prefix.size()));
  MLC_TRY(addedTokens<Source::Raw>(text, true));
  if (options.addSpecial)
    MLC_TRY(ids.append(view->suffix.data(), view->suffix.size()));
  return {};
}

bool Encoder::State::isWord(uint32_t code) const { return view->classes.words[view->classes.of(code)]; }

/// Cuts added tokens out of `text` (leftmost, then longest) and encodes what lies between them.
template <Encoder::State::Source source> Status Encoder::State::addedTokens(std::string_view text, bool atStart) {
  constexpr bool raw = source == Source::Raw;
  auto trie = raw ? view->addedRaw : view->addedNormalized;
  const bool *first = raw ? rawFirst : normalizedFirst;
  auto between = [&](const char *from, const char *to, bool start) -> Status {
    std::string_view part(from, size_t(to - from));
    if (!raw)
      return stages(0, part, start);
    // Normalizing loses the places, so here alone plain ranges part the text.
    while (specialNormalized && isPlain(from, to)) {
      size_t begin = size_t(from - base), last = size_t(to - base);
      auto range = std::partition_point(options.plain.begin(), options.plain.end(),
                                        [&](const TextRange &each) { return each.end <= begin; });
      inPlain = range->begin <= begin;
      size_t cut = std::min(last, inPlain ? range->end : range->begin);
      Status done = section({from, cut - begin}, start);
      inPlain = false;
      MLC_TRY(std::move(done));
      start = false;
      from = base + cut;
    }
    part = {from, size_t(to - from)};
    return part.empty() ? Status() : section(part, start);
  };
  const char *begin = text.data(), *end = begin + text.size(), *kept = begin;
  if (trie.empty())
    return begin == end ? Status() : between(begin, end, atStart);
  for (const char *at = begin; at != end;) {
    if (!first[uint8_t(*at)] || (uint8_t(*at) & 0xc0) == 0x80) {
      ++at;
      continue;
    }
    const char *last = nullptr;
    const fb::AddedToken *found = nullptr;
    uint32_t node = 0;
    for (const char *next = at; next != end;) {
      node = trieStep(trie, node, uint8_t(*next++));
      if (!node)
        break;
      if (trie[node].value() >= 0 && (next == end || (uint8_t(*next) & 0xc0) != 0x80)) {
        const fb::AddedToken &here = view->added[size_t(trie[node].value())];
        if ((here.flags() & addedSpecial) && (raw ? isPlain(at, next) : inPlain))
          continue;
        last = next;
        found = &here;
      }
    }
    if (!found) {
      ++at;
      continue;
    }
    const char *from = at, *to = last;
    at = last;
    if ((found->flags() & addedSpecial) && !options.parseSpecial)
      continue;
    if (found->flags() & addedSingleWord) {
      const char *previous = from, *next = to;
      while (previous != begin && (uint8_t(*--previous) & 0xc0) == 0x80)
        ;
      if ((from != begin && isWord(nextChar(previous))) || (to != end && isWord(nextChar(next))))
        continue;
    }
    // A token may take the white space around it, never what an earlier one took.
    if (found->flags() & addedLeftStrip)
      while (from > kept) {
        const char *previous = from;
        while ((uint8_t(*--previous) & 0xc0) == 0x80)
          ;
        const char *behind = previous;
        if (!isSpace(nextChar(behind)))
          break;
        from = previous;
      }
    if (found->flags() & addedRightStrip)
      for (const char *next = to; next != end && isSpace(nextChar(next));)
        to = next;
    if (from < kept)
      from = kept;
    if (from != kept)
      MLC_TRY(between(kept, from, atStart && kept == begin));
    MLC_TRY(ids.push(found->token()));
    kept = at = to;
  }
  return kept == end ? Status() : between(kept, end, atStart && kept == begin);
}

/// Text between added tokens: normalized, searched for added tokens of the normalized kind, cut and encoded.
Status Encoder::State::section(std::string_view text, bool atStart) {
  if (auto *steps = view->tables->normalizer()) {
    bool useEven = true;
    for (const fb::Transform *step : *steps) {
      Scratch<char> &out = useEven ? even : odd;
      MLC_ASSIGN(std::string_view changed, transformer.apply(*step, text, atStart, out));
      if (changed.data() == out.data())
        useEven = !useEven;
      text = changed;
    }
  }
  return addedTokens<Source::Normalized>(text, atStart);
}

Status Encoder::State::stages(size_t index, std::string_view text, bool atStart) {
  if (text.empty())
    return {};
  if (index == stageCount)
    return piece(text);
  const fb::Stage &step = *view->tables->stages()->Get(uint32_t(index));
  if (const fb::Split *cut = step.body_as_Split())
    return split(index, *cut, text, atStart);
  MLC_ASSIGN(std::string_view changed, transformer.apply(*step.body_as_Transform(), text, atStart, stage(index).text));
  return stages(index + 1, changed, atStart);
}

/// Cuts at the matches of the step's pattern; what becomes of match and rest is the behaviour's.
Status Encoder::State::split(size_t index, const fb::Split &step, std::string_view text, bool atStart) {
  const char *begin = text.data(), *end = begin + text.size();
  DfaView dfa(*view->tables->dfas()->Get(step.dfa()), view->classes);
  Matcher &matcher = stage(index).matcher;
  matcher.start(dfa, begin, end);
  fb::SplitBehavior behavior = step.behavior();
  auto give = [&](const char *from, const char *to) -> Status {
    std::string_view part(from, size_t(to - from));
    if (index + 1 == stageCount)
      return piece(part);
    return stages(index + 1, part, atStart && from == begin);
  };
  // `held`: the piece that the next segment may still extend.
  const char *heldBegin = nullptr, *heldEnd = nullptr;
  bool heldMatch = false;
  auto segment = [&](const char *from, const char *to, bool match) -> Status {
    match ^= step.invert();
    if (behavior == fb::SplitBehavior::isolated)
      return give(from, to);
    if (behavior == fb::SplitBehavior::removed)
      return match ? Status() : give(from, to);
    bool joins = behavior == fb::SplitBehavior::merged_with_previous ? match && !heldMatch
                 : behavior == fb::SplitBehavior::merged_with_next   ? !match && heldMatch
                                                                     : match == heldMatch;
    heldMatch = match;
    if (heldBegin && joins) {
      heldEnd = to;
      return {};
    }
    const char *oldBegin = heldBegin, *oldEnd = heldEnd;
    heldBegin = from;
    heldEnd = to;
    return oldBegin ? give(oldBegin, oldEnd) : Status();
  };
  const char *at = begin, *first, *last;
  while (at != end) {
    MLC_ASSIGN(bool found, matcher.find(at, first, last));
    if (!found)
      break;
    if (first != at)
      MLC_TRY(segment(at, first, false));
    MLC_TRY(segment(first, last, true));
    at = last;
  }
  if (at != end)
    MLC_TRY(segment(at, end, false));
  return heldBegin ? give(heldBegin, heldEnd) : Status();
}

/// One pre-token. Where no token of the vocabulary holds two characters side by side, it falls into parts.
Status Encoder::State::piece(std::string_view text) {
  bool unknownBefore = false;
  if (view->joins.empty())
    return word(text, unknownBefore);
  const char *at = text.data(), *end = at + text.size(), *from = at;
  uint32_t previous = nextChar(at);
  while (at != end) {
    const char *here = at;
    uint32_t code = nextChar(at);
    if (!view->mayJoin(previous, code)) {
      MLC_TRY(word({from, size_t(here - from)}, unknownBefore));
      from = here;
    }
    previous = code;
  }
  return word({from, size_t(end - from)}, unknownBefore);
}

Status Encoder::State::word(std::string_view text, bool &unknownBefore) {
  uint64_t hash = hashText(text.data(), text.size());
  CachedPiece *slot = text.size() <= CachedPiece::maxBytes ? &cache[hash % cacheSlots] : nullptr;
  if (slot && slot->size == text.size() && slot->hash == uint32_t(hash >> 32) &&
      !memcmp(slot->bytes, text.data(), text.size())) {
    unknownBefore = false;
    MLC_TRY(ids.more(CachedPiece::maxTokens));
    for (unsigned i = 0; i < slot->count; ++i)
      ids.put(slot->tokens[i]);
    return {};
  }
  size_t before = ids.size();
  const fb::WordSlot *known = view->findWord(text, hash);
  bool whole = known && known->whole();
  if (whole) {
    unknownBefore = false;
    MLC_TRY(ids.push(known->token()));
  } else {
    MLC_TRY(model.encode(text, unknownBefore, ids));
  }
  size_t count = ids.size() - before;
  if (!slot || count > CachedPiece::maxTokens || !count)
    return {};
  // Unknown tokens join their neighbours, so such pieces depend on what stood before.
  uint32_t unknown = view->tables->unknown();
  for (size_t i = before; i < ids.size(); ++i)
    if (ids[i] == unknown && !whole)
      return {};
  slot->hash = uint32_t(hash >> 32);
  slot->size = uint16_t(text.size());
  slot->count = uint16_t(count);
  memcpy(slot->bytes, text.data(), text.size());
  memcpy(slot->tokens, ids.data() + before, count * sizeof(uint32_t));
  return {};
}

} // namespace mlc
