//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/chat/Interpreter.h"

#include <algorithm>
#include <stdarg.h>

namespace mlc::chat {

void Interpreter::failWith(ErrorCode code, const char *format, ...) {
  if (failure)
    return;
  char text[440];
  va_list values;
  va_start(values, format);
  vsnprintf(text, sizeof text, format, values);
  va_end(values);
  failure.emplace(code, "line %u: %s", line, text);
}

void Interpreter::fail(const char *format, ...) {
  if (failure)
    return;
  char text[440];
  va_list values;
  va_start(values, format);
  vsnprintf(text, sizeof text, format, values);
  va_end(values);
  failure.emplace(ErrorCode::InvalidArgument, "line %u: %s", line, text);
}

bool Interpreter::charge(uint64_t bytes) {
  steps += 1 + bytes / 16;
  if (steps > limits.steps)
    failWith(ErrorCode::OutOfRange, "the template takes more than %llu steps", (unsigned long long)limits.steps);
  return !failed();
}

//===----------------------------------------------------------------------===//
// Output
//===----------------------------------------------------------------------===//

void Interpreter::put(Output &out, const char *data, const uint8_t *marks, bool plain, size_t size) {
  if (!size || !charge(size))
    return;
  if (size > limits.output || out.size > limits.output - size)
    return failWith(ErrorCode::OutOfRange, "more than %zu bytes of text", limits.output);
  if (size > out.capacity - out.size) {
    size_t capacity = std::max(out.capacity * 2, out.size + size + 64);
    char *grown = arena.array<char>(capacity);
    auto *grownMarks = arena.array<uint8_t>(capacity);
    if (!grown || !grownMarks)
      return noMemory();
    if (out.size) {
      memcpy(grown, out.data, out.size);
      memcpy(grownMarks, out.marks, out.size);
    }
    out.data = grown;
    out.marks = grownMarks;
    out.capacity = capacity;
  }
  memcpy(out.data + out.size, data, size);
  if (marks)
    memcpy(out.marks + out.size, marks, size);
  else
    memset(out.marks + out.size, plain, size);
  out.size += size;
}

const Text *Interpreter::finish(Output &out) {
  auto *made = arena.make<Text>();
  if (!made) {
    noMemory();
    return textOf({}, false);
  }
  bool first = out.size && out.marks[0];
  bool same = !out.size || !memchr(out.marks, !first, out.size);
  *made = {out.data, same ? nullptr : out.marks, uint32_t(out.size), first};
  return made;
}

void Interpreter::write(const Text &text) { put(*out, text.data, text.marks, text.plain, text.size); }

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

void Interpreter::define(std::string_view name, const Value &value) {
  for (uint32_t i = 0; i < program.names.size; ++i)
    if (program.names[i]->view() == name)
      return define(i, value);
}

void Interpreter::bind(Scope *where, uint32_t symbol, const Value &value) {
  for (Scope::Binding &binding : where->bindings)
    if (binding.symbol == symbol) {
      binding.value = value;
      return;
    }
  if (!where->bindings.push(arena, {symbol, value}))
    noMemory();
}

Value Interpreter::lookup(uint32_t symbol) {
  for (Scope *at = scope; at; at = at->parent)
    for (const Scope::Binding &binding : at->bindings)
      if (binding.symbol == symbol)
        return binding.value;
  const Text *name = program.names[symbol];
  Function function;
  Value made;
  if (findFunction(name->view(), function)) {
    made.kind = Kind::object;
    made.type = objectFunction;
    made.integer = int64_t(function);
    return made;
  }
  made.text = name;
  return made;
}

Scope *Interpreter::push(Scope *parent) {
  auto *made = arena.make<Scope>();
  if (!made) {
    noMemory();
    return parent;
  }
  made->parent = parent;
  return made;
}

//===----------------------------------------------------------------------===//
// Statements
//===----------------------------------------------------------------------===//

Interpreter::Flow Interpreter::statements(const Stmt *first) {
  Depth nesting(depth);
  if (depth > kMaxNesting)
    failWith(ErrorCode::OutOfRange, "nested more than %u deep", kMaxNesting);
  for (const Stmt *at = first; at && !failed(); at = at->next)
    if (Flow flow = statement(*at); flow != Flow::normal)
      return flow;
  return Flow::normal;
}

Interpreter::Flow Interpreter::statement(const Stmt &stmt) {
  line = stmt.line;
  if (!charge())
    return Flow::normal;
  switch (stmt.kind) {
  case StmtKind::text:
    write(*stmt.text);
    break;
  case StmtKind::print: {
    Value value = evaluate(stmt.value);
    if (!failed())
      write(print(value));
    break;
  }
  case StmtKind::condition: {
    bool holds = truth(evaluate(stmt.value));
    if (failed())
      break;
    // An `elif` is a condition of its own.
    return statements(holds ? stmt.body : stmt.otherwise);
  }
  case StmtKind::loop:
    return loop(stmt);
  case StmtKind::set: {
    Value value = evaluate(stmt.value);
    if (!failed())
      assign(*stmt.target, value);
    break;
  }
  case StmtKind::setBlock:
  case StmtKind::scope: {
    Output captured, *before = out;
    Scope *outside = scope;
    out = &captured;
    scope = push(scope);
    statements(stmt.body);
    out = before;
    const Text *text = finish(captured);
    if (stmt.kind == StmtKind::scope) {
      write(*text);
      scope = outside;
      break;
    }
    Value value = Value::string(text);
    // The filters' operand is the block's text.
    stmt.filter->constant = value;
    value = evaluate(stmt.value);
    scope = outside;
    if (!failed())
      assign(*stmt.target, value);
    break;
  }
  case StmtKind::macro: {
    auto *macro = arena.array<Macro>(1);
    if (!macro) {
      noMemory();
      break;
    }
    *macro = {&stmt, scope};
    Value made;
    made.kind = Kind::object;
    made.type = objectMacro;
    made.object = macro;
    bind(scope, stmt.symbol, made);
    break;
  }
  case StmtKind::breakLoop:
    return Flow::breakLoop;
  case StmtKind::continueLoop:
    return Flow::continueLoop;
  }
  return Flow::normal;
}

Interpreter::Flow Interpreter::loop(const Stmt &stmt) {
  Value iterated = evaluate(stmt.value);
  std::span<const Value> items = failed() ? std::span<const Value>() : iterate(iterated);
  if (failed())
    return Flow::normal;
  Scope *outside = scope;
  if (stmt.filter) {
    ArenaList<Value> kept;
    for (const Value &item : items) {
      scope = push(outside);
      assign(*stmt.target, item);
      bool keep = truth(evaluate(stmt.filter));
      if (keep && !kept.push(arena, item))
        noMemory();
      if (failed())
        break;
    }
    items = {kept.items, kept.size};
    scope = outside;
  }
  if (failed())
    return Flow::normal;
  if (items.empty()) {
    scope = push(outside);
    Flow flow = stmt.otherwise ? statements(stmt.otherwise) : Flow::normal;
    scope = outside;
    return flow;
  }
  auto *state = arena.make<Loop>();
  if (!state) {
    noMemory();
    return Flow::normal;
  }
  state->items = items;
  state->depth = current ? current->depth + 1 : 0;
  Value loopValue;
  loopValue.kind = Kind::object;
  loopValue.type = objectLoop;
  loopValue.object = state;
  Loop *enclosing = current;
  current = state;
  for (uint32_t i = 0; i < items.size() && !failed(); ++i) {
    if (!charge())
      break;
    state->index = i;
    scope = push(outside);
    bind(scope, symbolLoop, loopValue);
    assign(*stmt.target, items[i]);
    if (failed() || statements(stmt.body) == Flow::breakLoop)
      break;
  }
  current = enclosing;
  scope = outside;
  return Flow::normal;
}

void Interpreter::assign(const Expr &target, const Value &value) {
  switch (target.kind) {
  case ExprKind::name:
    return bind(scope, target.symbol, value);
  case ExprKind::attribute: {
    Value space = lookup(target.a->symbol);
    if (!space.is(Kind::object) || space.type != objectSpace)
      return fail("an attribute can be set of a namespace only");
    if (!static_cast<Dict *>(space.object)->set(arena, target.name, value))
      noMemory();
    return;
  }
  default: {
    std::span<const Value> parts = iterate(value);
    if (failed())
      return;
    if (parts.size() != target.items.size)
      return fail("%zu values for %u names", parts.size(), target.items.size);
    for (size_t i = 0; i < parts.size(); ++i)
      assign(*target.items[i], parts[i]);
  }
  }
}

Value Interpreter::callMacro(const Macro &macro, const Call &call) {
  const Stmt &definition = *macro.definition;
  const char *name = definition.text->data;
  int nameSize = int(definition.text->size);
  if (call.positional.size > definition.parameters.size) {
    fail("the macro %.*s takes %u arguments, not %u", nameSize, name, definition.parameters.size, call.positional.size);
    return {};
  }
  Scope *outside = scope;
  Loop *enclosing = current;
  Scope *inside = push(macro.scope);
  uint32_t usedNames = 0;
  scope = inside;
  for (uint32_t i = 0; i < definition.parameters.size && !failed(); ++i) {
    const Parameter &parameter = definition.parameters[i];
    const Value *given = i < call.positional.size ? &call.positional[i] : nullptr;
    for (const Call::Named &named : call.named)
      if (named.name == parameter.name->view()) {
        if (given)
          fail("the macro %.*s is given %.*s twice", nameSize, name, int(named.name.size()), named.name.data());
        given = &named.value;
        ++usedNames;
      }
    Value value;
    value.text = parameter.name;
    if (given)
      value = *given;
    else if (parameter.fallback)
      value = evaluate(parameter.fallback);
    bind(inside, parameter.symbol, value);
  }
  if (usedNames != call.named.size)
    fail("the macro %.*s has no parameter of such a name", nameSize, name);
  Output captured, *before = out;
  out = &captured;
  current = nullptr;
  if (!failed())
    statements(definition.body);
  out = before;
  current = enclosing;
  scope = outside;
  return Value::string(finish(captured));
}

Result<ChatText> Interpreter::run() {
  scope = push(&globals);
  if (!failed())
    statements(program.body);
  if (failure)
    return *failure;
  // The marks become ranges.
  ArenaList<TextRange> ranges;
  for (size_t at = 0; at < main.size;) {
    auto *next = static_cast<const uint8_t *>(memchr(main.marks + at, 1, main.size - at));
    if (!next)
      break;
    size_t begin = size_t(next - main.marks);
    auto *behind = static_cast<const uint8_t *>(memchr(next, 0, main.size - begin));
    at = behind ? size_t(behind - main.marks) : main.size;
    if (!ranges.push(arena, {begin, at})) {
      noMemory();
      return *failure;
    }
  }
  return ChatText{{main.data, main.size}, {ranges.items, ranges.size}};
}

} // namespace mlc::chat
