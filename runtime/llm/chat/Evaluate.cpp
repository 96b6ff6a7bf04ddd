//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/chat/Interpreter.h"

#include <math.h>
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
// Comparison
//===----------------------------------------------------------------------===//

Value Interpreter::compareChain(const Expr &expr) {
  Value left = evaluate(expr.a);
  bool holds = true;
  for (uint32_t i = 0; i < expr.items.size && holds && !failed(); ++i) {
    Value right = evaluate(expr.items[i]);
    if (failed())
      break;
    holds = compare(expr.signs[i], left, right);
    left = right;
  }
  return Value::boolean(holds);
}

bool Interpreter::compare(uint16_t operation, const Value &left, const Value &right) {
  switch (operation) {
  case sign("=="):
    return equal(left, right);
  case sign("!="):
    return !equal(left, right);
  case sign("in"):
    return contains(right, left);
  case sign("ni"):
    return !contains(right, left);
  case sign("<"):
    return order(left, right) == -1;
  case sign(">"):
    return order(left, right) == 1;
  case sign("<="): {
    int which = order(left, right);
    return which == -1 || which == 0;
  }
  default: {
    int which = order(left, right);
    return which == 1 || which == 0;
  }
  }
}

bool Interpreter::equal(const Value &left, const Value &right, unsigned nesting) {
  if (!charge() || nesting > kMaxNesting) {
    failWith(ErrorCode::OutOfRange, "values nested more than %u deep", kMaxNesting);
    return false;
  }
  int64_t a, b;
  double x, y;
  if (integerOf(left, a) && integerOf(right, b))
    return a == b;
  if (realOf(left, x) && realOf(right, y))
    return x == y;
  if (left.kind != right.kind)
    return false;
  switch (left.kind) {
  case Kind::undefined:
  case Kind::none:
    return true;
  case Kind::string:
  case Kind::big:
    charge(left.text->size);
    return left.view() == right.view();
  case Kind::list: {
    if (left.list == right.list)
      return true;
    bool ranges = (left.list->form == ListForm::range) == (right.list->form == ListForm::range);
    if ((left.list->form == ListForm::tuple) != (right.list->form == ListForm::tuple) || !ranges ||
        left.list->size != right.list->size || left.list->form == ListForm::generator)
      return false;
    for (uint32_t i = 0; i < left.list->size; ++i)
      if (!equal((*left.list)[i], (*right.list)[i], nesting + 1))
        return false;
    return true;
  }
  case Kind::dict:
    if (left.dict == right.dict)
      return true;
    if (left.dict->entries.size != right.dict->entries.size)
      return false;
    for (const Dict::Entry &entry : left.dict->entries) {
      const Value *other = right.dict->find(entry.key->view());
      if (!other || !equal(entry.value, *other, nesting + 1))
        return false;
    }
    return true;
  default:
    return left.type == right.type && left.object == right.object;
  }
}

/// -1, 0 or 1; 2: not ordered (a NaN).
int Interpreter::order(const Value &left, const Value &right, unsigned nesting) {
  if (!charge() || nesting > kMaxNesting)
    return 2;
  auto of = [](auto a, auto b) { return a < b ? -1 : a > b ? 1 : a == b ? 0 : 2; };
  int64_t a, b;
  double x, y;
  if (integerOf(left, a) && integerOf(right, b))
    return of(a, b);
  if (realOf(left, x) && realOf(right, y))
    return of(x, y);
  if (left.is(Kind::string) && right.is(Kind::string)) {
    charge(left.text->size);
    int which = left.view().compare(right.view());
    return which < 0 ? -1 : which > 0;
  }
  if (left.is(Kind::list) && right.is(Kind::list) && left.list->form == right.list->form &&
      (left.list->form == ListForm::list || left.list->form == ListForm::tuple)) {
    for (uint32_t i = 0; i < left.list->size && i < right.list->size; ++i)
      if (!equal((*left.list)[i], (*right.list)[i], nesting + 1))
        return order((*left.list)[i], (*right.list)[i], nesting + 1);
    return of(left.list->size, right.list->size);
  }
  refuseUndefined(left);
  refuseUndefined(right);
  fail("%s and %s are not ordered", nameOf(left), nameOf(right));
  return 2;
}

