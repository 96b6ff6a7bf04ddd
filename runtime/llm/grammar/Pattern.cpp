//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/grammar/Automaton.h"
#include "runtime/llm/tokenizer/Utf8.h"

namespace mlc::grammar {

namespace {

/// A subset of ECMA-262: alternation, groups, classes, \d \w \s and their complements, quantifiers, ^ and $ at the ends
/// of an alternative of the whole pattern. Characters are written as JSON strings have them.
class PatternParser {
public:
  PatternParser(Builder &builder, std::string_view text, Node *any)
      : builder(builder), at(text.data()), end(at + text.size()), any(any) {}

  Node *run() {
    Node *made = builder.make(NodeKind::choice);
    do {
      Node *sequence = builder.make(NodeKind::sequence);
      bool anchored = take('^');
      if (any && !anchored)
        builder.add(sequence, builder.repeat(any, 0, kUnbounded));
      builder.add(sequence, alternative(0, true));
      bool closed = take('$');
      if (any && !closed)
        builder.add(sequence, builder.repeat(any, 0, kUnbounded));
      builder.add(made, sequence);
    } while (!builder.failed() && take('|'));
    if (at != end)
      fail("a bracket ')' too many, or an anchor in the middle");
    return made;
  }

private:
  void fail(const char *what) { builder.fail("pattern: %s is not supported", what); }
  bool take(char wanted) {
    if (at == end || *at != wanted)
      return false;
    ++at;
    return true;
  }

  Node *alternatives(unsigned depth) {
    Node *made = builder.make(NodeKind::choice);
    do
      builder.add(made, alternative(depth, false));
    while (!builder.failed() && take('|'));
    return made;
  }

  Node *alternative(unsigned depth, bool outermost) {
    Node *made = builder.make(NodeKind::sequence);
    if (depth > 50)
      fail("nesting of more than 50 groups");
    while (at != end && !builder.failed() && *at != '|' && *at != ')') {
      if (*at == '$' || *at == '^') {
        if (outermost && *at == '$' && (at + 1 == end || at[1] == '|'))
          break;
        fail("an anchor in the middle");
        break;
      }
      builder.add(made, quantified(atom(depth)));
    }
    return made;
  }

  Node *atom(unsigned depth) {
    if (take('(')) {
      if (take('?') && !take(':'))
        fail("a group (?...) other than (?:...)");
      Node *made = alternatives(depth + 1);
      if (!builder.failed() && !take(')'))
        fail("a group without its end");
      return made;
    }
    ArenaList<CharRange> ranges;
    if (take('['))
      return set();
    if (take('.')) {
      for (uint32_t code : {0x0au, 0x0du, 0x2028u, 0x2029u})
        push(ranges, code, code);
      return written(builder.charsOf(ranges, true));
    }
    if (*at == '*' || *at == '+' || *at == '?' || *at == '{') {
      fail("a quantifier of nothing");
      return builder.make(NodeKind::sequence);
    }
    if (take('\\'))
      escape(ranges);
    else {
      uint32_t code = nextChar(at);
      push(ranges, code, code);
    }
    return written(builder.charsOf(ranges, false));
  }

  Node *quantified(Node *item) {
    uint32_t least = 1, most = 1;
    if (take('*')) {
      least = 0;
      most = kUnbounded;
    } else if (take('+')) {
      most = kUnbounded;
    } else if (take('?')) {
      least = 0;
    } else if (at != end && *at == '{') {
      ++at;
      least = number();
      most = least;
      if (take(','))
        most = at != end && *at == '}' ? kUnbounded : number();
      if (!builder.failed() && (!take('}') || most < least))
        fail("such a quantifier {...}");
    } else {
      return item;
    }
    // What a lazy quantifier matches is the same set of texts.
    take('?');
    if (at != end && (*at == '+' || *at == '*' || *at == '?' || *at == '{'))
      fail("a quantifier of a quantifier");
    return builder.repeat(item, least, most);
  }

