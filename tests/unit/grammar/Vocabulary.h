//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Vocabularies for tests of grammars: tokenizer tables that hold tokens and nothing else.
//
#pragma once

#include "runtime/llm/tokenizer/ByteAlphabet.h"
#include "runtime/llm/tokenizer/Tokenizer.h"
#include "runtime/llm/tokenizer/Utf8.h"
#include "runtime/llm/value/Value.h"

#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace mlc::test {

/// A byte-level tokenizer of these tokens; those of `special` come last, as special tokens.
class Vocabulary {
public:
  Vocabulary(const std::vector<std::string> &tokens, const std::vector<std::string> &special) {
    fb::TokenizerT tables;
    tables.version = tokenizerVersion;
    tables.kind = fb::TokenizerKind::byte_bpe;
    tables.offsets.push_back(0);
    for (const auto *list : {&tokens, &special})
      for (const std::string &token : *list) {
        tables.bytes.insert(tables.bytes.end(), token.begin(), token.end());
        tables.offsets.push_back(uint32_t(tables.bytes.size()));
        tables.token_flags.push_back(list == &special ? tokenSpecial | tokenAdded : 0);
      }
    tables.byte_tokens.assign(256, Tokenizer::none);
    tables.classes = std::make_unique<fb::CharClassesT>();
    tables.classes->pages.assign(0x1100, 0);
    tables.classes->cells.assign(256, 0);
    tables.classes->count = 1;
    tables.classes->words = {0};
    builder.Finish(fb::Tokenizer::Pack(builder, &tables));
    auto made =
        Tokenizer::create(*flatbuffers::GetRoot<fb::Tokenizer>(builder.GetBufferPointer()), tables.offsets.size() - 1);
    if (!made) {
      fprintf(stderr, "%s\n", made.error().message());
      abort();
    }
    tokenizer = std::make_unique<Tokenizer>(*made);
    end = uint32_t(tokens.size());
  }
  std::unique_ptr<Tokenizer> tokenizer;
  uint32_t end; // The first special token.

private:
  flatbuffers::FlatBufferBuilder builder;
};

/// All bytes, and some longer tokens.
inline std::unique_ptr<Vocabulary> smallVocabulary() {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte)
    tokens.push_back(std::string(1, char(byte)));
  for (const char *token :
       {"ab",   "abc",      "the", " the", "\": ", "\", \"", "{\"",  "\"}",  "}}",       "]",
        "[[",   "12",       "345", "true", "null", "नम",     "स्ते",   "é",    "\xe0\xa4", "\xa4\xa8",
        "😀",   "\xf0\x9f", "  ",  "\n\n", "\\n",  "\\u00",  "aaaa", "name", "\"name",   "Hello world",
        "x\"y", "zz\\",     "-1",  "0.5",  ",",    "a",      "a"})
    tokens.push_back(token);
  return std::make_unique<Vocabulary>(tokens, std::vector<std::string>{"<end>", "<other>"});
}

inline std::string readFile(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

/// The vocabulary of a vocab.json in the byte-level alphabet; null where it is not there.
inline std::unique_ptr<Vocabulary> byteLevelVocabulary(const std::string &path) {
  std::string text = readFile(path);
  Arena arena(size_t(512) << 20);
  auto parsed = parseJson(arena, text);
  if (!parsed || !parsed->is(Kind::dict))
    return nullptr;
  std::map<uint32_t, uint8_t> bytes;
  for (unsigned byte = 0; byte < 256; ++byte)
    bytes[byteAlphabet[byte]] = uint8_t(byte);
  std::vector<std::string> tokens(parsed->dict->entries.size);
  for (const Dict::Entry &entry : parsed->dict->entries) {
    std::string &token = tokens.at(size_t(entry.value.integer));
    std::string_view spelled = entry.key->view();
    for (const char *at = spelled.data(), *end = at + spelled.size(); at != end;)
      token += char(bytes.at(nextChar(at)));
  }
  return std::make_unique<Vocabulary>(tokens, std::vector<std::string>{"<end>"});
}

} // namespace mlc::test
