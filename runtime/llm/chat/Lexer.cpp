//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/chat/Syntax.h"
#include "runtime/llm/tokenizer/Utf8.h"

#include <errno.h>
#include <stdlib.h>

namespace mlc::chat {

namespace {

bool isNameStart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool isDigit(char c) { return c >= '0' && c <= '9'; }

/// White space at either end of UTF-8, as Python's str.strip() has it.
const char *skipSpace(const char *at, const char *end) {
  while (at != end) {
    const char *next = at;
    uint32_t code = nextChar(next);
    if (!isSpace(code) && !(code >= 0x1c && code <= 0x1f))
      break;
    at = next;
  }
  return at;
}
const char *skipSpaceBack(const char *begin, const char *at) {
  while (at != begin) {
    const char *previous = at;
    while ((uint8_t(*--previous) & 0xc0) == 0x80)
      ;
    if (skipSpace(previous, at) != at)
      break;
    at = previous;
  }
  return at;
}

class Lexer {
public:
  Lexer(Arena &arena, std::string_view source)
      : arena(arena), begin(source.data()), at(begin), end(begin + source.size()) {}

  Result<ArenaList<Token>> run() {
    // Whether what was read last ended a line: white space before a block is then at the line's start.
    bool lineStart = true;
    while (at != end) {
      const char *open = at;
      while (open != end && !(open[0] == '{' && end - open > 1 && (open[1] == '{' || open[1] == '%' || open[1] == '#')))
        ++open;
      const char *dataEnd = open;
      bool strips = end - open > 2 && open[2] == '-', keeps = end - open > 2 && open[2] == '+';
      if (open != end) {
        if (strips) {
          dataEnd = skipSpaceBack(at, open);
        } else if (!keeps && open[1] != '{') {
          const char *line = open;
          while (line != at && line[-1] != '\n')
            --line;
          if ((line != at || lineStart) && skipSpace(line, open) == open)
            dataEnd = line;
        }
      }
      if (dataEnd != at)
        MLC_TRY(add({.kind = TokenKind::data, .text = {at, size_t(dataEnd - at)}}));
      countLines(open);
      if (open == end)
        break;
      char kind = open[1];
      at = open + 2 + (strips || keeps);
      if (kind == '#') {
        MLC_TRY(comment());
      } else if (kind == '%' && isRaw()) {
        MLC_TRY(raw());
      } else {
        MLC_TRY(add({.kind = kind == '%' ? TokenKind::blockBegin : TokenKind::variableBegin}));
        MLC_TRY(code(kind == '%'));
      }
      lineStart = at != begin && at[-1] == '\n';
    }
    MLC_TRY(add({}));
    return tokens;
  }

private:
  Error error(const char *what) const { return Error(ErrorCode::Unsupported, "line %u: %s", line, what); }
  void countLines(const char *to) {
    for (; at != to; ++at)
      line += *at == '\n';
  }
  Status add(Token token) {
    token.line = line;
    return tokens.push(arena, token) ? Status() : Error(ErrorCode::OutOfMemory, "the template takes too much memory");
  }
  bool here(std::string_view text) const {
    return size_t(end - at) >= text.size() && std::string_view(at, text.size()) == text;
  }
  /// Takes the end of a tag, "-" before it among it; what trimming takes away goes too.
  bool close(std::string_view mark, bool trimsLine) {
    bool strips = *at == '-', keeps = trimsLine && *at == '+';
    const char *start = at;
    at += strips || keeps;
    if (!here(mark)) {
      at = start;
      return false;
    }
    at += mark.size();
    if (strips)
      countLines(skipSpace(at, end));
    else if (trimsLine && !keeps && at != end && *at == '\n')
      countLines(at + 1);
    return true;
  }
  Status comment() {
    for (; at != end; countLines(at + 1))
      if ((*at == '#' || *at == '-' || *at == '+') && close("#}", true))
        return {};
    return error("a comment without its end #}");
  }
  bool isRaw() {
    const char *word = skipSpace(at, end);
    if (end - word < 3 || std::string_view(word, 3) != "raw")
      return false;
    const char *back = at, *behind = skipSpace(word + 3, end);
    at = behind;
    uint32_t lineBefore = line;
    if (behind != end && (*behind == '-' || *behind == '+' || *behind == '%') && close("%}", true))
      return true;
    at = back;
    line = lineBefore;
    return false;
  }
  Status raw() {
    const char *from = at;
    for (; at != end; countLines(at + 1)) {
      if (!here("{%"))
        continue;
      const char *open = at, *word = at + 2;
      bool strips = word != end && *word == '-';
      word = skipSpace(word + (word != end && (*word == '-' || *word == '+')), end);
      if (end - word < 6 || std::string_view(word, 6) != "endraw")
        continue;
      const char *tail = skipSpace(word + 6, end), *to = strips ? skipSpaceBack(from, open) : open;
      if (!strips && open[2] != '+') {
        const char *first = open;
        while (first != from && first[-1] != '\n')
          --first;
        if (first != from && skipSpace(first, open) == open)
          to = first;
      }
      countLines(tail);
      if (at == end || !close("%}", true))
        continue;
      return to != from ? add({.kind = TokenKind::data, .text = {from, size_t(to - from)}}) : Status();
    }
    return error("{% raw %} without its {% endraw %}");
  }

