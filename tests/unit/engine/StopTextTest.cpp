//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The text of answers, against a reference that looks at the whole text after every token.
//
#include "runtime/llm/tokenizer/Utf8.h"
#include "runtime/server/engine/AnswerText.h"
#include "tests/unit/engine/EngineSupport.h"

namespace mlc::server {
namespace {

using namespace mlc::test;

constexpr unsigned kVocab = 11; // Texts of a, b, spaces and parts of characters: stops are met often.

struct Tables {
  Tables()
      : served([] {
          TinyOptions tiny = servedOptions();
          tiny.vocab = kVocab;
          return tiny;
        }()) {}
  ServedModel served;
  const Tokenizer &tokenizer() const { return *served.model->tokenizer(); }
};

struct Expected {
  std::string text;
  int32_t stop = -1;
  bool replaced = false; // Bytes that are no character stood in it.
  size_t tokens = 0;     // Of the answer, the one that completes the stop included.
};

/// Decodes ever longer beginnings; of the stops that end first the one that begins first counts.
Expected reference(const Tokenizer &tokenizer, std::span<const int32_t> tokens, std::span<const std::string> stops) {
  Expected expected;
  std::string text;
  TextSink sink{[](void *to, std::string_view piece) { static_cast<std::string *>(to)->append(piece); }, &text};
  Decoder decoder(tokenizer);
  auto look = [&] {
    for (size_t end = 0; end <= text.size() && expected.stop < 0; ++end)
      for (size_t begin = 0; begin < end && expected.stop < 0; ++begin)
        for (size_t i = 0; i < stops.size(); ++i)
          if (text.substr(begin, end - begin) == stops[i] && expected.stop < 0) {
            expected.stop = int32_t(i);
            expected.text = text.substr(0, begin);
          }
  };
  for (int32_t token : tokens) {
    (void)decoder.feed(uint32_t(token), sink);
    ++expected.tokens;
    look();
    if (expected.stop >= 0)
      return expected;
  }
  decoder.flush(sink);
  expected.replaced = text.find("\xef\xbf\xbd") != std::string::npos;
  look();
  if (expected.stop < 0)
    expected.text = text;
  expected.stop = -1; // The end came before the stop.
  return expected;
}

TEST(EngineText, StopsAgainstAReference) {
  Tables tables;
  std::mt19937 random(31);
  size_t stopped = 0;
  for (int round = 0; round < 4000; ++round) {
    std::vector<std::string> stops;
    for (size_t i = random() % 4; i-- > 0;) {
      std::string stop;
      const char *parts[] = {"a", "b", " ", "\xc3\xa9", "\xe2\x96\x81", "ab", "\xef\xbf\xbd"};
      for (size_t k = 1 + random() % 6; k-- > 0;)
        stop += parts[random() % 7];
      if (std::find(stops.begin(), stops.end(), stop) == stops.end())
        stops.push_back(stop);
    }
    std::vector<int32_t> tokens = randomTokens(random, 1 + random() % 24, kVocab);
    Expected expected = reference(tables.tokenizer(), tokens, stops);
    AnswerText answer(&tables.tokenizer(), true, stops);
    Release all;
    int32_t stop = -1;
    size_t taken = 0;
    while (stop < 0 && taken < tokens.size()) {
      Release released;
      TokenRecord record;
      record.token = tokens[taken++];
      stop = answer.add(std::move(record), released);
      all.text += released.text;
      std::move(released.tokens.begin(), released.tokens.end(), std::back_inserter(all.tokens));
      // What was sent is a part of the answer at any time, in whole characters.
      ASSERT_EQ(expected.text.substr(0, all.text.size()), all.text);
      ASSERT_EQ(validUtf8(all.text), all.text.size());
    }
    if (stop < 0) {
      Release released;
      answer.finish(released);
      all.text += released.text;
      std::move(released.tokens.begin(), released.tokens.end(), std::back_inserter(all.tokens));
    }
    stopped += stop >= 0;
    ASSERT_EQ(stop, expected.stop);
    ASSERT_EQ(all.text, expected.text);
    ASSERT_EQ(taken, expected.tokens);
    // Tokens come in order, each once, at rising offsets; those of a stop text do not come.
    uint64_t offset = 0;
    for (size_t i = 0; i < all.tokens.size(); ++i) {
      ASSERT_EQ(all.tokens[i].token, tokens[i]);
      ASSERT_GE(all.tokens[i].textOffset, offset);
      ASSERT_LE(all.tokens[i].textOffset, countCharacters(all.text));
      offset = all.tokens[i].textOffset;
    }
    if (stop < 0 && !expected.replaced) {
      std::string bytes;
      for (const TokenRecord &record : all.tokens)
        bytes += record.token == kEndToken ? "" : record.bytes;
      ASSERT_EQ(bytes, all.text);
    }
  }
  EXPECT_GT(stopped, 500u);
}

TEST(EngineText, ATokenThatReachesIntoAStopIsCut) {
  Tables tables;
  std::vector<std::string> stops = {"bba"};
  AnswerText answer(&tables.tokenizer(), true, stops);
  auto add = [&](int32_t token, Release &released) {
    TokenRecord record;
    record.token = token;
    return answer.add(std::move(record), released);
  };
  Release first, second, third;
  EXPECT_EQ(add(5, first), -1); // "ab", of which b may begin the stop.
  EXPECT_EQ(first.text, "a");
  EXPECT_TRUE(first.tokens.empty());
  EXPECT_EQ(add(6, second), 0); // "ba"
  EXPECT_EQ(second.text, "");
  ASSERT_EQ(second.tokens.size(), 1u);
  EXPECT_EQ(second.tokens[0].token, 5);
  EXPECT_EQ(second.tokens[0].bytes, "a");
}

TEST(EngineText, AnAnswerCompletesThePromptsCharacter) {
  Tables tables;
  AnswerText answer(&tables.tokenizer(), true, {});
  std::string text;
  std::vector<int32_t> prompt = {8, 0}; // a and half of U+00E9
  std::vector<TokenRecord> records(2);
  answer.setPrompt(prompt, true, text, records);
  EXPECT_EQ(text, "a");
  EXPECT_EQ(records[1].textOffset, 1u);
  Release released;
  TokenRecord record;
  record.token = 1;
  EXPECT_EQ(answer.add(std::move(record), released), -1);
  EXPECT_EQ(released.text, "\xc3\xa9");
  EXPECT_EQ(released.tokens[0].textOffset, 1u);
}

TEST(EngineText, StopsReachClientsWhole) {
  ServedModel served;
  std::unique_ptr<Engine> engine = makeEngine(*served.model);
  std::mt19937 random(32);
  size_t stopped = 0;
  for (int round = 0; round < 40; ++round) {
    Request request = makeRequest(randomTokens(random, 5, 67), 40);
    request.sampling.temperature = 2;
    request.sampling.seed = uint64_t(round);
    request.ignoreEnd = true;
    std::vector<int32_t> tokens = soloAnswer(*served.model, request);
    std::string whole;
    TextSink sink{[](void *to, std::string_view piece) { static_cast<std::string *>(to)->append(piece); }, &whole};
    Decoder decoder(*served.model->tokenizer());
    for (int32_t token : request.prompt)
      (void)decoder.feed(uint32_t(token), sink);
    whole.clear();
    for (int32_t token : tokens)
      (void)decoder.feed(uint32_t(token), sink);
    size_t begin = whole.size() / 3;
    while (begin < whole.size() && (whole[begin] & 0xc0) == 0x80)
      ++begin;
    std::string stop = whole.substr(begin, 3);
    if (validUtf8(stop) != stop.size() || stop.empty())
      continue;
    ++stopped;
    request.stops = {stop};
    auto recorder = submit(*engine, std::move(request));
    recorder->wait();
    EXPECT_EQ(recorder->choices[0].text, whole.substr(0, whole.find(stop)));
    EXPECT_EQ(recorder->choices[0].end.stopIndex, 0);
    EXPECT_EQ(recorder->choices[0].end.reason, FinishReason::stop);
  }
  EXPECT_GT(stopped, 20u);
}

} // namespace
} // namespace mlc::server
