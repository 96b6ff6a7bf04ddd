//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// From a JSON Schema to rules. Every keyword is understood, an annotation, or refused by name.
//
#pragma once

#include "runtime/llm/grammar/Automaton.h"
#include "runtime/llm/value/Value.h"

namespace mlc::grammar {

/// The rules of JSON itself.
class JsonRules {
public:
  explicit JsonRules(Builder &builder) : builder(builder) {}
  Node *space();     // None, a space, or a line break and an indentation of at most 20 spaces and tabs.
  Node *character(); // One of a string, as itself or as an escape.
  Node *string();
  Node *number();
  Node *integer();
  Node *value();
  Node *object();
  Node *array();
  /// `open` item (, item)* `close`, with space between; no item: both alone.
  Node *listed(const char *open, Node *item, const char *close, uint32_t least, uint32_t most);

  Builder &builder;

private:
  Node *once(uint32_t &rule, Node *(JsonRules::*make)());
  Node *makeSpace();
  Node *makeCharacter();
  Node *makeString();
  Node *makeNumber();
  Node *makeValue();
  Node *makeObject();
  Node *makeArray();
  uint32_t rules[7] = {kUnbounded, kUnbounded, kUnbounded, kUnbounded, kUnbounded, kUnbounded, kUnbounded};
};

class SchemaCompiler {
public:
  SchemaCompiler(Builder &builder, Arena &values) : builder(builder), json(builder), arena(values) {}
  Result<uint32_t> run(std::string_view text);

private:
  // Schema.cpp.
  Node *schema(const Value &value, unsigned depth);
  Node *schemaOf(const Dict &dict, unsigned depth);
  Node *referenced(const Dict &dict, unsigned depth);
  Node *united(const Dict &dict, const char *keyword, unsigned depth);
  Node *typed(const Dict &dict, std::string_view type, unsigned depth);
  Node *literal(const Value &value, unsigned depth);
  Node *enumerated(const Dict &dict, const List &values, unsigned depth);
  void refuseOthers(const Dict &dict, std::initializer_list<std::string_view> known, const char *beside);
  void fail(const char *format, ...) __attribute__((format(printf, 2, 3)));
  bool count(const Dict &dict, const char *keyword, uint32_t &out);

  // SchemaMerge.cpp: what schemas mean together.
  const Dict *resolve(std::string_view reference);
  const Dict *flattened(const Dict &dict, unsigned depth);
  bool mergeInto(Dict &into, const Dict &from, unsigned depth);
  bool exclusive(const Value &a, const Value &b, unsigned depth);
  uint32_t typesOf(const Value &schema, unsigned depth);
  bool same(const Value &a, const Value &b, unsigned depth = 0);
  bool hasType(const Value &value, std::string_view type);

  // SchemaTypes.cpp.
  Node *object(const Dict &dict, unsigned depth);
  Node *members(const Dict &dict, unsigned depth);
  Node *otherKey(const Dict &properties);
  Node *keyBut(std::span<const std::string_view> names, size_t from);
  Node *array(const Dict &dict, unsigned depth);
  Node *string(const Dict &dict);
  Node *number(const Dict &dict, bool integer);
  Node *integersFrom(int64_t least, int64_t most);
  Node *digitsBetween(std::string_view low, std::string_view high);
  Node *naturals(uint64_t low, uint64_t high);

  struct Known {
    const Dict *dict;
    uint32_t rule;
  };
  Builder &builder;
  JsonRules json;
  Arena &arena;
  Value root;
  ArenaList<Known> known; // Rules of schemas that are referred to.
  char path[200] = "#";   // Where we are, for messages.
  size_t pathSize = 1;
  friend class PathScope;
};

/// Adds a step to the path of messages as long as it lives.
class PathScope {
public:
  PathScope(SchemaCompiler &compiler, std::string_view step);
  ~PathScope();

private:
  SchemaCompiler &compiler;
  size_t before;
};

} // namespace mlc::grammar