  /// The tokens inside a tag, its end included.
  Status code(bool block) {
    char closers[64];
    unsigned depth = 0;
    for (;;) {
      countLines(skipSpace(at, end));
      if (at == end)
        return error(block ? "a tag without its end %}" : "an expression without its end }}");
      if (!depth && (*at == '-' || *at == '+' || *at == '%' || *at == '}') && close(block ? "%}" : "}}", block))
        return add({.kind = block ? TokenKind::blockEnd : TokenKind::variableEnd});
      if (isNameStart(*at)) {
        const char *from = at;
        while (at != end && (isNameStart(*at) || isDigit(*at)))
          ++at;
        MLC_TRY(add({.kind = TokenKind::name, .text = {from, size_t(at - from)}}));
      } else if (isDigit(*at)) {
        MLC_TRY(number());
      } else if (*at == '"' || *at == '\'') {
        MLC_TRY(string());
      } else {
        MLC_TRY(symbol(closers, depth));
      }
    }
  }

  Status symbol(char *closers, unsigned &depth) {
    constexpr std::string_view twos[] = {"==", "!=", "<=", ">=", "//", "**"};
    for (std::string_view two : twos)
      if (here(two)) {
        at += 2;
        return add({.kind = TokenKind::sign, .sign = sign(two.data())});
      }
    char c = *at;
    if (std::string_view("+-*/%~<>=.:,|;()[]{}").find(c) == std::string_view::npos) {
      char text[2] = {c, 0};
      return Error(ErrorCode::Unsupported, "line %u: unexpected character '%s'", line,
                   uint8_t(c) < 0x20 || uint8_t(c) > 0x7e ? "?" : text);
    }
    if (c == '(' || c == '[' || c == '{') {
      if (depth == 64)
        return error("brackets nested more than 64 deep");
      closers[depth++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
      if (!depth || closers[--depth] != c)
        return error("brackets that do not match");
    }
    ++at;
    return add({.kind = TokenKind::sign, .sign = uint16_t(uint8_t(c))});
  }

  Status number() {
    char digits[64];
    size_t size = 0;
    bool real = false;
    auto run = [&] {
      for (; at != end && (isDigit(*at) || (*at == '_' && end - at > 1 && isDigit(at[1]))) && size < sizeof digits - 2;
           ++at)
        if (*at != '_')
          digits[size++] = *at;
    };
    run();
    if (end - at > 1 && at[0] == '.' && isDigit(at[1])) {
      real = true;
      digits[size++] = *at++;
      run();
    }
    if (end - at > 1 && (*at | 32) == 'e' &&
        (isDigit(at[1]) || (end - at > 2 && (at[1] == '-' || at[1] == '+') && isDigit(at[2])))) {
      real = true;
      digits[size++] = *at++;
      if (!isDigit(*at))
        digits[size++] = *at++;
      run();
    }
    digits[size] = 0;
    errno = 0;
    Token token{.kind = real ? TokenKind::real : TokenKind::integer};
    token.number = real ? Value::number(strtod(digits, nullptr)) : Value::number(int64_t(strtoll(digits, nullptr, 10)));
    token.text = arena.copy({digits, size});
    if (errno || (at != end && (isNameStart(*at) || isDigit(*at))) || (!real && size > 1 && digits[0] == '0'))
      return error("a number that is not decimal or too large");
    return add(token);
  }

  Status string() {
    char quote = *at++;
    const char *close = at;
    while (close != end && *close != quote)
      close += *close == '\\' && close + 1 != end ? 2 : 1;
    if (close >= end)
      return error("a string without its end");
    // No escape is shorter than what it stands for.
    char *bytes = arena.array<char>(size_t(close - at) + 1), *out = bytes;
    if (!bytes)
      return Error(ErrorCode::OutOfMemory, "the template takes too much memory");
    while (at != close) {
      if (*at != '\\') {
        line += *at == '\n';
        *out++ = *at++;
        continue;
      }
      char kind = *++at;
      ++at;
      constexpr std::string_view names = "\\'\"abfnrtv", values = "\\'\"\a\b\f\n\r\t\v";
      size_t known = names.find(kind);
      unsigned wanted = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
      if (known != names.npos) {
        *out++ = values[known];
      } else if (kind == '\n') {
        ++line; // A line goes on.
      } else if (wanted || (kind >= '0' && kind <= '7')) {
        uint32_t code = wanted ? 0 : uint32_t(kind - '0');
        for (unsigned i = wanted ? 0 : 1; i < (wanted ? wanted : 3); ++i, ++at) {
          char c = at == close ? 0 : *at;
          uint32_t digit = isDigit(c)                           ? uint32_t(c - '0')
                           : (c | 32) >= 'a' && (c | 32) <= 'f' ? uint32_t((c | 32) - 'a' + 10)
                                                                : 16;
          if (!wanted && digit > 7)
            break;
          if (digit == 16)
            return error("an escape with too few digits");
          code = wanted ? code << 4 | digit : code << 3 | digit;
        }
        if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
          return error("an escape that is no character");
        out += putChar(code, out);
      } else if (kind == 'N') {
        return error("the escape \\N");
      } else {
        *out++ = '\\';
        line += kind == '\n';
        *out++ = kind;
      }
    }
    ++at;
    return add({.kind = TokenKind::string, .text = {bytes, size_t(out - bytes)}});
  }

  Arena &arena;
  const char *begin, *at, *end;
  uint32_t line = 1;
  ArenaList<Token> tokens;
};

} // namespace

Result<ArenaList<Token>> tokenize(Arena &arena, std::string_view source) {
  if (source.size() > size_t(1) << 20)
    return Error(ErrorCode::OutOfRange, "%zu bytes are too long for a template; 1 MiB is the most", source.size());
  size_t valid = validUtf8(source);
  if (valid != source.size())
    return Error(ErrorCode::InvalidArgument, "byte %zu is not UTF-8", valid + 1);
  // Jinja reads \r\n and \r as \n, and leaves out one newline at the end.
  char *text = arena.array<char>(source.size() + 1);
  if (!text)
    return Error(ErrorCode::OutOfMemory, "the template takes too much memory");
  size_t size = 0;
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r' && i + 1 < source.size() && source[i + 1] == '\n')
      continue;
    text[size++] = source[i] == '\r' ? '\n' : source[i];
  }
  size -= size && text[size - 1] == '\n';
  return Lexer(arena, {text, size}).run();
}

} // namespace mlc::chat