bool Interpreter::contains(const Value &haystack, const Value &needle) {
  switch (haystack.kind) {
  case Kind::string:
    if (!needle.is(Kind::string)) {
      refuseUndefined(needle);
      fail("'in' of a string needs a string, not %s", nameOf(needle));
      return false;
    }
    charge(haystack.text->size);
    return haystack.view().find(needle.view()) != std::string_view::npos;
  case Kind::dict:
    return needle.is(Kind::string) && haystack.dict->find(needle.view());
  case Kind::object:
    if (haystack.type == objectSpace)
      break;
    [[fallthrough]];
  case Kind::list:
  case Kind::undefined:
    for (const Value &item : iterate(haystack))
      if (equal(item, needle))
        return true;
    return false;
  default:
    break;
  }
  fail("'in' of %s", nameOf(haystack));
  return false;
}

bool Interpreter::truth(const Value &value) {
  switch (value.kind) {
  case Kind::undefined:
  case Kind::none:
    return false;
  case Kind::boolean:
    return value.flag;
  case Kind::integer:
    return value.integer;
  case Kind::real:
    return value.real != 0;
  case Kind::string:
    return value.text->size;
  case Kind::list:
    return value.list->form == ListForm::generator || value.list->size;
  case Kind::dict:
    return value.dict->entries.size;
  case Kind::big:
  case Kind::object:
    return true;
  }
  return true;
}

//===----------------------------------------------------------------------===//
// Arithmetic
//===----------------------------------------------------------------------===//

Value Interpreter::arithmetic(const Expr &expr) {
  Value left = evaluate(expr.a);
  if (expr.kind == ExprKind::negate || expr.kind == ExprKind::plus) {
    if (!failed() && expr.kind == ExprKind::negate && left.is(Kind::real))
      return Value::number(-left.real);
    return failed() ? Value() : numeric(expr.kind == ExprKind::negate ? ExprKind::subtract : ExprKind::add,
                                        Value::number(int64_t(0)), left);
  }
  Value right = evaluate(expr.b);
  if (failed())
    return {};
  refuseUndefined(left);
  refuseUndefined(right);
  if (failed())
    return {};
  if (expr.kind == ExprKind::add)
    return sumOf(left, right);
  int64_t times;
  auto repeats = [](const Value &value) { return value.is(Kind::string) || value.is(Kind::list); };
  if (expr.kind == ExprKind::multiply && repeats(left) && integerOf(right, times))
    return repeat(left, times);
  if (expr.kind == ExprKind::multiply && repeats(right) && integerOf(left, times))
    return repeat(right, times);
  return numeric(expr.kind, left, right);
}

Value Interpreter::sumOf(const Value &left, const Value &right) {
  if (left.is(Kind::string) && right.is(Kind::string)) {
    Builder made{*this, {}};
    made.add(*left.text);
    made.add(*right.text);
    return made.value();
  }
  if (left.is(Kind::list) && right.is(Kind::list) && left.list->form == right.list->form &&
      (left.list->form == ListForm::list || left.list->form == ListForm::tuple)) {
    ArenaList<Value> items;
    for (const List *list : {left.list, right.list})
      for (const Value &item : *list)
        if (charge() && !items.push(arena, item))
          noMemory();
    return listOf({items.items, items.size}, left.list->form);
  }
  return numeric(ExprKind::add, left, right);
}

Value Interpreter::repeat(const Value &value, int64_t times) {
  if (value.is(Kind::string)) {
    Builder made{*this, {}};
    for (int64_t i = 0; i < times && value.text->size && charge(); ++i)
      made.add(*value.text);
    return made.value();
  }
  ArenaList<Value> items;
  if (value.list->form != ListForm::list && value.list->form != ListForm::tuple)
    fail("'*' of %s", nameOf(value));
  for (int64_t i = 0; i < times && value.list->size && !failed(); ++i)
    for (const Value &item : *value.list)
      if (!charge())
        break;
      else if (!items.push(arena, item))
        noMemory();
  return listOf({items.items, items.size}, value.list->form);
}

