//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Encoding and decoding beyond what the recorded cases show: streams, special tokens, errors, sources that are refused.
//
#include "compiler/Tokenizer/SourceParts.h"
#include "tests/unit/tokenizer/RandomText.h"
#include "tests/unit/tokenizer/Support.h"

#include "runtime/llm/tokenizer/Utf8.h"

#include <chrono>
#include <gtest/gtest.h>

using namespace mlc;
using namespace mlc::test;

namespace {

Compiled compiledOf(const std::string &name) {
  return compileOrDie(readHuggingFaceTokenizer(std::string(MLC_TOKENIZER_DATA) + "/" + name));
}

TEST(Decoder, StreamsWholeCharacters) {
  Random random(5);
  for (const char *name : {"llama3", "spm-bpe", "starcoder"}) {
    Compiled compiled = compiledOf(name);
    for (int i = 0; i < 50; ++i) {
      std::string text = randomText(random, 12);
      auto ids = compiled.encode(text, {true, true});
      // Half of the streams lose tokens, so that characters break off.
      if (i % 2)
        for (size_t k = 0; k < ids.size(); k += 3)
          ids.erase(ids.begin() + long(k));
      std::string whole = compiled.decode(ids, true), streamed;
      Decoder decoder(*compiled.tokenizer);
      for (uint32_t id : ids) {
        std::string part;
        ASSERT_TRUE(decoder.feed(id, sinkTo(part)));
        ASSERT_EQ(validUtf8(part), part.size());
        streamed += part;
      }
      std::string rest;
      decoder.flush(sinkTo(rest));
      ASSERT_EQ(validUtf8(rest), rest.size());
      EXPECT_EQ(streamed + rest, whole);
    }
  }
}

TEST(Decoder, MarksInvalidParts) {
  Compiled compiled = compiledOf("llama3");
  auto byte = [&](uint8_t value) { return compiled.tokenizer->findToken(std::string(1, char(value))); };
  const std::string mark = "\xef\xbf\xbd";
  EXPECT_EQ(compiled.decode({byte(0xe0), byte('a')}, true), mark + "a");
  EXPECT_EQ(compiled.decode({byte(0xf0), byte(0x9f), byte(0x98)}, true), mark);
  EXPECT_EQ(compiled.decode({byte(0xff), byte(0xc0), byte('b')}, true), mark + mark + "b");
  EXPECT_EQ(compiled.decode({byte(0xe2), byte(0x96), byte(0x81)}, true), "\xe2\x96\x81");
  // A surrogate: three bytes that never go together.
  EXPECT_EQ(compiled.decode({byte(0xed), byte(0xa0), byte(0x80)}, true), mark + mark + mark);
}

TEST(Decoder, RefusesIdsBeyondTheVocabulary) {
  Compiled compiled = compiledOf("llama3");
  std::string text;
  Status done = Decoder(*compiled.tokenizer).feed(compiled.tokenizer->vocabSize(), sinkTo(text));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code(), ErrorCode::OutOfRange);
}

TEST(Decoder, TakesTheDummySpaceOffTheStartOnly) {
  Compiled compiled = compiledOf("spm-bpe");
  auto ids = compiled.encode("the king  is", {true, true});
  EXPECT_EQ(compiled.decode(ids, true), "the king  is");
  Decoder decoder(*compiled.tokenizer);
  std::string text;
  for (int round = 0; round < 2; ++round) {
    for (uint32_t id : ids)
      ASSERT_TRUE(decoder.feed(id, sinkTo(text)));
    decoder.flush(sinkTo(text));
  }
  EXPECT_EQ(text, "the king  isthe king  is");
}

