//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A chat template as parsed: tokens, expressions and statements, all in one arena.
//
#pragma once

#include "runtime/llm/value/Value.h"

#include <span>

namespace mlc::chat {

enum class TokenKind : uint8_t {
  end,
  data,
  blockBegin,
  blockEnd,
  variableBegin,
  variableEnd,
  name,
  string,
  integer,
  real,
  sign
};

struct Token {
  TokenKind kind = TokenKind::end;
  uint16_t sign = 0; // One or two characters of an operator, the first in the low byte.
  uint32_t line = 0;
  std::string_view text = {}; // Of data, a name, a string (decoded), or as written.
  Value number = {};
};

constexpr uint16_t sign(const char *text) { return uint16_t(uint8_t(text[0]) | (text[0] ? uint8_t(text[1]) << 8 : 0)); }

/// Cuts the source into tokens with trim_blocks and lstrip_blocks, as transformers sets them.
Result<ArenaList<Token>> tokenize(Arena &arena, std::string_view source);

// Filters, tests, functions and methods by name; the tables stand in Names.cpp.
enum class Filter : uint8_t {
  abs,
  capitalize,
  defaultValue,
  dictsort,
  first,
  floating,
  indent,
  integer,
  items,
  join,
  last,
  length,
  list,
  lower,
  map,
  max,
  min,
  reject,
  rejectattr,
  replace,
  reverse,
  safe,
  select,
  selectattr,
  sort,
  string,
  sum,
  title,
  tojson,
  trim,
  unique,
  upper
};
enum class Test : uint8_t {
  boolean,
  callable,
  defined,
  divisibleby,
  eq,
  even,
  falsehood,
  floating,
  ge,
  gt,
  in,
  integer,
  iterable,
  le,
  lt,
  mapping,
  ne,
  none,
  number,
  odd,
  sequence,
  string,
  truth,
  undefined
};
enum class Function : uint8_t { dict, namespaces, raiseException, range, strftimeNow };
enum class Method : uint8_t {
  capitalize,
  changed,
  count,
  cycle,
  endswith,
  find,
  get,
  index,
  isdigit,
  isspace,
  items,
  join,
  keys,
  lower,
  lstrip,
  removeprefix,
  removesuffix,
  replace,
  rfind,
  rsplit,
  rstrip,
  split,
  splitlines,
  startswith,
  strip,
  title,
  upper,
  values
};
bool findFilter(std::string_view name, Filter &out);
bool findTest(std::string_view name, Test &out);
bool findFunction(std::string_view name, Function &out);
bool findMethod(std::string_view name, Method &out);

enum class ExprKind : uint8_t {
  constant,
  name,
  list,
  tuple,
  dict,
  conditional,
  logicalOr,
  logicalAnd,
  logicalNot,
  compare,
  add,
  subtract,
  multiply,
  divide,
  floorDivide,
  modulo,
  power,
  concatenate,
  negate,
  plus,
  attribute,
  subscript,
  slice,
  call,
  filter,
  test
};

struct Expr;
struct Keyword {
  std::string_view name;
  Expr *value;
};
struct Arguments {
  ArenaList<Expr *> positional;
  ArenaList<Keyword> keywords;
};

struct Expr {
  ExprKind kind = ExprKind::constant;
  uint8_t which = 0; // A Filter or a Test.
  bool negated = false;
  uint32_t line = 0;
  uint32_t symbol = 0; // Of a name.
  const Text *name = nullptr;
  Value constant;
  Expr *a = nullptr, *b = nullptr, *c = nullptr, *d = nullptr;
  ArenaList<Expr *> items; // Of lists, tuples, concatenations; keys and values in turn; operands of comparisons.
  ArenaList<uint16_t> signs;
  Arguments arguments;
};

enum class StmtKind : uint8_t { text, print, condition, loop, set, setBlock, macro, scope, breakLoop, continueLoop };

struct Parameter {
  uint32_t symbol;
  const Text *name;
  Expr *fallback; // Null: none.
};

struct Stmt {
  StmtKind kind = StmtKind::text;
  uint32_t line = 0;
  Stmt *next = nullptr;
  const Text *text = nullptr; // Of text; of a macro its name.
  uint32_t symbol = 0;
  Expr *target = nullptr, *value = nullptr, *filter = nullptr;
  Stmt *body = nullptr, *otherwise = nullptr;
  ArenaList<Parameter> parameters;
};

/// A parsed template. Names are numbered in the order of their coming; the first ones are those below.
struct Program {
  Stmt *body = nullptr;
  ArenaList<const Text *> names;
};
enum Symbol : uint32_t { symbolLoop, symbolMessages, symbolTools, symbolBos, symbolEos, symbolPrompt, symbolCount };

/// Parses; what is not of the subset is an error that names it.
Result<Program> parse(Arena &arena, std::string_view source);

} // namespace mlc::chat
