//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Grammars and matchers: which texts are allowed, which tokens, and what hostile grammars do.
//
#include "tests/unit/grammar/GrammarSupport.h"

#include <gtest/gtest.h>

#include <random>
#include <regex>

using namespace mlc;
using namespace mlc::test;

namespace {

struct Fixture {
  Owned<Grammar> grammar;
  std::string error;
};

Fixture make(Result<Grammar *> made) {
  if (!made)
    return {nullptr, made.error().message()};
  return {Owned<Grammar>(*made), ""};
}

void expectTexts(const char *source, std::initializer_list<const char *> good,
                 std::initializer_list<const char *> bad) {
  Fixture made = make(Grammar::fromGbnf(source));
  ASSERT_TRUE(made.grammar) << source << ": " << made.error;
  for (const char *text : good)
    EXPECT_TRUE(allows(*made.grammar, text)) << source << "\n" << text;
  for (const char *text : bad)
    EXPECT_FALSE(allows(*made.grammar, text)) << source << "\n" << text;
}

TEST(Gbnf, AllowsWhatItSays) {
  expectTexts("root ::= \"a\" [b-d]+ \"\\n\"?", {"ab", "abcd\n"}, {"a", "ae", "ab\n\n"});
  expectTexts("root ::= item (\",\" item)*\nitem ::= [0-9]{2,3} | # a note\n  \"x\"{2}", {"12", "123,xx,45"},
              {"1", "1234", "x", "12,"});
  expectTexts("root ::= [^a-z\\]]{3}", {"A1 ", "नमस", "[[["}, {"abc", "]]]", "ab"});
  expectTexts("root ::= \"नमस्ते\" [क-ह]* .", {"नमस्तेकहx", "नमस्ते😀"}, {"नमस्ते", "नमस्तेकx😀x"});
  expectTexts("root ::= \"(\" root \")\" | \"\"", {"", "()", "((()))"}, {"(", ")", "(()"});
  expectTexts("root ::= expr\nexpr ::= term ((\"+\" | \"-\") term)*\nterm ::= num | \"(\" expr \")\"\nnum ::= [0-9]+",
              {"1+2-(3+(4))"}, {"1+", "(1", "1++2"});
  expectTexts("root ::= \"\\x41\\u00e9\\U0001F600\\\"\"", {"A\u00e9\U0001F600\""}, {"A"});
  expectTexts("root ::= \"a\"{0,3} \"b\"{2,} \"c\"{1}", {"bbc", "aaabbbbc"}, {"abc", "aaaabbc", "bb"});
  expectTexts("root ::= (\"a\"*)* \"b\"", {"b", "aab"}, {"a"});
  expectTexts("root ::= ( \"a\"\n | \"b\" )\n\n# end", {"a", "b"}, {"ab"});
}

TEST(Gbnf, RefusesByName) {
  const std::pair<const char *, const char *> cases[] = {
      {"a ::= \"x\"", "no rule 'root'"},
      {"root ::= b", "the rule 'b' is not defined"},
      {"root ::= root \"a\" | \"b\"", "the rule 'root' is left-recursive"},
      {"root ::= a\na ::= b \"x\"\nb ::= \"y\"? a", "left-recursive"},
      {"root ::= \"a\" root", "the rule 'root' has no text that ends"},
      {"root ::= [z-a]", "line 1 of the grammar: a range whose end is before its start"},
      {"root ::= \"a", "line 1 of the grammar: a literal or a set without its end"},
      {"root ::= \"a\"\nroot ::= \"b\"", "line 2 of the grammar: a rule that is there already"},
      {"root ::= (\"a\"", "expected ')'"},
      {"root = \"a\"", "expected ::="},
      {"root ::= \"a\"{3,1}", "the most is below the least"},
      {"root ::= (\"a\"{300000}){2} (\"b\"{300000}){2}", "positions"},
      {"root ::= []", "a set of characters that holds none"},
      {"root ::= <think>", "expected the end of the line"},
  };
  for (auto [source, message] : cases) {
    Fixture made = make(Grammar::fromGbnf(source));
    EXPECT_FALSE(made.grammar) << source;
    EXPECT_NE(made.error.find(message), std::string::npos) << source << ": " << made.error;
  }
}

/// A random expression, as GBNF and as a regular expression of the standard library.
struct Expression {
  std::string gbnf, regex;
};

Expression randomExpression(std::mt19937 &random, int depth) {
  auto pick = [&](unsigned count) { return unsigned(random() % count); };
  if (depth == 0 || pick(4) == 0) {
    static const Expression atoms[] = {{"\"a\"", "a"},   {"\"ab\"", "(?:ab)"},   {"[a-c]", "[a-c]"}, {"[^b]", "[^b]"},
                                       {"\"\"", "(?:)"}, {"\"cab\"", "(?:cab)"}, {"[bc]", "[bc]"}};
    return atoms[pick(std::size(atoms))];
  }
  Expression a = randomExpression(random, depth - 1), b = randomExpression(random, depth - 1);
  static const char *quantifiers[] = {"*", "+", "?", "{2}", "{1,3}", "{2,}", "{0,2}"};
  switch (pick(3)) {
  case 0:
    return {"(" + a.gbnf + " " + b.gbnf + ")", "(?:" + a.regex + b.regex + ")"};
  case 1:
    return {"(" + a.gbnf + " | " + b.gbnf + ")", "(?:" + a.regex + "|" + b.regex + ")"};
  default: {
    const char *quantifier = quantifiers[pick(std::size(quantifiers))];
    return {"(" + a.gbnf + ")" + quantifier, "(?:" + a.regex + ")" + quantifier};
  }
  }
}

/// The tokens that mask() allows, and an error's text.
std::vector<bool> masked(GrammarMatcher &at, std::string &error) {
  uint32_t vocab = vocabulary().tokenizer->vocabSize();
  std::vector<uint64_t> words((vocab + 63) / 64);
  std::vector<bool> bits(vocab);
  Status done = at.mask(words);
  error = done ? "" : done.error().message();
  for (uint32_t i = 0; done && i < vocab; ++i)
    bits[i] = words[i / 64] >> i % 64 & 1;
  return bits;
}

/// Every token's bit says what taking the token does.
void checkMask(const Grammar &grammar, const std::vector<int32_t> &tokens) {
  auto other = matcher(grammar);
  auto replay = [&] {
    GrammarMatcher *at = other.get();
    EXPECT_TRUE(at->reset());
    for (int32_t token : tokens)
      EXPECT_TRUE(at->accept(token));
    return at;
  };
  std::string error;
  std::vector<bool> bits = masked(*replay(), error);
  bool any = false, moved = false;
  for (uint32_t id = 0; id < bits.size(); ++id) {
    // A token that is refused changes nothing.
    if (moved)
      replay();
    bool taken = moved = bool(other->accept(int32_t(id)));
    EXPECT_EQ(taken, bool(bits[id])) << "token " << id << " '" << vocabulary().tokenizer->decodedText(id) << "'";
    any |= taken;
  }
  EXPECT_EQ(any, error.empty()) << error;
}

TEST(Matcher, AgreesWithRegularExpressions) {
  std::mt19937 random(7);
  for (int round = 0; round < 150; ++round) {
    Expression made = randomExpression(random, 4);
    Fixture grammar = make(Grammar::fromGbnf("root ::= " + made.gbnf));
    ASSERT_TRUE(grammar.grammar) << made.gbnf << ": " << grammar.error;
    std::regex expression(made.regex);
    for (int k = 0; k < 30; ++k) {
      std::string text;
      for (size_t size = random() % 8; text.size() < size;)
        text += "abcd"[random() % 4];
      EXPECT_EQ(allows(*grammar.grammar, text), std::regex_match(text, expression))
          << made.gbnf << " on '" << text << "'";
    }
    if (round % 10)
      continue;
    // A walk by masks ends in texts that the expression matches.
    auto at = matcher(*grammar.grammar);
    std::vector<int32_t> tokens;
    std::string text, error;
    for (int step = 0; step < 6; ++step) {
      checkMask(*grammar.grammar, tokens);
      std::vector<bool> bits = masked(*at, error);
      if (at->canEnd())
        EXPECT_TRUE(std::regex_match(text, expression)) << made.gbnf << " gave '" << text << "'";
      std::vector<int32_t> allowed;
      for (uint32_t id = 0; id < bits.size(); ++id)
        if (bits[id] && id != vocabulary().end && vocabulary().tokenizer->decodedText(id)[0] >= 0)
          allowed.push_back(int32_t(id));
      if (allowed.empty())
        break;
      tokens.push_back(allowed[random() % allowed.size()]);
      text += vocabulary().tokenizer->decodedText(uint32_t(tokens.back()));
      ASSERT_TRUE(at->accept(tokens.back()));
    }
  }
}

TEST(Matcher, MasksAgreeWithTokensInJson) {
  Fixture grammar = make(Grammar::fromJsonSchema(
      R"({"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}, "note": {"type": "string"}, "n": {"type": "integer"}},
    "required": ["name"], "additionalProperties": false})"));
  ASSERT_TRUE(grammar.grammar) << grammar.error;
  // As tokens of one byte, looked at where a text stands at every third of them.
  std::string text = "{\"name\": \"न é\\n\", \"note\": \"x\\u00e9 नमस्ते\", \"n\": -12}";
  std::vector<int32_t> tokens;
  for (char c : text) {
    if (tokens.size() % 3 == 0)
      checkMask(*grammar.grammar, tokens);
    tokens.push_back(uint8_t(c));
  }
  checkMask(*grammar.grammar, tokens);
}