TEST(Encoder, ParsesSpecialTextOnlyWhenAsked) {
  Compiled compiled = compiledOf("llama3");
  uint32_t eot = compiled.tokenizer->findToken("<|eot|>"), bos = compiled.tokenizer->findToken("<|bos|>");
  EXPECT_TRUE(compiled.tokenizer->isSpecial(eot));
  auto ids = compiled.encode("a<|eot|>b", {false, true});
  EXPECT_EQ(std::count(ids.begin(), ids.end(), eot), 1);
  ids = compiled.encode("a<|eot|>b", {false, false});
  EXPECT_EQ(std::count(ids.begin(), ids.end(), eot), 0);
  EXPECT_EQ(compiled.decode(ids, true), "a<|eot|>b");
  EXPECT_EQ(compiled.encode("", {true, true}), std::vector<uint32_t>{bos});
  EXPECT_EQ(compiled.encode("", {false, true}), std::vector<uint32_t>{});
}

TEST(Encoder, RefusesTextThatIsNotUtf8) {
  Compiled compiled = compiledOf("llama3");
  for (std::string bad : {"abc\xff", "abc\xc3", "abc\xed\xa0\x80", "abc\xf4\x90\x80\x80", "abc\xc0\x80", "abc\x80"}) {
    auto ids = compiled.encoder->encode(bad);
    ASSERT_FALSE(ids);
    EXPECT_NE(std::string(ids.error().message()).find("offset 3"), std::string::npos) << ids.error().message();
  }
}

TEST(Encoder, SameAnswerFromTheCacheAndFresh) {
  Random random(6);
  for (const char *name : {"llama3", "spm-bpe", "unigram", "falcon"}) {
    Compiled compiled = compiledOf(name);
    for (int i = 0; i < 200; ++i) {
      std::string text = randomText(random, 8);
      auto first = compiled.encode(text);
      EXPECT_EQ(compiled.encode(text), first);
      Compiled fresh = viewOrDie(compiled.buffer);
      EXPECT_EQ(fresh.encode(text), first);
      if (i > 20)
        break;
    }
  }
}

/// Texts that make naive merging, matching or normalizing quadratic: 10^11 steps would be.
TEST(Encoder, NoTextIsQuadratic) {
  for (const char *name : {"llama3", "deepseek", "starcoder", "spm-bpe", "spm-unigram", "unigram-lower"}) {
    Compiled compiled = compiledOf(name);
    for (const char *part :
         {"a", " ", "\n", "\U0001f600", "\u0301\u0323", " <mask", "<|bos|>", "'", "the", " \n", "1"}) {
      std::string text;
      while (text.size() < 300000)
        text += part;
      auto began = std::chrono::steady_clock::now();
      auto ids = compiled.encode(text + "x");
      EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(10)) << name << " " << part;
      EXPECT_FALSE(ids.empty());
    }
  }
}

TEST(Tables, LookupsAgree) {
  for (const char *name : {"llama3", "spm-bpe", "unigram"}) {
    Compiled compiled = compiledOf(name);
    for (uint32_t id = 0; id < compiled.tokenizer->vocabSize(); ++id)
      EXPECT_EQ(compiled.tokenizer->findToken(compiled.tokenizer->tokenText(id)), id);
    EXPECT_EQ(compiled.tokenizer->findToken("no such token"), Tokenizer::none);
    EXPECT_EQ(compiled.tokenizer->findToken(""), Tokenizer::none);
  }
}

TEST(Tables, AreTheSameEveryTimeAndPadToTheModel) {
  auto model = readHuggingFaceTokenizer(std::string(MLC_TOKENIZER_DATA) + "/spm-bpe");
  ASSERT_TRUE(bool(model));
  auto first = llvm::cantFail(buildTokenizerBuffer(*model)), second = llvm::cantFail(buildTokenizerBuffer(*model));
  EXPECT_EQ(first, second);
  uint32_t tokens = uint32_t(model->tokens.size());
  Compiled padded = viewOrDie(llvm::cantFail(buildTokenizerBuffer(*model, tokens + 64)), tokens + 64);
  Compiled plain = viewOrDie(first);
  EXPECT_EQ(padded.tokenizer->vocabSize(), tokens + 64);
  EXPECT_TRUE(padded.tokenizer->isHole(tokens + 1));
  EXPECT_EQ(padded.decode({tokens + 1}, true), "");
  std::string text = "To be, or not to be \u00e9\U0001f600";
  EXPECT_EQ(padded.encode(text), plain.encode(text));
  auto small = buildTokenizerBuffer(*model, tokens - 1);
  ASSERT_FALSE(bool(small));
  EXPECT_NE(llvm::toString(small.takeError()).find("more than the model's vocabulary"), std::string::npos);
}

