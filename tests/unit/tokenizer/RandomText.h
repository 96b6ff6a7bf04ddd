//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Random text that pre-tokenizers and normalizers find hard.
//
#pragma once

#include "compiler/Tokenizer/TableParts.h"

#include <random>

namespace mlc::test {

using Random = std::mt19937_64;

inline size_t below(Random &random, size_t limit) { return random() % limit; }

/// Words, spaces of every kind, marks, digits, jamo, emoji and single code points of the first planes.
inline std::string randomText(Random &random, size_t runs) {
  static const std::vector<std::vector<uint32_t>> pools = [] {
    std::vector<std::vector<uint32_t>> list;
    for (const char *text :
         {"etaoin shrdlu", "'s't're've'm'll'd'S'LL'D", "ABC xyz", "0123456789.,", "!?#$%&()[]{}<>|~^`_-+=", " \t\n\r",
          "\u00a0\u2003\u3000\u0085 ", "\u017f\u212aKkSs", "日本語かなカナ中文", "नमस्तेदुनियाय़क़\u093c\u094d",
          "🦙😀👩\u200d🚀🇮🇳\ufe0f", "éèüßñÅﬁ①Ⅷ½²³µΩ", "가나다\u1100\u1161\u11a8\u1112\u1175\u11c2\uac00\u11a8"})
      list.push_back(codesOf(text));
    std::vector<uint32_t> marks;
    for (uint32_t code = 0x300; code < 0x345; ++code)
      marks.push_back(code);
    marks.insert(marks.end(), {'a', 'e', 'o', 0x323, 0x5b0, 0x5b4, 0x64b, 0x651, 0x1e69, 0x1e9b, 0x344, 0xf73});
    list.push_back(marks);
    return list;
  }();
  std::string text;
  for (size_t run = 0; run < runs; ++run) {
    const auto &pool = pools[below(random, pools.size())];
    for (size_t i = below(random, 6); i-- > 0;)
      text += utf8Of(pool[below(random, pool.size())]);
    if (below(random, 8) == 0) {
      uint32_t code = uint32_t(1 + below(random, 0x2fff0));
      if (code < 0xd800 || code > 0xdfff)
        text += utf8Of(code);
    }
  }
  return text;
}

} // namespace mlc::test
