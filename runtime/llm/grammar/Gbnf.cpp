//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/grammar/Automaton.h"
#include "runtime/llm/tokenizer/Tables.h"
#include "runtime/llm/tokenizer/Utf8.h"

#include <algorithm>

namespace mlc::grammar {

namespace {

/// llama.cpp's GBNF: rules `name ::= alternatives`, one a line or more inside brackets and behind `|`.
class GbnfParser {
public:
  GbnfParser(Builder &builder, std::string_view text) : builder(builder), at(text.data()), end(at + text.size()) {}

  Result<uint32_t> run() {
    std::string_view text(at, size_t(end - at));
    if (text.size() > size_t(1) << 20)
      builder.fail("%zu bytes are too long for a grammar; 1 MiB is the most", text.size());
    else if (size_t valid = validUtf8(text); valid != text.size())
      builder.fail("byte %zu of the grammar is not UTF-8", valid + 1);
    for (space(true); at != end && !builder.failed(); space(true))
      rule();
    uint32_t root = find("root", false);
    if (!builder.failed() && root == kUnbounded)
      builder.fail("the grammar has no rule 'root'");
    if (builder.failed())
      return *builder.failure;
    return root;
  }

private:
  void fail(const char *what) { builder.fail("line %u of the grammar: %s", line, what); }
  void space(bool lines) {
    for (; at != end; ++at) {
      if (*at == '#')
        while (at + 1 != end && at[1] != '\n' && at[1] != '\r')
          ++at;
      else if (*at == '\n' && lines)
        ++line;
      else if (*at != ' ' && *at != '\t' && !(lines && *at == '\r'))
        break;
    }
  }
  bool take(char wanted) {
    if (at == end || *at != wanted)
      return false;
    ++at;
    return true;
  }
  static bool isWord(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  }
  std::string_view word() {
    const char *from = at;
    while (at != end && isWord(*at))
      ++at;
    return {from, size_t(at - from)};
  }
  /// The rule of that name, made where it is new; kUnbounded where it is not to be made.
  uint32_t find(std::string_view name, bool create = true) {
    size_t slot = size_t(hashText(name.data(), name.size()) % std::size(names));
    for (Name *known = names[slot]; known; known = known->next)
      if (builder.rules[known->rule].name == name)
        return known->rule;
    if (!create)
      return kUnbounded;
    auto *made = builder.arena.make<Name>();
    if (!made) {
      builder.fail("the grammar takes too much memory");
      return 0;
    }
    made->rule = builder.rule(builder.arena.copy(name));
    made->next = names[slot];
    names[slot] = made;
    return made->rule;
  }

  void rule() {
    std::string_view name = word();
    if (name.empty())
      return fail("expected the name of a rule");
    uint32_t index = find(name);
    space(false);
    if (end - at < 3 || std::string_view(at, 3) != "::=")
      return fail("expected ::= behind the name of the rule");
    at += 3;
    space(true);
    Node *body = alternatives(0);
    if (builder.failed())
      return;
    if (builder.rules[index].body)
      return fail("a rule that is there already");
    builder.rules[index].body = body;
    if (at != end && *at != '\n' && *at != '\r')
      fail("expected the end of the line");
  }

  Node *alternatives(unsigned depth) {
    Node *made = builder.make(NodeKind::choice);
    if (depth > 100) {
      fail("nested more than 100 deep");
      return made;
    }
    do {
      space(true);
      builder.add(made, sequence(depth));
    } while (!builder.failed() && take('|'));
    return made;
  }

  Node *sequence(unsigned depth) {
    Node *made = builder.make(NodeKind::sequence);
    while (at != end && !builder.failed()) {
      Node *item;
      if (take('"')) {
        item = literal();
      } else if (take('[')) {
        item = set();
      } else if (take('.')) {
        item = builder.chars({{0, 0x10ffff}});
      } else if (take('(')) {
        space(true);
        item = alternatives(depth + 1);
        if (!builder.failed() && !take(')'))
          fail("expected ')'");
      } else if (isWord(*at)) {
        std::string_view name = word();
        item = builder.reference(find(name));
      } else {
        break;
      }
      space(depth > 0);
      builder.add(made, repeated(item, depth));
      space(depth > 0);
    }
    return made;
  }

