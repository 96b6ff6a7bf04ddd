//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The table verifier: every single corruption is refused by its own check, and whatever passes encodes and decodes.
//
#include "tests/unit/tokenizer/RandomText.h"
#include "tests/unit/tokenizer/Support.h"

#include <functional>
#include <gtest/gtest.h>
#include <map>

using namespace mlc;
using namespace mlc::test;

namespace {

std::vector<uint8_t> tablesOf(const std::string &name) {
  static std::map<std::string, std::vector<uint8_t>> known;
  if (known.count(name))
    return known[name];
  auto model = readHuggingFaceTokenizer(std::string(MLC_TOKENIZER_DATA) + "/" + name);
  if (!model) {
    ADD_FAILURE() << llvm::toString(model.takeError());
    abort();
  }
  auto buffer = buildTokenizerBuffer(*model);
  if (!buffer) {
    ADD_FAILURE() << llvm::toString(buffer.takeError());
    abort();
  }
  return known[name] = std::move(*buffer);
}

/// Writes into a table that is const for everyone else.
template <typename T> void set(const flatbuffers::Vector<T> *vector, size_t index, T value) {
  ASSERT_TRUE(vector && index < vector->size());
  const_cast<flatbuffers::Vector<T> *>(vector)->Mutate(uint32_t(index), value);
}
template <typename T> void put(const flatbuffers::Vector<const T *> *vector, size_t index, T value) {
  ASSERT_TRUE(vector && index < vector->size());
  memcpy(const_cast<uint8_t *>(vector->Data()) + index * sizeof(T), &value, sizeof(T));
}
/// Shortens a vector in place.
template <typename T> void shorten(const flatbuffers::Vector<T> *vector, uint32_t by) {
  ASSERT_TRUE(vector && vector->size() >= by);
  uint32_t length = vector->size() - by;
  memcpy(const_cast<uint8_t *>(vector->Data()) - 4, &length, 4);
}
/// Changes a scalar field that is stored.
template <typename T> void field(const fb::Tokenizer &tables, flatbuffers::voffset_t offset, T value) {
  auto *table = reinterpret_cast<const flatbuffers::Table *>(&tables);
  auto *at = const_cast<uint8_t *>(table->GetAddressOf(offset));
  ASSERT_NE(at, nullptr);
  memcpy(at, &value, sizeof value);
}

struct Corruption {
  const char *tokenizer;
  const char *message;
  std::function<void(const fb::Tokenizer &)> apply;
};

const Corruption corruptions[] = {
    {"llama3", "version", [](auto &t) { field<uint32_t>(t, fb::Tokenizer::VT_VERSION, 7); }},
    {"spm-bpe", "kind", [](auto &t) { field<uint8_t>(t, fb::Tokenizer::VT_KIND, 9); }},
    {"llama3", "offsets fall", [](auto &t) { set<uint32_t>(t.offsets(), 3, 1 << 20); }},
    {"llama3", "an offset lies outside", [](auto &t) { set<uint32_t>(t.offsets(), t.offsets()->size() - 1, 1 << 20); }},
    {"spm-bpe", "offsets fall", [](auto &t) { set<uint32_t>(t.decoded_offsets(), 3, 1 << 20); }},
    {"spm-bpe", "decoded bytes: an offset lies outside",
     [](auto &t) { set<uint32_t>(t.decoded_offsets(), t.decoded_offsets()->size() - 1, 1 << 20); }},
    {"spm-bpe", "decoded_offsets: not one for each token", [](auto &t) { shorten(t.decoded_offsets(), 1); }},
    {"llama3", "token_flags", [](auto &t) { shorten(t.token_flags(), 1); }},
    {"llama3", "words: not a power", [](auto &t) { shorten(t.words(), 1); }},
    {"llama3", "words: a token", [](auto &t) { put(t.words(), 0, fb::WordSlot(1, 1 << 20, 1)); }},
    {"llama3", "byte_tokens: not one", [](auto &t) { shorten(t.byte_tokens(), 1); }},
    {"spm-bpe", "byte_tokens: an id", [](auto &t) { set<uint32_t>(t.byte_tokens(), 7, 1 << 20); }},
    {"llama3", "pairs: not a power", [](auto &t) { shorten(t.pairs(), 1); }},
    {"llama3", "pairs: a symbol", [](auto &t) { put(t.pairs(), 0, fb::PairSlot(1 << 20, 1, 1, 1)); }},
    {"llama3", "pairs: a symbol", [](auto &t) { put(t.pairs(), 0, fb::PairSlot(1, 1 << 20, 1, 1)); }},
    {"llama3", "pairs: a symbol", [](auto &t) { put(t.pairs(), 0, fb::PairSlot(1, 1, 1 << 20, 1)); }},
    {"spm-bpe", "chars: not a power", [](auto &t) { shorten(t.chars(), 1); }},
    {"spm-bpe", "chars: a symbol", [](auto &t) { put(t.chars(), 0, fb::CharSlot('a', 1 << 20)); }},
    {"spm-bpe", "joins: not a power", [](auto &t) { shorten(t.joins(), 1); }},
    {"unigram", "trie: a node's children", [](auto &t) { put(t.trie(), 0, fb::TrieNode(1 << 20, -1, 2, 0)); }},
    {"unigram", "trie: a node's children", [](auto &t) { put(t.trie(), 1, fb::TrieNode(0, -1, 2, 0)); }},
    {"unigram", "trie: a value", [](auto &t) { put(t.trie(), 0, fb::TrieNode(1, 1 << 20, 2, 0)); }},
    {"unigram", "scores", [](auto &t) { shorten(t.scores(), 1); }},
    {"unigram", "unknown, bos, eos", [](auto &t) { field<uint32_t>(t, fb::Tokenizer::VT_UNKNOWN, 1 << 20); }},
    {"unigram", "prefix", [](auto &t) { set<uint32_t>(t.prefix(), 0, 1 << 20); }},
    {"unigram", "suffix", [](auto &t) { set<uint32_t>(t.suffix(), 0, 1 << 20); }},
    {"spm-bpe", "end_tokens", [](auto &t) { set<uint32_t>(t.end_tokens(), 0, 1 << 20); }},
    {"llama3", "classes: not one page", [](auto &t) { shorten(t.classes()->pages(), 1); }},
    {"llama3", "classes: a page", [](auto &t) { set<uint16_t>(t.classes()->pages(), 0x10ff, 60000); }},
    {"llama3", "classes: a class", [](auto &t) { set<uint8_t>(t.classes()->cells(), 3, 255); }},
    {"llama3", "classes: not 1 to 255", [](auto &t) { shorten(t.classes()->words(), 1); }},
    {"llama3", "dfas: the table's size", [](auto &t) { shorten(t.dfas()->Get(0)->table(), 1); }},
    {"llama3", "dfas: a transition", [](auto &t) { set<uint16_t>(t.dfas()->Get(0)->table(), 5, 0x7fff); }},
    {"starcoder", "forms: a page", [](auto &t) { set<uint16_t>(t.forms()->Get(0)->pages(), 9, 60000); }},
    {"starcoder", "forms: not one page", [](auto &t) { shorten(t.forms()->Get(0)->pages(), 1); }},
    {"starcoder", "forms: a record", [](auto &t) { set<uint16_t>(t.forms()->Get(0)->cells(), 9, 60000); }},
    {"starcoder", "forms: a decomposition lies",
     [](auto &t) { put(t.forms()->Get(0)->records(), 0, fb::CharRecord(1 << 20, 3, 0, 2)); }},
    {"starcoder", "forms: a decomposition holds",
     [](auto &t) { set<uint32_t>(t.forms()->Get(0)->codes(), 0, 0xd800); }},
    {"starcoder", "forms: a composite",
     [](auto &t) { put(t.forms()->Get(0)->pairs(), 0, fb::ComposePair('a', 0x301, 0x110000)); }},
    {"unigram-lower", "maps: a node's children",
     [](auto &t) { put(t.maps()->Get(0)->trie(), 0, fb::TrieNode(1 << 20, -1, 2, 0)); }},
    {"unigram-lower", "maps: a value",
     [](auto &t) { put(t.maps()->Get(0)->trie(), 0, fb::TrieNode(1, 1 << 20, 2, 0)); }},
    {"unigram-lower", "maps: offsets fall", [](auto &t) { set<uint32_t>(t.maps()->Get(0)->offsets(), 3, 1 << 20); }},
    {"unigram-lower", "maps: a replacement", [](auto &t) { set<uint8_t>(t.maps()->Get(0)->bytes(), 0, 0xff); }},
    {"spm-bpe", "transforms: a text",
     [](auto &t) { set<uint8_t>(t.normalizer()->Get(t.normalizer()->size() - 1)->text(), 0, 0xff); }},
    {"spm-bpe", "transforms: nothing",
     [](auto &t) { shorten(t.normalizer()->Get(t.normalizer()->size() - 1)->find(), 1); }},
    {"starcoder", "transforms: an unknown",
     [](auto &t) {
       auto *table = reinterpret_cast<const flatbuffers::Table *>(t.normalizer()->Get(0));
       *const_cast<uint8_t *>(table->GetAddressOf(fb::Transform::VT_OP)) = 77;
     }},
    {"falcon", "stages: a character pattern",
     [](auto &t) {
       // The last byte-mapped pattern turned into one over characters.
       auto *table = reinterpret_cast<const flatbuffers::Table *>(t.dfas()->Get(t.dfas()->size() - 1));
       *const_cast<uint8_t *>(table->GetAddressOf(fb::Dfa::VT_BYTE_MAPPED)) = 0;
     }},
    {"deepseek", "stages: no such pattern",
     [](auto &t) {
       auto *table = reinterpret_cast<const flatbuffers::Table *>(t.stages()->Get(1)->body_as_Split());
       uint32_t index = 99;
       memcpy(const_cast<uint8_t *>(table->GetAddressOf(fb::Split::VT_DFA)), &index, 4);
     }},
    {"llama3", "added: a token", [](auto &t) { put(t.added(), 0, fb::AddedToken(1 << 20, 1)); }},
    {"llama3", "added_raw: a node's", [](auto &t) { put(t.added_raw(), 0, fb::TrieNode(1 << 20, -1, 2, 0)); }},
    {"llama3", "added_raw: a value", [](auto &t) { put(t.added_raw(), 0, fb::TrieNode(1, 1 << 20, 2, 0)); }},
    {"starcoder", "added_normalized: a value",
     [](auto &t) { put(t.added_normalized(), 0, fb::TrieNode(1, 1 << 20, 1, 0)); }},
};

TEST(TokenizerVerifier, RefusesEachCorruption) {
  for (const Corruption &corruption : corruptions) {
    std::vector<uint8_t> buffer = tablesOf(corruption.tokenizer);
    const fb::Tokenizer &tables = *flatbuffers::GetRoot<fb::Tokenizer>(buffer.data());
    ASSERT_TRUE(Tokenizer::verify(tables, 1 << 26));
    corruption.apply(tables);
    Status refused = Tokenizer::verify(tables, 1 << 26);
    ASSERT_FALSE(refused) << corruption.message;
    EXPECT_NE(std::string(refused.error().message()).find(corruption.message), std::string::npos)
        << refused.error().message() << " is not " << corruption.message;
  }
}

TEST(TokenizerVerifier, RefusesMoreTokensThanTheModelHas) {
  std::vector<uint8_t> buffer = tablesOf("llama3");
  const fb::Tokenizer &tables = *flatbuffers::GetRoot<fb::Tokenizer>(buffer.data());
  EXPECT_TRUE(Tokenizer::verify(tables, tables.offsets()->size() - 1));
  EXPECT_FALSE(Tokenizer::verify(tables, tables.offsets()->size() - 2));
}

/// Random bytes changed; what both verifiers let pass must stay in bounds (the sanitizer builds see to that) and end.
TEST(TokenizerVerifier, MutatedTablesStayInBounds) {
  Random random(4);
  unsigned passed = 0, refused = 0;
  for (const char *name : {"llama3", "falcon", "starcoder", "unigram-lower", "spm-bpe", "spm-unigram"}) {
    std::vector<uint8_t> good = tablesOf(name);
    std::vector<std::string> texts;
    for (int i = 0; i < 6; ++i)
      texts.push_back(randomText(random, 20));
    texts.push_back("<|bos|> word<mask> </s>" + std::string(200, 'x') + std::string(200, ' '));
    for (int round = 0; round < 250; ++round) {
      std::vector<uint8_t> buffer = good;
      for (size_t n = 1 + below(random, 4); n-- > 0;) {
        size_t at = below(random, buffer.size());
        static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
        buffer[at] = below(random, 2) ? uint8_t(random()) : values[below(random, 5)];
      }
      flatbuffers::Verifier verifier(buffer.data(), buffer.size(), 64, 1 << 20);
      if (!verifier.VerifyBuffer<fb::Tokenizer>(nullptr)) {
        ++refused;
        continue;
      }
      auto tokenizer = Tokenizer::create(*flatbuffers::GetRoot<fb::Tokenizer>(buffer.data()), 1 << 20);
      if (!tokenizer) {
        ++refused;
        continue;
      }
      ++passed;
      auto encoder = Encoder::create(*tokenizer);
      ASSERT_TRUE(encoder);
      std::vector<uint32_t> ids;
      for (const std::string &text : texts) {
        auto encoded = encoder->encode(text, {round % 2 == 0, round % 3 != 0});
        if (!encoded)
          continue;
        for (uint32_t id : *encoded) {
          ASSERT_LT(id, tokenizer->vocabSize());
          ids.push_back(id);
        }
      }
      std::string text;
      EXPECT_TRUE(Decoder(*tokenizer).decode(ids, sinkTo(text)));
      tokenizer->findToken("<mask>");
    }
  }
  EXPECT_GT(passed, 100u);
  EXPECT_GT(refused, 100u);
}

} // namespace
