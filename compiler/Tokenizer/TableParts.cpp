//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Tokenizer/TableParts.h"
#include "runtime/llm/tokenizer/ByteAlphabet.h"
#include "runtime/llm/tokenizer/Utf8.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>
#include <map>
#include <utf8proc.h>

namespace mlc {

std::string utf8Of(uint32_t code) {
  char bytes[4];
  return std::string(bytes, putChar(code, bytes));
}

std::vector<uint32_t> codesOf(llvm::StringRef text) {
  std::vector<uint32_t> codes;
  for (const char *at = text.begin(); at != text.end();)
    codes.push_back(nextChar(at));
  return codes;
}

std::optional<std::string> bytesOfAlphabet(llvm::StringRef text) {
  static const auto table = [] {
    std::vector<int> bytes(512, -1);
    for (int byte = 0; byte < 256; ++byte)
      bytes[byteAlphabet[size_t(byte)]] = byte;
    return bytes;
  }();
  std::string result;
  for (uint32_t code : codesOf(text)) {
    if (code >= table.size() || table[code] < 0)
      return std::nullopt;
    result += char(table[code]);
  }
  return result;
}

std::vector<fb::TrieNode> buildTrie(std::vector<std::pair<std::string, uint32_t>> keys) {
  llvm::sort(keys);
  keys.erase(std::unique(keys.begin(), keys.end(), [](const auto &a, const auto &b) { return a.first == b.first; }),
             keys.end());
  // A node is a range of the keys that share its first `depth` bytes.
  struct Range {
    size_t begin, end, depth;
    uint8_t label;
  };
  std::vector<Range> ranges{{0, keys.size(), 0, 0}};
  std::vector<fb::TrieNode> nodes;
  for (size_t i = 0; i < ranges.size(); ++i) {
    auto [begin, end, depth, label] = ranges[i];
    int32_t value = -1;
    if (begin < end && keys[begin].first.size() == depth)
      value = int32_t(keys[begin++].second);
    size_t first = ranges.size();
    while (begin < end) {
      uint8_t next = uint8_t(keys[begin].first[depth]);
      size_t stop = begin;
      while (stop < end && uint8_t(keys[stop].first[depth]) == next)
        ++stop;
      ranges.push_back({begin, stop, depth + 1, next});
      begin = stop;
    }
    size_t count = ranges.size() - first;
    nodes.emplace_back(count ? uint32_t(first) : 0, value, uint16_t(count), label);
  }
  return nodes;
}

const std::vector<std::pair<std::string, std::string>> &lowercaseMap() {
  static const auto map = [] {
    std::vector<std::pair<std::string, std::string>> map;
    for (uint32_t code = 0; code < 0x110000; ++code)
      // U+0130 alone lowers to two characters.
      if (uint32_t lower = uint32_t(utf8proc_tolower(int32_t(code))); lower != code || code == 0x130)
        map.push_back({utf8Of(code), code == 0x130 ? "i\xcc\x87" : utf8Of(lower)});
    return map;
  }();
  return map;
}

namespace {

struct FormTables {
  explicit FormTables(llvm::StringRef name);
  std::vector<uint16_t> pages, cells;
  std::vector<fb::CharRecord> records{{0, 0, 0, 0}};
  std::vector<uint32_t> codes;
  std::vector<fb::ComposePair> pairs;
  bool composes;
};

FormTables::FormTables(llvm::StringRef name) : composes(name.ends_with("C")) {
  bool compatible = name.contains('K');
  auto map = [](uint32_t code, int options) {
    std::vector<uint32_t> codes;
    // Most characters decompose to themselves, in every form.
    if (utf8proc_get_property(int32_t(code))->decomp_seqindex == UINT16_MAX)
      return std::vector<uint32_t>{code};
    std::string text = utf8Of(code);
    uint8_t *out = nullptr;
    auto size = utf8proc_map(reinterpret_cast<const uint8_t *>(text.data()), utf8proc_ssize_t(text.size()), &out,
                             utf8proc_option_t(options | UTF8PROC_STABLE));
    if (size > 0)
      codes = codesOf({reinterpret_cast<const char *>(out), size_t(size)});
    free(out);
    return codes;
  };
  constexpr uint32_t hangul = 0xac00, hangulEnd = hangul + 11172;
  // Primary composites: what canonical decomposition leads away from and composition back to.
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> composites;
  std::vector<bool> second(0x110000);
  for (uint32_t code = 0x80; code < 0x110000; ++code) {
    if ((code >= 0xd800 && code < 0xe000) || (code >= hangul && code < hangulEnd))
      continue;
    std::vector<uint32_t> whole = map(code, UTF8PROC_DECOMPOSE);
    if (whole.size() < 2 || map(code, UTF8PROC_COMPOSE) != std::vector<uint32_t>{code})
      continue;
    std::string head;
    for (size_t i = 0; i + 1 < whole.size(); ++i)
      head += utf8Of(whole[i]);
    uint8_t *out = nullptr;
    auto size = utf8proc_map(reinterpret_cast<const uint8_t *>(head.data()), utf8proc_ssize_t(head.size()), &out,
                             utf8proc_option_t(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
    std::vector<uint32_t> first =
        size > 0 ? codesOf({reinterpret_cast<const char *>(out), size_t(size)}) : std::vector<uint32_t>();
    free(out);
    if (first.size() != 1)
      continue;
    composites[{first[0], whole.back()}] = code;
    second[whole.back()] = true;
  }
  std::map<std::tuple<std::vector<uint32_t>, unsigned, unsigned>, uint16_t> known{{{{}, 0, 0}, 0}};
  std::map<std::vector<uint16_t>, uint16_t> knownPages;
  for (uint32_t page = 0; page < 0x110000; page += 256) {
    std::vector<uint16_t> cell(256, 0);
    for (uint32_t code = page; code < page + 256; ++code) {
      if (code >= 0xd800 && code < 0xe000)
        continue;
      const utf8proc_property_t &property = *utf8proc_get_property(int32_t(code));
      bool jamo = (code >= 0x1161 && code < 0x1176) || (code > 0x11a7 && code < 0x11c3);
      bool syllable = code >= hangul && code < hangulEnd;
      if (property.decomp_seqindex == UINT16_MAX && !property.combining_class && !second[code] && !jamo && !syllable)
        continue;
      std::vector<uint32_t> whole;
      unsigned quick = 0;
      if (syllable) {
        // Decomposed by arithmetic.
        quick = composes ? 0 : 2;
      } else {
        whole = map(code, UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0));
        if (whole.size() == 1 && whole[0] == code)
          whole.clear();
        if (composes) {
          bool stays = map(code, UTF8PROC_COMPOSE | (compatible ? UTF8PROC_COMPAT : 0)) == std::vector<uint32_t>{code};
          quick = !stays ? 2 : second[code] || jamo ? 1 : 0;
        } else {
          quick = whole.empty() ? 0 : 2;
        }
      }
      unsigned combining = property.combining_class;
      if (whole.empty() && !combining && !quick)
        continue;
      auto [at, fresh] = known.try_emplace({whole, combining, quick}, uint16_t(records.size()));
      if (fresh) {
        records.emplace_back(uint32_t(codes.size()), uint8_t(whole.size()), uint8_t(combining), uint8_t(quick));
        codes.insert(codes.end(), whole.begin(), whole.end());
      }
      cell[code - page] = at->second;
    }
    auto [at, fresh] = knownPages.try_emplace(cell, uint16_t(knownPages.size()));
    if (fresh)
      cells.insert(cells.end(), cell.begin(), cell.end());
    pages.push_back(at->second);
  }
  if (composes)
    for (auto [pair, composed] : composites)
      pairs.emplace_back(pair.first, pair.second, composed);
}

} // namespace

flatbuffers::Offset<fb::UnicodeForm> buildUnicodeForm(flatbuffers::FlatBufferBuilder &builder, llvm::StringRef name) {
  // Millions of look-ups each, and every compile needs its form twice.
  auto tablesOf = [&]() -> const FormTables & {
    if (name == "NFC") {
      static const FormTables tables("NFC");
      return tables;
    }
    if (name == "NFD") {
      static const FormTables tables("NFD");
      return tables;
    }
    if (name == "NFKC") {
      static const FormTables tables("NFKC");
      return tables;
    }
    static const FormTables tables("NFKD");
    return tables;
  };
  const FormTables &tables = tablesOf();
  auto pages = builder.CreateVector(tables.pages);
  auto cells = builder.CreateVector(tables.cells);
  auto records = builder.CreateVectorOfStructs(tables.records);
  auto codes = builder.CreateVector(tables.codes);
  auto pairs = builder.CreateVectorOfStructs(tables.pairs);
  return fb::CreateUnicodeForm(builder, pages, cells, records, codes, pairs, tables.composes);
}

} // namespace mlc