  Node *repeated(Node *item, unsigned depth) {
    while (!builder.failed()) {
      if (take('*')) {
        item = builder.repeat(item, 0, kUnbounded);
      } else if (take('+')) {
        item = builder.repeat(item, 1, kUnbounded);
      } else if (take('?')) {
        item = builder.optional(item);
      } else if (take('{')) {
        uint32_t least = number(), most = least;
        space(depth > 0);
        if (take(',')) {
          space(depth > 0);
          most = at != end && *at == '}' ? kUnbounded : number();
        }
        space(depth > 0);
        if (!builder.failed() && !take('}'))
          fail("expected '}'");
        if (!builder.failed() && most < least)
          fail("a repetition of which the most is below the least");
        item = builder.repeat(item, least, most);
      } else {
        break;
      }
      space(depth > 0);
    }
    return item;
  }

  uint32_t number() {
    uint64_t value = 0;
    const char *from = at;
    for (; at != end && *at >= '0' && *at <= '9' && value < 1'000'000; ++at)
      value = value * 10 + uint64_t(*at - '0');
    if (at == from)
      fail("expected a number");
    else if (value >= 1'000'000)
      fail("a repetition of a million or more");
    return uint32_t(value);
  }

  /// One character of a literal or a set, escapes among them.
  uint32_t character() {
    if (at == end) {
      fail("a literal or a set without its end");
      return 0;
    }
    if (*at != '\\')
      return nextChar(at);
    if (++at == end) {
      fail("an escape without its character");
      return 0;
    }
    char kind = *at++;
    unsigned digits = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
    if (!digits) {
      constexpr std::string_view names = "trn\\\"[]-^", values = "\t\r\n\\\"[]-^";
      size_t known = names.find(kind);
      if (known == names.npos)
        fail("an escape that GBNF does not have");
      return known == names.npos ? 0 : uint8_t(values[known]);
    }
    uint32_t code = 0;
    for (unsigned i = 0; i < digits; ++i, ++at) {
      char c = at == end ? 0 : *at;
      uint32_t digit = c >= '0' && c <= '9'                 ? uint32_t(c - '0')
                       : (c | 32) >= 'a' && (c | 32) <= 'f' ? uint32_t((c | 32) - 'a' + 10)
                                                            : 16;
      if (digit == 16) {
        fail("an escape with too few hexadecimal digits");
        return 0;
      }
      code = code << 4 | digit;
    }
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
      fail("an escape that is no character");
    return code;
  }

  Node *literal() {
    const char *from = at;
    // An escape is never shorter than its UTF-8.
    const char *close = at;
    while (close != end && *close != '"')
      close += *close == '\\' && close + 1 != end ? 2 : 1;
    char *bytes = builder.arena.array<char>(size_t(close - from) + 4);
    size_t size = 0;
    while (!builder.failed() && bytes && !(at != end && *at == '"'))
      size += putChar(character(), bytes + size);
    if (!bytes)
      builder.fail("the grammar takes too much memory");
    if (builder.failed())
      return builder.make(NodeKind::sequence);
    ++at;
    return builder.bytes({bytes, size});
  }

  Node *set() {
    bool negated = take('^');
    ArenaList<CharRange> ranges;
    while (!builder.failed() && !(at != end && *at == ']')) {
      uint32_t low = character(), high = low;
      if (end - at > 1 && at[0] == '-' && at[1] != ']') {
        ++at;
        high = character();
      }
      if (high < low)
        fail("a range whose end is before its start");
      if (!ranges.push(builder.arena, {low, high}))
        builder.fail("the grammar takes too much memory");
    }
    if (!builder.failed())
      ++at;
    return builder.charsOf(ranges, negated);
  }

  struct Name {
    uint32_t rule = 0;
    Name *next = nullptr;
  };
  Builder &builder;
  const char *at, *end;
  uint32_t line = 1;
  Name *names[512] = {};
};

} // namespace

Result<uint32_t> parseGbnf(Builder &builder, std::string_view text) { return GbnfParser(builder, text).run(); }

} // namespace mlc::grammar
