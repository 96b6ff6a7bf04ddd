//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/chat/Parser.h"

namespace mlc::chat {

Expr *Parser::make(ExprKind kind, Expr *a, Expr *b) {
  Expr *made = arena.make<Expr>();
  if (!made) {
    noMemory();
    return &nothing;
  }
  made->kind = kind;
  made->line = now().line;
  made->a = a;
  made->b = b;
  return made;
}

const Text *Parser::textOf(std::string_view text) {
  auto *made = arena.make<Text>();
  if (!made)
    noMemory();
  else
    *made = {text.data(), nullptr, uint32_t(text.size()), false};
  return made;
}

uint32_t Parser::symbolOf(std::string_view text) {
  for (uint32_t i = 0; i < program.names.size; ++i)
    if (program.names[i]->view() == text)
      return i;
  if (program.names.size == 1024) {
    fail("more than 1024 names");
    return 0;
  }
  const Text *made = textOf(text);
  if (!made || !program.names.push(arena, made))
    noMemory();
  return program.names.size - 1;
}

Expr *Parser::expression(bool withCondition) { return withCondition ? conditional() : logical(ExprKind::logicalOr); }

bool Parser::isTupleEnd() const {
  return now().kind == TokenKind::blockEnd || now().kind == TokenKind::variableEnd || isSign(")") ||
         isName("recursive");
}

/// One expression, or several with commas between.
Expr *Parser::tuple(bool withCondition, bool parenthesised) {
  Expr *first = nullptr, *many = nullptr;
  while (!failed()) {
    if (isTupleEnd())
      break;
    Expr *item = expression(withCondition);
    if (!first)
      first = item;
    if (many && !many->items.push(arena, item))
      noMemory();
    if (!isSign(","))
      break;
    if (!many) {
      many = make(ExprKind::tuple);
      if (!many->items.push(arena, first))
        noMemory();
    }
    advance();
  }
  if (many)
    return many;
  if (!first && parenthesised)
    return make(ExprKind::tuple);
  if (!first)
    unexpected("an expression");
  return first ? first : make(ExprKind::constant);
}

/// What a loop or an assignment binds: a name, ns.attribute, or a tuple of names.
Expr *Parser::target() {
  auto one = [&]() -> Expr * {
    const Token *token = expectKind(TokenKind::name, "a name");
    Expr *made = make(ExprKind::name);
    if (failed())
      return made;
    made->symbol = symbolOf(token->text);
    if (token->text == "true" || token->text == "false" || token->text == "none")
      fail("%.*s cannot be set", int(token->text.size()), token->text.data());
    return made;
  };
  bool bracket = takeSign("(");
  Expr *made = one();
  if (isSign(",")) {
    Expr *many = make(ExprKind::tuple);
    if (!many->items.push(arena, made))
      noMemory();
    while (!failed() && takeSign(",") && now().kind == TokenKind::name && !isName("in"))
      if (!many->items.push(arena, one()))
        noMemory();
    made = many;
  }
  if (bracket)
    expectSign(")");
  return made;
}

Expr *Parser::conditional() {
  Nesting nesting(*this);
  Expr *value = logical(ExprKind::logicalOr);
  while (!failed() && takeName("if")) {
    Expr *made = make(ExprKind::conditional, value, logical(ExprKind::logicalOr));
    if (takeName("else"))
      made->c = conditional();
    value = made;
  }
  return value;
}

Expr *Parser::logical(ExprKind kind) {
  bool isOr = kind == ExprKind::logicalOr;
  Expr *left = isOr ? logical(ExprKind::logicalAnd) : negation();
  while (!failed() && takeName(isOr ? "or" : "and")) {
    Expr *right = isOr ? logical(ExprKind::logicalAnd) : negation();
    left = make(kind, left, right);
  }
  return left;
}

Expr *Parser::negation() {
  Nesting nesting(*this);
  if (failed() || !takeName("not"))
    return comparison();
  return make(ExprKind::logicalNot, negation());
}

Expr *Parser::comparison() {
  Expr *left = sum(), *made = nullptr;
  while (!failed()) {
    uint16_t operation = 0;
    if (now().kind == TokenKind::sign) {
      for (const char *known : {"==", "!=", "<", ">", "<=", ">="})
        if (now().sign == sign(known))
          operation = now().sign;
    } else if (isName("in")) {
      operation = sign("in");
    } else if (isName("not") && ahead().kind == TokenKind::name && ahead().text == "in") {
      operation = sign("ni");
      advance();
    }
    if (!operation)
      break;
    advance();
    if (!made)
      made = make(ExprKind::compare, left);
    if (!made->signs.push(arena, operation) || !made->items.push(arena, sum()))
      noMemory();
  }
  return made ? made : left;
}

Expr *Parser::sum() {
  Expr *left = concatenation();
  while (!failed() && (isSign("+") || isSign("-"))) {
    ExprKind kind = isSign("+") ? ExprKind::add : ExprKind::subtract;
    advance();
    left = make(kind, left, concatenation());
  }
  return left;
}

Expr *Parser::concatenation() {
  Expr *first = product(), *made = nullptr;
  while (!failed() && takeSign("~")) {
    if (!made) {
      made = make(ExprKind::concatenate);
      if (!made->items.push(arena, first))
        noMemory();
    }
    if (!made->items.push(arena, product()))
      noMemory();
  }
  return made ? made : first;
}

Expr *Parser::product() {
  Expr *left = power();
  while (!failed()) {
    ExprKind kind = isSign("*")    ? ExprKind::multiply
                    : isSign("/")  ? ExprKind::divide
                    : isSign("//") ? ExprKind::floorDivide
                    : isSign("%")  ? ExprKind::modulo
                                   : ExprKind::constant;
    if (kind == ExprKind::constant)
      break;
    advance();
    left = make(kind, left, power());
  }
  return left;
}

Expr *Parser::power() {
  Expr *left = unary();
  while (!failed() && takeSign("**"))
    left = make(ExprKind::power, left, unary());
  return left;
}

Expr *Parser::unary(bool withFilters) {
  Nesting nesting(*this);
  if (failed())
    return make(ExprKind::constant);
  Expr *value;
  if (takeSign("-"))
    value = make(ExprKind::negate, unary(false));
  else if (takeSign("+"))
    value = make(ExprKind::plus, unary(false));
  else
    value = primary();
  value = postfix(value);
  return withFilters ? filters(value) : value;
}

Expr *Parser::primary() {
  const Token &token = now();
  switch (token.kind) {
  case TokenKind::name:
    return name();
  case TokenKind::integer:
  case TokenKind::real: {
    Expr *made = make(ExprKind::constant);
    made->constant = token.number;
    advance();
    return made;
  }
  case TokenKind::string: {
    Expr *made = make(ExprKind::constant);
    std::string_view text = token.text;
    advance();
    // Strings side by side are one.
    while (!failed() && now().kind == TokenKind::string) {
      std::string_view more = now().text;
      char *bytes = arena.array<char>(text.size() + more.size() + 1);
      if (!bytes) {
        noMemory();
        break;
      }
      memcpy(bytes, text.data(), text.size());
      memcpy(bytes + text.size(), more.data(), more.size());
      text = {bytes, text.size() + more.size()};
      advance();
    }
    made->constant = Value::string(textOf(text));
    return made;
  }
  default:
    break;
  }
  if (takeSign("(")) {
    Expr *made = tuple(true, true);
    expectSign(")");
    return made;
  }
  if (isSign("[") || isSign("{"))
    return listOrDict();
  unexpected("an expression");
  return make(ExprKind::constant);
}

Expr *Parser::name() {
  std::string_view text = now().text;
  advance();
  Expr *made = make(ExprKind::constant);
  if (text == "true" || text == "True" || text == "false" || text == "False") {
    made->constant = Value::boolean(text[0] == 't' || text[0] == 'T');
  } else if (text == "none" || text == "None") {
    made->constant = Value::none();
  } else {
    made->kind = ExprKind::name;
    made->symbol = symbolOf(text);
    for (std::string_view known : {"cycler", "joiner", "lipsum", "caller", "varargs", "kwargs", "self", "super"})
      if (text == known)
        fail("%.*s is not supported", int(text.size()), text.data());
  }
  return made;
}

Expr *Parser::listOrDict() {
  bool dict = isSign("{");
  const char *close = dict ? "}" : "]";
  advance();
  Expr *made = make(dict ? ExprKind::dict : ExprKind::list);
  while (!failed() && !isSign(close)) {
    if (made->items.size) {
      expectSign(",");
      if (isSign(close))
        break;
    }
    bool kept = made->items.push(arena, expression());
    if (dict) {
      expectSign(":");
      kept = kept && made->items.push(arena, expression());
    }
    if (!kept)
      noMemory();
  }
  expectSign(close);
  return made;
}

Expr *Parser::postfix(Expr *base) {
  while (!failed()) {
    if (isSign(".") || isSign("["))
      base = subscript(base);
    else if (isSign("("))
      base = call(base);
    else
      break;
  }
  return base;
}

Expr *Parser::filters(Expr *base) {
  while (!failed()) {
    if (isSign("|"))
      base = filter(base);
    else if (isName("is"))
      base = test(base);
    else if (isSign("("))
      base = call(base);
    else
      break;
  }
  return base;
}

Expr *Parser::filter(Expr *base) {
  advance();
  const Token *token = expectKind(TokenKind::name, "the name of a filter");
  Expr *made = make(ExprKind::filter, base);
  if (failed())
    return made;
  Filter which;
  if (!findFilter(token->text, which)) {
    fail("the filter '%.*s' is not supported", int(token->text.size()), token->text.data());
    return made;
  }
  made->which = uint8_t(which);
  made->name = textOf(token->text);
  if (isSign("("))
    arguments(made->arguments);
  usesSafe += which == Filter::safe;
  return made;
}

Expr *Parser::test(Expr *base) {
  advance();
  bool negated = takeName("not");
  const Token *token = expectKind(TokenKind::name, "the name of a test");
  Expr *made = make(ExprKind::test, base);
  if (failed())
    return made;
  Test which;
  if (!findTest(token->text, which)) {
    fail("the test '%.*s' is not supported", int(token->text.size()), token->text.data());
    return made;
  }
  made->which = uint8_t(which);
  made->negated = negated;
  if (isSign("(")) {
    arguments(made->arguments);
    return made;
  }
  // One argument may stand without brackets.
  bool value = now().kind == TokenKind::string || now().kind == TokenKind::integer || now().kind == TokenKind::real ||
               isSign("[") || isSign("{") ||
               (now().kind == TokenKind::name && !isName("else") && !isName("or") && !isName("and"));
  if (value && (isName("is") || isName("if") || isName("in") || isName("not"))) {
    unexpected("an argument of the test, or brackets around it");
  } else if (value) {
    Expr *argument = postfix(primary());
    if (!made->arguments.positional.push(arena, argument))
      noMemory();
  }
  return made;
}

Expr *Parser::subscript(Expr *base) {
  if (takeSign("[")) {
    Expr *made = subscripted(base);
    expectSign("]");
    return made;
  }
  advance();
  Expr *made = make(ExprKind::attribute, base);
  if (now().kind == TokenKind::integer) {
    made->kind = ExprKind::subscript;
    made->b = make(ExprKind::constant);
    made->b->constant = now().number;
    advance();
    return made;
  }
  const Token *token = expectKind(TokenKind::name, "the name of an attribute");
  if (failed())
    return made;
  made->name = textOf(token->text);
  if (token->text[0] == '_')
    fail("the attribute '%.*s' is not supported", int(token->text.size()), token->text.data());
  return made;
}

/// Behind "[": an index, or a slice.
Expr *Parser::subscripted(Expr *base) {
  Expr *first = isSign(":") ? nullptr : expression();
  if (failed() || !takeSign(":")) {
    if (isSign(","))
      fail("an index of several values is not supported");
    return make(ExprKind::subscript, base, first);
  }
  Expr *made = make(ExprKind::slice, base, first);
  if (!isSign("]") && !isSign(":"))
    made->c = expression();
  if (takeSign(":") && !isSign("]"))
    made->d = expression();
  return made;
}

Expr *Parser::call(Expr *base) {
  Expr *made = make(ExprKind::call, base);
  if (base->kind == ExprKind::name) {
    if (!calls.push(arena, {program.names[base->symbol]->view(), now().line}))
      noMemory();
  } else if (base->kind == ExprKind::attribute && base->name) {
    Method which;
    if (!findMethod(base->name->view(), which))
      fail("the method '%.*s' is not supported", int(base->name->size), base->name->data);
  } else if (!failed()) {
    fail("a call of something else than a function, a macro or a method is not supported");
  }
  arguments(made->arguments);
  return made;
}

void Parser::arguments(Arguments &out) {
  Nesting nesting(*this);
  expectSign("(");
  bool first = true;
  while (!failed() && !isSign(")")) {
    if (!first) {
      expectSign(",");
      if (isSign(")"))
        break;
    }
    first = false;
    if (isSign("*") || isSign("**")) {
      fail("arguments by * and ** are not supported");
    } else if (now().kind == TokenKind::name && ahead().kind == TokenKind::sign && ahead().sign == sign("=")) {
      std::string_view key = now().text;
      for (const Keyword &known : out.keywords)
        if (known.name == key)
          fail("the argument %.*s is given twice", int(key.size()), key.data());
      advance();
      advance();
      if (!out.keywords.push(arena, {key, expression()}))
        noMemory();
    } else if (out.keywords.size) {
      fail("an argument without a name behind one with a name");
    } else if (!out.positional.push(arena, expression())) {
      noMemory();
    }
  }
  expectSign(")");
}

} // namespace mlc::chat