  uint32_t number() {
    uint32_t value = 0;
    const char *from = at;
    for (; at != end && *at >= '0' && *at <= '9' && value < 100'000; ++at)
      value = value * 10 + uint32_t(*at - '0');
    if (at == from || value >= 100'000)
      fail("such a quantifier {...}");
    return value;
  }

  void push(ArenaList<CharRange> &ranges, uint32_t low, uint32_t high) {
    if (!ranges.push(builder.arena, {low, high}))
      builder.fail("the grammar takes too much memory");
  }
  /// The set as ranges, or what is not in it.
  void pushAll(ArenaList<CharRange> &ranges, std::initializer_list<CharRange> set, bool negated) {
    ArenaList<CharRange> list;
    for (CharRange range : set)
      push(list, range.low, range.high);
    Node *made = builder.charsOf(list, negated);
    for (CharRange range : made->ranges)
      push(ranges, range.low, range.high);
  }

  /// Behind a backslash.
  void escape(ArenaList<CharRange> &ranges) {
    if (at == end)
      return fail("a backslash at the end");
    char kind = *at++;
    switch (kind) {
    case 'd':
    case 'D':
      return pushAll(ranges, {{'0', '9'}}, kind == 'D');
    case 'w':
    case 'W':
      return pushAll(ranges, {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}, kind == 'W');
    case 's':
    case 'S':
      return pushAll(ranges,
                     {{9, 13},
                      {0x20, 0x20},
                      {0xa0, 0xa0},
                      {0x1680, 0x1680},
                      {0x2000, 0x200a},
                      {0x2028, 0x2029},
                      {0x202f, 0x202f},
                      {0x205f, 0x205f},
                      {0x3000, 0x3000},
                      {0xfeff, 0xfeff}},
                     kind == 'S');
    default:
      break;
    }
    constexpr std::string_view names = "tnrfv0", values("\t\n\r\f\v\0", 6);
    size_t known = names.find(kind);
    uint32_t code = 0;
    if (known != names.npos) {
      code = uint8_t(values[known]);
    } else if (kind == 'x' || kind == 'u') {
      for (int i = 0; i < (kind == 'x' ? 2 : 4); ++i, ++at) {
        char c = at == end ? 0 : *at;
        uint32_t digit = c >= '0' && c <= '9'                 ? uint32_t(c - '0')
                         : (c | 32) >= 'a' && (c | 32) <= 'f' ? uint32_t((c | 32) - 'a' + 10)
                                                              : 16;
        if (digit == 16)
          return fail("such an escape \\x or \\u");
        code = code << 4 | digit;
      }
      if (code >= 0xd800 && code < 0xe000)
        return fail("half of a surrogate pair");
    } else if ((kind >= '0' && kind <= '9') || (kind >= 'a' && kind <= 'z') || (kind >= 'A' && kind <= 'Z')) {
      char text[32];
      snprintf(text, sizeof text, "the escape \\%c", kind);
      return fail(text);
    } else {
      --at;
      code = nextChar(at);
    }
    push(ranges, code, code);
  }

  Node *set() {
    bool negated = take('^');
    ArenaList<CharRange> ranges;
    while (!builder.failed() && !(at != end && *at == ']')) {
      if (at == end) {
        fail("a class without its end");
        break;
      }
      uint32_t before = ranges.size;
      if (take('\\')) {
        if (take('b'))
          push(ranges, 8, 8);
        else
          escape(ranges);
      } else {
        uint32_t code = nextChar(at);
        push(ranges, code, code);
      }
      if (builder.failed() || end - at < 2 || at[0] != '-' || at[1] == ']')
        continue;
      ++at;
      ArenaList<CharRange> last;
      if (take('\\')) {
        escape(last);
      } else {
        uint32_t code = nextChar(at);
        push(last, code, code);
      }
      if (builder.failed())
        break;
      CharRange &first = ranges[before];
      if (ranges.size != before + 1 || first.low != first.high || last.size != 1 || last[0].low != last[0].high ||
          last[0].low < first.low)
        fail("such a range in a class");
      else
        first.high = last[0].low;
    }
    if (!builder.failed())
      ++at;
    return written(builder.charsOf(ranges, negated));
  }

  /// The characters as a JSON string has them: some only as escapes.
  Node *written(Node *chars) {
    ArenaList<CharRange> plain;
    Node *made = builder.make(NodeKind::choice);
    for (CharRange range : chars->ranges) {
      uint32_t low = range.low;
      auto upTo = [&](uint32_t high) {
        if (low <= high && low <= range.high)
          push(plain, low, high < range.high ? high : range.high);
      };
      for (uint32_t code = low; code <= range.high && code < 0x20; ++code) {
        char text[8];
        snprintf(text, sizeof text, "\\u%04x", code);
        constexpr std::string_view names = "bfnrt", values = "\b\f\n\r\t";
        size_t known = values.find(char(code));
        if (known != values.npos)
          snprintf(text, sizeof text, "\\%c", names[known]);
        builder.add(made, builder.bytes(text));
        low = code + 1;
      }
      for (uint32_t code : {uint32_t('"'), uint32_t('\\')})
        if (low <= code && code <= range.high) {
          if (low < code)
            upTo(code - 1);
          builder.add(made, builder.bytes(code == '"' ? "\\\"" : "\\\\"));
          low = code + 1;
        }
      upTo(range.high);
    }
    if (plain.size)
      builder.add(made, builder.charsOf(plain, false));
    if (!made->items.size)
      fail("a class that holds no character");
    return made->items.size == 1 ? made->items[0] : made;
  }

  Builder &builder;
  const char *at, *end;
  Node *any;
};

} // namespace

Node *parsePattern(Builder &builder, std::string_view pattern, Node *anyChar) {
  return PatternParser(builder, pattern, anyChar).run();
}

Node *parseWholePattern(Builder &builder, std::string_view pattern) {
  return PatternParser(builder, pattern, nullptr).run();
}

} // namespace mlc::grammar
