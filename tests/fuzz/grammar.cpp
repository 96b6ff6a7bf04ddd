//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Grammars: the first byte chooses GBNF or JSON Schema. Refused, or walked by bytes that the grammar allows.
//
#include "runtime/llm/grammar/Grammar.h"
#include "tests/unit/grammar/Vocabulary.h"

using namespace mlc;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static auto vocabulary = test::smallVocabulary();
  static TokenTrie *trie = *TokenTrie::create(*vocabulary->tokenizer, vocabulary->tokenizer->vocabSize());
  if (!size)
    return 0;
  std::string_view text(reinterpret_cast<const char *>(data + 1), size - 1);
  auto made = data[0] % 2 ? Grammar::fromGbnf(text) : Grammar::fromJsonSchema(text);
  if (!made)
    return 0;
  Owned<Grammar> grammar(*made);
  uint32_t ends[] = {vocabulary->end};
  auto created = GrammarMatcher::create(*grammar, *trie, ends);
  if (!created)
    return 0;
  Owned<GrammarMatcher> matcher(*created);
  uint64_t words[8];
  uint32_t random = data[0];
  for (int step = 0; step < 12; ++step) {
    if (!matcher->mask(words))
      return 0;
    // One of the allowed tokens; what the mask allows is taken.
    random = random * 1103515245 + 12345;
    uint32_t vocab = vocabulary->tokenizer->vocabSize(), from = random % vocab, chosen = vocab;
    for (uint32_t i = 0; i < vocab && chosen == vocab; ++i)
      if (uint32_t id = (from + i) % vocab; words[id / 64] >> id % 64 & 1)
        chosen = id;
    if (chosen == vocab || !matcher->accept(int32_t(chosen)))
      abort();
    if (chosen == vocabulary->end)
      break;
  }
  return 0;
}
