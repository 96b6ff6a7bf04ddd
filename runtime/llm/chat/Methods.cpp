//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/chat/Interpreter.h"

#include <algorithm>

namespace mlc::chat {

Value Interpreter::callMethod(const BoundMethod &method, const Call &call) {
  // Python's methods of strings take their arguments by place, but for those of split and splitlines.
  for (const Call::Named &named : call.named) {
    bool split = method.which == Method::split || method.which == Method::rsplit || method.which == Method::splitlines;
    if (!split || (named.name != "sep" && named.name != "maxsplit" && named.name != "keepends")) {
      fail("the argument '%.*s' of a method is not supported", int(named.name.size()), named.name.data());
      return {};
    }
  }
  if (method.base.is(Kind::string))
    return textMethod(*method.base.text, method.which, call);
  if (method.base.is(Kind::object))
    return loopMethod(*static_cast<Loop *>(method.base.object), method.which, call);
  return otherMethod(method.base, method.which, call);
}

Value Interpreter::textMethod(const Text &text, Method which, const Call &call) {
  const ArenaList<Value> &values = call.positional;
  struct Arity {
    Method method;
    uint32_t least, most;
  };
  static constexpr Arity arities[] = {
      {Method::capitalize, 0, 0}, {Method::count, 1, 1},        {Method::endswith, 1, 1}, {Method::find, 1, 1},
      {Method::index, 1, 1},      {Method::isdigit, 0, 0},      {Method::isspace, 0, 0},  {Method::join, 1, 1},
      {Method::lower, 0, 0},      {Method::lstrip, 0, 1},       {Method::rfind, 1, 1},    {Method::removeprefix, 1, 1},
      {Method::replace, 2, 3},    {Method::removesuffix, 1, 1}, {Method::rsplit, 0, 2},   {Method::rstrip, 0, 1},
      {Method::split, 0, 2},      {Method::splitlines, 0, 1},   {Method::strip, 0, 1},    {Method::startswith, 1, 1},
      {Method::title, 0, 0},      {Method::upper, 0, 0}};
  for (const Arity &arity : arities)
    if (arity.method == which && (values.size < arity.least || values.size > arity.most)) {
      fail("a method of a string takes %u to %u arguments here, not %u", arity.least, arity.most, values.size);
      return {};
    }
  auto needsText = [&](uint32_t i) {
    if (values[i].is(Kind::string))
      return true;
    refuseUndefined(values[i]);
    fail("a method of a string takes a string, not %s", nameOf(values[i]));
    return false;
  };
  std::string_view view = text.view();
  switch (which) {
  case Method::strip:
  case Method::lstrip:
  case Method::rstrip:
    if (values.size)
      refuseUndefined(values[0]);
    return failed()
               ? Value()
               : trim(text, values.size ? values[0] : Value::none(), which != Method::rstrip, which != Method::lstrip);
  case Method::split:
  case Method::rsplit:
    return split(text, call, which == Method::rsplit);
  case Method::splitlines: {
    const Value *keep = call.get(0, "keepends");
    return splitLines(text, keep && truth(*keep));
  }
  case Method::startswith:
  case Method::endswith:
    return Value::boolean(affix(text, values[0], which == Method::endswith));
  case Method::replace: {
    int64_t most = -1;
    if (values.size == 3 && !integerOf(values[2], most))
      fail("replace: the count is an integer");
    return needsText(0) && needsText(1) ? replace(text, *values[0].text, *values[1].text, most) : Value();
  }
  case Method::upper:
    return changeCase(text, 'u');
  case Method::lower:
    return changeCase(text, 'l');
  case Method::title:
    return changeCase(text, 't');
  case Method::capitalize:
    return changeCase(text, 'c');
  case Method::join:
    for (const Value &value : values[0].is(Kind::list)
                                  ? std::span<const Value>(values[0].list->items, values[0].list->size)
                                  : std::span<const Value>())
      if (!value.is(Kind::string)) {
        fail("join of %s", nameOf(value));
        return {};
      }
    return join(text, values[0], {});
  case Method::removeprefix:
  case Method::removesuffix: {
    if (!needsText(0))
      return {};
    size_t size = values[0].text->size;
    bool end = which == Method::removesuffix;
    if (!affix(text, values[0], end))
      return string(text);
    return string(end ? text.part(0, text.size - size) : text.part(size, text.size));
  }
  case Method::find:
  case Method::rfind:
  case Method::index: {
    if (!needsText(0) || !charge(text.size))
      return {};
    size_t found = which == Method::rfind ? view.rfind(values[0].view()) : view.find(values[0].view());
    if (found == view.npos && which == Method::index)
      fail("index: the string is not in it");
    return Value::number(found == view.npos ? int64_t(-1) : int64_t(charactersIn(view.substr(0, found))));
  }
  case Method::count: {
    if (!needsText(0) || !charge(text.size))
      return {};
    std::string_view wanted = values[0].view();
    int64_t count = wanted.empty() ? int64_t(charactersIn(view)) + 1 : 0;
    for (size_t at = 0; !wanted.empty() && (at = view.find(wanted, at)) != view.npos; at += wanted.size())
      ++count;
    return Value::number(count);
  }
  case Method::isdigit:
  case Method::isspace: {
    if (!charge(text.size))
      return {};
    bool all = text.size;
    for (char c : view) {
      if (uint8_t(c) >= 0x80) {
        fail("isdigit and isspace beyond ASCII are not supported");
        return {};
      }
      all &=
          which == Method::isdigit ? c >= '0' && c <= '9' : c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x1f);
    }
    return Value::boolean(all);
  }
  default:
    return {};
  }
}

Value Interpreter::otherMethod(const Value &base, Method which, const Call &call) {
  const ArenaList<Value> &values = call.positional;
  uint32_t wanted = which == Method::get                               ? values.size == 2 ? 2 : 1
                    : which == Method::count || which == Method::index ? 1
                                                                       : 0;
  if (values.size != wanted) {
    fail("a method takes %u arguments here, not %u", wanted, values.size);
    return {};
  }
  if (base.is(Kind::list)) {
    int64_t count = 0;
    for (uint32_t i = 0; i < base.list->size && !failed(); ++i) {
      if (!equal((*base.list)[i], values[0]))
        continue;
      if (which == Method::index)
        return Value::number(int64_t(i));
      ++count;
    }
    if (which == Method::index)
      fail("index: the value is not in it");
    return Value::number(count);
  }
  if (which == Method::items)
    return pairsOf(base, ListForm::view);
  if (which == Method::get) {
    const Value *found = values[0].is(Kind::string) ? base.dict->find(values[0].view()) : nullptr;
    return found ? *found : values.size == 2 ? values[1] : Value::none();
  }
  ArenaList<Value> list;
  for (const Dict::Entry &entry : base.dict->entries)
    if (charge() && !list.push(arena, which == Method::keys ? Value::string(entry.key) : entry.value))
      noMemory();
  return listOf({list.items, list.size}, ListForm::view);
}

Value Interpreter::loopMethod(Loop &state, Method which, const Call &call) {
  const ArenaList<Value> &values = call.positional;
  if (which == Method::cycle) {
    if (!values.size)
      fail("loop.cycle takes at least one value");
    return failed() ? Value() : values[state.index % values.size];
  }
  // changed(): whether the values differ from those of the call before.
  bool changed = !state.seen || state.last.size != values.size;
  for (uint32_t i = 0; i < values.size && !changed; ++i)
    changed = !equal(state.last[i], values[i]);
  state.seen = true;
  static_cast<ArenaList<Value> &>(state.last) = values;
  return Value::boolean(changed);
}

} // namespace mlc::chat
