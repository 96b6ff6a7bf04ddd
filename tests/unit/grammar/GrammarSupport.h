//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Whether a grammar allows a text, by way of a matcher over a small vocabulary.
//
#pragma once

#include "runtime/llm/grammar/Grammar.h"
#include "tests/unit/grammar/Vocabulary.h"

#include <gtest/gtest.h>

namespace mlc::test {

inline Vocabulary &vocabulary() {
  static auto made = smallVocabulary();
  return *made;
}

inline const TokenTrie &trie() {
  static Owned<TokenTrie> made(*TokenTrie::create(*vocabulary().tokenizer, vocabulary().tokenizer->vocabSize()));
  return *made;
}

inline Owned<GrammarMatcher> matcher(const Grammar &grammar) {
  uint32_t ends[] = {vocabulary().end};
  auto made = GrammarMatcher::create(grammar, trie(), ends);
  EXPECT_TRUE(made) << made.error().message();
  return Owned<GrammarMatcher>(*made);
}

/// Whether the grammar allows the whole text; `prefix`: whether it allows it as a beginning.
inline bool allows(const Grammar &grammar, std::string_view text, bool prefix = false) {
  auto at = matcher(grammar);
  for (size_t i = 0; i < text.size(); i += 512)
    if (!at->acceptText(text.substr(i, 512)))
      return false;
  return prefix || at->canEnd();
}

} // namespace mlc::test
