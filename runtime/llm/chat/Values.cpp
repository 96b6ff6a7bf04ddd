//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/chat/Interpreter.h"
#include "runtime/llm/tokenizer/Utf8.h"

namespace mlc::chat {

const Text *Interpreter::textOf(std::string_view text, bool plain) {
  static constexpr Text empty;
  auto *made = arena.make<Text>();
  if (!made) {
    noMemory();
    return &empty;
  }
  *made = {text.data(), nullptr, uint32_t(text.size()), plain};
  if (!text.empty()) {
    std::string_view copy = arena.copy(text);
    if (!copy.data()) {
      noMemory();
      return &empty;
    }
    made->data = copy.data();
  }
  return made;
}

Value Interpreter::string(const Text &text) {
  auto *made = arena.make<Text>();
  if (!made) {
    noMemory();
    return Value::string(textOf({}, false));
  }
  *made = text;
  return Value::string(made);
}

const char *Interpreter::nameOf(const Value &value) {
  switch (value.kind) {
  case Kind::undefined:
    return "an undefined value";
  case Kind::none:
    return "none";
  case Kind::boolean:
    return "a boolean";
  case Kind::integer:
    return "an integer";
  case Kind::big:
    return "an integer beyond 64 bits";
  case Kind::real:
    return "a float";
  case Kind::string:
    return "a string";
  case Kind::list:
    return value.list->form == ListForm::list        ? "a list"
           : value.list->form == ListForm::tuple     ? "a tuple"
           : value.list->form == ListForm::generator ? "a generator"
           : value.list->form == ListForm::range     ? "a range"
                                                     : "a view of a dict";
  case Kind::dict:
    return "a dict";
  case Kind::object:
    return value.type == objectSpace ? "a namespace" : value.type == objectLoop ? "the loop" : "a function";
  }
  return "a value";
}

bool Interpreter::integerOf(const Value &value, int64_t &out) {
  if (!value.is(Kind::integer) && !value.is(Kind::boolean))
    return false;
  out = value.is(Kind::boolean) ? value.flag : value.integer;
  return true;
}

bool Interpreter::realOf(const Value &value, double &out) {
  int64_t whole;
  if (integerOf(value, whole))
    out = double(whole);
  else if (value.is(Kind::real))
    out = value.real;
  else
    return false;
  return true;
}

Value Interpreter::listOf(std::span<const Value> items, ListForm form) {
  auto *made = arena.make<List>();
  if (!made) {
    noMemory();
    return {};
  }
  made->items = const_cast<Value *>(items.data());
  made->size = made->capacity = uint32_t(items.size());
  made->form = form;
  return Value::sequence(made);
}

size_t Interpreter::charactersIn(std::string_view text) {
  charge(text.size());
  size_t count = 0;
  for (char c : text)
    count += (uint8_t(c) & 0xc0) != 0x80;
  return count;
}

size_t Interpreter::lengthOf(const Value &value) {
  switch (value.kind) {
  case Kind::undefined:
    return 0;
  case Kind::string:
    return charactersIn(value.view());
  case Kind::dict:
    return value.dict->entries.size;
  case Kind::list:
    if (value.list->form != ListForm::generator)
      return value.list->size;
    [[fallthrough]];
  default:
    fail("%s has no length", nameOf(value));
    return 0;
  }
}

Value Interpreter::pairsOf(const Value &dict, ListForm form) {
  ArenaList<Value> pairs;
  for (const Dict::Entry &entry : dict.dict->entries) {
    auto *parts = arena.array<Value>(2);
    if (!charge() || !parts) {
      noMemory();
      break;
    }
    parts[0] = Value::string(entry.key);
    parts[1] = entry.value;
    if (!pairs.push(arena, listOf({parts, 2}, ListForm::tuple)))
      noMemory();
  }
  return listOf({pairs.items, pairs.size}, form);
}

Value Interpreter::characters(const Text &text) {
  ArenaList<Value> items;
  for (size_t at = 0; at < text.size && charge();) {
    size_t next = at + charLength(text.data[at]);
    if (!items.push(arena, string(text.part(at, next))))
      noMemory();
    at = next;
  }
  return listOf({items.items, items.size});
}

std::span<const Value> Interpreter::iterate(const Value &value) {
  switch (value.kind) {
  case Kind::undefined:
    return {};
  case Kind::list: {
    List &list = *value.list;
    uint32_t from = list.taken;
    if (list.form == ListForm::generator)
      list.taken = list.size;
    return {list.items + from, list.size - from};
  }
  case Kind::dict: {
    ArenaList<Value> keys;
    for (const Dict::Entry &entry : value.dict->entries)
      if (charge() && !keys.push(arena, Value::string(entry.key)))
        noMemory();
    return {keys.items, keys.size};
  }
  case Kind::string: {
    Value made = characters(*value.text);
    return failed() ? std::span<const Value>() : std::span<const Value>(made.list->items, made.list->size);
  }
  default:
    fail("%s cannot be iterated over", nameOf(value));
    return {};
  }
}

} // namespace mlc::chat
