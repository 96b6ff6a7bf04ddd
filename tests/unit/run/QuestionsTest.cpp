//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Lines of a file of questions: what is read, and what is refused by column or key.
//
#include "runtime/run/Questions.h"
#include "runtime/run/JsonReader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string>

using namespace mlc::cli;
using testing::HasSubstr;

TEST(Questions, AreReadInAnyOrderAmongOtherKeys) {
  Question question;
  mlc::Status parsed =
      parseQuestion(R"( {"id": -1.5e+3, "more": {"a": [1, {"b": null}, []], "c": "\\\"}"}, "answer": 2,)"
                    R"("choices": ["\u00e9\ud83d\ude00", " b", "\n\t"], "context" : "Q: \"x\"\/" } )",
                    question);
  ASSERT_TRUE(bool(parsed)) << parsed.error().message();
  EXPECT_EQ(question.context.view(), "Q: \"x\"/");
  ASSERT_EQ(question.choices(), 3u);
  EXPECT_EQ(question.choice(0), "\u00e9\U0001F600");
  EXPECT_EQ(question.choice(1), " b");
  EXPECT_EQ(question.choice(2), "\n\t");
  EXPECT_EQ(question.answer, 2u);
}

TEST(Questions, LengthCountsCharactersBehindTheSpace) {
  EXPECT_EQ(choiceLength(" Paris"), 5u);
  EXPECT_EQ(choiceLength("\u00a0\u00e9 \U0001F600 "), 4u);
  EXPECT_EQ(choiceLength(" \n"), 1u);
}

TEST(Questions, MistakesAreNamed) {
  std::pair<std::string, const char *> cases[] = {
      {"", "column 1: an object is expected"},
      {"[]", "column 1: an object is expected"},
      {R"({"context": "a", "choices": ["b", "c"]})", "\"answer\" is missing"},
      {R"({"context": "a", "answer": 0})", "\"choices\" is missing"},
      {R"({"choices": ["b", "c"], "answer": 0})", "\"context\" is missing"},
      {R"({"context": 3})", "column 13: \"context\": a string is expected"},
      {R"({"context": "a", "context": "a"})", "\"context\" is there twice"},
      {R"({"context": "a", "choices": "b"})", "\"choices\": a list of strings is expected"},
      {R"({"context": "a", "choices": ["b", 1], "answer": 0})", "column 35: \"choices\": a string is expected"},
      {R"({"context": "a", "choices": ["b"], "answer": 0})", "\"choices\": holds 1; give at least two"},
      {R"({"context": "a", "choices": ["b", ""], "answer": 0})", "\"choices\"[1]: is empty"},
      {R"({"context": "a", "choices": ["b", "c"], "answer": 2})", "\"answer\": is 2, the choices are 0 to 1"},
      {R"({"context": "a", "choices": ["b", "c"], "answer": "1"})", "\"answer\": the number of a choice, from 0,"},
      {R"({"context": "a", "choices": ["b", "c"], "answer": -1})", "\"answer\": the number of a choice, from 0,"},
      {R"({"context": "a", "choices": ["b", "c"], "answer": 1.0})", "\"answer\": the number of a choice, from 0,"},
      {R"({"context": "a", "choices": ["b", "c"], "answer": 01})", "\"answer\": the number of a choice, from 0,"},
      {R"({"context": "a", "choices": ["b", "c"], "answer": 99999999999})", "\"answer\": the number of a choice"},
      {R"({"context": "a", "choices": ["b", "c"], "answer": 1} x)", "column 54: the end of the line is expected"},
      {R"({"context": "a)", "column 15: the end of a string is expected"},
      {R"({"context": "\ud800"})", "a low surrogate is expected"},
      {R"({"context": "\udc00"})", "a high surrogate before is expected"},
      {R"({"context": "\x"})", "an escape such as"},
      {"{\"context\": \"a\tb\"}", "column 15: an escape for a control character is expected"},
      {"{\"context\": \"\xff\", \"choices\": [\"b\", \"c\"], \"answer\": 0}", "\"context\": byte 0 is not UTF-8"},
      {"{\"context\": \"\", \"choices\": [\"b\", \"\xe9\"], \"answer\": 0}", "\"choices\"[1]: is not UTF-8"},
      {R"({"context" "a"})", "a colon is expected"},
      {R"({"context": "a" "choices": []})", "a comma or } is expected"},
      {R"({"x": tru})", "a value is expected"},
      {R"({"x": -})", "a value is expected"},
      {R"({"x": )" + std::string(65, '['), "a value nested less deep is expected"},
  };
  for (auto &[line, message] : cases) {
    Question question;
    mlc::Status parsed = parseQuestion(line, question);
    ASSERT_FALSE(bool(parsed)) << line;
    EXPECT_THAT(parsed.error().message(), HasSubstr(message)) << line;
  }
  std::string whole = R"({"context": "\u0041", "choices": ["b", "c"], "answer": 1})";
  for (size_t cut = 0;; ++cut) {
    Question question;
    bool complete = cut == whole.size();
    EXPECT_EQ(bool(parseQuestion(whole.substr(0, cut), question)), complete) << cut;
    if (complete)
      break;
  }
}
