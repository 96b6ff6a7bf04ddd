//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/chat/Interpreter.h"

#include <time.h>

namespace mlc::chat {

Value Interpreter::undefined(const char *what, std::string_view name) {
  Value made;
  made.text = textOf(name.empty() ? std::string_view(what) : name, false);
  return made;
}

void Interpreter::refuseUndefined(const Value &value) {
  if (value.is(Kind::undefined))
    fail("'%.*s' is undefined", value.text ? int(value.text->size) : 0, value.text ? value.text->data : "");
}

Value Interpreter::evaluate(const Expr *expr) {
  if (failed() || !charge())
    return {};
  Depth nesting(depth);
  if (depth > kMaxNesting) {
    failWith(ErrorCode::OutOfRange, "nested more than %u deep", kMaxNesting);
    return {};
  }
  line = expr->line;
  return evaluateKind(*expr);
}

Value Interpreter::evaluateKind(const Expr &expr) {
  switch (expr.kind) {
  case ExprKind::constant:
    return expr.constant;
  case ExprKind::name:
    return lookup(expr.symbol);
  case ExprKind::list:
  case ExprKind::tuple: {
    ArenaList<Value> items;
    for (const Expr *item : expr.items)
      if (!items.push(arena, evaluate(item)))
        noMemory();
    return listOf({items.items, items.size}, expr.kind == ExprKind::tuple ? ListForm::tuple : ListForm::list);
  }
  case ExprKind::dict: {
    auto *made = arena.make<Dict>();
    for (uint32_t i = 0; i + 1 < expr.items.size && made && !failed(); i += 2) {
      Value key = evaluate(expr.items[i]), value = evaluate(expr.items[i + 1]);
      if (!failed() && !key.is(Kind::string))
        fail("a key of a dict that is no string is not supported");
      else if (!failed() && !made->set(arena, key.text, value))
        noMemory();
    }
    if (!made) {
      noMemory();
      return {};
    }
    return Value::mapping(made);
  }
  case ExprKind::conditional: {
    bool holds = truth(evaluate(expr.b));
    if (failed())
      return {};
    if (!holds && !expr.c)
      return undefined("the inline if-expression evaluated to false and no else section was defined.", {});
    return evaluate(holds ? expr.a : expr.c);
  }
  case ExprKind::logicalOr:
  case ExprKind::logicalAnd: {
    Value left = evaluate(expr.a);
    bool holds = truth(left);
    if (failed() || holds == (expr.kind == ExprKind::logicalOr))
      return left;
    return evaluate(expr.b);
  }
  case ExprKind::logicalNot:
    return Value::boolean(!truth(evaluate(expr.a)));
  case ExprKind::compare:
    return compareChain(expr);
  case ExprKind::concatenate: {
    Builder made{*this, {}};
    for (const Expr *item : expr.items) {
      Value value = evaluate(item);
      if (!failed())
        made.add(print(value));
    }
    return made.value();
  }
  case ExprKind::attribute: {
    Value base = evaluate(expr.a);
    return failed() ? Value() : attribute(base, expr.name->view());
  }
  case ExprKind::subscript: {
    Value base = evaluate(expr.a), index = evaluate(expr.b);
    return failed() ? Value() : subscript(base, index);
  }
  case ExprKind::slice:
    return slice(expr);
  case ExprKind::call:
    return call(expr);
  case ExprKind::filter:
    return filter(expr);
  case ExprKind::test:
    return Value::boolean(test(expr) != expr.negated);
  default:
    return arithmetic(expr);
  }
}

//===----------------------------------------------------------------------===//
// Calls
//===----------------------------------------------------------------------===//

bool Interpreter::evaluateArguments(const Arguments &arguments, Call &call) {
  for (const Expr *argument : arguments.positional)
    if (!call.positional.push(arena, evaluate(argument)))
      noMemory();
  for (const Keyword &keyword : arguments.keywords)
    if (!call.named.push(arena, {keyword.name, evaluate(keyword.value)}))
      noMemory();
  return !failed();
}

Value Interpreter::call(const Expr &expr) {
  Value callee = evaluate(expr.a);
  if (failed())
    return {};
  uint32_t here = expr.line;
  refuseUndefined(callee);
  if (!failed() && (!callee.is(Kind::object) || callee.type == objectSpace || callee.type == objectLoop))
    fail("%s cannot be called", nameOf(callee));
  Call call;
  if (failed() || !evaluateArguments(expr.arguments, call))
    return {};
  line = here;
  switch (callee.type) {
  case objectMacro:
    return callMacro(*static_cast<const Macro *>(callee.object), call);
  case objectMethod:
    return callMethod(*static_cast<const BoundMethod *>(callee.object), call);
  default:
    return callFunction(Function(callee.integer), call);
  }
}

Value Interpreter::callFunction(Function which, const Call &call) {
  switch (which) {
  case Function::raiseException: {
    Text text = call.positional.size == 1 ? print(call.positional[0]) : Text();
    if (!failure)
      failure.emplace(ErrorCode::InvalidArgument, "the chat template refuses: %.*s",
                      int(text.size < 400 ? text.size : 400), text.data ? text.data : "");
    return {};
  }
  case Function::strftimeNow: {
    if (call.positional.size != 1 || !call.positional[0].is(Kind::string)) {
      fail("strftime_now takes one format");
      return {};
    }
    time_t now = clock < 0 ? time(nullptr) : time_t(clock);
    tm parts;
    localtime_r(&now, &parts);
    char format[128], text[256];
    snprintf(format, sizeof format, "%.*s", int(call.positional[0].text->size), call.positional[0].text->data);
    size_t size = strftime(text, sizeof text, format, &parts);
    if (!size && format[0])
      fail("strftime_now: a format that gives no text or too much");
    return string(*textOf({text, size}, false));
  }
  case Function::range: {
    int64_t bounds[3] = {0, 0, 1};
    uint32_t count = call.positional.size;
    if (!count || count > 3 || call.named.size)
      fail("range takes one to three numbers");
    for (uint32_t i = 0; i < count && !failed(); ++i)
      if (!integerOf(call.positional[i], bounds[count == 1 ? 1 : i]))
        fail("range of %s", nameOf(call.positional[i]));
    if (!failed() && !bounds[2])
      fail("range: its step is 0");
    ArenaList<Value> items;
    for (int64_t at = bounds[0]; !failed() && (bounds[2] > 0 ? at < bounds[1] : at > bounds[1]);) {
      if (items.size == 100000)
        fail("range: more than 100000 numbers");
      if (!charge() || !items.push(arena, Value::number(at)))
        noMemory();
      if (__builtin_add_overflow(at, bounds[2], &at))
        break;
    }
    return listOf({items.items, items.size}, ListForm::range);
  }
  case Function::dict:
  case Function::namespaces: {
    auto *made = arena.make<Dict>();
    if (call.positional.size > 1 || (call.positional.size && !call.positional[0].is(Kind::dict)))
      fail("namespace and dict take a dict or names with values");
    if (made && call.positional.size && !failed())
      for (const Dict::Entry &entry : call.positional[0].dict->entries)
        if (charge() && !made->set(arena, entry.key, entry.value))
          noMemory();
    for (const Call::Named &entry : call.named)
      if (!made || !made->set(arena, textOf(entry.name, false), entry.value))
        noMemory();
    Value value = Value::mapping(made);
    if (which == Function::namespaces) {
      value.kind = Kind::object;
      value.type = objectSpace;
      value.object = made;
    }
    return made ? value : Value();
  }
  }
  return {};
}

} // namespace mlc::chat
