//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/grammar/Schema.h"

#include <math.h>

#include <algorithm>

namespace mlc::grammar {

/// The schema that "#/..." names in this one.
const Dict *SchemaCompiler::resolve(std::string_view reference) {
  auto missing = [&]() -> const Dict * {
    fail("$ref '%.*s': not a place in this schema that holds an object", int(std::min<size_t>(reference.size(), 100)),
         reference.data());
    return nullptr;
  };
  if (reference.empty() || reference[0] != '#')
    return missing();
  const Value *at = &root;
  for (std::string_view rest = reference.substr(1); !rest.empty();) {
    if (rest[0] != '/')
      return missing();
    rest.remove_prefix(1);
    size_t slash = std::min(rest.find('/'), rest.size());
    char name[256];
    size_t size = 0;
    for (size_t i = 0; i < slash; ++i) {
      if (size == sizeof name || rest[i] == '%')
        return missing();
      bool escape = rest[i] == '~' && i + 1 < slash;
      name[size++] = !escape ? rest[i] : rest[i + 1] == '1' ? '/' : '~';
      i += escape;
    }
    rest.remove_prefix(slash);
    if (at->is(Kind::dict)) {
      at = at->dict->find({name, size});
    } else if (at->is(Kind::list) && size && size < 9 &&
               std::all_of(name, name + size, [](char c) { return c >= '0' && c <= '9'; })) {
      uint32_t index = 0;
      for (size_t i = 0; i < size; ++i)
        index = index * 10 + uint32_t(name[i] - '0');
      at = index < at->list->size ? &(*at->list)[index] : nullptr;
    } else {
      at = nullptr;
    }
    if (!at)
      return missing();
  }
  return at->is(Kind::dict) ? at->dict : missing();
}

/// `dict` with what allOf says put into it; the same where there is no allOf.
const Dict *SchemaCompiler::flattened(const Dict &dict, unsigned depth) {
  const Value *all = dict.find("allOf");
  if (!all)
    return &dict;
  if (depth > 64) {
    fail("nested more than 64 deep");
    return nullptr;
  }
  if (!all->is(Kind::list) || !all->list->size) {
    fail("allOf: not an array with schemas");
    return nullptr;
  }
  auto *made = arena.make<Dict>();
  if (!made) {
    fail("too much memory");
    return nullptr;
  }
  Dict rest;
  for (const Dict::Entry &entry : dict.entries)
    if (entry.key->view() != "allOf" && !rest.set(arena, entry.key, entry.value))
      fail("too much memory");
  PathScope scope(*this, "allOf");
  if (!mergeInto(*made, rest, depth + 1))
    return nullptr;
  for (const Value &each : *all->list) {
    if (each.is(Kind::boolean) && each.flag)
      continue;
    if (!each.is(Kind::dict)) {
      fail("a schema of allOf is an object");
      return nullptr;
    }
    if (!mergeInto(*made, *each.dict, depth + 1))
      return nullptr;
  }
  return made;
}

/// Adds what `from` says to `into`. Keywords that both have must be equal, or be properties or required.
bool SchemaCompiler::mergeInto(Dict &into, const Dict &from, unsigned depth) {
  if (depth > 64) {
    fail("nested more than 64 deep");
    return false;
  }
  const Dict *flat = flattened(from, depth + 1);
  if (!flat)
    return false;
  if (const Value *reference = flat->find("$ref"); reference && (into.entries.size || flat->entries.size > 1)) {
    refuseOthers(*flat, {"$ref"}, "$ref");
    const Dict *target = reference->is(Kind::string) && !builder.failed() ? resolve(reference->view()) : nullptr;
    return target && mergeInto(into, *target, depth + 1);
  }
  // It speaks of the properties beside it, so with those of other parts it would mean something else.
  const Value *closes = into.find("additionalProperties"), *alsoCloses = flat->find("additionalProperties");
  bool own = into.find("properties"), theirs = flat->find("properties");
  if ((closes && !(closes->is(Kind::boolean) && closes->flag) && theirs) ||
      (alsoCloses && !(alsoCloses->is(Kind::boolean) && alsoCloses->flag) && own)) {
    fail("additionalProperties beside the properties of another schema that holds, too");
    return false;
  }
  for (const Dict::Entry &entry : flat->entries) {
    std::string_view keyword = entry.key->view();
    const Value *have = into.find(keyword);
    Value value = entry.value;
    if (have && !same(*have, value)) {
      if (keyword == "properties" && have->is(Kind::dict) && value.is(Kind::dict)) {
        auto *both = arena.make<Dict>();
        for (const Dict *part : {have->dict, value.dict})
          for (const Dict::Entry &property : part->entries) {
            const Value *twice = both ? both->find(property.key->view()) : nullptr;
            if (twice && !same(*twice, property.value)) {
              fail("the property '%.*s' is in two schemas that hold together",
                   int(std::min<size_t>(property.key->size, 60)), property.key->data);
              return false;
            }
            if (!both || !both->set(arena, property.key, property.value))
              fail("too much memory");
          }
        value = Value::mapping(both);
      } else if (keyword == "required" && have->is(Kind::list) && value.is(Kind::list)) {
        auto *both = arena.make<List>();
        for (const List *part : {have->list, value.list})
          for (const Value &name : *part)
            if (!both || !both->push(arena, name))
              fail("too much memory");
        value = Value::sequence(both);
      } else if (keyword != "title" && keyword != "description" && keyword != "$defs" && keyword != "definitions" &&
                 keyword != "$id" && keyword != "default" && keyword != "examples" && keyword != "$comment") {
        fail("the keyword '%.*s' is in two schemas that hold together", int(std::min<size_t>(keyword.size(), 60)),
             keyword.data());
        return false;
      }
    }
    if (!into.set(arena, entry.key, value))
      fail("too much memory");
  }
  return !builder.failed();
}

bool SchemaCompiler::same(const Value &a, const Value &b, unsigned depth) {
  if (depth > 64)
    return false;
  auto real = [](const Value &value) { return value.is(Kind::integer) ? double(value.integer) : value.real; };
  auto isNumber = [](const Value &value) { return value.is(Kind::integer) || value.is(Kind::real); };
  if (isNumber(a) && isNumber(b))
    return a.is(Kind::integer) && b.is(Kind::integer) ? a.integer == b.integer : real(a) == real(b);
  if (a.kind != b.kind)
    return false;
  switch (a.kind) {
  case Kind::boolean:
    return a.flag == b.flag;
  case Kind::string:
  case Kind::big:
    return a.view() == b.view();
  case Kind::list:
    if (a.list->size != b.list->size)
      return false;
    for (uint32_t i = 0; i < a.list->size; ++i)
      if (!same((*a.list)[i], (*b.list)[i], depth + 1))
        return false;
    return true;
  case Kind::dict:
    if (a.dict->entries.size != b.dict->entries.size)
      return false;
    for (const Dict::Entry &entry : a.dict->entries) {
      const Value *other = b.dict->find(entry.key->view());
      if (!other || !same(entry.value, *other, depth + 1))
        return false;
    }
    return true;
  default:
    return true;
  }
}

bool SchemaCompiler::hasType(const Value &value, std::string_view type) {
  switch (value.kind) {
  case Kind::none:
    return type == "null";
  case Kind::boolean:
    return type == "boolean";
  case Kind::integer:
  case Kind::big:
    return type == "integer" || type == "number";
  case Kind::real:
    return type == "number" || (type == "integer" && value.real == floor(value.real));
  case Kind::string:
    return type == "string";
  case Kind::list:
    return type == "array";
  case Kind::dict:
    return type == "object";
  default:
    return false;
  }
}

/// A bit for each JSON type that the schema allows at most; all of them where that is not plain.
uint32_t SchemaCompiler::typesOf(const Value &schema, unsigned depth) {
  static constexpr std::string_view names[] = {"object", "array", "string", "number", "integer", "boolean", "null"};
  constexpr uint32_t all = 127;
  if (depth > 16 || !schema.is(Kind::dict))
    return all;
  const Dict &dict = *schema.dict;
  if (const Value *reference = dict.find("$ref"); reference && reference->is(Kind::string)) {
    const Dict *target = resolve(reference->view());
    return target ? typesOf(Value::mapping(const_cast<Dict *>(target)), depth + 1) : all;
  }
  uint32_t types = 0;
  auto add = [&](std::string_view type) {
    for (unsigned i = 0; i < 7; ++i)
      if (names[i] == type)
        types |= 1u << i;
    // An integer is a number.
    if (type == "number")
      types |= 1u << 4;
  };
  if (const Value *type = dict.find("type")) {
    if (type->is(Kind::string))
      add(type->view());
    else if (type->is(Kind::list))
      for (const Value &each : *type->list)
        if (each.is(Kind::string))
          add(each.view());
    return types ? types : all;
  }
  List one;
  const Value *constant = dict.find("const"), *values = dict.find("enum");
  if (constant && !one.push(arena, *constant))
    return all;
  const List *list = constant ? &one : values && values->is(Kind::list) ? values->list : nullptr;
  if (!list)
    return all;
  for (const Value &value : *list)
    for (std::string_view name : names)
      if (hasType(value, name) && !(name == "number" && hasType(value, "integer")))
        add(name);
  return types;
}

/// Whether no text can be valid for both. False where that is not plain.
bool SchemaCompiler::exclusive(const Value &a, const Value &b, unsigned depth) {
  if (depth > 16 || builder.failed())
    return false;
  if (!(typesOf(a, 0) & typesOf(b, 0)))
    return true;
  if (!a.is(Kind::dict) || !b.is(Kind::dict))
    return false;
  const Dict *sides[2] = {a.dict, b.dict};
  for (const Dict *&side : sides)
    for (unsigned hops = 0; hops < 16; ++hops) {
      const Value *reference = side->find("$ref");
      if (!reference || !reference->is(Kind::string))
        break;
      side = resolve(reference->view());
      if (!side)
        return false;
    }
  auto valuesOf = [&](const Dict &dict, List &one) -> const List * {
    const Value *constant = dict.find("const"), *values = dict.find("enum");
    if (constant)
      return one.push(arena, *constant) ? &one : nullptr;
    return values && values->is(Kind::list) ? values->list : nullptr;
  };
  List oneA, oneB;
  const List *valuesA = valuesOf(*sides[0], oneA), *valuesB = valuesOf(*sides[1], oneB);
  if (valuesA && valuesB) {
    for (const Value &x : *valuesA)
      for (const Value &y : *valuesB)
        if (same(x, y))
          return false;
    return true;
  }
  // Objects that both must have a property for which the same holds.
  auto requires_ = [](const Dict &dict, std::string_view name) {
    const Value *required = dict.find("required");
    if (required && required->is(Kind::list))
      for (const Value &each : *required->list)
        if (each.is(Kind::string) && each.view() == name)
          return true;
    return false;
  };
  const Value *left = sides[0]->find("properties"), *right = sides[1]->find("properties");
  if (!left || !right || !left->is(Kind::dict) || !right->is(Kind::dict))
    return false;
  uint32_t onlyObjects = typesOf(Value::mapping(const_cast<Dict *>(sides[0])), 0) &
                         typesOf(Value::mapping(const_cast<Dict *>(sides[1])), 0);
  if (onlyObjects != 1)
    return false;
  for (const Dict::Entry &entry : left->dict->entries) {
    const Value *other = right->dict->find(entry.key->view());
    if (other && requires_(*sides[0], entry.key->view()) && requires_(*sides[1], entry.key->view()) &&
        exclusive(entry.value, *other, depth + 1))
      return true;
  }
  return false;
}

} // namespace mlc::grammar
