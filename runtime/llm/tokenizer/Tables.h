//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The tokenizer's tables as spans, and the walks over them. Everything here relies on Tokenizer::verify. The hashes are
// the compiler's too: changing one raises the tables' version.
//
#pragma once

#include "tokenizer_generated.h"

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace mlc {

constexpr uint32_t tokenizerVersion = 1;
/// No token, symbol, rank or place.
constexpr uint32_t noId = 0xffffffff;
enum TokenFlags : uint8_t { tokenSpecial = 1, tokenAdded = 2, tokenHole = 4, tokenByte = 8 };
enum AddedFlags : uint32_t {
  addedSpecial = 1,
  addedLeftStrip = 2,
  addedRightStrip = 4,
  addedSingleWord = 8,
  addedNormalized = 16
};
constexpr uint16_t dfaMatch = 0x8000;

/// Hash of a token's bytes.
inline uint64_t hashText(const char *text, size_t size) {
  constexpr uint64_t k = 0x9e3779b97f4a7c15;
  uint64_t hash = size * k;
  auto mix = [&](uint64_t word) {
    hash = (hash ^ word) * k;
    hash ^= hash >> 29;
  };
  auto load = [](const char *from, size_t bytes) {
    uint64_t word = 0;
    memcpy(&word, from, bytes);
    return word;
  };
  if (size >= 8) {
    for (size_t i = 0; i + 8 < size; i += 8)
      mix(load(text + i, 8));
    mix(load(text + size - 8, 8));
  } else if (size >= 4) {
    mix(load(text, 4) | load(text + size - 4, 4) << 32);
  } else if (size) {
    mix(uint64_t(uint8_t(text[0])) | uint64_t(uint8_t(text[size / 2])) << 8 | uint64_t(uint8_t(text[size - 1])) << 16);
  }
  return hash ^ hash >> 32;
}

inline uint32_t hashPair(uint32_t left, uint32_t right) {
  uint64_t hash = (uint64_t(left) << 32 | right) * 0x9e3779b97f4a7c15;
  return uint32_t(hash >> 32);
}
inline uint32_t hashChar(uint32_t code) { return (code * 0x9e3779b1u) >> 7; }

/// A FlatBuffer vector as a span; absent is empty.
template <typename T> std::span<const T> viewOf(const flatbuffers::Vector<T> *vector) {
  return vector ? std::span<const T>(vector->data(), vector->size()) : std::span<const T>();
}
template <typename T> std::span<const T> viewOf(const flatbuffers::Vector<const T *> *vector) {
  return vector ? std::span<const T>(reinterpret_cast<const T *>(vector->Data()), vector->size())
                : std::span<const T>();
}

/// Where byte `label` leads from `node`, or 0 (the root is no child).
inline uint32_t trieStep(std::span<const fb::TrieNode> trie, uint32_t node, uint8_t label) {
  uint32_t first = trie[node].first(), count = trie[node].count();
  while (count) {
    uint32_t half = count / 2;
    uint8_t here = trie[first + half].label();
    if (here == label)
      return first + half;
    if (here < label) {
      first += half + 1;
      count -= half + 1;
    } else {
      count = half;
    }
  }
  return 0;
}

struct ClassView {
  std::span<const uint16_t> pages;
  std::span<const uint8_t> cells;
  std::span<const uint8_t> words;
  uint32_t count = 0;
  uint8_t of(uint32_t code) const { return cells[size_t(pages[code >> 8]) * 256 + (code & 255)]; }
};

/// The tables of one tokenizer as spans.
struct TokenizerView {
  explicit TokenizerView(const fb::Tokenizer &tables);
  TokenizerView() = default;

  const fb::Tokenizer *tables = nullptr;
  fb::TokenizerKind kind = fb::TokenizerKind::byte_bpe;
  std::span<const uint32_t> offsets, decodedOffsets, byteTokens, extraChars, prefix, suffix, endTokens;
  std::span<const uint8_t> bytes, decodedBytes, tokenFlags;
  std::span<const fb::WordSlot> words;
  std::span<const fb::PairSlot> pairs;
  std::span<const fb::CharSlot> chars;
  std::span<const uint64_t> joins;
  std::span<const fb::TrieNode> trie, addedRaw, addedNormalized;
  std::span<const double> scores;
  std::span<const fb::AddedToken> added;
  ClassView classes;

  std::string_view text(uint32_t token) const {
    return {reinterpret_cast<const char *>(bytes.data()) + offsets[token], offsets[token + 1] - offsets[token]};
  }
  /// The slot whose token is exactly `text`, or null.
  const fb::WordSlot *findWord(std::string_view text, uint64_t hash) const {
    if (words.empty())
      return nullptr;
    size_t mask = words.size() - 1;
    for (size_t at = hash & mask, probes = 0; probes <= mask; at = (at + 1) & mask, ++probes) {
      const fb::WordSlot &slot = words[at];
      if (slot.token() == 0xffffffff)
        return nullptr;
      if (slot.hash() == uint32_t(hash >> 32) && this->text(slot.token()) == text)
        return &slot;
    }
    return nullptr;
  }
  /// The merge of two adjacent symbols, or null.
  const fb::PairSlot *findPair(uint32_t left, uint32_t right) const {
    if (pairs.empty())
      return nullptr;
    size_t mask = pairs.size() - 1;
    for (size_t at = hashPair(left, right) & mask, probes = 0; probes <= mask; at = (at + 1) & mask, ++probes) {
      const fb::PairSlot &slot = pairs[at];
      if (slot.left() == left && slot.right() == right)
        return &slot;
      if (slot.left() == 0xffffffff)
        return nullptr;
    }
    return nullptr;
  }
  /// The symbol of a character, or 0xffffffff.
  uint32_t findChar(uint32_t code) const {
    if (chars.empty())
      return 0xffffffff;
    size_t mask = chars.size() - 1;
    for (size_t at = hashChar(code) & mask, probes = 0; probes <= mask; at = (at + 1) & mask, ++probes) {
      const fb::CharSlot &slot = chars[at];
      if (slot.symbol() == 0xffffffff || slot.code() == code)
        return slot.symbol();
    }
    return 0xffffffff;
  }
  /// Whether some token may hold `left` followed by `right`.
  bool mayJoin(uint32_t left, uint32_t right) const {
    uint32_t bit = hashPair(left, right) & (joins.size() * 64 - 1);
    return joins[bit / 64] >> (bit % 64) & 1;
  }
};

} // namespace mlc