Value Interpreter::numeric(ExprKind kind, const Value &left, const Value &right) {
  int64_t a, b, whole = 0;
  double x, y;
  bool integers = integerOf(left, a) && integerOf(right, b);
  if (!realOf(left, x) || !realOf(right, y)) {
    refuseUndefined(left);
    refuseUndefined(right);
    fail(kind == ExprKind::modulo && left.is(Kind::string) ? "formatting with %% is not supported"
                                                           : "%s and %s cannot be computed with",
         nameOf(left), nameOf(right));
    return {};
  }
  if (y == 0 && (kind == ExprKind::divide || kind == ExprKind::floorDivide || kind == ExprKind::modulo)) {
    fail("division by zero");
    return {};
  }
  bool overflow = false;
  switch (kind) {
  case ExprKind::add:
    overflow = integers && !checkedAdd(a, b, whole);
    x += y;
    break;
  case ExprKind::subtract:
    overflow = integers && __builtin_sub_overflow(a, b, &whole);
    x -= y;
    break;
  case ExprKind::multiply:
    overflow = integers && !checkedMul(a, b, whole);
    x *= y;
    break;
  case ExprKind::divide:
    integers = false;
    x /= y;
    break;
  case ExprKind::floorDivide:
  case ExprKind::modulo: {
    if (integers) {
      overflow = a == INT64_MIN && b == -1;
      if (overflow)
        break;
      int64_t quotient = a / b, rest = a % b;
      if (rest && (rest < 0) != (b < 0)) {
        --quotient;
        rest += b;
      }
      whole = kind == ExprKind::modulo ? rest : quotient;
    } else {
      double rest = fmod(x, y);
      if (rest && (rest < 0) != (y < 0))
        rest += y;
      double quotient = (x - rest) / y, floored = floor(quotient);
      if (quotient - floored > 0.5)
        floored += 1;
      x = kind == ExprKind::modulo ? (rest != 0 ? rest : copysign(0, y)) : quotient != 0 ? floored : copysign(0, x / y);
    }
    break;
  }
  default: // power
    if (integers && b >= 0) {
      whole = 1;
      for (int64_t i = 0; i < b && !overflow && charge(); ++i) {
        if (a == 0 || a == 1 || a == -1) {
          whole = a == 0 ? 0 : a == 1 || b % 2 == 0 ? 1 : -1;
          break;
        }
        overflow = !checkedMul(whole, a, whole);
      }
    } else {
      if ((x == 0 && y < 0) || (x < 0 && y != floor(y))) {
        fail("a power that is no real number");
        return {};
      }
      integers = false;
      x = pow(x, y);
    }
  }
  if (overflow)
    fail("an integer beyond 64 bits");
  return integers ? Value::number(whole) : Value::number(x);
}

//===----------------------------------------------------------------------===//
// Attributes and items
//===----------------------------------------------------------------------===//

static bool methodFits(Method which, const Value &base) {
  switch (which) {
  case Method::get:
  case Method::items:
  case Method::keys:
  case Method::values:
    return base.is(Kind::dict);
  case Method::changed:
  case Method::cycle:
    return base.is(Kind::object) && base.type == objectLoop;
  case Method::count:
  case Method::index:
    return base.is(Kind::string) ||
           (base.is(Kind::list) && base.list->form != ListForm::generator && base.list->form != ListForm::view);
  default:
    return base.is(Kind::string);
  }
}

Value Interpreter::attribute(const Value &base, std::string_view name, bool itemFirst) {
  refuseUndefined(base);
  if (failed())
    return {};
  if (itemFirst && base.is(Kind::dict))
    if (const Value *found = base.dict->find(name))
      return *found;
  if (base.is(Kind::object) && base.type == objectLoop) {
    const Loop &state = *static_cast<const Loop *>(base.object);
    auto count = int64_t(state.items.size()), index = int64_t(state.index);
    if (name == "index" || name == "index0")
      return Value::number(index + (name.size() == 5));
    if (name == "revindex" || name == "revindex0")
      return Value::number(count - index - (name.size() == 9));
    if (name == "first")
      return Value::boolean(!index);
    if (name == "last")
      return Value::boolean(index + 1 == count);
    if (name == "length")
      return Value::number(count);
    if (name == "depth" || name == "depth0")
      return Value::number(int64_t(name.size() == 5)); // Only recursive loops are deeper.
    if (name == "previtem")
      return index ? state.items[size_t(index) - 1] : undefined("there is no previous item", {});
    if (name == "nextitem")
      return index + 1 < count ? state.items[size_t(index) + 1] : undefined("there is no next item", {});
  }
  if (base.is(Kind::object) && base.type == objectSpace) {
    const Value *found = static_cast<const Dict *>(base.object)->find(name);
    return found ? *found : undefined("", name);
  }
  Method which;
  if (findMethod(name, which) && methodFits(which, base)) {
    auto *bound = arena.array<BoundMethod>(1);
    if (!bound) {
      noMemory();
      return {};
    }
    *bound = {base, which};
    Value made;
    made.kind = Kind::object;
    made.type = objectMethod;
    made.object = bound;
    return made;
  }
  if (base.is(Kind::dict)) {
    // What Python's dict has and a template may not use.
    for (std::string_view method : {"clear", "copy", "fromkeys", "pop", "popitem", "setdefault", "update"})
      if (name == method && !itemFirst) {
        fail("the method '%.*s' of a dict is not supported", int(name.size()), name.data());
        return {};
      }
    if (const Value *found = base.dict->find(name))
      return *found;
  }
  return undefined("", name);
}

