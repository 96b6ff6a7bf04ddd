//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// JSON Schemas: the texts they allow beside what Python's jsonschema says (data/make.py), and what is refused.
//
#include "tests/unit/grammar/GrammarSupport.h"

#include <gtest/gtest.h>

#include <random>

using namespace mlc;
using namespace mlc::test;

namespace {

/// A random text that the grammar allows, by its masks; empty where none was found in `most` tokens.
std::string sample(const Grammar &grammar, std::mt19937 &random, int most) {
  Owned<GrammarMatcher> at = matcher(grammar);
  uint32_t vocab = vocabulary().tokenizer->vocabSize();
  std::vector<uint64_t> words((vocab + 63) / 64);
  std::string text;
  for (int i = 0; i < most; ++i) {
    if (at->canEnd() && (random() % 4 == 0 || i > most / 2))
      return text;
    Status done = at->mask(words);
    if (!done) {
      ADD_FAILURE() << done.error().message() << " after " << text;
      return "";
    }
    std::vector<uint32_t> allowed;
    for (uint32_t id = 0; id < vocab; ++id)
      if (words[id / 64] >> id % 64 & 1 && id != vocabulary().end)
        allowed.push_back(id);
    if (allowed.empty())
      return text;
    // What closes comes more often, so that texts end.
    uint32_t chosen = allowed[random() % allowed.size()];
    for (uint32_t id : allowed)
      if (strchr("\"}],:", char(id)) && id < 256 && id && random() % 3 == 0)
        chosen = id;
    std::string_view bytes = vocabulary().tokenizer->decodedText(chosen);
    EXPECT_TRUE(at->accept(int32_t(chosen)));
    text += bytes;
  }
  return "";
}

/// The cases: a line {"schema": TEXT, "valid": [TEXT...], "invalid": [TEXT...]}. Samples go to MLC_GRAMMAR_SAMPLES, a
/// line {"schema": ..., "text": ...} each, for data/make.py --check.
TEST(Schema, AllowsWhatJsonschemaDoes) {
  std::ifstream lines(MLC_GRAMMAR_DATA "/schemas.jsonl");
  ASSERT_TRUE(lines);
  const char *path = getenv("MLC_GRAMMAR_SAMPLES");
  std::ofstream samples(path ? path : "/dev/null");
  std::mt19937 random(3);
  size_t count = 0, refused = 0, sampled = 0;
  for (std::string line; std::getline(lines, line);) {
    Arena arena(size_t(64) << 20);
    auto parsed = parseJson(arena, line);
    ASSERT_TRUE(parsed) << parsed.error().message();
    std::string schema(parsed->dict->find("schema")->view());
    auto made = Grammar::fromJsonSchema(schema);
    ++count;
    if (!made) {
      ++refused;
      EXPECT_NE(parsed->dict->find("refused"), nullptr) << schema << ": " << made.error().message();
      continue;
    }
    EXPECT_EQ(parsed->dict->find("refused"), nullptr) << schema;
    Owned<Grammar> grammar(*made);
    for (const Value &text : *parsed->dict->find("valid")->list)
      EXPECT_TRUE(allows(*grammar, text.view())) << schema << "\n" << text.view();
    for (const Value &text : *parsed->dict->find("invalid")->list)
      EXPECT_FALSE(allows(*grammar, text.view())) << schema << "\n" << text.view();
    for (int i = 0; i < (path ? 20 : 3); ++i) {
      std::string text = sample(*grammar, random, 400);
      if (text.empty())
        continue;
      ++sampled;
      Arena own(size_t(64) << 20);
      auto value = parseJson(own, text);
      EXPECT_TRUE(value) << "not JSON: " << text << ": " << value.error().message();
      samples << schema << "\t";
      for (char c : text)
        if (c == '\n' || c == '\r' || c == '\t' || c == '%')
          samples << "%" << "0123456789ABCDEF"[uint8_t(c) >> 4] << "0123456789ABCDEF"[c & 15];
        else
          samples << c;
      samples << "\n";
    }
  }
  EXPECT_GT(count, 50u);
  printf("%zu schemas, %zu refused, %zu samples\n", count, refused, sampled);
}

TEST(Schema, RefusesByName) {
  const std::pair<const char *, const char *> cases[] = {
      {R"({"not": {}})", "schema #: the keyword 'not' is not supported"},
      {R"({"type": "object", "patternProperties": {}})",
       "the keyword 'patternProperties' is not supported beside an object"},
      {R"({"type": "object", "properties": {"a": {"type": "number", "multipleOf": 2}}})",
       "schema #/properties/a: the keyword 'multipleOf' is not supported"},
      {R"({"type": "array", "uniqueItems": true})", "'uniqueItems' is not supported"},
      {R"({"type": "string", "format": "iri"})", "the format 'iri' is not supported"},
      {R"j({"type": "string", "pattern": "(?=a)"})j", "a group (?...) other than (?:...) is not supported"},
      {R"({"type": "string", "pattern": "a\\b"})", "the escape \\b is not supported"},
      {R"({"type": "string", "pattern": "a", "maxLength": 3})", "pattern beside a length is not supported"},
      {R"({"type": "thing"})", "the type 'thing' is not supported"},
      {R"({"oneOf": [{"type": "number"}, {"type": "integer"}]})",
       "0 and 1 may both be valid for one text, which oneOf forbids"},
      {R"({"$ref": "https://example.org/schema"})", "not a place in this schema"},
      {R"({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}})",
       "a circle of references"},
      {R"({"allOf": [{"type": "string", "minLength": 2}, {"type": "string", "minLength": 3}]})",
       "'minLength' is in two schemas that hold together"},
      {R"({"type": "number", "minimum": 0.5})", "a bound that is no integer"},
      {R"({"type": "integer", "minimum": 3, "maximum": 2})", "no number is inside the bounds"},
      {R"({"type": "object", "properties": {}, "required": ["a"], "additionalProperties": false})",
       "'a' is no property"},
      {R"({"enum": [1, 2], "minimum": 2})", "the keyword 'minimum' is not supported beside enum"},
      {R"(false)", "no text is valid"},
      {R"([])", "a schema is an object or a boolean"},
      {R"({)", "schema: ends at byte 1"},
      {R"({"$defs": {"n": {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}}, "required": ["next"]}}, "$ref": "#/$defs/n"})",
       "has no text that ends"},
      {R"({"if": {}, "then": {}})", "the keyword 'if' is not supported"},
  };
  for (auto [schema, message] : cases) {
    auto made = Grammar::fromJsonSchema(schema);
    if (made)
      Grammar::destroy(*made);
    ASSERT_FALSE(made) << schema;
    EXPECT_NE(std::string(made.error().message()).find(message), std::string::npos)
        << schema << ": " << made.error().message();
  }
}

// Between two parts: nothing, a space, or a line break and an indentation. More would let a model go on with it.
TEST(Schema, WhiteSpaceIsBounded) {
  struct Place {
    const char *schema, *before, *after;
  };
  const Place places[] = {
      {R"({"type": "object", "properties": {"a": {"type": "integer"}}})", "{", "}"},
      {R"({"type": "object", "properties": {"a": {"type": "integer"}}})", "{\"a\":", "1}"},
      {R"({"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": false})", "{", "}"},
      {R"({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})", "{\"a\": 1", "}"},
      {R"({"type": "object"})", "{\"b\": 2", ", \"c\": 3}"},
      {R"({"type": "object"})", "{\"b\": 2", "}"},
      {R"({"type": "array", "items": {"type": "integer"}})", "[", "]"},
      {R"({"type": "array", "items": {"type": "integer"}})", "[1,", "2]"},
      {R"({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "integer"}]})", "[", "]"},
      {R"({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "integer"}]})", "[1", "]"},
      {R"({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "integer"}]})", "[1,2", ",3]"},
      {R"({"type": "array", "prefixItems": [{"type": "integer"}], "maxItems": 0})", "[", "]"},
      {R"({"const": {"k": [1, {}]}})", "{\"k\": [1,", "{}]}"},
      {R"({"const": {"k": [1, {}]}})", "{\"k\": [1, {", "}]}"},
  };
  const std::string indent(20, ' ');
  const std::string good[] = {"", " ", "\n", "\n  ", "\n\t", "\n" + indent},
                    bad[] = {"  ", "\t", "\r\n", "\n\n", " \n", "\n" + indent + " ", "\v", std::string(40, ' ')};
  for (const Place &place : places) {
    Owned<Grammar> grammar(*Grammar::fromJsonSchema(place.schema));
    for (const std::string &space : good)
      EXPECT_TRUE(allows(*grammar, place.before + space + place.after)) << place.schema << ": " << space << "|";
    for (const std::string &space : bad)
      EXPECT_FALSE(allows(*grammar, place.before + space + place.after)) << place.schema << ": " << space << "|";
  }
}

TEST(Schema, AnyJsonObject) {
  Owned<Grammar> grammar(*Grammar::jsonObject());
  for (const char *good :
       {"{}", "{ \"a\" : [1, -2.5e-3, {\"b\": null}], \"é\\u0041\\ud83d\\ude00\": true }", "{\"नमस्ते\": \"x\"}"})
    EXPECT_TRUE(allows(*grammar, good)) << good;
  for (const char *bad : {"", "[]", "1", "{\"a\"}", "{\"a\": 01}", "{\"a\": \"\\ud83d\"}", "{\"a\": \"\\x\"}", "{,}",
                          "{\"a\": 1,}", "{}{}", "{\"a\": \"\n\"}"})
    EXPECT_FALSE(allows(*grammar, bad)) << bad;
  std::mt19937 random(5);
  for (int i = 0; i < 20; ++i) {
    std::string text = sample(*grammar, random, 400);
    Arena arena(size_t(1) << 20);
    auto value = text.empty() ? Result<Value>(Value::none()) : parseJson(arena, text);
    EXPECT_TRUE(value) << text << ": " << value.error().message();
  }
}

} // namespace