TEST(Matcher, EndsOnlyWhereTheTextIsComplete) {
  Fixture grammar = make(Grammar::fromGbnf("root ::= \"a\" \"b\"?"));
  auto at = matcher(*grammar.grammar);
  auto end = int32_t(vocabulary().end);
  std::string error;
  EXPECT_FALSE(masked(*at, error)[size_t(end)]);
  EXPECT_FALSE(at->accept(end));
  EXPECT_FALSE(at->accept(end + 1)) << "a special token is no text";
  EXPECT_FALSE(at->accept(-1));
  EXPECT_FALSE(at->accept(1 << 20));
  ASSERT_TRUE(at->accept('a'));
  EXPECT_TRUE(at->canEnd());
  EXPECT_TRUE(masked(*at, error)[size_t(end)]);
  ASSERT_TRUE(at->accept('b'));
  std::vector<bool> bits = masked(*at, error);
  EXPECT_EQ(std::count(bits.begin(), bits.end(), true), 1) << "nothing but the end is left";
  ASSERT_TRUE(at->accept(end));
  EXPECT_FALSE(at->canEnd());
  EXPECT_FALSE(at->accept('a'));
  masked(*at, error);
  EXPECT_NE(error.find("has ended"), std::string::npos);
  ASSERT_TRUE(at->reset());
  EXPECT_TRUE(at->accept('a'));
}

