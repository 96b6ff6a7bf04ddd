//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/grammar/Automaton.h"
#include "runtime/llm/tokenizer/Utf8.h"

#include <algorithm>
#include <stdarg.h>

namespace mlc::grammar {

//===----------------------------------------------------------------------===//
// Nodes
//===----------------------------------------------------------------------===//

void Builder::fail(const char *format, ...) {
  if (failure)
    return;
  char text[480];
  va_list values;
  va_start(values, format);
  vsnprintf(text, sizeof text, format, values);
  va_end(values);
  failure.emplace(ErrorCode::Unsupported, "%s", text);
}

Node *Builder::make(NodeKind kind) {
  Node *made = arena.make<Node>();
  if (!made) {
    fail("the grammar takes too much memory");
    return &nothing;
  }
  made->kind = kind;
  return made;
}

void Builder::add(Node *list, Node *item) {
  if (!list->items.push(arena, item))
    fail("the grammar takes too much memory");
}

Node *Builder::bytes(std::string_view text) {
  Node *made = make(NodeKind::bytes);
  made->text = arena.copy(text);
  if (!made->text.data())
    fail("the grammar takes too much memory");
  return made;
}

Node *Builder::chars(std::initializer_list<CharRange> ranges) {
  ArenaList<CharRange> list;
  for (CharRange range : ranges)
    if (!list.push(arena, range))
      fail("the grammar takes too much memory");
  return charsOf(list, false);
}

Node *Builder::charsOf(ArenaList<CharRange> ranges, bool negated) {
  Node *made = make(NodeKind::chars);
  std::sort(ranges.begin(), ranges.end(), [](CharRange a, CharRange b) { return a.low < b.low; });
  auto keep = [&](uint32_t low, uint32_t high) {
    // Surrogates are no characters.
    for (auto [from, to] : {CharRange{low, std::min(high, 0xd7ffu)}, CharRange{std::max(low, 0xe000u), high}})
      if (from <= to && !made->ranges.push(arena, {from, to}))
        fail("the grammar takes too much memory");
  };
  uint32_t next = 0; // The first code point that is not decided.
  for (size_t i = 0; i < ranges.size;) {
    uint32_t low = ranges[i].low, high = ranges[i].high;
    for (++i; i < ranges.size && ranges[i].low <= high + 1; ++i)
      high = std::max(high, ranges[i].high);
    if (!negated)
      keep(low, high);
    else if (low > next)
      keep(next, low - 1);
    next = high + 1;
  }
  if (negated && next <= 0x10ffff)
    keep(next, 0x10ffff);
  return made;
}

Node *Builder::sequence(std::initializer_list<Node *> items) {
  Node *made = make(NodeKind::sequence);
  for (Node *item : items)
    add(made, item);
  return made;
}

Node *Builder::choice(std::initializer_list<Node *> items) {
  Node *made = make(NodeKind::choice);
  for (Node *item : items)
    add(made, item);
  return made;
}

Node *Builder::repeat(Node *item, uint32_t least, uint32_t most) {
  Node *made = make(NodeKind::repeat);
  add(made, item);
  made->least = least;
  made->most = most;
  return made;
}

Node *Builder::reference(uint32_t rule) {
  Node *made = make(NodeKind::rule);
  made->rule = rule;
  return made;
}

uint32_t Builder::rule(std::string_view name, Node *body) {
  if (rules.size == 20000)
    fail("more than 20000 rules");
  if (failed())
    return 0;
  if (!rules.push(arena, {name, body}))
    fail("the grammar takes too much memory");
  return rules.size ? rules.size - 1 : 0;
}

//===----------------------------------------------------------------------===//
// Positions
//===----------------------------------------------------------------------===//

namespace {

constexpr uint32_t kMaxPositions = 400'000;

class Compiler {
public:
  Compiler(Builder &builder, Automaton &out) : builder(builder), out(out) {}

  Status run(uint32_t root) {
    out.root = root;
    // Rules may be added while others are compiled: what is repeated becomes one.
    for (uint32_t i = 0; i < builder.rules.size && !builder.failed(); ++i) {
      if (!builder.rules[i].body) {
        builder.fail("the rule '%.*s' is not defined", int(std::min<size_t>(builder.rules[i].name.size(), 80)),
                     builder.rules[i].name.data());
        break;
      }
      uint32_t end = add({Step::end});
      if (!begins.push(builder.arena, end))
        full();
      uint32_t start = compile(builder.rules[i].body, end, 0);
      if (!out.starts.push(builder.arena, start))
        full();
    }
    if (!builder.failed())
      classify();
    if (!builder.failed())
      check();
    return builder.failed() ? Status(*builder.failure) : Status();
  }

private:
  void full() { builder.fail("the grammar takes too much memory"); }
  uint32_t add(Position position) {
    if (out.positions.size == kMaxPositions) {
      builder.fail("more than %u positions: a repetition or a schema that is too large", kMaxPositions);
      return 0;
    }
    if (!out.positions.push(builder.arena, position))
      full();
    return out.positions.size ? out.positions.size - 1 : 0;
  }
  uint32_t fork(uint32_t first, uint32_t second) { return add({Step::fork, 0, 0, first, second}); }

