//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/chat/Interpreter.h"

namespace mlc::chat {

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
  return listOf({items.items, items.size}, base.list->form);
}

} // namespace mlc::chat
