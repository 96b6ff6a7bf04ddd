//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/run/JsonReader.h"

#include "runtime/llm/tokenizer/Utf8.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

namespace mlc::cli {

constexpr unsigned kMostDepth = 64;

static bool isDigit(char c) { return c >= '0' && c <= '9'; }
static Error noMemory() { return Error(ErrorCode::OutOfMemory, "no memory for it"); }

Error JsonReader::wrong(const char *expected) const {
  return Error(ErrorCode::InvalidArgument, "column %zu: %s is expected", size_t(at - begin) + 1, expected);
}

void JsonReader::space() {
  while (at != end && (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n'))
    ++at;
}

bool JsonReader::take(char wanted) {
  space();
  if (at == end || *at != wanted)
    return false;
  ++at;
  return true;
}

Status JsonReader::open(char bracket, const char *what) {
  if (!take(bracket))
    return wrong(what);
  return {};
}

Result<bool> JsonReader::next(char bracket, bool &first) {
  bool object = bracket == '{';
  if (take(object ? '}' : ']'))
    return false;
  if (!first && !take(','))
    return wrong(object ? "a comma or }" : "a comma or ]");
  first = false;
  return true;
}

Status JsonReader::key(Buffer<char> &name) {
  MLC_TRY(string("a key", name));
  if (!take(':'))
    return wrong("a colon");
  return {};
}

Result<uint32_t> JsonReader::hex() {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i, ++at) {
    char c = at == end ? 0 : *at;
    char lower = char(c | 0x20);
    if (!isDigit(c) && !(lower >= 'a' && lower <= 'f'))
      return wrong("a hexadecimal digit");
    value = value << 4 | uint32_t(isDigit(c) ? c - '0' : lower - 'a' + 10);
  }
  return value;
}

Status JsonReader::escape(Buffer<char> &value) {
  char c = at == end ? 0 : *at;
  static constexpr char names[] = "\"\\/bfnrt", characters[] = "\"\\/\b\f\n\r\t";
  for (size_t i = 0; i + 1 < sizeof names; ++i)
    if (c == names[i]) {
      ++at;
      return value.append(characters[i]) ? Status() : noMemory();
    }
  if (c != 'u')
    return wrong("an escape such as \\n or \\u00e9");
  ++at;
  MLC_ASSIGN(uint32_t code, hex());
  if (code >= 0xdc00 && code < 0xe000)
    return wrong("a high surrogate before");
  if (code >= 0xd800 && code < 0xdc00) {
    if (end - at < 2 || at[0] != '\\' || at[1] != 'u')
      return wrong("a low surrogate");
    at += 2;
    MLC_ASSIGN(uint32_t low, hex());
    if (low < 0xdc00 || low >= 0xe000)
      return wrong("a low surrogate before");
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  }
  char bytes[4];
  return value.append(bytes, putChar(code, bytes)) ? Status() : noMemory();
}

Status JsonReader::string(const char *what, Buffer<char> &value) {
  if (!take('"'))
    return wrong(what);
  while (at != end && *at != '"') {
    if (uint8_t(*at) < 0x20)
      return wrong("an escape for a control character");
    if (*at == '\\') {
      ++at;
      MLC_TRY(escape(value));
      continue;
    }
    const char *run = at;
    while (at != end && *at != '"' && *at != '\\' && uint8_t(*at) >= 0x20)
      ++at;
    if (!value.append(run, size_t(at - run)))
      return noMemory();
  }
  if (at == end)
    return wrong("the end of a string");
  ++at;
  return {};
}

Result<uint32_t> JsonReader::index(const char *what) {
  space();
  const char *from = at;
  uint64_t value = 0;
  while (at != end && isDigit(*at) && value <= UINT32_MAX)
    value = value * 10 + uint64_t(*at++ - '0');
  bool more = at != end && (isDigit(*at) || *at == '.' || *at == 'e' || *at == 'E');
  if (at == from || more || value > UINT32_MAX || (*from == '0' && at - from > 1)) {
    at = from;
    return wrong(what);
  }
  return uint32_t(value);
}

Status JsonReader::skipNumber() {
  const char *from = at;
  if (at != end && *at == '-')
    ++at;
  const char *digits = at;
  while (at != end && isDigit(*at))
    ++at;
  bool good = at != digits && (*digits != '0' || at - digits == 1);
  if (good && at != end && *at == '.') {
    const char *fraction = ++at;
    while (at != end && isDigit(*at))
      ++at;
    good = at != fraction;
  }
  if (good && at != end && (*at == 'e' || *at == 'E')) {
    ++at;
    if (at != end && (*at == '+' || *at == '-'))
      ++at;
    const char *exponent = at;
    while (at != end && isDigit(*at))
      ++at;
    good = at != exponent;
  }
  if (!good) {
    at = from;
    return wrong("a value");
  }
  return {};
}

Status JsonReader::skip() {
  // The brackets that are open, without recursion.
  char open[kMostDepth];
  unsigned depth = 0;
  bool first = true;
  for (;;) {
    if (depth) {
      MLC_ASSIGN(bool more, next(open[depth - 1], first));
      if (!more) {
        if (!--depth)
          return {};
        first = false;
        continue;
      }
      if (open[depth - 1] == '{') {
        Buffer<char> name;
        MLC_TRY(key(name));
      }
    }
    space();
    std::string_view rest(at, size_t(end - at));
    if (rest.starts_with('[') || rest.starts_with('{')) {
      if (depth == kMostDepth)
        return wrong("a value nested less deep");
      open[depth++] = *at++;
      first = true;
      continue;
    }
    bool word = false;
    for (std::string_view known : {std::string_view("true"), std::string_view("false"), std::string_view("null")})
      if (rest.starts_with(known)) {
        at += known.size();
        word = true;
      }
    if (rest.starts_with('"')) {
      Buffer<char> text;
      MLC_TRY(string("a string", text));
    } else if (!word) {
      MLC_TRY(skipNumber());
    }
    first = false;
    if (!depth)
      return {};
  }
}

Result<double> JsonReader::number(const char *what) {
  space();
  const char *from = at;
  if (!skipNumber())
    return wrong(what);
  // strtod wants an end of its own.
  char digits[64];
  size_t length = size_t(at - from) < sizeof digits - 1 ? size_t(at - from) : sizeof digits - 1;
  memcpy(digits, from, length);
  digits[length] = 0;
  double value = strtod(digits, nullptr);
  if (!isfinite(value))
    return wrong(what);
  return value;
}

Status JsonReader::finish() {
  space();
  if (at != end)
    return wrong("the end of the line");
  return {};
}

} // namespace mlc::cli
