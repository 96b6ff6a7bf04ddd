//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/api/Answers.h"
#include "runtime/server/api/EmbeddingJob.h"
#include "runtime/server/http/Log.h"

#include <gtest/gtest.h>
#include <limits>
#include <nlohmann/json.hpp>

using namespace mlc::server;

namespace {

TEST(Answers, TokensOfHalfACharacterAreBytes) {
  EXPECT_EQ(tokenJson(" the"), "\" the\"");
  EXPECT_EQ(tokenJson("\xe2\x82"), R"("bytes:\\xe2\\x82")");
  EXPECT_EQ(tokenJson("\n\""), R"("\n\"")");
}

TEST(Answers, LogprobsAreFiniteAndReadBack) {
  float value = -0.123456789f;
  EXPECT_EQ(std::stof(logprobJson(value)), value);
  EXPECT_EQ(logprobJson(-std::numeric_limits<float>::infinity()), "-9999.0");
  EXPECT_EQ(logprobJson(std::numeric_limits<float>::quiet_NaN()), "-9999.0");
}

TEST(Answers, ChoicesAreOpenAIs) {
  Json text = Json::parse(choiceJson(false, false, 2, "a\"b", "", "stop"));
  EXPECT_EQ(text.dump(), R"({"index":2,"text":"a\"b","logprobs":null,"finish_reason":"stop"})");
  Json chunk = Json::parse(choiceJson(true, true, 0, "x", "", ""));
  EXPECT_EQ(chunk.dump(), R"({"index":0,"delta":{"content":"x"},"logprobs":null,"finish_reason":null})");
  Json last = Json::parse(choiceJson(true, true, 0, "", "", "length"));
  EXPECT_EQ(last.dump(), R"({"index":0,"delta":{},"logprobs":null,"finish_reason":"length"})");
  Json usage = Json::parse(usageJson({7, 3, 5}));
  EXPECT_EQ(usage["total_tokens"], 12);
  EXPECT_EQ(usage["prompt_tokens_details"]["cached_tokens"], 3);
}

TEST(Answers, EventsAreServerSent) { EXPECT_EQ(eventText("{\"a\":1}"), "data: {\"a\":1}\n\n"); }

TEST(Answers, Base64) {
  auto encode = [](std::string_view text) {
    return base64Text({reinterpret_cast<const uint8_t *>(text.data()), text.size()});
  };
  // RFC 4648, section 10.
  EXPECT_EQ(encode(""), "");
  EXPECT_EQ(encode("f"), "Zg==");
  EXPECT_EQ(encode("fo"), "Zm8=");
  EXPECT_EQ(encode("foobar"), "Zm9vYmFy");
}

TEST(Answers, JsonTextSurvivesAnyBytes) {
  EXPECT_EQ(jsonText("a\xff"), "\"a\xef\xbf\xbd\"");
  EXPECT_FALSE(isUtf8("\xc0\x80"));
  EXPECT_TRUE(isUtf8("\xe2\x82\xac"));
}

} // namespace
