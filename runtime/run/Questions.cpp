//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/run/Questions.h"

#include "runtime/llm/tokenizer/Utf8.h"
#include "runtime/run/JsonReader.h"

namespace mlc::cli {

static Error missing(const char *key) {
  return Error(ErrorCode::InvalidArgument, "\"%s\" is missing; a line holds context, choices and answer", key);
}
static Error twice(std::string_view key) {
  return Error(ErrorCode::InvalidArgument, "\"%.*s\" is there twice", int(key.size()), key.data());
}

size_t choiceLength(std::string_view choice) {
  size_t count = 0;
  for (const char *at = choice.data(), *end = at + choice.size(); at != end;)
    if (uint32_t code = nextChar(at); count || !isSpace(code))
      ++count;
  return count ? count : 1;
}

static Status parseChoices(JsonReader &reader, Question &question) {
  MLC_TRY(reader.open('[', "\"choices\": a list of strings"));
  for (bool first = true;;) {
    MLC_ASSIGN(bool more, reader.next('[', first));
    if (!more)
      return {};
    size_t before = question.text.size();
    MLC_TRY(reader.string("\"choices\": a string", question.text));
    std::string_view choice = question.text.view().substr(before);
    if (validUtf8(choice) != choice.size())
      return Error(ErrorCode::InvalidArgument, "\"choices\"[%zu]: is not UTF-8", question.choices());
    if (choice.empty())
      return Error(ErrorCode::InvalidArgument, "\"choices\"[%zu]: is empty", question.choices());
    if (!question.ends.append(question.text.size()))
      return Error(ErrorCode::OutOfMemory, "no memory for it");
  }
}

Status parseQuestion(std::string_view line, Question &question) {
  JsonReader reader(line);
  bool context = false, choices = false, answer = false;
  MLC_TRY(reader.open('{', "an object"));
  for (bool first = true;;) {
    MLC_ASSIGN(bool more, reader.next('{', first));
    if (!more)
      break;
    Buffer<char> key;
    MLC_TRY(reader.key(key));
    bool *seen = key.view() == "context"   ? &context
                 : key.view() == "choices" ? &choices
                 : key.view() == "answer"  ? &answer
                                           : nullptr;
    if (seen && *seen)
      return twice(key.view());
    if (!seen) {
      MLC_TRY(reader.skip());
      continue;
    }
    *seen = true;
    if (seen == &context) {
      MLC_TRY(reader.string("\"context\": a string", question.context));
    } else if (seen == &choices) {
      MLC_TRY(parseChoices(reader, question));
    } else {
      MLC_ASSIGN(question.answer, reader.index("\"answer\": the number of a choice, from 0,"));
    }
  }
  MLC_TRY(reader.finish());
  for (auto [seen, key] : {std::pair{context, "context"}, {choices, "choices"}, {answer, "answer"}})
    if (!seen)
      return missing(key);
  if (question.choices() < 2)
    return Error(ErrorCode::InvalidArgument, "\"choices\": holds %zu; give at least two", question.choices());
  if (question.answer >= question.choices())
    return Error(ErrorCode::OutOfRange, "\"answer\": is %u, the choices are 0 to %zu", question.answer,
                 question.choices() - 1);
  if (size_t valid = validUtf8(question.context.view()); valid != question.context.size())
    return Error(ErrorCode::InvalidArgument, "\"context\": byte %zu is not UTF-8", valid);
  return {};
}

} // namespace mlc::cli
