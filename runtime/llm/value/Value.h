//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Values as JSON has them and templates compute with them. They live in an arena; lists and dicts are shared by
// reference, as in Python.
//
#pragma once

#include "runtime/llm/value/Arena.h"

namespace mlc {

/// UTF-8 that remembers, byte by byte, whether it came from a caller (plain) or from the template.
struct Text {
  const char *data = nullptr;
  const uint8_t *marks = nullptr; // 1: plain; null: every byte is as `plain` says.
  uint32_t size = 0;
  bool plain = false;

  std::string_view view() const { return {data, size}; }
  bool isPlain(size_t i) const { return marks ? marks[i] != 0 : plain; }
  /// The part [begin, end).
  Text part(size_t begin, size_t end) const {
    return {data + begin, marks ? marks + begin : nullptr, uint32_t(end - begin), plain};
  }
};

enum class Kind : uint8_t {
  undefined, // With the name that was looked for, for messages.
  none,
  boolean,
  integer,
  big, // An integer beyond 64 bits, kept as its digits.
  real,
  string,
  list, // Also a tuple, and what Python computes as it is asked for.
  dict,
  object, // Of the template engine.
};

struct List;
struct Dict;

struct Value {
  Kind kind = Kind::undefined;
  bool flag = false; // A boolean's value.
  uint8_t type = 0;  // Of an object: which.
  union {
    int64_t integer;
    double real;
    const Text *text; // Of a string, a big integer, an undefined value (may be null).
    List *list;
    Dict *dict;
    void *object;
  };

  Value() : text(nullptr) {}
  static Value none() { return of(Kind::none); }
  static Value boolean(bool value) {
    Value made = of(Kind::boolean);
    made.flag = value;
    return made;
  }
  static Value number(int64_t value) {
    Value made = of(Kind::integer);
    made.integer = value;
    return made;
  }
  static Value number(double value) {
    Value made = of(Kind::real);
    made.real = value;
    return made;
  }
  static Value string(const Text *text) {
    Value made = of(Kind::string);
    made.text = text;
    return made;
  }
  static Value sequence(List *list) {
    Value made = of(Kind::list);
    made.list = list;
    return made;
  }
  static Value mapping(Dict *dict) {
    Value made = of(Kind::dict);
    made.dict = dict;
    return made;
  }
  bool is(Kind wanted) const { return kind == wanted; }
  std::string_view view() const { return text->view(); }

private:
  static Value of(Kind kind) {
    Value made;
    made.kind = kind;
    return made;
  }
};

/// A generator's items are seen once; a view (of a dict) and a range are no lists to whoever prints them.
enum class ListForm : uint8_t { list, tuple, generator, view, range };

struct List : ArenaList<Value> {
  ListForm form = ListForm::list;
  uint32_t taken = 0; // Of a generator: items seen.
};

/// String keys in the order of their coming; looked up by hash once there are many.
struct Dict {
  struct Entry {
    const Text *key;
    Value value;
  };
  ArenaList<Entry> entries;

  const Value *find(std::string_view key) const;
  /// Replaces the value of a key that is there. False when there is no room.
  bool set(Arena &arena, const Text *key, const Value &value);

private:
  uint32_t slotOf(std::string_view key) const;
  uint32_t *slots = nullptr; // Index of an entry + 1; 0: free. A power of two, at least twice the entries.
  uint32_t slotCount = 0;
};

/// Reads one JSON text (RFC 8259), at most 64 levels deep; its strings are plain. The error says what is wrong at which
/// byte.
Result<Value> parseJson(Arena &arena, std::string_view text);

} // namespace mlc
