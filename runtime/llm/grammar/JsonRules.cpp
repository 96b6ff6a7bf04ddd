//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/grammar/Schema.h"

namespace mlc::grammar {

Node *JsonRules::once(uint32_t &rule, Node *(JsonRules::*make)()) {
  if (rule == kUnbounded) {
    rule = builder.rule("json");
    Node *body = (this->*make)();
    if (!builder.failed())
      builder.rules[rule].body = body;
  }
  return builder.reference(rule);
}

Node *JsonRules::space() { return once(rules[0], &JsonRules::makeSpace); }
Node *JsonRules::character() { return once(rules[1], &JsonRules::makeCharacter); }
Node *JsonRules::string() { return once(rules[2], &JsonRules::makeString); }
Node *JsonRules::number() { return once(rules[3], &JsonRules::makeNumber); }
Node *JsonRules::value() { return once(rules[4], &JsonRules::makeValue); }
Node *JsonRules::object() { return once(rules[5], &JsonRules::makeObject); }
Node *JsonRules::array() { return once(rules[6], &JsonRules::makeArray); }

Node *JsonRules::makeSpace() {
  Node *indent = builder.repeat(builder.chars({{'\t', '\t'}, {' ', ' '}}), 0, 20);
  return builder.optional(builder.choice({builder.bytes(" "), builder.sequence({builder.bytes("\n"), indent})}));
}

Node *JsonRules::makeCharacter() {
  auto hex = [&] { return builder.chars({{'0', '9'}, {'A', 'F'}, {'a', 'f'}}); };
  // \u of anything but a surrogate, or of a pair of them.
  Node *unit = builder.sequence(
      {builder.bytes("u"),
       builder.choice(
           {builder.sequence(
                {builder.chars({{'0', '9'}, {'A', 'C'}, {'E', 'F'}, {'a', 'c'}, {'e', 'f'}}), hex(), hex(), hex()}),
            builder.sequence({builder.chars({{'D', 'D'}, {'d', 'd'}}), builder.chars({{'0', '7'}}), hex(), hex()}),
            builder.sequence({builder.chars({{'D', 'D'}, {'d', 'd'}}),
                              builder.chars({{'8', '9'}, {'A', 'B'}, {'a', 'b'}}), hex(), hex(), builder.bytes("\\u"),
                              builder.chars({{'D', 'D'}, {'d', 'd'}}), builder.chars({{'C', 'F'}, {'c', 'f'}}), hex(),
                              hex()})})});
  Node *escape = builder.choice(
      {builder.chars(
           {{'"', '"'}, {'/', '/'}, {'\\', '\\'}, {'b', 'b'}, {'f', 'f'}, {'n', 'n'}, {'r', 'r'}, {'t', 't'}}),
       unit});
  return builder.choice(
      {builder.chars({{0x20, '!'}, {'#', '['}, {']', 0x10ffff}}), builder.sequence({builder.bytes("\\"), escape})});
}

Node *JsonRules::makeString() {
  return builder.sequence({builder.bytes("\""), builder.repeat(character(), 0, kUnbounded), builder.bytes("\"")});
}

Node *JsonRules::integer() {
  Node *digit = builder.chars({{'0', '9'}});
  return builder.sequence({builder.optional(builder.bytes("-")),
                           builder.choice({builder.bytes("0"), builder.sequence({builder.chars({{'1', '9'}}),
                                                                                 builder.repeat(digit, 0, 15)})})});
}

Node *JsonRules::makeNumber() {
  Node *digit = builder.chars({{'0', '9'}});
  return builder.sequence({integer(),
                           builder.optional(builder.sequence({builder.bytes("."), builder.repeat(digit, 1, 16)})),
                           builder.optional(builder.sequence({builder.chars({{'E', 'E'}, {'e', 'e'}}),
                                                              builder.optional(builder.chars({{'+', '+'}, {'-', '-'}})),
                                                              builder.repeat(digit, 1, 2)}))});
}

Node *JsonRules::listed(const char *open, Node *item, const char *close, uint32_t least, uint32_t most) {
  Node *more = builder.sequence({space(), builder.bytes(","), space(), item});
  Node *some = builder.sequence({item,
                                 builder.repeat(more, least ? least - 1 : 0,
                                                most == kUnbounded ? most
                                                : most             ? most - 1
                                                                   : 0),
                                 space()});
  Node *inside = !most ? builder.make(NodeKind::sequence) : least ? some : builder.optional(some);
  return builder.sequence({builder.bytes(open), space(), inside, builder.bytes(close)});
}

Node *JsonRules::makeValue() {
  return builder.choice(
      {object(), array(), string(), number(), builder.bytes("true"), builder.bytes("false"), builder.bytes("null")});
}

Node *JsonRules::makeObject() {
  return listed("{", builder.sequence({string(), space(), builder.bytes(":"), space(), value()}), "}", 0, kUnbounded);
}

Node *JsonRules::makeArray() { return listed("[", value(), "]", 0, kUnbounded); }

uint32_t anyObject(Builder &builder) {
  JsonRules json(builder);
  return builder.rule("root", json.object());
}

} // namespace mlc::grammar
