//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/chat/Interpreter.h"

#include <algorithm>
#include <stdlib.h>

namespace mlc::chat {

/// The arguments that a filter may be given by name, in their order.
static std::span<const std::string_view> parametersOf(Filter which) {
  static constexpr std::string_view byDefault[] = {"default_value", "boolean"},
                                    dictsort[] = {"case_sensitive", "by", "reverse"},
                                    indent[] = {"width", "first", "blank"}, join[] = {"d", "attribute"},
                                    number[] = {"default"}, map[] = {"attribute", "default"},
                                    extreme[] = {"case_sensitive", "attribute"}, replace[] = {"old", "new", "count"},
                                    sort[] = {"reverse", "case_sensitive", "attribute"}, sum[] = {"attribute", "start"},
                                    trim[] = {"chars"};
  switch (which) {
  case Filter::defaultValue:
    return byDefault;
  case Filter::dictsort:
    return dictsort;
  case Filter::indent:
    return indent;
  case Filter::join:
    return join;
  case Filter::integer:
  case Filter::floating:
    return number;
  case Filter::map:
    return map;
  case Filter::max:
  case Filter::min:
  case Filter::unique:
    return extreme;
  case Filter::replace:
    return replace;
  case Filter::sort:
    return sort;
  case Filter::sum:
    return sum;
  case Filter::trim:
    return trim;
  default:
    return {};
  }
}

Value Interpreter::filter(const Expr &expr) {
  Value value = evaluate(expr.a);
  Call call;
  if (failed() || !evaluateArguments(expr.arguments, call))
    return {};
  line = expr.line;
  return applyFilter(Filter(expr.which), value, call);
}

Value Interpreter::applyFilter(Filter which, const Value &value, const Call &call) {
  bool free = which == Filter::tojson || which == Filter::map || which == Filter::select || which == Filter::reject ||
              which == Filter::selectattr || which == Filter::rejectattr;
  std::span<const std::string_view> names = parametersOf(which);
  for (const Call::Named &named : call.named)
    if (!(free && which != Filter::map && which == Filter::tojson) &&
        std::find(names.begin(), names.end(), named.name) == names.end()) {
      fail("the filter has no argument '%.*s'", int(named.name.size()), named.name.data());
      return {};
    }
  if (!free && call.positional.size > names.size()) {
    fail("a filter takes %zu arguments here, not %u", names.size(), call.positional.size);
    return {};
  }
  switch (which) {
  case Filter::tojson:
    return toJson(value, call);
  case Filter::defaultValue: {
    const Value *other = call.get(0, "default_value"), *falsy = call.get(1, "boolean");
    if (!value.is(Kind::undefined) && !(falsy && truth(*falsy) && !truth(value)))
      return value;
    return other ? *other : string(std::string_view());
  }
  case Filter::length:
    return Value::number(int64_t(lengthOf(value)));
  case Filter::string:
    return value.is(Kind::string) ? value : string(print(value));
  case Filter::safe:
    return {}; // The parser has taken it away.
  case Filter::integer:
  case Filter::floating:
  case Filter::abs: {
    refuseUndefined(value);
    int64_t whole;
    double real;
    if (failed())
      return {};
    if (which == Filter::abs) {
      if (integerOf(value, whole) && whole != INT64_MIN)
        return Value::number(whole < 0 ? -whole : whole);
      if (value.is(Kind::real))
        return Value::number(value.real < 0 ? -value.real : value.real);
      fail("abs of %s", nameOf(value));
      return {};
    }
    const Value *given = call.get(0, "default");
    Value other = given ? *given : which == Filter::integer ? Value::number(int64_t(0)) : Value::number(0.0);
    if (value.is(Kind::string)) {
      // Decimal digits, a sign, spaces around; a string that is no integer is read as a float.
      Value stripped = trim(*value.text, Value::none(), true, true);
      std::string_view text = stripped.view();
      bool integer = !text.empty(), number = !text.empty();
      for (size_t i = 0; i < text.size(); ++i) {
        bool digit = text[i] >= '0' && text[i] <= '9', isSign = (text[i] == '-' || text[i] == '+');
        integer &= digit || (isSign && !i && text.size() > 1);
        number &= digit || isSign || text[i] == '.' || (text[i] | 32) == 'e';
      }
      std::string_view copy = arena.copy(text);
      if (!number || !copy.data())
        return other;
      char *end;
      if (integer && which == Filter::integer) {
        if (text.size() > 18) {
          fail("an integer beyond 64 bits");
          return {};
        }
        return Value::number(int64_t(strtoll(copy.data(), nullptr, 10)));
      }
      real = strtod(copy.data(), &end);
      if (end != copy.data() + copy.size())
        return other;
      if (which == Filter::floating)
        return Value::number(real);
    } else if (integerOf(value, whole)) {
      return which == Filter::integer ? Value::number(whole) : Value::number(double(whole));
    } else if (value.is(Kind::real)) {
      real = value.real;
      if (which == Filter::floating)
        return value;
    } else {
      return other;
    }
    if (!(real > -9.2e18 && real < 9.2e18)) {
      fail("an integer beyond 64 bits");
      return {};
    }
    return Value::number(int64_t(real));
  }
  case Filter::capitalize:
  case Filter::indent:
  case Filter::lower:
  case Filter::replace:
  case Filter::title:
  case Filter::trim:
  case Filter::upper:
    return filterTexts(which, value, call);
  default:
    return filterSequence(which, value, call);
  }
}

/// Filters of what a value is printed as.
Value Interpreter::filterTexts(Filter which, const Value &value, const Call &call) {
  Text text = print(value);
  if (failed())
    return {};
  switch (which) {
  case Filter::capitalize:
    return changeCase(text, 'c');
  case Filter::lower:
    return changeCase(text, 'l');
  case Filter::upper:
    return changeCase(text, 'u');
  case Filter::title:
    return changeCase(text, 'j');
  case Filter::indent:
    return indent(text, call);
  case Filter::trim: {
    const Value *chars = call.get(0, "chars");
    return trim(text, chars ? *chars : Value::none(), true, true);
  }
  default: { // replace
    const Value *from = call.get(0, "old"), *to = call.get(1, "new"), *count = call.get(2, "count");
    int64_t most = -1;
    if (!from || !to || (count && !count->is(Kind::none) && !integerOf(*count, most))) {
      fail("replace takes two strings and a count");
      return {};
    }
    Text fromText = print(*from), toText = print(*to);
    return failed() ? Value() : replace(text, fromText, toText, most);
  }
  }
}

Value Interpreter::filterSequence(Filter which, const Value &value, const Call &call) {
  switch (which) {
  case Filter::first: {
    if (value.is(Kind::list) && value.list->form == ListForm::generator) {
      List &list = *value.list;
      return list.taken < list.size ? list[list.taken++] : undefined("there is no first item", {});
    }
    std::span<const Value> items = iterate(value);
    return failed() || items.empty() ? undefined("there is no first item", {}) : items[0];
  }
  case Filter::last: {
    if (value.is(Kind::list) && value.list->form == ListForm::generator)
      fail("last of a generator");
    std::span<const Value> items = iterate(value);
    return failed() || items.empty() ? undefined("there is no last item", {}) : items[items.size() - 1];
  }
  case Filter::list:
  case Filter::unique: {
    ArenaList<Value> kept;
    const Value *attribute = call.get(1, "attribute"), *cased = call.get(0, "case_sensitive");
    ArenaList<Value> keys;
    for (const Value &item : iterate(value)) {
      bool known = false;
      if (which == Filter::unique) {
        Value key = keyOf(item, attribute ? *attribute : Value::none(), !(cased && truth(*cased)));
        for (const Value &other : keys)
          known = known || equal(other, key);
        if (!keys.push(arena, key))
          noMemory();
      }
      if (!charge() || (!known && !kept.push(arena, item)))
        noMemory();
      if (failed())
        break;
    }
    return listOf({kept.items, kept.size}, which == Filter::unique ? ListForm::generator : ListForm::list);
  }
  case Filter::items:
    if (value.is(Kind::undefined))
      return listOf({}, ListForm::generator);
    if (!value.is(Kind::dict)) {
      fail("items of %s", nameOf(value));
      return {};
    }
    return pairsOf(value, ListForm::generator);
  case Filter::join: {
    const Value *separator = call.get(0, "d"), *attribute = call.get(1, "attribute");
    if (attribute && !attribute->is(Kind::string)) {
      fail("join: attribute is a string");
      return {};
    }
    Text text = separator ? print(*separator) : *textOf({}, false);
    return failed() ? Value() : join(text, value, attribute ? attribute->view() : std::string_view());
  }
  case Filter::reverse: {
    if (value.is(Kind::string))
      return sliceText(*value.text, int64_t(charactersIn(value.view())) - 1, -1, -1);
    if (!value.is(Kind::list) && !value.is(Kind::dict) && !value.is(Kind::undefined))
      fail("reverse of %s", nameOf(value));
    ArenaList<Value> made;
    std::span<const Value> items = failed() ? std::span<const Value>() : iterate(value);
    for (size_t i = items.size(); i-- && charge();)
      if (!made.push(arena, items[i]))
        noMemory();
    return listOf({made.items, made.size}, ListForm::generator);
  }
  case Filter::select:
  case Filter::reject:
    return choose(value, call, false, which == Filter::select);
  case Filter::selectattr:
  case Filter::rejectattr:
    return choose(value, call, true, which == Filter::selectattr);
  case Filter::map:
    return mapped(value, call);
  case Filter::sort:
    return sorted(value, call);
  case Filter::dictsort:
    return sortedDict(value, call);
  case Filter::min:
  case Filter::max:
    return extreme(value, call, which == Filter::max);
  case Filter::sum: {
    const Value *attribute = call.get(0, "attribute"), *start = call.get(1, "start");
    Value total = start ? *start : Value::number(int64_t(0));
    for (const Value &item : iterate(value)) {
      Value part = attribute && !attribute->is(Kind::none) ? byPath(item, *attribute) : item;
      if (!failed())
        total = numeric(ExprKind::add, total, part);
      if (failed())
        break;
    }
    return total;
  }
  default:
    return {};
  }
}

/// select, reject and those by attribute.
Value Interpreter::choose(const Value &value, const Call &call, bool byAttribute, bool wanted) {
  const ArenaList<Value> &values = call.positional;
  uint32_t at = 0;
  if (byAttribute && !values.size)
    fail("the name of an attribute is missing");
  Value path = byAttribute && values.size ? values[at++] : Value::none();
  Test which = Test::defined;
  bool tests = at < values.size;
  if (tests && (!values[at].is(Kind::string) || !findTest(values[at].view(), which)))
    fail("the test '%.*s' is not supported",
         values[at].is(Kind::string) ? int(std::min(values[at].text->size, 60u)) : 0,
         values[at].is(Kind::string) ? values[at].text->data : "");
  at += tests;
  ArenaList<Value> kept;
  std::span<const Value> items = failed() || !truth(value) ? std::span<const Value>() : iterate(value);
  for (const Value &item : items) {
    Value looked = byAttribute ? byPath(item, path) : item;
    if (failed())
      break;
    bool holds = tests ? applyTest(which, looked, {values.items + at, values.size - at}) : truth(looked);
    if (!charge() || (holds == wanted && !kept.push(arena, item)))
      noMemory();
  }
  return listOf({kept.items, kept.size}, ListForm::generator);
}

Value Interpreter::mapped(const Value &value, const Call &call) {
  const Value *path = nullptr, *other = nullptr;
  for (const Call::Named &named : call.named)
    (named.name == "attribute" ? path : other) = &named.value;
  Filter which = Filter::string;
  if (!path &&
      (!call.positional.size || !call.positional[0].is(Kind::string) || !findFilter(call.positional[0].view(), which)))
    fail("map takes attribute= or the name of a filter that is supported");
  if (which == Filter::safe)
    fail("map by safe is not supported");
  Call rest;
  for (uint32_t i = 1; !path && i < call.positional.size; ++i)
    if (!rest.positional.push(arena, call.positional[i]))
      noMemory();
  ArenaList<Value> made;
  std::span<const Value> items = failed() || !truth(value) ? std::span<const Value>() : iterate(value);
  for (const Value &item : items) {
    Value each = path ? byPath(item, *path) : applyFilter(which, item, rest);
    if (path && other && each.is(Kind::undefined))
      each = *other;
    if (!charge() || !made.push(arena, each))
      noMemory();
    if (failed())
      break;
  }
  return listOf({made.items, made.size}, ListForm::generator);
}

/// The attribute at a path with dots; a part of digits is an index.
Value Interpreter::byPath(const Value &value, const Value &path) {
  int64_t index;
  if (integerOf(path, index))
    return subscript(value, path);
  if (!path.is(Kind::string)) {
    fail("an attribute is a string, not %s", nameOf(path));
    return {};
  }
  Value at = value;
  std::string_view rest = path.view();
  while (!failed()) {
    size_t dot = rest.find('.');
    std::string_view part = rest.substr(0, dot);
    bool digits = !part.empty() && part.size() < 10 && part.find_first_not_of("0123456789") == part.npos;
    at = digits ? subscript(at, Value::number(int64_t(atoi(textOf(part, false)->data)))) : attribute(at, part, true);
    if (dot == rest.npos)
      break;
    rest.remove_prefix(dot + 1);
  }
  return at;
}

} // namespace mlc::chat
