//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/tokenizer/PieceModel.h"
#include "runtime/llm/tokenizer/Utf8.h"

#include <algorithm>
#include <functional>

namespace mlc {
namespace {
/// Above this many symbols the heap beats scanning for the lowest rank.
constexpr size_t shortPiece = 40;
} // namespace

Status PieceModel::encode(std::string_view piece, bool &unknownBefore, Scratch<uint32_t> &ids) {
  if (view->kind == fb::TokenizerKind::unigram)
    return view->tables->single_precision() ? bestPath<float>(piece, unknownBefore, ids)
                                            : bestPath<double>(piece, unknownBefore, ids);
  MLC_TRY(collect(piece));
  if (symbols.size() <= shortPiece)
    mergeShort();
  else
    MLC_TRY(mergeLong());
  MLC_TRY(ids.more(symbols.size()));
  for (size_t i = 0; i < symbols.size(); ++i)
    MLC_TRY(emit(symbols[i], unknownBefore, ids));
  return {};
}

/// The piece as its first symbols: bytes, or characters with the bytes of unknown ones.
Status PieceModel::collect(std::string_view piece) {
  symbols.clear();
  MLC_TRY(symbols.reserve(piece.size()));
  MLC_TRY(ranks.reserve(piece.size()));
  MLC_TRY(behind.reserve(piece.size()));
  auto byteTokens = view->byteTokens;
  if (view->kind == fb::TokenizerKind::byte_bpe) {
    for (char c : piece) {
      uint32_t token = byteTokens[uint8_t(c)];
      if (token == noId && (token = view->tables->unknown()) == noId)
        return Error(ErrorCode::Unsupported, "text: byte 0x%02x has no token in this tokenizer", unsigned(uint8_t(c)));
      symbols.put(token);
    }
    return {};
  }
  for (const char *at = piece.data(), *end = at + piece.size(); at != end;) {
    const char *begin = at;
    uint32_t code = nextChar(at), symbol = view->findChar(code);
    if (symbol != noId) {
      symbols.put(symbol);
      continue;
    }
    bool bytes = !byteTokens.empty();
    for (const char *byte = begin; bytes && byte != at; ++byte)
      bytes = byteTokens[uint8_t(*byte)] != noId;
    if (bytes) {
      for (const char *byte = begin; byte != at; ++byte)
        symbols.put(byteTokens[uint8_t(*byte)]);
      continue;
    }
    if (view->tables->unknown() == noId)
      return Error(ErrorCode::Unsupported, "text: character U+%04X has no token in this tokenizer", code);
    symbols.put(view->tables->unknown());
  }
  return {};
}

void PieceModel::mergeShort() {
  size_t count = symbols.size();
  uint32_t *symbol = symbols.data(), *rank = ranks.data(), *merged = behind.data();
  auto look = [&](size_t i) {
    const fb::PairSlot *slot = view->findPair(symbol[i], symbol[i + 1]);
    rank[i] = slot ? slot->rank() : noId;
    merged[i] = slot ? slot->merged() : noId;
  };
  for (size_t i = 0; i + 1 < count; ++i)
    look(i);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i)
      if (rank[i] < rank[best])
        best = i;
    if (rank[best] == noId)
      break;
    symbol[best] = merged[best];
    size_t tail = count - best - 2;
    memmove(symbol + best + 1, symbol + best + 2, tail * sizeof(uint32_t));
    if (tail) {
      memmove(rank + best + 1, rank + best + 2, (tail - 1) * sizeof(uint32_t));
      memmove(merged + best + 1, merged + best + 2, (tail - 1) * sizeof(uint32_t));
    }
    --count;
    if (best)
      look(best - 1);
    if (best + 1 < count)
      look(best);
  }
  symbols.truncate(count);
}

