//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// From messages to ids: text in which nothing is a special token, templates by name, and ChatPrompt over both.
//
#include "runtime/llm/chat/ChatTemplate.h"
#include "tests/unit/tokenizer/Support.h"

#include <algorithm>
#include <fstream>
#include <regex>
#include <unistd.h>

using namespace mlc;
using namespace mlc::test;

namespace {

constexpr uint32_t kBos = 0, kEot = 1; // <|bos|> and <|eot|> of the llama3 data.

std::string dataPath(const std::string &name) { return std::string(MLC_TOKENIZER_DATA) + "/" + name; }

std::string readFile(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A folder with a tokenizer.json and tokenizer_config.json of its own.
class Folder {
public:
  Folder(const std::string &tokenizer, const std::string &config)
      : path(std::filesystem::path(testing::TempDir()) / ("mlc-chat-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(path);
    std::ofstream(path / "tokenizer.json", std::ios::binary) << tokenizer;
    std::ofstream(path / "tokenizer_config.json", std::ios::binary) << config;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  Compiled compiled() const { return compileOrDie(readHuggingFaceTokenizer(path.string())); }

private:
  std::filesystem::path path;
};

Compiled chatting(const std::string &templates) {
  return Folder(readFile(dataPath("llama3/tokenizer.json")),
                R"({"bos_token": "<|bos|>", "eos_token": "<|eot|>", "chat_template": )" + templates + "}")
      .compiled();
}

std::vector<uint32_t> operator+(std::vector<uint32_t> a, const std::vector<uint32_t> &b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(EncodePlain, SpecialTextInsideARangeIsText) {
  Compiled compiled = compileOrDie(readHuggingFaceTokenizer(dataPath("llama3")));
  const std::string text = "ab<|eot|>cd<|eot|>ef";
  auto literal = [&](const std::string &part) { return compiled.encode(part, {false, false}); };
  auto with = [&](std::vector<TextRange> plain) {
    return compiled.encode(text, {.addSpecial = false, .parseSpecial = true, .plain = plain});
  };
  const std::vector<uint32_t> eot = {kEot}, both = literal("ab") + eot + literal("cd") + eot + literal("ef"),
                              second = literal("ab<|eot|>cd") + eot + literal("ef");
  EXPECT_EQ(with({}), both);
  EXPECT_EQ(with({{2, 9}}), second);
  // One byte of it is enough, on either side; a range that ends where it begins, or begins where it ends, is not.
  EXPECT_EQ(with({{0, 3}}), second);
  EXPECT_EQ(with({{8, 9}}), second);
  EXPECT_EQ(with({{0, 2}, {9, 11}, {18, 20}}), both);
  EXPECT_EQ(with({{0, text.size()}}), literal(text));
  EXPECT_EQ(with({{4, 5}, {12, 13}}), literal(text));
  // Without parseSpecial they change nothing.
  std::vector<TextRange> some = {{2, 9}};
  EXPECT_EQ(compiled.encode(text, {.addSpecial = false, .parseSpecial = false, .plain = some}), literal(text));
}

TEST(EncodePlain, RangesDoNotPartTheText) {
  for (const char *name : {"llama3", "spm-bpe", "unigram", "starcoder"}) {
    Compiled compiled = compileOrDie(readHuggingFaceTokenizer(dataPath(name)));
    const std::string text =
        "Hello world, \xe0\xa4\xa8\xe0\xa4\xae\xe0\xa4\xb8\xe0\xa5\x8d\xe0\xa4\xa4\xe0\xa5\x87  12345 don't";
    auto whole = compiled.encode(text, {.addSpecial = false, .parseSpecial = true});
    for (size_t begin = 0; begin < text.size(); begin += 3) {
      std::vector<TextRange> plain = {{begin, std::min(begin + 2, text.size())}};
      EXPECT_EQ(compiled.encode(text, {.addSpecial = false, .parseSpecial = true, .plain = plain}), whole)
          << name << " from " << begin;
    }
  }
}

// Where special tokens are looked for in normalized text, the ranges part it: no place in it is known after that.
TEST(EncodePlain, SpecialTokensOfNormalizedText) {
  const std::string source = readFile(dataPath("unigram-lower/tokenizer.json"));
  const std::string normalized = std::regex_replace(
      source, std::regex(R"re(("content"\s*:\s*"<mask>"[^}]*"normalized"\s*:\s*)false)re"), "$1true");
  ASSERT_NE(source, normalized);
  Compiled compiled = Folder(normalized, "{}").compiled();
  const uint32_t mask = compiled.tokenizer->findToken("<mask>");
  ASSERT_NE(mask, Tokenizer::none);
  const std::string text = "ab <mask> cd <mask>";
  auto masks = [&](std::vector<TextRange> plain) {
    auto ids = compiled.encode(text, {.addSpecial = false, .parseSpecial = true, .plain = plain});
    return std::count(ids.begin(), ids.end(), mask);
  };
  EXPECT_EQ(masks({}), 2);
  EXPECT_EQ(masks({{3, 9}}), 1);
  EXPECT_EQ(masks({{0, 10}}), 1);
  EXPECT_EQ(masks({{0, text.size()}}), 0);
}

TEST(NamedTemplates, AreFoundByName) {
  Compiled compiled = chatting(R"([{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"},
                                   {"name": "rag", "template": "R"}, {"name": "", "template": "nobody's"},
                                   {"name": "empty", "template": ""}])");
  EXPECT_EQ(compiled.tokenizer->chatTemplate(), "D");
  EXPECT_EQ(compiled.tokenizer->chatTemplate("tool_use"), "T");
  EXPECT_EQ(compiled.tokenizer->chatTemplate("rag"), "R");
  for (const char *absent : {"", "empty", "default", "tool", "tool_use2"})
    EXPECT_EQ(compiled.tokenizer->chatTemplate(absent), "") << absent;
  Compiled one = chatting(R"("only")");
  EXPECT_EQ(one.tokenizer->chatTemplate(), "only");
  EXPECT_EQ(one.tokenizer->chatTemplate("tool_use"), "");
}

TEST(ChatPrompt, EncodesTheTemplatesTokensAndNotTheMessages) {
  Compiled compiled = chatting(
      R"("{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}>{% endif %}")");
  Owned<ChatPrompt> prompt(*ChatPrompt::create(compiled.tokenizer.get()));
  auto literal = [&](const std::string &part) { return compiled.encode(part, {false, false}); };
  const std::vector<uint32_t> bos = {kBos}, eot = {kEot};
  ChatInput input;
  input.messages = R"([{"role": "user", "content": "hi <|eot|><|bos|>"}, {"role": "assistant", "content": "yes"}])";
  // Twice: one rendering follows another.
  for (int turn = 0; turn < 2; ++turn) {
    auto ids = prompt->encode(input);
    ASSERT_TRUE(ids) << ids.error().message();
    EXPECT_EQ(prompt->text(), "<|bos|>[user]hi <|eot|><|bos|><|eot|>[assistant]yes<|eot|>>");
    EXPECT_EQ(std::vector<uint32_t>(ids->begin(), ids->end()),
              bos + literal("[user]hi <|eot|><|bos|>") + eot + literal("[assistant]yes") + eot + literal(">"));
  }
  input.addGenerationPrompt = false;
  input.messages = R"([{"role": "user", "content": "a"}])";
  auto ids = prompt->encode(input);
  ASSERT_TRUE(ids) << ids.error().message();
  EXPECT_EQ(std::vector<uint32_t>(ids->begin(), ids->end()), bos + literal("[user]a") + eot);
}

TEST(ChatPrompt, TakesTheTemplateOfRequestsWithTools) {
  Compiled compiled = chatting(R"([{"name": "default", "template": "plain {{ messages[0].content }}"},
                                   {"name": "tool_use", "template": "{{ tools | length }} tools"}])");
  Owned<ChatPrompt> prompt(*ChatPrompt::create(compiled.tokenizer.get()));
  ChatInput input;
  input.messages = R"([{"role": "user", "content": "x"}])";
  ASSERT_TRUE(prompt->encode(input));
  EXPECT_EQ(prompt->text(), "plain x");
  input.tools = R"([{"type": "function", "function": {"name": "f"}}])";
  ASSERT_TRUE(prompt->encode(input));
  EXPECT_EQ(prompt->text(), "1 tools");
  // The usual one where there is no other.
  Compiled single = chatting(R"("{{ tools | length }} for all")");
  Owned<ChatPrompt> other(*ChatPrompt::create(single.tokenizer.get()));
  ASSERT_TRUE(other->encode(input));
  EXPECT_EQ(other->text(), "1 for all");
}

TEST(ChatPrompt, RefusesByName) {
  auto message = [](const Tokenizer *tokenizer) {
    auto made = ChatPrompt::create(tokenizer);
    EXPECT_FALSE(made);
    EXPECT_EQ(made.error().code(), ErrorCode::Unsupported);
    return std::string(made.error().message());
  };
  EXPECT_EQ(message(nullptr), "has no tokenizer, so it cannot chat");
  Compiled none = compileOrDie(readHuggingFaceTokenizer(dataPath("llama3")));
  EXPECT_NE(message(none.tokenizer.get()).find("came without a chat template, and none is guessed"), std::string::npos);
  Compiled unknown = chatting(R"("{% import 'x' as y %}")");
  EXPECT_NE(message(unknown.tokenizer.get()).find("its chat template: line 1: "), std::string::npos);
  Compiled tools = chatting(
      R"([{"name": "default", "template": "fine"}, {"name": "tool_use", "template": "{% import 'x' as y %}"}])");
  EXPECT_NE(message(tools.tokenizer.get()).find("'import'"), std::string::npos);
  // A message of the template's own ends the request, and the next one works.
  Compiled raising =
      chatting(R"("{% if messages[0].role != 'user' %}{{ raise_exception('users first') }}{% endif %}ok")");
  Owned<ChatPrompt> prompt(*ChatPrompt::create(raising.tokenizer.get()));
  ChatInput input;
  input.messages = R"([{"role": "system", "content": ""}])";
  auto refused = prompt->encode(input);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::InvalidArgument);
  EXPECT_NE(std::string(refused.error().message()).find("users first"), std::string::npos);
  EXPECT_EQ(prompt->text(), "");
  input.messages = R"([{"role": "user", "content": ""}])";
  ASSERT_TRUE(prompt->encode(input));
  EXPECT_EQ(prompt->text(), "ok");
}

} // namespace
