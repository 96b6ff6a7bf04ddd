//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A grammar on its way: rules of nodes as a source gives them, and the automaton over bytes that they become.
//
#pragma once

#include "runtime/llm/grammar/Grammar.h"
#include "runtime/llm/value/Arena.h"

#include <optional>

namespace mlc::grammar {

struct CharRange {
  uint32_t low, high; // Code points, both included.
};

enum class NodeKind : uint8_t { bytes, chars, sequence, choice, repeat, rule };

constexpr uint32_t kUnbounded = UINT32_MAX;

struct Node {
  NodeKind kind = NodeKind::sequence; // Without items: the empty text.
  std::string_view text;              // Of bytes.
  ArenaList<CharRange> ranges;        // Of chars, in order, apart.
  ArenaList<Node *> items;            // Of sequence and choice; a repeat has one.
  uint32_t least = 0, most = 0;       // Of a repeat.
  uint32_t rule = 0;
};

struct Rule {
  std::string_view name; // Empty for rules that nobody named.
  Node *body = nullptr;
};

/// Builds nodes. The first error sticks; what is built behind it is of no use.
class Builder {
public:
  explicit Builder(Arena &arena) : arena(arena) {}

  Node *make(NodeKind kind);
  Node *bytes(std::string_view text);
  Node *chars(std::initializer_list<CharRange> ranges);
  /// Any character but those; `ranges` need not be in order.
  Node *charsOf(ArenaList<CharRange> ranges, bool negated);
  Node *sequence(std::initializer_list<Node *> items);
  Node *choice(std::initializer_list<Node *> items);
  Node *repeat(Node *item, uint32_t least, uint32_t most);
  Node *optional(Node *item) { return repeat(item, 0, 1); }
  Node *reference(uint32_t rule);
  void add(Node *list, Node *item);
  uint32_t rule(std::string_view name = {}, Node *body = nullptr);

  void fail(const char *format, ...) __attribute__((format(printf, 2, 3)));
  bool failed() const { return failure.has_value(); }

  Arena &arena;
  ArenaList<Rule> rules;
  std::optional<Error> failure;

private:
  Node nothing; // What is returned when the memory is at its end.
};

/// A position of the automaton.
enum class Step : uint8_t {
  byte, // One of low..high, then `next`.
  fork, // `next` or `other`.
  call, // The rule `other`, then `next`.
  end   // Of a rule.
};
struct Position {
  Step step = Step::end;
  uint8_t low = 0, high = 0;
  uint32_t next = 0, other = 0;
};

/// Rules as positions: what a matcher walks.
struct Automaton {
  ArenaList<Position> positions;
  ArenaList<uint32_t> starts; // Of each rule.
  uint32_t root = 0;
  uint8_t classOf[256] = {}; // Bytes that no position tells apart share a class.
  uint8_t sample[256] = {};  // A byte of each class.
  uint32_t classes = 0;
};

/// Refuses left recursion, rules that never end, and what grows too large.
Status compile(Builder &builder, uint32_t root, Automaton &out);

/// Parses GBNF into rules; gives that of `root`.
Result<uint32_t> parseGbnf(Builder &builder, std::string_view text);

/// The rule of the JSON texts that `schema` allows.
Result<uint32_t> parseSchema(Builder &builder, std::string_view schema);
/// The rule of any JSON object.
uint32_t anyObject(Builder &builder);

/// The strings that a regular expression (ECMA-262, a subset) matches, between the quotes of a JSON string.
Node *parsePattern(Builder &builder, std::string_view pattern, Node *anyChar);
/// The same without looking for the pattern inside the text: the whole text matches.
Node *parseWholePattern(Builder &builder, std::string_view pattern);

} // namespace mlc::grammar

namespace mlc {
struct Grammar::State {
  explicit State(const Allocator &allocator) : allocator(allocator), arena(size_t(256) << 20, allocator) {}
  Allocator allocator;
  Arena arena;
  grammar::Automaton automaton;
};
} // namespace mlc