/// Merges through a heap of candidates and a linked list of symbols: O(n log n).
Status PieceModel::mergeLong() {
  size_t count = symbols.size();
  MLC_TRY(ranks.resize(count));
  MLC_TRY(before.resize(count));
  MLC_TRY(behind.resize(count));
  heap.clear();
  MLC_TRY(heap.reserve(count));
  for (size_t i = 0; i < count; ++i) {
    before[i] = i ? uint32_t(i - 1) : noId;
    behind[i] = i + 1 < count ? uint32_t(i + 1) : noId;
    const fb::PairSlot *slot = i + 1 < count ? view->findPair(symbols[i], symbols[i + 1]) : nullptr;
    ranks[i] = slot ? slot->rank() : noId;
    if (ranks[i] != noId)
      heap.put(uint64_t(ranks[i]) << 32 | i);
  }
  auto later = std::greater<uint64_t>();
  std::make_heap(heap.data(), heap.end(), later);
  auto look = [&](uint32_t i) -> Status {
    uint32_t next = behind[i];
    const fb::PairSlot *slot = next == noId ? nullptr : view->findPair(symbols[i], symbols[next]);
    ranks[i] = slot ? slot->rank() : noId;
    if (ranks[i] == noId)
      return {};
    MLC_TRY(heap.push(uint64_t(ranks[i]) << 32 | i));
    std::push_heap(heap.data(), heap.end(), later);
    return {};
  };
  while (heap.size()) {
    std::pop_heap(heap.data(), heap.end(), later);
    uint64_t top = *(heap.end() - 1);
    heap.truncate(heap.size() - 1);
    uint32_t at = uint32_t(top);
    // Left over from a pair that has changed since.
    if (ranks[at] != top >> 32)
      continue;
    uint32_t next = behind[at], after = behind[next];
    symbols[at] = view->findPair(symbols[at], symbols[next])->merged();
    ranks[next] = noId;
    symbols[next] = noId;
    behind[at] = after;
    if (after != noId)
      before[after] = at;
    MLC_TRY(look(at));
    if (before[at] != noId)
      MLC_TRY(look(before[at]));
  }
  size_t kept = 0;
  for (uint32_t at = 0; at != noId; at = behind[at])
    symbols[kept++] = symbols[at];
  symbols.truncate(kept);
  return {};
}

Status PieceModel::emit(uint32_t symbol, bool &unknownBefore, Scratch<uint32_t> &ids) {
  size_t tokens = view->offsets.size() - 1;
  if (symbol >= tokens) {
    char bytes[4];
    return emitUnknown({bytes, putChar(view->extraChars[symbol - tokens], bytes)}, unknownBefore, ids);
  }
  if (symbol == view->tables->unknown()) {
    bool joins = unknownBefore && view->tables->fuse_unknown();
    unknownBefore = true;
    return joins ? Status() : ids.push(symbol);
  }
  unknownBefore = false;
  return ids.push(symbol);
}

Status PieceModel::emitUnknown(std::string_view text, bool &unknownBefore, Scratch<uint32_t> &ids) {
  bool bytes = !view->byteTokens.empty();
  for (size_t i = 0; bytes && i < text.size(); ++i)
    bytes = view->byteTokens[uint8_t(text[i])] != noId;
  if (!bytes) {
    if (view->tables->unknown() != noId)
      return emit(view->tables->unknown(), unknownBefore, ids);
    const char *at = text.data();
    return Error(ErrorCode::Unsupported, "text: character U+%04X has no token in this tokenizer", nextChar(at));
  }
  unknownBefore = false;
  for (char c : text)
    MLC_TRY(ids.push(view->byteTokens[uint8_t(c)]));
  return {};
}

/// Viterbi over the tokens that begin at each character; an unmatched character costs the unknown score.
template <typename Score>
Status PieceModel::bestPath(std::string_view piece, bool &unknownBefore, Scratch<uint32_t> &ids) {
  size_t size = piece.size();
  MLC_TRY(nodes.resize(size + 1));
  for (size_t i = 0; i <= size; ++i)
    nodes[i] = {0, noId, noId};
  Score unknownScore = Score(view->tables->unknown_score());
  for (size_t from = 0; from < size;) {
    Score here = Score(nodes[from].score);
    size_t length = charLength(piece[from]);
    bool single = false;
    uint32_t node = 0;
    auto reach = [&](size_t to, Score score, uint32_t token) {
      if (nodes[to].from == noId || score > Score(nodes[to].score))
        nodes[to] = {double(score), uint32_t(from), token};
    };
    for (size_t to = from; to < size;) {
      node = trieStep(view->trie, node, uint8_t(piece[to++]));
      if (!node)
        break;
      int32_t token = view->trie[node].value();
      if (token < 0 || (to < size && (uint8_t(piece[to]) & 0xc0) == 0x80))
        continue;
      reach(to, here + Score(view->scores[token]), uint32_t(token));
      single |= to - from == length;
    }
    if (!single)
      reach(from + length, here + unknownScore, noId);
    from += length;
  }
  // The path, walked from the end, is stored in `symbols` as the ends of its steps.
  symbols.clear();
  for (size_t to = size; to; to = nodes[to].from)
    MLC_TRY(symbols.push(uint32_t(to)));
  size_t from = 0;
  for (size_t i = symbols.size(); i--;) {
    size_t to = symbols[i];
    if (nodes[to].token == noId) {
      MLC_TRY(emitUnknown(std::string_view(piece.data() + from, to - from), unknownBefore, ids));
    } else {
      MLC_TRY(emit(nodes[to].token, unknownBefore, ids));
    }
    from = to;
  }
  return {};
}

} // namespace mlc
