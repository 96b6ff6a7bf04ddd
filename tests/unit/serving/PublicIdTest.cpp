//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/http/PublicId.h"

#include <gtest/gtest.h>

using namespace mlc::server;

namespace {

constexpr PublicId kId{0x0123456789abcdef, 0x8899aabbccddeeff};
const std::string kText = "0123456789abcdef8899aabbccddeeff";

TEST(PublicId, IsWrittenInOneForm) {
  EXPECT_EQ(kId.text(), kText);
  EXPECT_EQ(formatId(kId, IdKind::bare), kText);
  EXPECT_EQ(formatId(kId, IdKind::completion), "cmpl-" + kText);
  EXPECT_EQ(formatId(kId, IdKind::chat, 3), "chatcmpl-" + kText + "-3");
  EXPECT_EQ(PublicId().text(), std::string(32, '0'));
}

TEST(PublicId, FormsOfOneIdMatch) {
  for (const std::string &text :
       {kText, std::string("0123456789ABCDEF8899AABBCCDDEEFF"), std::string("01234567-89ab-cdef-8899-aabbccddeeff"),
        "cmpl-" + kText, "chatcmpl-" + kText, kText + "-0", "chatcmpl-" + kText + "-127",
        std::string("cmpl-01234567-89AB-CDEF-8899-AABBCCDDEEFF-4294967295")}) {
    auto parsed = parseId(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_EQ(parsed->id, kId) << text;
    // What is written again has lost its form, nothing else.
    auto again = parseId(formatId(parsed->id, parsed->kind, parsed->choice));
    ASSERT_TRUE(again) << text;
    EXPECT_EQ(again->kind, parsed->kind);
    EXPECT_EQ(again->choice, parsed->choice);
  }
  EXPECT_EQ(parseId("chatcmpl-" + kText + "-127")->choice, 127u);
  EXPECT_EQ(parseId("chatcmpl-" + kText + "-127")->kind, IdKind::chat);
  EXPECT_EQ(parseId("cmpl-" + kText)->kind, IdKind::completion);
  EXPECT_FALSE(parseId(kText)->choice);
}

TEST(PublicId, OthersAreNone) {
  for (const std::string &text : {std::string(),
                                  std::string("cmpl-"),
                                  kText.substr(1),
                                  kText + "0",
                                  "embd-" + kText,
                                  "cmpl-chatcmpl-" + kText,
                                  "cmpl-cmpl-" + kText,
                                  "CMPL-" + kText,
                                  kText + "-",
                                  kText + "-01",
                                  kText + "-+1",
                                  kText + "-1-2",
                                  kText + "-4294967296",
                                  kText + "-99999999999999999999",
                                  " " + kText,
                                  kText + " ",
                                  kText + "-1 ",
                                  std::string("0123456789abcdef8899aabbccddeefg"),
                                  std::string("01234567-89abcdef-8899-aabbccddeeff"),
                                  std::string("01234567-89ab-cdef-8899aabbccddeeff"),
                                  std::string("0123-4567-89ab-cdef-8899-aabbccddeeff"),
                                  std::string("01234567-"),
                                  std::string("{01234567-89ab-cdef-8899-aabbccddeeff}")})
    EXPECT_FALSE(parseId(text)) << text;
}

TEST(PublicId, FreshOnesDiffer) {
  PublicId a = PublicId::fresh(), b = PublicId::fresh();
  EXPECT_NE(a, b);
  EXPECT_EQ(a.text()[12], '4');
  EXPECT_EQ(parseId(a.text())->id, a);
}

} // namespace
