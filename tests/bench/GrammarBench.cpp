//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Microseconds of a token mask over the vocabulary of Qwen2.5 (151,643 tokens), a new matcher each time, so that what
// is cached has been computed in the same run: the mean over the tokens of a text, and the longest.
//
#include "runtime/llm/grammar/Grammar.h"
#include "tests/unit/grammar/Vocabulary.h"

#include <benchmark/benchmark.h>

#include <chrono>
#include <unordered_map>

using namespace mlc;

namespace {

struct Setup {
  std::unique_ptr<test::Vocabulary> vocabulary;
  Owned<TokenTrie> trie;
  std::unordered_map<std::string, int32_t> ids;

  Setup() {
    const char *root = getenv("MLC_SHARED_DATA");
    vocabulary = test::byteLevelVocabulary(std::string(root ? root : MLC_SOURCE_DIR "/../shared/data") +
                                           "/tokenizers/qwen2.5/vocab.json");
    if (!vocabulary)
      return;
    trie.reset(*TokenTrie::create(*vocabulary->tokenizer, vocabulary->tokenizer->vocabSize()));
    for (uint32_t id = 0; id < vocabulary->end; ++id)
      ids.emplace(vocabulary->tokenizer->decodedText(id), int32_t(id));
  }
  /// The longest token first.
  std::vector<int32_t> tokens(std::string_view text) const {
    std::vector<int32_t> out;
    while (!text.empty())
      for (size_t size = std::min<size_t>(text.size(), 32); size; --size)
        if (auto found = ids.find(std::string(text.substr(0, size))); found != ids.end()) {
          out.push_back(found->second);
          text.remove_prefix(size);
          break;
        }
    return out;
  }
};

Setup &setup() {
  static Setup made;
  return made;
}

void masks(benchmark::State &state, Result<Grammar *> (*make)(), const char *text) {
  if (!setup().vocabulary) {
    state.SkipWithError("needs the shared data (set MLC_SHARED_DATA)");
    return;
  }
  Owned<Grammar> grammar(*make());
  std::vector<int32_t> tokens = setup().tokens(text);
  std::vector<uint64_t> words((setup().vocabulary->tokenizer->vocabSize() + 63) / 64);
  uint32_t ends[] = {setup().vocabulary->end};
  double total = 0, longest = 0;
  size_t count = 0;
  for (auto _ : state) {
    Owned<GrammarMatcher> matcher(*GrammarMatcher::create(*grammar, *setup().trie, ends));
    for (int32_t token : tokens) {
      auto start = std::chrono::steady_clock::now();
      bool done = bool(matcher->mask(words));
      double taken = std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
      total += taken;
      longest = std::max(longest, taken);
      ++count;
      if (!done || !(words[size_t(token) / 64] >> token % 64 & 1) || !matcher->accept(token)) {
        state.SkipWithError("a token of the text is not allowed");
        return;
      }
    }
  }
  state.counters["mean_us"] = total / double(count);
  state.counters["longest_us"] = longest;
  state.counters["tokens"] = double(tokens.size());
}

Result<Grammar *> person() {
  return Grammar::fromJsonSchema(
      R"({"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 150}, "email": {"type": "string", "format": "email"},
    "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "maxItems": 5}, "note": {"type": "string", "maxLength": 200}}, "required": ["name", "age", "email", "tags", "note"], "additionalProperties": false})");
}
Result<Grammar *> anyJson() { return Grammar::jsonObject(); }
Result<Grammar *> gbnf() { return Grammar::fromGbnf("root ::= line+\nline ::= \"- \" [^\\n]+ \"\\n\""); }

const char *personText =
    R"({"name": "Asha Kumari आशा कुमारी", "age": 34, "email": "asha.kumari@example.org", "tags": ["red", "blue"], "note": "Prefers to be called in the evening; नमस्ते, आप कैसे हैं? The second line follows after a long sentence about nothing."})";

BENCHMARK_CAPTURE(masks, schema, person, personText)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(masks, json_object, anyJson, personText)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(masks, gbnf_list, gbnf, "- The first item of the list\n- नमस्ते दुनिया\n- third: 12345 (and more)\n")
    ->Unit(benchmark::kMillisecond);

} // namespace

BENCHMARK_MAIN();