TEST(Matcher, SaysWhenNothingIsPossible) {
  // The vocabulary has no token for the second character.
  Vocabulary poor({"a"}, {"<end>"});
  Owned<TokenTrie> tokens(*TokenTrie::create(*poor.tokenizer, 2));
  Fixture grammar = make(Grammar::fromGbnf("root ::= \"ab\""));
  uint32_t ends[] = {1};
  Owned<GrammarMatcher> at(*GrammarMatcher::create(*grammar.grammar, *tokens, ends));
  uint64_t word[1];
  ASSERT_TRUE(at->mask(word));
  EXPECT_EQ(word[0], 1u);
  ASSERT_TRUE(at->accept(0));
  Status done = at->mask(word);
  ASSERT_FALSE(done);
  EXPECT_NE(std::string(done.error().message()).find("no token of the vocabulary"), std::string::npos);
}

TEST(Matcher, HostileGrammarsStayBounded) {
  // Nesting is allowed up to a depth, and cut there.
  Fixture nested = make(Grammar::fromGbnf("root ::= \"(\" root \")\" | \"x\""));
  EXPECT_TRUE(allows(*nested.grammar, std::string(900, '(') + "x" + std::string(900, ')')));
  EXPECT_FALSE(allows(*nested.grammar, std::string(1100, '('), true));
  // Tail calls do not nest.
  Fixture tail = make(Grammar::fromGbnf("root ::= \"a\" root | \"b\""));
  EXPECT_TRUE(allows(*tail.grammar, std::string(200000, 'a') + "b"));
  // Ambiguity: as many ways as there are numbers of open ends.
  Fixture ambiguous = make(Grammar::fromGbnf(
      "root ::= \"a\" root root | \"a\" | \"b\" root \"c\" root | root2\nroot2 ::= \"a\" root \"a\" root? | \"d\""));
  ASSERT_TRUE(ambiguous.grammar) << ambiguous.error;
  auto at = matcher(*ambiguous.grammar);
  for (int i = 0; i < 3000 && at->acceptText("a"); ++i)
    ;
  // Counted repetition far ahead, many states.
  Fixture counted = make(Grammar::fromGbnf("root ::= [a-z]{0,50000} \"!\""));
  ASSERT_TRUE(counted.grammar) << counted.error;
  EXPECT_TRUE(allows(*counted.grammar, std::string(50000, 'q') + "!"));
  EXPECT_FALSE(allows(*counted.grammar, std::string(50001, 'q')));
  std::string many = "root ::= r0\n";
  for (int i = 0; i < 3000; ++i)
    many += "r" + std::to_string(i) + " ::= \"x\" r" + std::to_string(i + 1) + "\n";
  Fixture chain = make(Grammar::fromGbnf(many + "r3000 ::= \"y\""));
  EXPECT_TRUE(chain.grammar) << chain.error;
  Fixture deep = make(Grammar::fromGbnf("root ::= " + std::string(5000, '(')));
  EXPECT_FALSE(deep.grammar);
}

TEST(Matcher, ForgetsWithoutLosingItsPlace) {
  // Far more states than a matcher keeps.
  Fixture grammar = make(Grammar::fromGbnf("root ::= ([a-c]{3} | [d-f]{5}){0,9000} \"!\""));
  ASSERT_TRUE(grammar.grammar) << grammar.error;
  auto at = matcher(*grammar.grammar);
  for (int i = 0; i < 5000; ++i)
    ASSERT_TRUE(at->acceptText(i % 3 ? "abc" : "defde")) << i;
  ASSERT_FALSE(at->acceptText("ab!"));
  ASSERT_TRUE(at->acceptText("!"));
  EXPECT_TRUE(at->canEnd());
}

} // namespace
