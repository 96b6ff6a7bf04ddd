//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/chat/Parser.h"

#include <algorithm>
#include <stdarg.h>

namespace mlc::chat {

void Parser::fail(const char *format, ...) {
  if (failure)
    return;
  char text[400];
  va_list values;
  va_start(values, format);
  vsnprintf(text, sizeof text, format, values);
  va_end(values);
  failure.emplace(ErrorCode::Unsupported, "line %u: %s", now().line, text);
}

void Parser::unexpected(const char *wanted) {
  const Token &token = now();
  char text[64] = "the end";
  if (token.kind == TokenKind::name || token.kind == TokenKind::string)
    snprintf(text, sizeof text, "'%.*s'", int(std::min<size_t>(token.text.size(), 40)), token.text.data());
  else if (token.kind == TokenKind::sign)
    snprintf(text, sizeof text, token.sign >> 8 ? "'%c%c'" : "'%c'", char(token.sign & 255), char(token.sign >> 8));
  else if (token.kind == TokenKind::integer || token.kind == TokenKind::real)
    snprintf(text, sizeof text, "a number");
  else if (token.kind == TokenKind::blockEnd || token.kind == TokenKind::variableEnd)
    snprintf(text, sizeof text, "the end of the tag");
  fail("expected %s, found %s", wanted, text);
}

void Parser::expectSign(const char *text) {
  if (failed() || takeSign(text))
    return;
  char wanted[8];
  snprintf(wanted, sizeof wanted, "'%s'", text);
  unexpected(wanted);
}

void Parser::expectName(std::string_view text) {
  if (failed() || takeName(text))
    return;
  char wanted[32];
  snprintf(wanted, sizeof wanted, "'%.*s'", int(text.size()), text.data());
  unexpected(wanted);
}

const Token *Parser::expectKind(TokenKind kind, const char *what) {
  const Token *token = &now();
  if (!failed() && token->kind != kind)
    unexpected(what);
  else
    advance();
  return token;
}

void Parser::endTag() { expectKind(TokenKind::blockEnd, "the end of the tag"); }

Stmt *Parser::makeStatement(StmtKind kind) {
  Stmt *made = arena.make<Stmt>();
  if (!made) {
    noMemory();
    return nullptr;
  }
  made->kind = kind;
  made->line = now().line;
  return made;
}

/// Statements up to a tag of `ends`, whose name is then the current token (its blockBegin taken).
Stmt *Parser::statements(std::span<const std::string_view> ends) {
  Nesting nesting(*this);
  Stmt *first = nullptr, **tail = &first;
  while (!failed()) {
    Stmt *made = nullptr;
    const Token &token = now();
    if (token.kind == TokenKind::data) {
      made = makeStatement(StmtKind::text);
      if (made)
        made->text = textOf(token.text);
      advance();
    } else if (token.kind == TokenKind::variableBegin) {
      advance();
      made = makeStatement(StmtKind::print);
      if (!made)
        break;
      made->value = tuple();
      // A safe text that is used further would escape what joins it; at the end of an output it changes nothing.
      Expr *last = made->value;
      if (usesSafe && last->kind == ExprKind::filter && last->which == uint8_t(Filter::safe)) {
        made->value = last->a;
        --usesSafe;
      }
      expectKind(TokenKind::variableEnd, "the end }} of the expression");
    } else if (token.kind == TokenKind::blockBegin) {
      advance();
      for (std::string_view end : ends)
        if (isName(end))
          return first;
      made = statement();
    } else {
      if (!ends.empty())
        fail("{%% %.*s %%} is missing", int(ends.back().size()), ends.back().data());
      break;
    }
    if (usesSafe)
      fail("the filter 'safe' is supported at the end of an output only");
    if (made) {
      *tail = made;
      tail = &made->next;
    }
  }
  return first;
}

Stmt *Parser::statement() {
  if (isName("for"))
    return forLoop();
  if (isName("if"))
    return condition();
  if (isName("set"))
    return assignment();
  if (isName("macro"))
    return macro();
  if (isName("generation"))
    return generation();
  if (isName("break") || isName("continue")) {
    Stmt *made = makeStatement(isName("break") ? StmtKind::breakLoop : StmtKind::continueLoop);
    if (!loops)
      fail("%.*s outside a loop", int(now().text.size()), now().text.data());
    advance();
    endTag();
    return made;
  }
  if (now().kind == TokenKind::name)
    fail("the tag '%.*s' is not supported", int(std::min<size_t>(now().text.size(), 60)), now().text.data());
  else
    unexpected("the name of a tag");
  return nullptr;
}

Stmt *Parser::forLoop() {
  advance();
  Stmt *made = makeStatement(StmtKind::loop);
  if (!made)
    return nullptr;
  made->target = target();
  expectName("in");
  made->value = tuple(false);
  if (takeName("if"))
    made->filter = expression();
  if (isName("recursive"))
    fail("recursive loops are not supported");
  endTag();
  constexpr std::string_view ends[] = {"else", "endfor"};
  ++loops;
  made->body = statements(ends);
  --loops;
  if (takeName("else")) {
    endTag();
    made->otherwise = statements(std::span(ends).last(1));
  }
  expectName("endfor");
  endTag();
  return made;
}

Stmt *Parser::condition() {
  Nesting nesting(*this);
  advance();
  Stmt *made = makeStatement(StmtKind::condition);
  if (!made)
    return nullptr;
  made->value = tuple(false);
  endTag();
  constexpr std::string_view ends[] = {"elif", "else", "endif"};
  made->body = statements(ends);
  if (failed())
    return made;
  if (isName("elif")) {
    made->otherwise = condition();
    return made;
  }
  if (takeName("else")) {
    endTag();
    made->otherwise = statements(std::span(ends).last(1));
  }
  expectName("endif");
  endTag();
  return made;
}

Stmt *Parser::assignment() {
  advance();
  Stmt *made = makeStatement(StmtKind::set);
  if (!made)
    return nullptr;
  if (ahead().kind == TokenKind::sign && ahead().sign == sign(".")) {
    Expr *space = name();
    advance();
    const Token *token = expectKind(TokenKind::name, "the name of an attribute");
    made->target = make(ExprKind::attribute, space);
    if (!failed())
      made->target->name = textOf(token->text);
  } else {
    made->target = target();
  }
  if (takeSign("=")) {
    made->value = tuple();
    endTag();
    return made;
  }
  if (failed())
    return made;
  made->kind = StmtKind::setBlock;
  // The filters of the block apply to a value that stands for its text.
  made->filter = make(ExprKind::constant);
  made->value = filters(made->filter);
  endTag();
  constexpr std::string_view ends[] = {"endset"};
  made->body = statements(ends);
  expectName("endset");
  endTag();
  return made;
}

Stmt *Parser::macro() {
  advance();
  Stmt *made = makeStatement(StmtKind::macro);
  const Token *token = expectKind(TokenKind::name, "the name of the macro");
  if (!made || failed())
    return made;
  made->text = textOf(token->text);
  made->symbol = symbolOf(token->text);
  if (!macros.push(arena, made->symbol))
    noMemory();
  expectSign("(");
  while (!failed() && !isSign(")")) {
    if (made->parameters.size)
      expectSign(",");
    const Token *parameter = expectKind(TokenKind::name, "the name of a parameter");
    if (failed())
      break;
    Parameter entry{symbolOf(parameter->text), textOf(parameter->text), nullptr};
    if (takeSign("="))
      entry.fallback = expression();
    else if (made->parameters.size && made->parameters[made->parameters.size - 1].fallback)
      fail("a parameter without a default behind one with a default");
    if (!made->parameters.push(arena, entry))
      noMemory();
  }
  expectSign(")");
  endTag();
  constexpr std::string_view ends[] = {"endmacro"};
  unsigned outside = loops;
  loops = 0;
  made->body = statements(ends);
  loops = outside;
  expectName("endmacro");
  endTag();
  return made;
}

/// What the assistant said, for who trains on it: its text stands as it is.
Stmt *Parser::generation() {
  advance();
  Stmt *made = makeStatement(StmtKind::scope);
  endTag();
  constexpr std::string_view ends[] = {"endgeneration"};
  unsigned outside = loops;
  loops = 0;
  Stmt *body = statements(ends);
  loops = outside;
  if (made)
    made->body = body;
  expectName("endgeneration");
  endTag();
  return made;
}

/// Every name that is called must be a function or a macro of the template.
void Parser::checkCalls() {
  for (const NamedCall &call : calls) {
    Function function;
    bool known = findFunction(call.name, function);
    for (uint32_t symbol : macros)
      known |= program.names[symbol]->view() == call.name;
    if (!known && !failure)
      failure.emplace(ErrorCode::Unsupported, "line %u: the function '%.*s' is not supported", call.line,
                      int(std::min<size_t>(call.name.size(), 60)), call.name.data());
  }
}

Result<Program> Parser::run() {
  for (std::string_view known : {"loop", "messages", "tools", "bos_token", "eos_token", "add_generation_prompt"})
    symbolOf(known);
  program.body = statements({});
  if (!failed())
    checkCalls();
  if (failure)
    return *failure;
  return program;
}

Result<Program> parse(Arena &arena, std::string_view source) {
  MLC_ASSIGN(ArenaList<Token> tokens, tokenize(arena, source));
  return Parser(arena, {tokens.items, tokens.size}).run();
}

} // namespace mlc::chat