  /// Where the text of `node` starts when `next` follows it.
  uint32_t compile(const Node *node, uint32_t next, unsigned depth) {
    if (depth > 300)
      builder.fail("nested more than 300 deep");
    if (builder.failed())
      return next;
    switch (node->kind) {
    case NodeKind::bytes:
      for (size_t i = node->text.size(); i--;)
        next = add({Step::byte, uint8_t(node->text[i]), uint8_t(node->text[i]), next, 0});
      return next;
    case NodeKind::chars: {
      uint32_t start = 0;
      bool first = true;
      for (CharRange range : node->ranges)
        charRange(range.low, range.high, next, start, first);
      if (first)
        builder.fail("a set of characters that holds none");
      return start;
    }
    case NodeKind::sequence:
      for (uint32_t i = node->items.size; i--;)
        next = compile(node->items[i], next, depth + 1);
      return next;
    case NodeKind::choice: {
      if (!node->items.size)
        return next;
      uint32_t start = compile(node->items[node->items.size - 1], next, depth + 1);
      for (uint32_t i = node->items.size - 1; i--;)
        start = fork(compile(node->items[i], next, depth + 1), start);
      return start;
    }
    case NodeKind::repeat:
      return repeat(*node, next, depth);
    case NodeKind::rule:
      return add({Step::call, 0, 0, next, node->rule});
    }
    return next;
  }

  uint32_t repeat(const Node &node, uint32_t next, unsigned depth) {
    const Node *item = node.items[0];
    uint32_t copies = node.most == kUnbounded ? node.least + 1 : node.most;
    // Copies of something large are calls of one rule.
    bool small = item->kind == NodeKind::rule || (item->kind == NodeKind::bytes && item->text.size() < 3) ||
                 (item->kind == NodeKind::chars && item->ranges.size == 1 && item->ranges[0].high < 0x80);
    if (copies > 1 && !small) {
      uint32_t rule = builder.rule({}, const_cast<Node *>(item));
      item = builder.reference(rule);
    }
    if (node.most == kUnbounded) {
      uint32_t loop = fork(0, next);
      uint32_t start = compile(item, loop, depth + 1);
      if (!builder.failed())
        out.positions[loop].next = start;
      next = loop;
    } else {
      uint32_t behind = next;
      for (uint32_t i = node.least; i < node.most && !builder.failed(); ++i)
        next = fork(compile(item, next, depth + 1), behind);
    }
    for (uint32_t i = 0; i < node.least && !builder.failed(); ++i)
      next = compile(item, next, depth + 1);
    return next;
  }

  /// Code points low..high as UTF-8: ranges of bytes in which every combination is a character of the range.
  void charRange(uint32_t low, uint32_t high, uint32_t next, uint32_t &start, bool &first) {
    for (uint32_t limit : {0x7fu, 0x7ffu, 0xffffu})
      if (low <= limit && high > limit) {
        charRange(low, limit, next, start, first);
        charRange(limit + 1, high, next, start, first);
        return;
      }
    for (unsigned bits : {6u, 12u, 18u}) {
      uint32_t mask = (1u << bits) - 1;
      if (high < 0x80 || (low & ~mask) == (high & ~mask))
        continue;
      if (low & mask) {
        charRange(low, low | mask, next, start, first);
        charRange((low | mask) + 1, high, next, start, first);
        return;
      }
      if ((high & mask) != mask) {
        charRange(low, (high & ~mask) - 1, next, start, first);
        charRange(high & ~mask, high, next, start, first);
        return;
      }
    }
    char from[4], to[4];
    unsigned size = putChar(low, from);
    putChar(high, to);
    uint32_t at = next;
    for (unsigned i = size; i--;)
      at = add({Step::byte, uint8_t(from[i]), uint8_t(to[i]), at, 0});
    start = first ? at : fork(at, start);
    first = false;
  }

