//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Tokenizer/CharSet.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSwitch.h"

#include <algorithm>
#include <map>
#include <utf8proc.h>

namespace mlc {
namespace {

/// Bits of the general categories a property name stands for, 0: unknown.
uint32_t categories(llvm::StringRef name) {
  auto bits = [](std::initializer_list<int> list) {
    uint32_t mask = 0;
    for (int category : list)
      mask |= 1u << category;
    return mask;
  };
  uint32_t letters = bits(
      {UTF8PROC_CATEGORY_LU, UTF8PROC_CATEGORY_LL, UTF8PROC_CATEGORY_LT, UTF8PROC_CATEGORY_LM, UTF8PROC_CATEGORY_LO});
  uint32_t marks = bits({UTF8PROC_CATEGORY_MN, UTF8PROC_CATEGORY_MC, UTF8PROC_CATEGORY_ME});
  uint32_t numbers = bits({UTF8PROC_CATEGORY_ND, UTF8PROC_CATEGORY_NL, UTF8PROC_CATEGORY_NO});
  uint32_t punctuation = bits({UTF8PROC_CATEGORY_PC, UTF8PROC_CATEGORY_PD, UTF8PROC_CATEGORY_PS, UTF8PROC_CATEGORY_PE,
                               UTF8PROC_CATEGORY_PI, UTF8PROC_CATEGORY_PF, UTF8PROC_CATEGORY_PO});
  uint32_t symbols = bits({UTF8PROC_CATEGORY_SM, UTF8PROC_CATEGORY_SC, UTF8PROC_CATEGORY_SK, UTF8PROC_CATEGORY_SO});
  uint32_t separators = bits({UTF8PROC_CATEGORY_ZS, UTF8PROC_CATEGORY_ZL, UTF8PROC_CATEGORY_ZP});
  uint32_t others = bits(
      {UTF8PROC_CATEGORY_CN, UTF8PROC_CATEGORY_CC, UTF8PROC_CATEGORY_CF, UTF8PROC_CATEGORY_CS, UTF8PROC_CATEGORY_CO});
  return llvm::StringSwitch<uint32_t>(name)
      .Cases("L", "Letter", letters)
      .Cases("M", "Mark", marks)
      .Cases("N", "Number", numbers)
      .Cases("P", "Punctuation", "Punct", punctuation)
      .Cases("S", "Symbol", symbols)
      .Cases("Z", "Separator", separators)
      .Cases("C", "Other", others)
      .Case("Lu", bits({UTF8PROC_CATEGORY_LU}))
      .Case("Ll", bits({UTF8PROC_CATEGORY_LL}))
      .Case("Lt", bits({UTF8PROC_CATEGORY_LT}))
      .Case("Lm", bits({UTF8PROC_CATEGORY_LM}))
      .Case("Lo", bits({UTF8PROC_CATEGORY_LO}))
      .Case("Mn", bits({UTF8PROC_CATEGORY_MN}))
      .Case("Mc", bits({UTF8PROC_CATEGORY_MC}))
      .Case("Me", bits({UTF8PROC_CATEGORY_ME}))
      .Case("Nd", bits({UTF8PROC_CATEGORY_ND}))
      .Case("Nl", bits({UTF8PROC_CATEGORY_NL}))
      .Case("No", bits({UTF8PROC_CATEGORY_NO}))
      .Case("Pc", bits({UTF8PROC_CATEGORY_PC}))
      .Case("Pd", bits({UTF8PROC_CATEGORY_PD}))
      .Case("Ps", bits({UTF8PROC_CATEGORY_PS}))
      .Case("Pe", bits({UTF8PROC_CATEGORY_PE}))
      .Case("Pi", bits({UTF8PROC_CATEGORY_PI}))
      .Case("Pf", bits({UTF8PROC_CATEGORY_PF}))
      .Case("Po", bits({UTF8PROC_CATEGORY_PO}))
      .Case("Sm", bits({UTF8PROC_CATEGORY_SM}))
      .Case("Sc", bits({UTF8PROC_CATEGORY_SC}))
      .Case("Sk", bits({UTF8PROC_CATEGORY_SK}))
      .Case("So", bits({UTF8PROC_CATEGORY_SO}))
      .Case("Zs", bits({UTF8PROC_CATEGORY_ZS}))
      .Case("Zl", bits({UTF8PROC_CATEGORY_ZL}))
      .Case("Zp", bits({UTF8PROC_CATEGORY_ZP}))
      .Case("Cc", bits({UTF8PROC_CATEGORY_CC}))
      .Case("Cf", bits({UTF8PROC_CATEGORY_CF}))
      .Case("Co", bits({UTF8PROC_CATEGORY_CO}))
      .Case("Cn", bits({UTF8PROC_CATEGORY_CN}))
      .Default(0);
}

CharSet ofCategories(uint32_t mask) {
  static const std::vector<uint8_t> categoryOf = [] {
    std::vector<uint8_t> list(CharSet::limit);
    for (uint32_t code = 0; code < CharSet::limit; ++code)
      list[code] = uint8_t(utf8proc_category(int32_t(code)));
    return list;
  }();
  std::vector<uint32_t> chars;
  for (uint32_t code = 0; code < CharSet::limit; ++code)
    if (mask >> categoryOf[code] & 1)
      chars.push_back(code);
  return CharSet::of(chars);
}

} // namespace

CharSet CharSet::of(llvm::ArrayRef<uint32_t> chars) {
  CharSet set;
  for (uint32_t code : chars) {
    if (!set.list.empty() && set.list.back().last + 1 == code)
      set.list.back().last = code;
    else
      set.list.push_back({code, code});
  }
  set.normalize();
  return set;
}

std::optional<CharSet> CharSet::property(llvm::StringRef name) {
  if (uint32_t mask = categories(name))
    return ofCategories(mask);
  if (name == "White_Space" || name == "Space")
    return whiteSpace();
  return std::nullopt;
}

const CharSet &CharSet::whiteSpace() {
  static const CharSet set = [] {
    CharSet spaces = of({0x20, 0x85, 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000});
    spaces.add({9, 13});
    spaces.add({0x2000, 0x200a});
    return spaces;
  }();
  return set;
}

const CharSet &CharSet::word(bool rust) {
  static const CharSet oniguruma =
      ofCategories(categories("L") | categories("M") | categories("Nd") | categories("Pc"));
  static const CharSet rustWords = [] {
    CharSet words = oniguruma;
    words.add(ofCategories(categories("Nl")));
    // Other_Alphabetic beyond the marks: circled and squared letters; then Join_Control.
    for (CharSet extra : {CharSet(0x24b6, 0x24e9), CharSet(0x1f130, 0x1f149), CharSet(0x1f150, 0x1f169),
                          CharSet(0x1f170, 0x1f189), CharSet(0x200c, 0x200d)})
      words.add(extra);
    return words;
  }();
  return rust ? rustWords : oniguruma;
}

void CharSet::normalize() {
  llvm::sort(list, [](const Range &a, const Range &b) { return a.first < b.first; });
  std::vector<Range> merged;
  for (const Range &range : list) {
    if (!merged.empty() && range.first <= merged.back().last + 1)
      merged.back().last = std::max(merged.back().last, range.last);
    else
      merged.push_back(range);
  }
  list = std::move(merged);
}

bool CharSet::contains(uint32_t code) const {
  auto at = llvm::partition_point(list, [&](const Range &range) { return range.last < code; });
  return at != list.end() && at->first <= code;
}

void CharSet::add(const CharSet &other) {
  list.insert(list.end(), other.list.begin(), other.list.end());
  normalize();
}

CharSet CharSet::complement() const {
  CharSet result;
  uint32_t next = 0;
  for (const Range &range : list) {
    if (range.first > next)
      result.list.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next < limit)
    result.list.push_back({next, limit - 1});
  return result;
}

CharSet CharSet::foldCase() const {
  // Upper, then lower: U+017F and U+212A fold to s and k so.
  auto fold = [](uint32_t code) { return uint32_t(utf8proc_tolower(utf8proc_toupper(int32_t(code)))); };
  static const auto groups = [&] {
    std::map<uint32_t, std::vector<uint32_t>> map;
    for (uint32_t code = 0; code < limit; ++code)
      if (uint32_t folded = fold(code); folded != code) {
        map[folded].push_back(code);
        if (map[folded].size() == 1)
          map[folded].push_back(folded);
      }
    return map;
  }();
  std::vector<uint32_t> extra;
  for (const auto &[folded, group] : groups)
    if (llvm::any_of(group, [&](uint32_t code) { return contains(code); }))
      extra.insert(extra.end(), group.begin(), group.end());
  CharSet result = *this;
  result.add(of(extra));
  return result;
}

unsigned CharPartition::add(const CharSet &set) {
  auto known = llvm::find(sets, set);
  if (known != sets.end())
    return unsigned(known - sets.begin());
  sets.push_back(set);
  return unsigned(sets.size() - 1);
}

llvm::Error CharPartition::finish() {
  std::vector<uint32_t> borders{0};
  for (const CharSet &set : sets)
    for (const CharSet::Range &range : set.ranges()) {
      borders.push_back(range.first);
      borders.push_back(range.last + 1);
    }
  llvm::sort(borders);
  borders.erase(llvm::unique(borders), borders.end());
  std::map<std::vector<bool>, uint8_t> ids;
  std::vector<uint8_t> classOf(CharSet::limit);
  for (size_t i = 0; i < borders.size() && borders[i] < CharSet::limit; ++i) {
    std::vector<bool> signature;
    for (const CharSet &set : sets)
      signature.push_back(set.contains(borders[i]));
    auto [at, fresh] = ids.try_emplace(signature, uint8_t(members.size()));
    if (fresh)
      members.push_back(signature);
    if (members.size() > 255)
      return llvm::createStringError("its patterns tell more than 255 classes of characters apart; simplify them");
    uint32_t end = i + 1 < borders.size() ? std::min(borders[i + 1], CharSet::limit) : CharSet::limit;
    std::fill(classOf.begin() + borders[i], classOf.begin() + end, at->second);
  }
  count = unsigned(members.size());
  std::map<std::vector<uint8_t>, uint16_t> known;
  for (uint32_t page = 0; page < CharSet::limit; page += 256) {
    std::vector<uint8_t> cell(classOf.begin() + page, classOf.begin() + page + 256);
    auto [at, fresh] = known.try_emplace(cell, uint16_t(known.size()));
    if (fresh)
      cells.insert(cells.end(), cell.begin(), cell.end());
    pages.push_back(at->second);
  }
  return llvm::Error::success();
}

} // namespace mlc