Value Interpreter::subscript(const Value &base, const Value &index) {
  refuseUndefined(base);
  if (failed())
    return {};
  if (index.is(Kind::string))
    return attribute(base, index.view(), true);
  int64_t place;
  if (integerOf(index, place) && (base.is(Kind::list) || base.is(Kind::string)))
    return item(base, place);
  return undefined("an item that is not there", {});
}

Value Interpreter::item(const Value &base, int64_t index) {
  if (base.is(Kind::list)) {
    if (base.list->form == ListForm::generator || base.list->form == ListForm::view)
      return undefined("an item that is not there", {});
    int64_t count = base.list->size;
    index += index < 0 ? count : 0;
    return index >= 0 && index < count ? (*base.list)[size_t(index)] : undefined("an item that is not there", {});
  }
  auto count = int64_t(charactersIn(base.view()));
  index += index < 0 ? count : 0;
  if (index < 0 || index >= count)
    return undefined("a character that is not there", {});
  return sliceText(*base.text, index, index + 1, 1);
}

Value Interpreter::slice(const Expr &expr) {
  Value base = evaluate(expr.a);
  int64_t bounds[3] = {0, 0, 1};
  bool given[3] = {};
  const Expr *parts[3] = {expr.b, expr.c, expr.d};
  for (int i = 0; i < 3; ++i) {
    Value bound = parts[i] ? evaluate(parts[i]) : Value::none();
    if (failed())
      return {};
    given[i] = !bound.is(Kind::none);
    if (given[i] && !integerOf(bound, bounds[i])) {
      refuseUndefined(bound);
      fail("a slice by %s", nameOf(bound));
    }
  }
  refuseUndefined(base);
  bool text = base.is(Kind::string);
  if (!text && (!base.is(Kind::list) || base.list->form == ListForm::generator || base.list->form == ListForm::view))
    fail("a slice of %s", nameOf(base));
  if (!bounds[2])
    fail("a slice whose step is 0");
  if (failed())
    return {};
  auto count = int64_t(text ? charactersIn(base.view()) : base.list->size);
  int64_t step = bounds[2], low = step < 0 ? -1 : 0, high = step < 0 ? count - 1 : count;
  auto clamp = [&](int64_t bound) {
    if (bound < 0)
      bound = bound < -count ? low : bound + count;
    return bound < low ? low : bound > high ? high : bound;
  };
  int64_t from = given[0] ? clamp(bounds[0]) : step < 0 ? high : low;
  int64_t to = given[1] ? clamp(bounds[1]) : step < 0 ? low : high;
  if (text)
    return sliceText(*base.text, from, to, step);
  ArenaList<Value> items;
  for (int64_t at = from; step > 0 ? at < to : at > to;) {
    if (!charge() || !items.push(arena, (*base.list)[size_t(at)]))
      noMemory();
    if (failed() || __builtin_add_overflow(at, step, &at))
      break;
  }
  return listOf({items.items, items.size}, base.list->form == ListForm::tuple ? ListForm::tuple : ListForm::list);
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
      failure.emplace(ErrorCode::InvalidArgument, "the chat template refuses: %.*s", int(text.size < 400 ? text.size : 400),
                      text.data ? text.data : "");
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