  /// Bytes that no range tells apart.
  void classify() {
    bool cut[257] = {};
    for (const Position &position : out.positions)
      if (position.step == Step::byte)
        cut[position.low] = cut[position.high + 1] = true;
    uint32_t count = 0;
    for (uint32_t byte = 0; byte < 256; ++byte) {
      if (!byte || cut[byte])
        out.sample[count++] = uint8_t(byte);
      out.classOf[byte] = uint8_t(count - 1);
    }
    out.classes = count;
  }

  /// Left recursion, and rules that never end.
  void check() {
    uint32_t count = out.positions.size, rules = out.starts.size;
    auto *empty = builder.arena.array<uint8_t>(count + 1), *ends = builder.arena.array<uint8_t>(count + 1);
    if (!empty || !ends)
      return full();
    memset(empty, 0, count);
    memset(ends, 0, count);
    bool changed = true;
    // What follows a position in its rule mostly has a lower number. Rules may call later or earlier ones: each
    // direction finds at once what the other finds late.
    for (unsigned pass = 0; changed; ++pass) {
      if (pass > 400)
        return builder.fail("rules that refer to each other in a chain of hundreds");
      changed = false;
      for (uint32_t k = 0; k < rules; ++k) {
        uint32_t rule = pass % 2 ? k : rules - 1 - k;
        for (uint32_t i = begins[rule], last = rule + 1 < rules ? begins[rule + 1] : count; i < last; ++i) {
          const Position &at = out.positions[i];
          bool isEmpty = at.step == Step::end, hasEnd = isEmpty;
          if (at.step == Step::byte) {
            hasEnd = ends[at.next];
          } else if (at.step == Step::fork) {
            isEmpty = empty[at.next] || empty[at.other];
            hasEnd = ends[at.next] || ends[at.other];
          } else if (at.step == Step::call) {
            isEmpty = empty[at.next] && empty[out.starts[at.other]];
            hasEnd = ends[at.next] && ends[out.starts[at.other]];
          }
          changed |= isEmpty != bool(empty[i]) || hasEnd != bool(ends[i]);
          empty[i] = isEmpty;
          ends[i] = hasEnd;
        }
      }
    }
    findLeftRecursion(empty);
    for (uint32_t i = 0; i < rules && !builder.failed(); ++i)
      if (!ends[out.starts[i]])
        return builder.fail("the rule '%.*s' has no text that ends",
                            int(std::min<size_t>(builder.rules[i].name.size(), 80)), builder.rules[i].name.data());
  }

  /// Depth-first over what can be called before any byte is taken; a rule that is met while it is open is recursive.
  void findLeftRecursion(const uint8_t *empty) {
    uint32_t count = out.positions.size, rules = out.starts.size;
    auto *state = builder.arena.array<uint8_t>(rules);    // 0 new, 1 open, 2 done.
    auto *seen = builder.arena.array<uint8_t>(count + 1); // Positions are looked at once: their rules are then known.
    auto *work = builder.arena.array<uint32_t>(2 * size_t(count) + 2 * size_t(rules) + 4);
    if (!state || !seen || !work)
      return full();
    memset(state, 0, rules);
    memset(seen, 0, count + 1);
    constexpr uint32_t close = 0x80000000;
    for (uint32_t first = 0; first < rules; ++first) {
      if (state[first])
        continue;
      size_t size = 0;
      state[first] = 1;
      work[size++] = first | close;
      work[size++] = out.starts[first];
      while (size) {
        uint32_t at = work[--size];
        if (at & close) {
          state[at & ~close] = 2;
          continue;
        }
        if (seen[at])
          continue;
        seen[at] = 1;
        const Position &position = out.positions[at];
        if (position.step == Step::fork) {
          work[size++] = position.next;
          work[size++] = position.other;
        } else if (position.step == Step::call) {
          uint32_t rule = position.other;
          if (state[rule] == 1)
            return builder.fail("the rule '%.*s' is left-recursive: it can call itself before it takes a character",
                                int(std::min<size_t>(builder.rules[rule].name.size(), 80)),
                                builder.rules[rule].name.data());
          if (empty[out.starts[rule]])
            work[size++] = position.next;
          if (!state[rule]) {
            state[rule] = 1;
            work[size++] = rule | close;
            work[size++] = out.starts[rule];
          }
        }
      }
    }
  }

  Builder &builder;
  Automaton &out;
  ArenaList<uint32_t> begins; // The first position of each rule.
};

} // namespace

Status compile(Builder &builder, uint32_t root, Automaton &out) {
  if (builder.failed())
    return *builder.failure;
  return Compiler(builder, out).run(root);
}

} // namespace mlc::grammar
