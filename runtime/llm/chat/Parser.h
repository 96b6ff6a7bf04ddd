//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The parser's shared part: a cursor over tokens, a sticky error, and expressions.
//
#pragma once

#include "runtime/llm/chat/Syntax.h"

#include <optional>

namespace mlc::chat {

/// Recursive descent. After the first error every function returns at once, and what it returns is of no use.
class Parser {
public:
  Parser(Arena &arena, std::span<const Token> tokens) : arena(arena), tokens(tokens) {}

  Result<Program> run();

private:
  friend class Nesting;
  // Cursor.
  const Token &now() const { return tokens[at]; }
  const Token &ahead() const { return tokens[at + 1 < tokens.size() ? at + 1 : at]; }
  bool isSign(const char *text) const { return now().kind == TokenKind::sign && now().sign == sign(text); }
  bool isName(std::string_view text) const { return now().kind == TokenKind::name && now().text == text; }
  bool takeSign(const char *text) { return isSign(text) && advance(); }
  bool takeName(std::string_view text) { return isName(text) && advance(); }
  bool advance() {
    at += at + 1 < tokens.size();
    return true;
  }
  void expectSign(const char *text);
  void expectName(std::string_view text);
  const Token *expectKind(TokenKind kind, const char *what);
  bool failed() const { return failure.has_value(); }
  void fail(const char *format, ...) __attribute__((format(printf, 2, 3)));
  void noMemory() { fail("the template takes too much memory"); }
  void unexpected(const char *wanted);

  // Expressions, Expressions.cpp.
  Expr *make(ExprKind kind, Expr *a = nullptr, Expr *b = nullptr);
  Expr *expression(bool conditional = true);
  Expr *tuple(bool conditional = true, bool parenthesised = false);
  Expr *target();
  Expr *conditional();
  Expr *logical(ExprKind kind);
  Expr *negation();
  Expr *comparison();
  Expr *sum();
  Expr *concatenation();
  Expr *product();
  Expr *power();
  Expr *unary(bool filters = true);
  Expr *primary();
  Expr *name();
  Expr *listOrDict();
  Expr *postfix(Expr *base);
  Expr *filters(Expr *base);
  Expr *filter(Expr *base);
  Expr *test(Expr *base);
  Expr *subscript(Expr *base);
  Expr *subscripted(Expr *base);
  Expr *call(Expr *base);
  void arguments(Arguments &out);
  bool isTupleEnd() const;
  uint32_t symbolOf(std::string_view text);
  const Text *textOf(std::string_view text);
  void checkCalls();

  // Statements, Statements.cpp.
  Stmt *statements(std::span<const std::string_view> ends);
  Stmt *statement();
  Stmt *forLoop();
  Stmt *condition();
  Stmt *assignment();
  Stmt *macro();
  Stmt *generation();
  Stmt *makeStatement(StmtKind kind);
  void endTag();

  struct NamedCall {
    std::string_view name;
    uint32_t line;
  };
  Arena &arena;
  std::span<const Token> tokens;
  size_t at = 0;
  unsigned depth = 0, loops = 0;
  Program program;
  ArenaList<NamedCall> calls; // Of names; each must be a function or a macro.
  ArenaList<uint32_t> macros; // Symbols.
  unsigned usesSafe = 0;      // Filters `safe` that stand where they may not.
  Expr nothing;               // What is returned when the memory is at its end.
  std::optional<Error> failure;
};

/// Counts how deep the recursion is.
class Nesting {
public:
  explicit Nesting(Parser &parser) : parser(parser) {
    if (++parser.depth > 100)
      parser.fail("nested more than 100 deep");
  }
  ~Nesting() { --parser.depth; }

private:
  Parser &parser;
};

} // namespace mlc::chat
