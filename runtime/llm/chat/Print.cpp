//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/chat/Interpreter.h"
#include "runtime/llm/tokenizer/Utf8.h"

#include <math.h>
#include <stdlib.h>

namespace mlc::chat {

/// What json.dumps is asked for.
struct Interpreter::JsonForm {
  int64_t indent = -1; // Spaces a level; -1: one line.
  Text indentText, itemSeparator, keySeparator;
  bool ascii = false, sortKeys = false;
};

/// The shortest digits that read back as `value`, in the form of Python's repr().
void Interpreter::printReal(Builder &out, double value) {
  char digits[40], text[64];
  if (value != value || value - value != 0)
    return out.add(value != value ? "nan" : value > 0 ? "inf" : "-inf");
  int precision = 0;
  do
    snprintf(digits, sizeof digits, "%.*e", precision, value);
  while (strtod(digits, nullptr) != value && ++precision < 17);
  int exponent = atoi(strchr(digits, 'e') + 1);
  if (exponent < -4 || exponent >= 16) {
    size_t mantissa = size_t(strchr(digits, 'e') - digits);
    snprintf(text, sizeof text, "%.*se%c%02d", int(mantissa), digits, exponent < 0 ? '-' : '+', abs(exponent));
  } else {
    snprintf(text, sizeof text, "%.*f", precision > exponent ? precision - exponent : 1, value);
  }
  out.add(text);
}

/// Characters that Python's repr() writes as escapes: controls, formats, separators, private use.
static bool isPrintable(uint32_t code) {
  if (code < 0x20 || (code >= 0x7f && code <= 0xa0) || code == 0xad)
    return false;
  if (code < 0x600)
    return true;
  return !(code <= 0x605 || code == 0x61c || code == 0x6dd || code == 0x70f || code == 0x1680 || code == 0x180e ||
           (code >= 0x2000 && code <= 0x200f) || (code >= 0x2028 && code <= 0x202f) ||
           (code >= 0x205f && code <= 0x206f) || code == 0x3000 || (code >= 0xe000 && code <= 0xf8ff) ||
           code == 0xfeff || (code >= 0xfff0 && code <= 0xfffb) || code == 0xfffe || code == 0xffff || code >= 0xe0000);
}

/// repr() of a string.
void Interpreter::quote(Builder &out, const Text &text) {
  std::string_view view = text.view();
  bool twice = view.find('\'') != view.npos && view.find('"') == view.npos;
  char mark = twice ? '"' : '\'';
  out.add({&mark, 1});
  for (const char *at = text.data, *end = at + text.size; at != end && !failed();) {
    const char *from = at;
    uint32_t code = nextChar(at);
    size_t begin = size_t(from - text.data);
    char escape[16] = {};
    if (code == '\\' || code == uint32_t(mark))
      snprintf(escape, sizeof escape, "\\%c", char(code));
    else if (code == '\n' || code == '\r' || code == '\t')
      snprintf(escape, sizeof escape, "\\%c", code == '\n' ? 'n' : code == '\r' ? 'r' : 't');
    else if (!isPrintable(code))
      snprintf(escape, sizeof escape, code < 0x100 ? "\\x%02x" : code < 0x10000 ? "\\u%04x" : "\\U%08x", code);
    if (*escape)
      out.add(escape, text.isPlain(begin));
    else
      out.add(text.part(begin, size_t(at - text.data)));
  }
  out.add({&mark, 1});
}

void Interpreter::printInto(Builder &out, const Value &value, bool quoted, unsigned nesting) {
  if (!charge() || nesting > kMaxNesting)
    return failWith(ErrorCode::OutOfRange, "values nested more than %u deep", kMaxNesting);
  char text[32];
  switch (value.kind) {
  case Kind::undefined:
    return quoted ? out.add("Undefined") : void();
  case Kind::none:
    return out.add("None");
  case Kind::boolean:
    return out.add(value.flag ? "True" : "False");
  case Kind::integer:
    snprintf(text, sizeof text, "%lld", (long long)value.integer);
    return out.add(text);
  case Kind::real:
    return printReal(out, value.real);
  case Kind::big:
    return out.add(*value.text);
  case Kind::string:
    return quoted ? quote(out, *value.text) : out.add(*value.text);
  case Kind::list: {
    bool tuple = value.list->form == ListForm::tuple;
    if (!tuple && value.list->form != ListForm::list)
      break;
    out.add(tuple ? "(" : "[");
    for (uint32_t i = 0; i < value.list->size && !failed(); ++i) {
      out.add(i ? ", " : "");
      printInto(out, (*value.list)[i], true, nesting + 1);
    }
    return out.add(!tuple ? "]" : value.list->size == 1 ? ",)" : ")");
  }
  case Kind::dict:
    out.add("{");
    for (uint32_t i = 0; i < value.dict->entries.size && !failed(); ++i) {
      const Dict::Entry &entry = value.dict->entries[i];
      out.add(i ? ", " : "");
      quote(out, *entry.key);
      out.add(": ");
      printInto(out, entry.value, true, nesting + 1);
    }
    return out.add("}");
  case Kind::object:
    break;
  }
  fail("%s has no text", nameOf(value));
}

Text Interpreter::print(const Value &value) {
  if (value.is(Kind::string))
    return *value.text;
  Builder made{*this, {}};
  printInto(made, value, false, 0);
  return *made.text();
}

//===----------------------------------------------------------------------===//
// JSON
//===----------------------------------------------------------------------===//

void Interpreter::jsonString(Builder &out, const Text &text, bool ascii) {
  out.add("\"");
  size_t kept = 0;
  for (size_t at = 0; at < text.size && !failed();) {
    const char *next = text.data + at;
    uint32_t code = nextChar(next);
    char escape[16] = {};
    constexpr std::string_view values = "\"\\\n\r\t\f\b", names = "\"\\nrtfb";
    size_t known = code < 0x80 ? values.find(char(code)) : values.npos;
    if (known != values.npos)
      snprintf(escape, sizeof escape, "\\%c", names[known]);
    else if (code < 0x20 || (ascii && code >= 0x7f && code < 0x10000))
      snprintf(escape, sizeof escape, "\\u%04x", code);
    else if (ascii && code >= 0x10000)
      snprintf(escape, sizeof escape, "\\u%04x\\u%04x", 0xd800 + ((code - 0x10000) >> 10), 0xdc00 + (code & 0x3ff));
    size_t end = size_t(next - text.data);
    if (*escape) {
      out.add(text.part(kept, at));
      out.add(escape, text.isPlain(at));
      kept = end;
    }
    at = end;
  }
  out.add(text.part(kept, text.size));
  out.add("\"");
}

void Interpreter::jsonInto(Builder &out, const Value &value, const JsonForm &form, unsigned nesting) {
  if (!charge() || nesting > kMaxNesting)
    return failWith(ErrorCode::OutOfRange, "values nested more than %u deep", kMaxNesting);
  auto line = [&](unsigned level) {
    if (form.indent < 0)
      return;
    out.add("\n");
    for (unsigned i = 0; i < level; ++i)
      out.add(form.indentText);
  };
  switch (value.kind) {
  case Kind::none:
    return out.add("null");
  case Kind::boolean:
    return out.add(value.flag ? "true" : "false");
  case Kind::real:
    if (value.real != value.real || value.real - value.real != 0)
      break;
    return printReal(out, value.real);
  case Kind::integer:
  case Kind::big:
    return printInto(out, value, false, nesting);
  case Kind::string:
    return jsonString(out, *value.text, form.ascii);
  case Kind::list: {
    const List &list = *value.list;
    if (list.form != ListForm::list && list.form != ListForm::tuple)
      break;
    if (!list.size)
      return out.add("[]");
    out.add("[");
    for (uint32_t i = 0; i < list.size && !failed(); ++i) {
      if (i)
        out.add(form.itemSeparator);
      line(nesting + 1);
      jsonInto(out, list[i], form, nesting + 1);
    }
    line(nesting);
    return out.add("]");
  }
  case Kind::dict: {
    const Dict &dict = *value.dict;
    if (!dict.entries.size)
      return out.add("{}");
    auto *keys = arena.array<Value>(dict.entries.size), *values = arena.array<Value>(dict.entries.size);
    if (!keys || !values)
      return noMemory();
    for (uint32_t i = 0; i < dict.entries.size; ++i) {
      keys[i] = Value::string(dict.entries[i].key);
      values[i] = dict.entries[i].value;
    }
    if (form.sortKeys) {
      auto *order = arena.array<Value>(dict.entries.size);
      if (!order)
        return noMemory();
      for (uint32_t i = 0; i < dict.entries.size; ++i)
        order[i] = Value::number(int64_t(i));
      sortValues(order, keys, dict.entries.size, false, false);
      for (uint32_t i = 0; i < dict.entries.size && !failed(); ++i) {
        const Dict::Entry &entry = dict.entries[size_t(order[i].integer)];
        keys[i] = Value::string(entry.key);
        values[i] = entry.value;
      }
    }
    out.add("{");
    for (uint32_t i = 0; i < dict.entries.size && !failed(); ++i) {
      if (i)
        out.add(form.itemSeparator);
      line(nesting + 1);
      jsonString(out, *keys[i].text, form.ascii);
      out.add(form.keySeparator);
      jsonInto(out, values[i], form, nesting + 1);
    }
    line(nesting);
    return out.add("}");
  }
  default:
    break;
  }
  refuseUndefined(value);
  fail("%s has no JSON", nameOf(value));
}

Value Interpreter::toJson(const Value &value, const Call &call) {
  JsonForm form;
  constexpr std::string_view names[] = {"ensure_ascii", "indent", "separators", "sort_keys"};
  const Value *given[4];
  for (uint32_t i = 0; i < 4; ++i)
    given[i] = call.get(i, names[i]);
  for (const Call::Named &named : call.named) {
    bool known = false;
    for (std::string_view name : names)
      known |= name == named.name;
    if (!known)
      fail("tojson has no argument '%.*s'", int(named.name.size()), named.name.data());
  }
  form.ascii = given[0] && truth(*given[0]);
  form.sortKeys = given[3] && truth(*given[3]);
  if (given[1] && !given[1]->is(Kind::none)) {
    if (given[1]->is(Kind::string)) {
      form.indent = 1;
      form.indentText = *given[1]->text;
    } else if (!integerOf(*given[1], form.indent) || form.indent > 64) {
      fail("tojson: indent %s is not supported", nameOf(*given[1]));
    } else {
      form.indent = form.indent < 0 ? 0 : form.indent;
      Builder spaces{*this, {}};
      for (int64_t i = 0; i < form.indent; ++i)
        spaces.add(" ");
      form.indentText = *spaces.text();
    }
  }
  form.itemSeparator = *textOf(form.indent >= 0 ? "," : ", ", false);
  form.keySeparator = *textOf(": ", false);
  if (given[2] && !given[2]->is(Kind::none)) {
    std::span<const Value> parts = iterate(*given[2]);
    if (parts.size() != 2 || !parts[0].is(Kind::string) || !parts[1].is(Kind::string)) {
      fail("tojson: separators are two strings");
      return {};
    }
    form.itemSeparator = *parts[0].text;
    form.keySeparator = *parts[1].text;
  }
  Builder made{*this, {}};
  if (!failed())
    jsonInto(made, value, form, 0);
  return made.value();
}

} // namespace mlc::chat
