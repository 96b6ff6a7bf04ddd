//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/chat/Interpreter.h"

#include <math.h>

namespace mlc::chat {

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
    return failed() ? Value()
                    : numeric(expr.kind == ExprKind::negate ? ExprKind::subtract : ExprKind::add,
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

} // namespace mlc::chat
