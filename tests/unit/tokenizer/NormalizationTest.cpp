//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Normalization forms against utf8proc over random text.
//
#include "runtime/llm/tokenizer/Transform.h"
#include "tests/unit/tokenizer/RandomText.h"
#include "tests/unit/tokenizer/Support.h"

#include <chrono>
#include <gtest/gtest.h>
#include <utf8proc.h>

using namespace mlc;
using namespace mlc::test;

namespace {

class Forms : public testing::TestWithParam<const char *> {
protected:
  void SetUp() override {
    TokenizerModel model;
    model.file = "normalization test";
    model.kind = fb::TokenizerKind::char_bpe;
    model.tokens.resize(1);
    model.tokens[0].text = model.tokens[0].decoded = "a";
    model.tokens[0].present = true;
    TransformStep step;
    step.op = fb::TransformOp::unicode_form;
    step.form = GetParam();
    model.normalizer.push_back(step);
    compiled = compileOrDie(std::move(model));
  }
  std::string ours(const std::string &text) {
    Transformer transformer(compiled.tokenizer->tables(), systemAllocator());
    transformer.limit(text.size() * 64 + 1024);
    Scratch<char> out(systemAllocator());
    bool atStart = true;
    auto changed = transformer.apply(*compiled.tokenizer->tables().tables->normalizer()->Get(0), text, atStart, out);
    EXPECT_TRUE(changed);
    return std::string(*changed);
  }
  std::string theirs(const std::string &text) {
    std::string form = GetParam();
    int options = UTF8PROC_STABLE | (form.back() == 'C' ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) |
                  (form.size() == 4 ? UTF8PROC_COMPAT : 0);
    uint8_t *out = nullptr;
    auto size = utf8proc_map(reinterpret_cast<const uint8_t *>(text.data()), utf8proc_ssize_t(text.size()), &out,
                             utf8proc_option_t(options));
    EXPECT_GE(size, 0);
    std::string result(reinterpret_cast<char *>(out), size_t(size));
    free(out);
    return result;
  }
  Compiled compiled;
};

TEST_P(Forms, EqualUtf8proc) {
  Random random(3);
  unsigned changed = 0;
  for (int i = 0; i < 8000; ++i) {
    std::string text = randomText(random, 1 + below(random, 12));
    std::string expected = theirs(text);
    ASSERT_EQ(ours(text), expected) << text;
    changed += expected != text;
  }
  EXPECT_GT(changed, 1000u);
}

TEST_P(Forms, EveryCharacterEqualsUtf8proc) {
  for (uint32_t code = 1; code < 0x110000; ++code) {
    if (code >= 0xd800 && code < 0xe000)
      continue;
    std::string text = "a" + utf8Of(code) + "\u0301";
    ASSERT_EQ(ours(text), theirs(text)) << std::hex << code;
    code += code > 0x30000 ? 97 : 0;
  }
}

TEST_P(Forms, LongRunsOfMarksStayLinear) {
  std::string text = "a";
  while (text.size() < 600000)
    text += "\u0301\u0323\u0345\u0591";
  auto began = std::chrono::steady_clock::now();
  std::string result = ours(text);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(5));
  EXPECT_GE(result.size() + 4, text.size());
  std::string small = text.substr(0, 401);
  EXPECT_EQ(ours(small), theirs(small));
}

INSTANTIATE_TEST_SUITE_P(All, Forms, testing::Values("NFC", "NFD", "NFKC", "NFKD"),
                         [](const auto &info) { return std::string(info.param); });

} // namespace
