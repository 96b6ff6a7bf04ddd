//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Compiled patterns against PCRE2: the patterns of real pre-tokenizers, and random ones, over random text.
//
#define PCRE2_CODE_UNIT_WIDTH 8
#include "compiler/Tokenizer/Pattern.h"
#include "compiler/Tokenizer/SourceParts.h"
#include "runtime/llm/tokenizer/Match.h"
#include "tests/unit/tokenizer/RandomText.h"
#include "tests/unit/tokenizer/Support.h"

#include <chrono>
#include <gtest/gtest.h>
#include <pcre2.h>

using namespace mlc;
using namespace mlc::test;

namespace {

using Spans = std::vector<std::pair<size_t, size_t>>;

/// A byte-level tokenizer of 256 tokens whose pre-tokenizer is `pattern`.
TokenizerModel modelOf(const std::string &pattern) {
  TokenizerModel model;
  model.file = "pattern test";
  for (unsigned byte = 0; byte < 256; ++byte) {
    TokenEntry token;
    token.text = token.decoded = std::string(1, char(byte));
    token.present = true;
    model.tokens.push_back(token);
    model.byteTokens.push_back(byte);
  }
  model.stages.push_back({std::nullopt, SplitStep{pattern, fb::SplitBehavior::isolated, false, false, false}});
  return model;
}

class Ours {
public:
  explicit Ours(const std::string &pattern) : compiled(compileOrDie(modelOf(pattern))), matcher(systemAllocator()) {}
  explicit Ours(std::vector<uint8_t> buffer) : compiled(viewOrDie(std::move(buffer))), matcher(systemAllocator()) {}
  Spans all(const std::string &text) {
    const TokenizerView &view = compiled.tokenizer->tables();
    DfaView dfa(*view.tables->dfas()->Get(0), view.classes);
    Spans spans;
    const char *begin = text.data(), *at = begin, *end = begin + text.size(), *first, *last;
    matcher.start(dfa, begin, end);
    while (*matcher.find(at, first, last)) {
      spans.push_back({size_t(first - begin), size_t(last - begin)});
      at = last;
    }
    return spans;
  }

private:
  Compiled compiled;
  Matcher matcher;
};

class Theirs {
public:
  explicit Theirs(const std::string &pattern) {
    int code;
    PCRE2_SIZE where;
    regex = pcre2_compile(PCRE2_SPTR(pattern.data()), pattern.size(), PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &code,
                          &where, nullptr);
    if (!regex)
      ADD_FAILURE() << "PCRE2 refuses " << pattern << " at " << where;
    match = pcre2_match_data_create_from_pattern(regex, nullptr);
  }
  ~Theirs() {
    pcre2_match_data_free(match);
    pcre2_code_free(regex);
  }
  Spans all(const std::string &text) {
    Spans spans;
    size_t at = 0;
    while (at <= text.size() &&
           pcre2_match(regex, PCRE2_SPTR(text.data()), text.size(), at, PCRE2_NOTEMPTY, match, nullptr) > 0) {
      PCRE2_SIZE *found = pcre2_get_ovector_pointer(match);
      spans.push_back({found[0], found[1]});
      at = found[1];
    }
    return spans;
  }

private:
  pcre2_code *regex;
  pcre2_match_data *match;
};

TEST(Pattern, RealPreTokenizersMatchAsPcre2Does) {
  Random random(1);
  unsigned matches = 0;
  Theirs unassigned("\\p{Cn}");
  for (const char *name : {"gpt-2", "llama-bpe", "qwen2", "starcoder", "falcon", "default", "deepseek-llm",
                           "deepseek-coder", "deepseek-v3", "gpt-4o"}) {
    NamedPreTokenizer named = *namedPreTokenizer(name);
    for (const SplitStep &split : named.splits) {
      Ours ours(split.pattern);
      Theirs theirs(split.pattern);
      for (int i = 0; i < 400; ++i) {
        std::string text = randomText(random, 1 + below(random, 30));
        // PCRE2's Unicode is older than utf8proc's.
        if (!unassigned.all(text).empty())
          continue;
        Spans expected = theirs.all(text);
        ASSERT_EQ(ours.all(text), expected) << name << " " << split.pattern << "\n" << text;
        matches += unsigned(expected.size());
      }
    }
  }
  EXPECT_GT(matches, 10000u);
}

/// A random pattern over few characters. `nullable` tells whether it may match nothing.
std::string randomPattern(Random &random, unsigned depth, bool &nullable) {
  static const char *const atoms[] = {"a",   "b",      "c",     "ab", "[ab]",   "[^a]", "\\s",
                                      "\\S", "\\p{L}", "[a-c]", ".",  "(?i:a)", "é"};
  nullable = false;
  switch (depth ? below(random, 7) : 0) {
  default:
    return atoms[below(random, std::size(atoms))];
  case 2:
  case 3: {
    bool left, right;
    std::string text = randomPattern(random, depth - 1, left) + randomPattern(random, depth - 1, right);
    nullable = left && right;
    return text;
  }
  case 4: {
    bool left, right;
    std::string text =
        "(?:" + randomPattern(random, depth - 1, left) + "|" + randomPattern(random, depth - 1, right) + ")";
    nullable = left || right;
    return text;
  }
  case 5:
  case 6: {
    static const char *const counts[] = {"*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "*?", "+?", "??"};
    std::string inside = randomPattern(random, depth - 1, nullable);
    // Engines differ in what a loop over nothing means.
    if (nullable)
      return "(?:" + inside + ")";
    size_t which = below(random, std::size(counts));
    nullable = which == 0 || which == 2 || which == 5 || which == 7 || which == 9;
    return "(?:" + inside + ")" + counts[which];
  }
  }
}

TEST(Pattern, RandomPatternsMatchAsPcre2Does) {
  Random random(2);
  unsigned used = 0, matches = 0;
  for (int round = 0; round < 400; ++round) {
    bool nullable;
    std::string pattern = randomPattern(random, 4, nullable);
    if (below(random, 3) == 0)
      pattern += below(random, 2) ? "(?!\\S)" : "(?=[ab])";
    if (below(random, 4) == 0)
      pattern = pattern + "|" + randomPattern(random, 2, nullable);
    auto buffer = buildTokenizerBuffer(modelOf(pattern));
    if (!buffer) {
      ASSERT_NE(llvm::toString(buffer.takeError()).find("matches the empty text"), std::string::npos) << pattern;
      continue;
    }
    ++used;
    Ours ours(std::move(*buffer));
    Theirs theirs(pattern);
    for (int i = 0; i < 20; ++i) {
      std::string text;
      static const char *const parts[] = {"a", "b", "c", "A", " ", "\n", "é", "x"};
      for (size_t n = below(random, 24); n-- > 0;)
        text += parts[below(random, std::size(parts))];
      Spans expected = theirs.all(text);
      ASSERT_EQ(ours.all(text), expected) << pattern << "\n" << text;
      matches += unsigned(expected.size());
    }
  }
  EXPECT_GT(used, 150u);
  EXPECT_GT(matches, 5000u);
}

TEST(Pattern, RefusesWhatItCannotCompile) {
  const std::pair<const char *, const char *> refused[] = {
      {"(?<=a)b", "an unsupported '(?<='"},    {"(?!ab)c", "a lookahead of more than one character"},
      {"a\\1", "the unsupported escape \\1"},  {"a++", "a possessive quantifier"},
      {"\\p{Foo}", "property \\p{Foo}"},       {"a{300}", "a count above 255"},
      {"a{2", "a { that begins no count"},     {"[a", "a class that is not closed"},
      {"(a", "a group that is not closed"},    {"a)", "an unmatched )"},
      {"a*", "matches the empty text"},        {"[a&&b]", "a class intersection &&"},
      {"[[:alpha:]]", "a POSIX bracket [:"},   {"^a", "an unsupported '^'"},
      {"(?P<n>a)", "an unsupported '(?P<'"},   {"\\bword", "the unsupported escape \\b"},
      {"[z-a]", "a range out of order"},       {"a**", "a quantifier on a quantifier"},
      {"(((a{255}){255}){255})", "too large"}, {"", "matches the empty text"}};
  for (auto [pattern, message] : refused) {
    auto buffer = buildTokenizerBuffer(modelOf(pattern));
    ASSERT_FALSE(bool(buffer)) << pattern;
    std::string text = llvm::toString(buffer.takeError());
    EXPECT_NE(text.find(message), std::string::npos) << pattern << ": " << text;
    EXPECT_EQ(text.find("pattern test: tokenizer: pattern \""), 0u) << text;
  }
  std::string deep(100, '(');
  auto buffer = buildTokenizerBuffer(modelOf(deep + "a" + std::string(100, ')')));
  EXPECT_FALSE(bool(buffer));
  llvm::consumeError(buffer.takeError());
}

/// Scans that look far ahead and find nothing must not be repeated from every character.
TEST(Pattern, LongLookaheadsStayLinear) {
  for (const char *pattern : {"\\s+$", "a*b|a", "a+b", "(?:ab)+c|a", "\\s*[\\r\\n]+|x"}) {
    Ours ours{std::string(pattern)};
    Theirs theirs(pattern);
    for (const char *part : {"a", " ", "ab"}) {
      std::string text;
      while (text.size() < 400000)
        text += part;
      auto began = std::chrono::steady_clock::now();
      Spans found = ours.all(text + "!");
      // Quadratic would be 10^11 steps.
      EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(5)) << pattern;
      std::string small = text.substr(0, 700) + "!";
      EXPECT_EQ(ours.all(small), theirs.all(small)) << pattern;
      std::string two = small + text.substr(0, 300) + "b" + small;
      EXPECT_EQ(ours.all(two), theirs.all(two)) << pattern;
    }
  }
}

} // namespace