/// A tokenizer.json with one member replaced.
std::string variant(const std::string &name, const std::function<void(nlohmann::json &)> &change) {
  auto root = llvm::cantFail(
      parseJson("t", llvm::cantFail(readWhole(std::string(MLC_TOKENIZER_DATA) + "/" + name + "/tokenizer.json"))));
  change(root);
  return root.dump();
}

TEST(TokenizerJson, RefusesByName) {
  using nlohmann::json;
  const std::pair<const char *, std::function<void(json &)>> changes[] = {
      {"model \"WordPiece\" is not supported", [](json &j) { j["model"]["type"] = "WordPiece"; }},
      {"dropout is not supported", [](json &j) { j["model"]["dropout"] = 0.1; }},
      {"end_of_word_suffix is not supported", [](json &j) { j["model"]["end_of_word_suffix"] = "</w>"; }},
      {"the member \"novelty\" is not supported", [](json &j) { j["model"]["novelty"] = 1; }},
      {"normalizer \"BertNormalizer\" is not supported",
       [](json &j) { j["normalizer"] = {{"type", "BertNormalizer"}}; }},
      {"pre_tokenizer \"UnicodeScripts\" is not supported",
       [](json &j) { j["pre_tokenizer"]["pretokenizers"].push_back({{"type", "UnicodeScripts"}}); }},
      {"decoder \"CTC\" is not supported", [](json &j) { j["decoder"] = {{"type", "CTC"}}; }},
      {"without a decoder is not supported", [](json &j) { j["decoder"] = nullptr; }},
      {"post_processor \"Novel\" is not supported", [](json &j) { j["post_processor"] = {{"type", "Novel"}}; }},
      {"names a token that is not in vocab", [](json &j) { j["model"]["merges"].push_back("zzzz qqqq"); }},
      {"two tokens have id 5", [](json &j) { j["model"]["vocab"]["fresh"] = 5; }},
      {"is far beyond the number of tokens", [](json &j) { j["model"]["vocab"]["fresh"] = uint64_t(1) << 60; }},
      {"the id of \"fresh\" is not a number", [](json &j) { j["model"]["vocab"]["fresh"] = -1; }},
      {"lookahead of more than one",
       [](json &j) { j["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "a(?!bc)"; }},
      {"pattern \"a*|\\x0ab\": a pattern that matches the empty text is not supported",
       [](json &j) { j["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "a*|\nb"; }},
      {"behavior \"Sideways\" is not supported",
       [](json &j) { j["pre_tokenizer"]["pretokenizers"][0]["behavior"] = "Sideways"; }},
      {"added_tokens: an entry without a content", [](json &j) { j["added_tokens"][0].erase("content"); }},
      {"has no ids", [](json &j) { j["post_processor"]["processors"][1]["special_tokens"] = json::object(); }},
      {"vocab is not an object", [](json &j) { j["model"]["vocab"] = 3; }},
      {"no \"model\"", [](json &j) { j.erase("model"); }}};
  for (const auto &[message, change] : changes) {
    auto compile = [&]() -> llvm::Expected<std::vector<uint8_t>> {
      auto model = readTokenizerJson("some.json", variant("llama3", change));
      if (!model)
        return model.takeError();
      return buildTokenizerBuffer(*model);
    };
    auto buffer = compile();
    ASSERT_FALSE(bool(buffer)) << message;
    std::string text = llvm::toString(buffer.takeError());
    EXPECT_NE(text.find(message), std::string::npos) << text << " is not " << message;
    EXPECT_EQ(text.find("some.json: "), 0u) << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
  }
}

TEST(SentencePiece, RefusesDamage) {
  std::string good = llvm::cantFail(readWhole(std::string(MLC_TOKENIZER_DATA) + "/spm-unigram/tokenizer.model"));
  for (size_t size = 0; size < good.size(); size += 1 + size / 7) {
    auto model = parseSentencePiece("x.model", good.substr(0, size));
    if (!model)
      EXPECT_EQ(llvm::toString(model.takeError()).find("x.model: "), 0u);
  }
  Random random(8);
  for (int i = 0; i < 300; ++i) {
    std::string bad = good;
    for (int k = 0; k < 3; ++k)
      bad[below(random, bad.size())] = char(random());
    auto model = parseSentencePiece("x.model", bad);
    if (!model) {
      llvm::consumeError(model.takeError());
      continue;
    }
    auto buffer = buildTokenizerBuffer(*model);
    if (!buffer)
      llvm::consumeError(buffer.takeError());
  }
}

GgufTokenizerFields tinyGguf() {
  GgufTokenizerFields fields;
  fields.model = "llama";
  fields.tokens = {"<unk>",
                   "<s>",
                   "</s>",
                   "<0x41>",
                   "\xe2\x96\x81",
                   "a",
                   "b",
                   "ab",
                   "\xe2\x96\x81"
                   "ab",
                   "<turn>"};
  fields.types = {2, 3, 3, 6, 1, 1, 1, 1, 1, 4};
  fields.scores = {0, 0, 0, 0, -3, -4, -5, -1, -2, 0};
  return fields;
}

TEST(Gguf, SentencePieceFields) {
  Compiled compiled = compileOrDie(fromGguf(tinyGguf(), "x.gguf"));
  EXPECT_EQ(compiled.encode("ab"), (std::vector<uint32_t>{1, 8}));
  EXPECT_EQ(compiled.encode("Aab", {false, true}), (std::vector<uint32_t>{4, 3, 7}));
  EXPECT_EQ(compiled.encode("ab<turn>ab</s>", {false, true}), (std::vector<uint32_t>{8, 9, 8, 2}));
  EXPECT_EQ(compiled.encode("ab<turn>", {false, false}).size(), 2u);
  EXPECT_EQ(compiled.decode({1, 8, 8}, true), "ab ab");
  EXPECT_EQ(compiled.tokenizer->eos(), 2u);
}

TEST(Gguf, RefusesByName) {
  const std::pair<const char *, std::function<void(GgufTokenizerFields &)>> changes[] = {
      {"tokenizer.ggml.model \"bert\"", [](auto &f) { f.model = "bert"; }},
      {"tokenizer.ggml.pre \"novel\"", [](auto &f) { f.model = "gpt2", f.pre = "novel"; }},
      {"1 scores for 10 tokens", [](auto &f) { f.scores = {1}; }},
      {"1 types for 10 tokens", [](auto &f) { f.types = {1}; }},
      {"eos_token_id: 99 is no token", [](auto &f) { f.eos = 99; }},
      {"type 9 of token 0 is unknown", [](auto &f) { f.types[0] = 9; }},
      {"byte token \"a\"", [](auto &f) { f.types[5] = 6; }},
      {"token 4 is not UTF-8", [](auto &f) { f.tokens[4] = "\xff"; }},
      {"score 4 is no number", [](auto &f) { f.scores[4] = NAN; }},
      {"0 tokens", [](auto &f) { f.tokens.clear(); }}};
  for (const auto &[message, change] : changes) {
    GgufTokenizerFields fields = tinyGguf();
    change(fields);
    auto model = fromGguf(fields, "x.gguf");
    ASSERT_FALSE(bool(model)) << message;
    EXPECT_NE(llvm::toString(model.takeError()).find(message), std::string::npos) << message;
  }
}

} // namespace
