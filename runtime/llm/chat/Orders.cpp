//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/chat/Interpreter.h"

namespace mlc::chat {

/// What an item is sorted or found by.
Value Interpreter::keyOf(const Value &value, const Value &path, bool ignoreCase) {
  Value key = path.is(Kind::none) ? value : byPath(value, path);
  return !failed() && ignoreCase && key.is(Kind::string) ? changeCase(*key.text, 'l') : key;
}

/// Orders `items` by `keys`, where items[i] was made from keys[i]; equal ones keep their order (merge sort).
void Interpreter::sortValues(Value *items, const Value *keys, size_t count, bool reverse, bool) {
  auto *order = arena.array<uint32_t>(count), *other = arena.array<uint32_t>(count);
  auto *sorted = arena.array<Value>(count);
  if (!order || !other || !sorted)
    return noMemory();
  for (size_t i = 0; i < count; ++i)
    order[i] = uint32_t(i);
  for (size_t width = 1; width < count && !failed(); width *= 2) {
    for (size_t from = 0; from < count; from += 2 * width) {
      size_t middle = from + width < count ? from + width : count,
             to = from + 2 * width < count ? from + 2 * width : count;
      size_t left = from, right = middle;
      for (size_t at = from; at < to && !failed(); ++at) {
        bool takeRight = left == middle;
        if (!takeRight && right < to) {
          int which = this->order(keys[order[right]], keys[order[left]]);
          takeRight = reverse ? which == 1 : which == -1;
        }
        other[at] = order[takeRight ? right++ : left++];
      }
    }
    std::swap(order, other);
  }
  if (failed())
    return;
  for (size_t i = 0; i < count; ++i)
    sorted[i] = items[order[i]];
  for (size_t i = 0; i < count; ++i)
    items[i] = sorted[i];
}

Value Interpreter::sorted(const Value &value, const Call &call) {
  const Value *reverse = call.get(0, "reverse"), *cased = call.get(1, "case_sensitive"),
              *path = call.get(2, "attribute");
  std::span<const Value> items = iterate(value);
  auto *made = arena.array<Value>(items.size()), *keys = arena.array<Value>(items.size());
  if (!made || !keys)
    noMemory();
  for (size_t i = 0; i < items.size() && !failed(); ++i) {
    if (path && path->is(Kind::string) && path->view().find(',') != std::string_view::npos)
      fail("sort by several attributes is not supported");
    made[i] = items[i];
    keys[i] = keyOf(items[i], path ? *path : Value::none(), !(cased && truth(*cased)));
    charge();
  }
  if (!failed())
    sortValues(made, keys, items.size(), reverse && truth(*reverse), false);
  return failed() ? Value() : listOf({made, items.size()});
}

Value Interpreter::sortedDict(const Value &value, const Call &call) {
  if (!value.is(Kind::dict)) {
    refuseUndefined(value);
    fail("dictsort of %s", nameOf(value));
    return {};
  }
  const Value *cased = call.get(0, "case_sensitive"), *by = call.get(1, "by"), *reverse = call.get(2, "reverse");
  bool byValue = by && by->is(Kind::string) && by->view() == "value";
  if (by && !byValue && !(by->is(Kind::string) && by->view() == "key"))
    fail("dictsort: by is 'key' or 'value'");
  Value pairs = failed() ? Value() : pairsOf(value, ListForm::list);
  auto *keys = failed() ? nullptr : arena.array<Value>(pairs.list->size);
  if (!keys) {
    noMemory();
    return {};
  }
  for (uint32_t i = 0; i < pairs.list->size && !failed(); ++i)
    keys[i] = keyOf((*(*pairs.list)[i].list)[byValue], Value::none(), !(cased && truth(*cased)));
  if (!failed())
    sortValues(pairs.list->items, keys, pairs.list->size, reverse && truth(*reverse), false);
  return pairs;
}

Value Interpreter::extreme(const Value &value, const Call &call, bool most) {
  const Value *cased = call.get(0, "case_sensitive"), *path = call.get(1, "attribute");
  Value best, bestKey;
  bool first = true;
  for (const Value &item : iterate(value)) {
    Value key = keyOf(item, path ? *path : Value::none(), !(cased && truth(*cased)));
    if (failed())
      break;
    if (first || order(key, bestKey) == (most ? 1 : -1)) {
      best = item;
      bestKey = key;
    }
    first = false;
  }
  return first ? undefined("no item, so no smallest or largest one", {}) : best;
}

//===----------------------------------------------------------------------===//
// Tests
//===----------------------------------------------------------------------===//

bool Interpreter::test(const Expr &expr) {
  Value value = evaluate(expr.a);
  Call call;
  if (failed() || !evaluateArguments(expr.arguments, call))
    return false;
  line = expr.line;
  if (call.named.size)
    fail("arguments of tests by name are not supported");
  return applyTest(Test(expr.which), value, {call.positional.items, call.positional.size});
}

bool Interpreter::applyTest(Test which, const Value &value, std::span<const Value> arguments) {
  size_t wanted = (which >= Test::divisibleby && which <= Test::eq) || which == Test::ge || which == Test::gt ||
                          which == Test::in || which == Test::le || which == Test::lt || which == Test::ne
                      ? 1
                      : 0;
  if (failed())
    return false;
  if (arguments.size() != wanted) {
    fail("a test takes %zu arguments here, not %zu", wanted, arguments.size());
    return false;
  }
  int64_t whole, by;
  switch (which) {
  case Test::defined:
    return !value.is(Kind::undefined);
  case Test::undefined:
    return value.is(Kind::undefined);
  case Test::none:
    return value.is(Kind::none);
  case Test::boolean:
    return value.is(Kind::boolean);
  case Test::truth:
    return value.is(Kind::boolean) && value.flag;
  case Test::falsehood:
    return value.is(Kind::boolean) && !value.flag;
  case Test::integer:
    return value.is(Kind::integer) || value.is(Kind::big);
  case Test::floating:
    return value.is(Kind::real);
  case Test::number:
    return value.is(Kind::integer) || value.is(Kind::real) || value.is(Kind::boolean) || value.is(Kind::big);
  case Test::string:
    return value.is(Kind::string);
  case Test::mapping:
    return value.is(Kind::dict);
  case Test::iterable:
    return value.is(Kind::string) || value.is(Kind::list) || value.is(Kind::dict) || value.is(Kind::undefined) ||
           (value.is(Kind::object) && value.type == objectLoop);
  case Test::sequence:
    return value.is(Kind::string) || value.is(Kind::dict) || value.is(Kind::undefined) ||
           (value.is(Kind::list) && value.list->form != ListForm::generator && value.list->form != ListForm::view);
  case Test::callable:
    // Python can call what is undefined, to say so.
    return value.is(Kind::undefined) || (value.is(Kind::object) && value.type != objectSpace);
  case Test::odd:
  case Test::even:
  case Test::divisibleby:
    by = 2;
    refuseUndefined(value);
    if (value.is(Kind::real)) {
      Value rest = numeric(ExprKind::modulo, value, wanted ? arguments[0] : Value::number(by));
      double left = 0;
      realOf(rest, left);
      return which == Test::odd ? left == 1 : left == 0;
    }
    if (!integerOf(value, whole) || (wanted && !integerOf(arguments[0], by)) || !by || by == -1) {
      fail("this test needs integers");
      return false;
    }
    return (whole % by != 0) == (which == Test::odd);
  case Test::eq:
    return equal(value, arguments[0]);
  case Test::ne:
    return !equal(value, arguments[0]);
  case Test::lt:
    return compare(sign("<"), value, arguments[0]);
  case Test::le:
    return compare(sign("<="), value, arguments[0]);
  case Test::gt:
    return compare(sign(">"), value, arguments[0]);
  case Test::ge:
    return compare(sign(">="), value, arguments[0]);
  case Test::in:
    return contains(arguments[0], value);
  }
  return false;
}

} // namespace mlc::chat
