//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/grammar/Schema.h"

#include <algorithm>
#include <stdarg.h>

namespace mlc::grammar {

/// Keywords that say nothing about which texts are valid.
static bool isAnnotation(std::string_view keyword) {
  for (std::string_view known : {"title", "description", "default", "examples", "example", "$schema", "$id", "$comment",
                                 "$defs", "definitions", "deprecated", "readOnly", "writeOnly", "$anchor"})
    if (keyword == known)
      return true;
  return false;
}

PathScope::PathScope(SchemaCompiler &compiler, std::string_view step) : compiler(compiler), before(compiler.pathSize) {
  size_t room = sizeof compiler.path - 1 - before;
  if (room < 2)
    return;
  compiler.path[before] = '/';
  size_t size = std::min(step.size(), room - 1);
  memcpy(compiler.path + before + 1, step.data(), size);
  compiler.pathSize = before + 1 + size;
  compiler.path[compiler.pathSize] = 0;
}

PathScope::~PathScope() {
  compiler.pathSize = before;
  compiler.path[before] = 0;
}

void SchemaCompiler::fail(const char *format, ...) {
  char text[300];
  va_list values;
  va_start(values, format);
  vsnprintf(text, sizeof text, format, values);
  va_end(values);
  builder.fail("schema %s: %s", path, text);
}

void SchemaCompiler::refuseOthers(const Dict &dict, std::initializer_list<std::string_view> accepted,
                                  const char *beside) {
  for (const Dict::Entry &entry : dict.entries) {
    std::string_view keyword = entry.key->view();
    if (isAnnotation(keyword) || std::find(accepted.begin(), accepted.end(), keyword) != accepted.end())
      continue;
    return fail("the keyword '%.*s' is not supported%s%s", int(std::min<size_t>(keyword.size(), 60)), keyword.data(),
                beside ? " beside " : "", beside ? beside : "");
  }
}

/// A keyword that is a number of things; absent leaves `out`.
bool SchemaCompiler::count(const Dict &dict, const char *keyword, uint32_t &out) {
  const Value *value = dict.find(keyword);
  if (!value)
    return false;
  if (value->is(Kind::integer) && value->integer >= 0 && value->integer <= 100'000)
    out = uint32_t(value->integer);
  else
    fail("%s: not a number from 0 to 100000", keyword);
  return true;
}

Node *SchemaCompiler::schema(const Value &value, unsigned depth) {
  if (depth > 64)
    fail("nested more than 64 deep");
  if (!builder.failed() && value.is(Kind::boolean) && value.flag)
    return json.value();
  if (value.is(Kind::boolean))
    fail("false: no text is valid");
  else if (!value.is(Kind::dict))
    fail("a schema is an object or a boolean");
  return builder.failed() ? builder.make(NodeKind::sequence) : schemaOf(*value.dict, depth);
}

Node *SchemaCompiler::schemaOf(const Dict &given, unsigned depth) {
  if (given.find("$ref") && !given.find("allOf"))
    return referenced(given, depth);
  const Dict *flat = flattened(given, depth);
  if (!flat || builder.failed())
    return builder.make(NodeKind::sequence);
  const Dict &dict = *flat;
  if (dict.find("$ref"))
    return referenced(dict, depth);
  for (const char *keyword : {"anyOf", "oneOf"})
    if (dict.find(keyword))
      return united(dict, keyword, depth);
  if (const Value *value = dict.find("const")) {
    refuseOthers(dict, {"const", "type"}, "const");
    List one;
    if (!one.push(arena, *value))
      fail("too much memory");
    return enumerated(dict, one, depth);
  }
  if (const Value *values = dict.find("enum")) {
    refuseOthers(dict, {"enum", "type"}, "enum");
    if (!values->is(Kind::list) || !values->list->size)
      fail("enum: not an array with values");
    return builder.failed() ? builder.make(NodeKind::sequence) : enumerated(dict, *values->list, depth);
  }
  if (const Value *type = dict.find("type")) {
    if (type->is(Kind::string))
      return typed(dict, type->view(), depth);
    if (!type->is(Kind::list) || !type->list->size) {
      fail("type: not a string or an array of them");
      return builder.make(NodeKind::sequence);
    }
    Node *made = builder.make(NodeKind::choice);
    for (const Value &each : *type->list)
      if (each.is(Kind::string) && !builder.failed())
        builder.add(made, typed(dict, each.view(), depth));
      else
        fail("type: not a string or an array of them");
    return made;
  }
  // Without a type, the keywords tell which one is meant; where they tell nothing, anything is.
  static constexpr struct {
    std::string_view keyword, type;
  } hints[] = {{"properties", "object"}, {"required", "object"},         {"additionalProperties", "object"},
               {"items", "array"},       {"prefixItems", "array"},       {"minItems", "array"},
               {"maxItems", "array"},    {"minLength", "string"},        {"maxLength", "string"},
               {"pattern", "string"},    {"format", "string"},           {"minimum", "number"},
               {"maximum", "number"},    {"exclusiveMinimum", "number"}, {"exclusiveMaximum", "number"}};
  std::string_view meant;
  for (const auto &hint : hints)
    if (dict.find(hint.keyword)) {
      if (!meant.empty() && meant != hint.type)
        fail("keywords of several types without 'type'");
      meant = hint.type;
    }
  if (!meant.empty())
    return typed(dict, meant, depth);
  refuseOthers(dict, {}, nullptr);
  return json.value();
}

Node *SchemaCompiler::referenced(const Dict &dict, unsigned depth) {
  refuseOthers(dict, {"$ref"}, "$ref");
  const Value *reference = dict.find("$ref");
  const Dict *target = nullptr;
  // A chain of references ends or goes in a circle.
  for (unsigned hops = 0; reference && !builder.failed(); ++hops) {
    if (!reference->is(Kind::string) || hops == 32) {
      fail("$ref: not a string, or a circle of references");
      break;
    }
    target = resolve(reference->view());
    reference = target && target->entries.size == 1 ? target->find("$ref") : nullptr;
  }
  if (builder.failed() || !target)
    return builder.make(NodeKind::sequence);
  for (const Known &each : known)
    if (each.dict == target)
      return builder.reference(each.rule);
  uint32_t rule = builder.rule("$ref");
  if (!known.push(arena, {target, rule}))
    fail("too much memory");
  Node *body = schemaOf(*target, depth + 1);
  if (depth > 64)
    fail("nested more than 64 deep");
  if (!builder.failed())
    builder.rules[rule].body = body;
  return builder.reference(rule);
}

/// anyOf and oneOf, with what stands beside them in every alternative.
Node *SchemaCompiler::united(const Dict &dict, const char *keyword, unsigned depth) {
  Node *made = builder.make(NodeKind::choice);
  const Value &list = *dict.find(keyword);
  PathScope scope(*this, keyword);
  if (!list.is(Kind::list) || !list.list->size) {
    fail("not an array with schemas");
    return made;
  }
  if (!strcmp(keyword, "oneOf"))
    for (uint32_t i = 0; i < list.list->size && !builder.failed(); ++i)
      for (uint32_t k = 0; k < i && !builder.failed(); ++k)
        if (!exclusive((*list.list)[k], (*list.list)[i], 0))
          fail("%u and %u may both be valid for one text, which oneOf forbids; use anyOf, or schemas of which one only "
               "can be",
               k, i);
  Dict rest;
  for (const Dict::Entry &entry : dict.entries)
    if (entry.key->view() != keyword && !isAnnotation(entry.key->view()) && !rest.set(arena, entry.key, entry.value))
      fail("too much memory");
  for (uint32_t i = 0; i < list.list->size && !builder.failed(); ++i) {
    char step[16];
    snprintf(step, sizeof step, "%u", i);
    PathScope item(*this, step);
    const Value &each = (*list.list)[i];
    if (!rest.entries.size) {
      builder.add(made, schema(each, depth + 1));
      continue;
    }
    auto *both = arena.make<Dict>();
    if (!both || !each.is(Kind::dict))
      fail(both ? "a schema beside others is an object" : "too much memory");
    else if (mergeInto(*both, rest, depth) && mergeInto(*both, *each.dict, depth))
      builder.add(made, schemaOf(*both, depth + 1));
  }
  return made;
}

Node *SchemaCompiler::typed(const Dict &dict, std::string_view type, unsigned depth) {
  if (type == "object")
    return object(dict, depth);
  if (type == "array")
    return array(dict, depth);
  // Keywords of other types say nothing about this one; with several types they belong to another of them.
  bool several = dict.find("type") && dict.find("type")->is(Kind::list);
  if (type == "string")
    return string(dict);
  if (type == "integer" || type == "number")
    return number(dict, type == "integer");
  if (!several)
    refuseOthers(dict, {"type"}, "this type");
  if (type == "boolean")
    return builder.choice({builder.bytes("true"), builder.bytes("false")});
  if (type == "null")
    return builder.bytes("null");
  fail("the type '%.*s' is not supported", int(std::min<size_t>(type.size(), 60)), type.data());
  return builder.make(NodeKind::sequence);
}

/// One value, as JSON writes it.
Node *SchemaCompiler::literal(const Value &value, unsigned depth) {
  char text[64];
  if (depth > 64)
    fail("nested more than 64 deep");
  if (builder.failed())
    return builder.make(NodeKind::sequence);
  switch (value.kind) {
  case Kind::none:
    return builder.bytes("null");
  case Kind::boolean:
    return builder.bytes(value.flag ? "true" : "false");
  case Kind::integer:
    snprintf(text, sizeof text, "%lld", (long long)value.integer);
    return builder.bytes(text);
  case Kind::big:
    return builder.bytes(value.view());
  case Kind::real:
    for (int digits = 1; digits <= 17; ++digits) {
      snprintf(text, sizeof text, "%.*g", digits, value.real);
      if (strtod(text, nullptr) == value.real)
        break;
    }
    return builder.bytes(text);
  case Kind::string: {
    Node *made = builder.make(NodeKind::sequence);
    builder.add(made, builder.bytes("\""));
    std::string_view view = value.view();
    for (size_t at = 0, from = 0; at <= view.size(); ++at) {
      bool special = at < view.size() && (view[at] == '"' || view[at] == '\\' || uint8_t(view[at]) < 0x20);
      if (at < view.size() && !special)
        continue;
      if (at > from)
        builder.add(made, builder.bytes(view.substr(from, at - from)));
      from = at + 1;
      if (!special)
        continue;
      constexpr std::string_view names = "\"\\bfnrt", values = "\"\\\b\f\n\r\t";
      size_t known = values.find(view[at]);
      snprintf(text, sizeof text, known == values.npos ? "\\u%04x" : "\\%c",
               known == values.npos ? unsigned(uint8_t(view[at])) : unsigned(names[known]));
      builder.add(made, builder.bytes(text));
    }
    builder.add(made, builder.bytes("\""));
    return made;
  }
  case Kind::list:
  case Kind::dict: {
    bool dict = value.is(Kind::dict);
    Node *made = builder.sequence({builder.bytes(dict ? "{" : "["), json.space()});
    uint32_t size = dict ? value.dict->entries.size : value.list->size;
    for (uint32_t i = 0; i < size && !builder.failed(); ++i) {
      if (i) {
        builder.add(made, builder.bytes(","));
        builder.add(made, json.space());
      }
      if (dict) {
        builder.add(made, literal(Value::string(value.dict->entries[i].key), depth + 1));
        for (Node *part : {json.space(), builder.bytes(":"), json.space()})
          builder.add(made, part);
      }
      builder.add(made, literal(dict ? value.dict->entries[i].value : (*value.list)[i], depth + 1));
      builder.add(made, json.space());
    }
    builder.add(made, builder.bytes(dict ? "}" : "]"));
    return made;
  }
  default:
    return builder.make(NodeKind::sequence);
  }
}

Node *SchemaCompiler::enumerated(const Dict &dict, const List &values, unsigned depth) {
  Node *made = builder.make(NodeKind::choice);
  const Value *type = dict.find("type");
  for (const Value &value : values) {
    bool fits = !type;
    if (type && type->is(Kind::string))
      fits = hasType(value, type->view());
    else if (type && type->is(Kind::list))
      for (const Value &each : *type->list)
        fits |= each.is(Kind::string) && hasType(value, each.view());
    if (fits && !builder.failed())
      builder.add(made, literal(value, depth));
  }
  if (!made->items.size)
    fail("no value of the enum has the type");
  return made;
}

Result<uint32_t> SchemaCompiler::run(std::string_view text) {
  if (text.size() > size_t(1) << 20)
    return Error(ErrorCode::OutOfRange, "schema: %zu bytes are too long; 1 MiB is the most", text.size());
  auto parsed = parseJson(arena, text);
  if (!parsed)
    return Error(parsed.error().code(), "schema: %s", parsed.error().message());
  root = *parsed;
  uint32_t rule = builder.rule("root");
  if (root.is(Kind::dict) && !known.push(arena, {root.dict, rule}))
    fail("too much memory");
  Node *body = schema(root, 0);
  if (builder.failed())
    return *builder.failure;
  builder.rules[rule].body = body;
  return rule;
}

Result<uint32_t> parseSchema(Builder &builder, std::string_view text) {
  return SchemaCompiler(builder, builder.arena).run(text);
}

} // namespace mlc::grammar
