//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/grammar/Schema.h"
#include "runtime/llm/tokenizer/Utf8.h"

#include <algorithm>
#include <math.h>

namespace mlc::grammar {

//===----------------------------------------------------------------------===//
// Objects
//===----------------------------------------------------------------------===//

Node *SchemaCompiler::object(const Dict &dict, unsigned depth) {
  bool several = dict.find("type") && dict.find("type")->is(Kind::list);
  if (!several)
    refuseOthers(dict, {"type", "properties", "required", "additionalProperties"}, "an object");
  const Value *properties = dict.find("properties"), *required = dict.find("required");
  if ((properties && !properties->is(Kind::dict)) || (required && !required->is(Kind::list)))
    fail("properties is an object, required an array");
  if (builder.failed())
    return builder.make(NodeKind::sequence);
  if (!properties && !required && !dict.find("additionalProperties"))
    return json.object();
  return members(dict, depth);
}

/// Properties in the order of the schema, then others. Rule i holds what may follow when the properties before i are
/// done: once with nothing written yet, once behind a member.
Node *SchemaCompiler::members(const Dict &dict, unsigned depth) {
  static const Value open = Value::boolean(true);
  const Value *more = dict.find("additionalProperties");
  if (!more)
    more = &open;
  bool closed = more->is(Kind::boolean) && !more->flag;
  // A required name that is no property is an additional one.
  Dict all;
  ArenaList<uint8_t> needed;
  if (const Value *properties = dict.find("properties"))
    for (const Dict::Entry &entry : properties->dict->entries)
      if (!all.set(arena, entry.key, entry.value) || !needed.push(arena, 0))
        fail("too much memory");
  if (const Value *required = dict.find("required"))
    for (const Value &name : *required->list) {
      if (!name.is(Kind::string)) {
        fail("required: not an array of strings");
        break;
      }
      uint32_t index = 0;
      while (index < all.entries.size && all.entries[index].key->view() != name.view())
        ++index;
      if (index == all.entries.size) {
        if (closed)
          fail("required: '%.*s' is no property, and additionalProperties allows no other",
               int(std::min<size_t>(name.text->size, 60)), name.text->data);
        if (!all.set(arena, name.text, *more) || !needed.push(arena, 0))
          fail("too much memory");
      }
      if (index < needed.size)
        needed[index] = 1;
    }
  if (builder.failed())
    return builder.make(NodeKind::sequence);
  uint32_t count = all.entries.size;
  auto member = [&](Node *key, Node *value) {
    return builder.sequence({key, json.space(), builder.bytes(":"), json.space(), value});
  };
  auto comma = [&] { return builder.sequence({json.space(), builder.bytes(","), json.space()}); };
  // The space before the end comes with the last member: an empty object has one place for it.
  Node *others[2] = {builder.make(NodeKind::sequence), json.space()};
  if (!closed) {
    PathScope scope(*this, "additionalProperties");
    uint32_t one = builder.rule("additional", member(otherKey(all), schema(*more, depth + 1)));
    Node *each = builder.sequence({comma(), builder.reference(one)});
    others[1] = builder.sequence({builder.repeat(each, 0, kUnbounded), json.space()});
    others[0] = builder.optional(builder.sequence({builder.reference(one), others[1]}));
  }
  Node *after[2] = {others[0], others[1]};
  for (uint32_t i = count; i-- && !builder.failed();) {
    PathScope properties(*this, "properties");
    PathScope name(*this, all.entries[i].key->view());
    uint32_t one = builder.rule("property", member(literal(Value::string(all.entries[i].key), depth + 1),
                                                   schema(all.entries[i].value, depth + 1)));
    Node *here = builder.reference(one), *now[2];
    now[0] = builder.sequence({here, after[1]});
    now[1] = builder.sequence({comma(), here, after[1]});
    for (int k = 0; k < 2; ++k) {
      if (!needed[i])
        now[k] = builder.choice({now[k], after[k]});
      now[k] = builder.reference(builder.rule("members", now[k]));
    }
    after[0] = now[0];
    after[1] = now[1];
  }
  return builder.sequence({builder.bytes("{"), json.space(), after[0], builder.bytes("}")});
}

/// The key of an additional member: any string that is none of the properties, without escapes.
Node *SchemaCompiler::otherKey(const Dict &properties) {
  uint32_t count = properties.entries.size;
  auto *names = arena.array<std::string_view>(count + 1);
  if (!names || count > 500) {
    fail(names ? "more than 500 properties beside additional ones" : "too much memory");
    return builder.make(NodeKind::sequence);
  }
  for (uint32_t i = 0; i < count; ++i)
    names[i] = properties.entries[i].key->view();
  std::sort(names, names + count);
  return builder.sequence({builder.bytes("\""), keyBut({names, count}, 0)});
}

/// What may follow the first `from` bytes, which all of `names` share, so that the key is none of them; with the quote.
Node *SchemaCompiler::keyBut(std::span<const std::string_view> names, size_t from) {
  if (from > 200) {
    fail("a property whose name has more than 200 bytes, beside additional ones");
    return builder.make(NodeKind::sequence);
  }
  Node *made = builder.make(NodeKind::choice);
  ArenaList<CharRange> taken;
  bool complete = false;
  auto take = [&](uint32_t low, uint32_t high) {
    if (!taken.push(arena, {low, high}))
      fail("too much memory");
  };
  for (size_t i = 0; i < names.size() && !builder.failed();) {
    if (names[i].size() == from) {
      complete = true;
      ++i;
      continue;
    }
    const char *at = names[i].data() + from;
    uint32_t code = nextChar(at);
    size_t size = size_t(at - names[i].data()), same = i;
    std::string_view piece = names[i].substr(from, size - from);
    while (same < names.size() && names[same].substr(from, piece.size()) == piece)
      ++same;
    take(code, code);
    // A character that only an escape can write is none of the key's.
    if (code >= 0x20 && code != '"' && code != '\\')
      builder.add(made, builder.sequence({builder.bytes(piece), keyBut(names.subspan(i, same - i), size)}));
    i = same;
  }
  take(0, 0x1f);
  take('"', '"');
  take('\\', '\\');
  Node *any = builder.chars({{0x20, '!'}, {'#', '['}, {']', 0x10ffff}});
  builder.add(
      made, builder.sequence({builder.charsOf(taken, true), builder.repeat(any, 0, kUnbounded), builder.bytes("\"")}));
  if (!complete)
    builder.add(made, builder.bytes("\""));
  return made;
}

//===----------------------------------------------------------------------===//
// Arrays and strings
//===----------------------------------------------------------------------===//

Node *SchemaCompiler::array(const Dict &dict, unsigned depth) {
  bool several = dict.find("type") && dict.find("type")->is(Kind::list);
  if (!several)
    refuseOthers(dict, {"type", "items", "prefixItems", "minItems", "maxItems"}, "an array");
  uint32_t least = 0, most = kUnbounded;
  count(dict, "minItems", least);
  count(dict, "maxItems", most);
  if (least > most)
    fail("minItems is above maxItems");
  const Value *items = dict.find("items"), *prefix = dict.find("prefixItems");
  bool closed = items && items->is(Kind::boolean) && !items->flag;
  uint32_t fixed = 0;
  if (prefix && (!prefix->is(Kind::list) || prefix->list->size > 1000))
    fail("prefixItems: not an array of at most 1000 schemas");
  else if (prefix)
    fixed = prefix->list->size;
  if (items && items->is(Kind::list))
    fail("items as an array is not supported; use prefixItems");
  if (builder.failed())
    return builder.make(NodeKind::sequence);
  if (closed)
    most = std::min(most, fixed);
  if (least > most)
    fail("minItems is more than there can be items");
  Node *item = nullptr;
  if (!closed && most > fixed) {
    PathScope scope(*this, "items");
    item = builder.reference(builder.rule("item", items ? schema(*items, depth + 1) : json.value()));
  }
  if (!fixed || !most)
    return item ? json.listed("[", item, "]", least, most)
                : builder.sequence({builder.bytes("["), json.space(), builder.bytes("]")});
  // From the last item on: what may follow item i, with the space before the end.
  Node *comma = builder.sequence({json.space(), builder.bytes(","), json.space()});
  Node *after = json.space();
  if (item)
    after = builder.sequence({builder.repeat(builder.sequence({comma, item}), least > fixed ? least - fixed : 0,
                                             most == kUnbounded ? most : most - fixed),
                              json.space()});
  for (uint32_t i = std::min(fixed, most); i-- && !builder.failed();) {
    char step[16];
    snprintf(step, sizeof step, "%u", i);
    PathScope scope(*this, "prefixItems");
    PathScope index(*this, step);
    Node *one = schema((*prefix->list)[i], depth + 1);
    Node *here = i ? builder.sequence({comma, one, after}) : builder.sequence({one, after});
    Node *without = i ? json.space() : builder.make(NodeKind::sequence);
    after = builder.reference(builder.rule("items", i < least ? here : builder.choice({here, without})));
  }
  return builder.sequence({builder.bytes("["), json.space(), after, builder.bytes("]")});
}

Node *SchemaCompiler::string(const Dict &dict) {
  bool several = dict.find("type") && dict.find("type")->is(Kind::list);
  if (!several)
    refuseOthers(dict, {"type", "minLength", "maxLength", "pattern", "format"}, "a string");
  uint32_t least = 0, most = kUnbounded;
  bool bounded = count(dict, "minLength", least);
  bounded |= count(dict, "maxLength", most);
  if (least > most)
    fail("minLength is above maxLength");
  const Value *pattern = dict.find("pattern"), *format = dict.find("format");
  Node *inside = nullptr;
  if (pattern) {
    if (!pattern->is(Kind::string) || pattern->text->size > 10'000)
      fail("pattern: not a string of at most 10000 bytes");
    if (bounded || format)
      fail("pattern beside %s is not supported", format ? "format" : "a length");
    if (!builder.failed())
      inside = parsePattern(builder, pattern->view(), json.character());
  } else if (format) {
    static constexpr struct {
      std::string_view name, pattern;
    } formats[] = {
#define MLC_DATE                                                                                                       \
  "(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[" \
  "0-9]|2[0-8]))|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)-02-29)"
#define MLC_TIME "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
        {"date", MLC_DATE},
        {"time", MLC_TIME},
        {"date-time", MLC_DATE "T" MLC_TIME},
        {"uuid", "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"},
        {"ipv4",
         "(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"},
        {"email", "[A-Za-z0-9_+-]{1,30}(?:\\.[A-Za-z0-9_+-]{1,30}){0,4}@[A-Za-z0-9]{1,30}(?:[.-][A-Za-z0-9]{1,30}){0,4}"
                  "\\.[A-Za-z]{2,20}"}};
#undef MLC_DATE
#undef MLC_TIME
    std::string_view chosen;
    for (const auto &each : formats)
      if (format->is(Kind::string) && format->view() == each.name)
        chosen = each.pattern;
    if (chosen.empty())
      fail("the format '%.*s' is not supported",
           format->is(Kind::string) ? int(std::min<size_t>(format->text->size, 60)) : 0,
           format->is(Kind::string) ? format->text->data : "");
    else if (bounded)
      fail("format beside a length is not supported");
    else
      inside = parseWholePattern(builder, chosen);
  } else {
    if (!bounded)
      return json.string();
    inside = builder.repeat(json.character(), least, most);
  }
  if (builder.failed() || !inside)
    return builder.make(NodeKind::sequence);
  return builder.sequence({builder.bytes("\""), inside, builder.bytes("\"")});
}

//===----------------------------------------------------------------------===//
// Numbers
//===----------------------------------------------------------------------===//

Node *SchemaCompiler::number(const Dict &dict, bool integer) {
  bool several = dict.find("type") && dict.find("type")->is(Kind::list);
  if (!several)
    refuseOthers(dict, {"type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}, "a number");
  constexpr int64_t far = 1'000'000'000'000'000;
  int64_t least = -far, most = far;
  bool bounded = false;
  auto bound = [&](const char *keyword, bool lower, bool exclusive) {
    const Value *value = dict.find(keyword);
    if (!value)
      return;
    bounded = true;
    double real = value->is(Kind::integer) ? double(value->integer) : value->is(Kind::real) ? value->real : NAN;
    if (!(real >= -double(far) && real <= double(far)))
      return fail("%s: not a number of at most 10^15", keyword);
    if (!integer && (real != floor(real) || exclusive))
      return fail("%s: %s for 'number' is not supported", keyword,
                  exclusive ? "an exclusive bound" : "a bound that is no integer");
    auto whole = int64_t(lower ? ceil(real) : floor(real));
    if (exclusive && double(whole) == real)
      whole += lower ? 1 : -1;
    if (lower)
      least = std::max(least, whole);
    else
      most = std::min(most, whole);
  };
  bound("minimum", true, false);
  bound("exclusiveMinimum", true, true);
  bound("maximum", false, false);
  bound("exclusiveMaximum", false, true);
  if (!bounded || builder.failed())
    return integer ? json.integer() : json.number();
  if (least > most) {
    fail("no number is inside the bounds");
    return builder.make(NodeKind::sequence);
  }
  if (integer)
    return integersFrom(least, most);
  // Whole parts between the bounds with any fraction, and a bound itself with a fraction of zeros.
  auto fraction = [&] {
    return builder.optional(builder.sequence({builder.bytes("."), builder.repeat(builder.chars({{'0', '9'}}), 1, 16)}));
  };
  auto zeros = [&] {
    return builder.optional(builder.sequence({builder.bytes("."), builder.repeat(builder.bytes("0"), 1, 16)}));
  };
  Node *made = builder.make(NodeKind::choice);
  auto magnitudes = [&](bool negative, int64_t from, int64_t to) {
    if (from > to)
      return;
    auto add = [&](Node *whole, Node *rest) {
      builder.add(made, builder.sequence({builder.bytes(negative ? "-" : ""), whole, rest}));
    };
    if (to > from)
      add(naturals(uint64_t(from), uint64_t(to - 1)), fraction());
    add(naturals(uint64_t(to), uint64_t(to)), zeros());
  };
  magnitudes(false, std::max<int64_t>(least, 0), most);
  magnitudes(true, std::max<int64_t>(-most, 0), -least);
  return made;
}

Node *SchemaCompiler::integersFrom(int64_t least, int64_t most) {
  Node *made = builder.make(NodeKind::choice);
  if (most >= 0)
    builder.add(made, naturals(uint64_t(std::max<int64_t>(least, 0)), uint64_t(most)));
  if (least < 0)
    builder.add(made, builder.sequence(
                          {builder.bytes("-"), naturals(uint64_t(std::max<int64_t>(-most, 1)), uint64_t(-least))}));
  return made;
}

/// Numbers low..high without leading zeros.
Node *SchemaCompiler::naturals(uint64_t low, uint64_t high) {
  Node *made = builder.make(NodeKind::choice);
  char from[24], to[24];
  // One length of digits after the other.
  for (uint64_t first = low; first <= high && !builder.failed();) {
    uint64_t last = 9;
    while (last < first)
      last = last * 10 + 9;
    last = std::min(last, high);
    snprintf(from, sizeof from, "%llu", (unsigned long long)first);
    snprintf(to, sizeof to, "%llu", (unsigned long long)last);
    builder.add(made, digitsBetween(from, to));
    first = last + 1;
  }
  return made;
}

/// Numbers of as many digits as `low` and `high` have, between them.
Node *SchemaCompiler::digitsBetween(std::string_view low, std::string_view high) {
  if (low.empty())
    return builder.make(NodeKind::sequence);
  auto digits = [&](char from, char to) { return builder.chars({{uint32_t(from), uint32_t(to)}}); };
  auto any = [&](size_t count) { return builder.repeat(digits('0', '9'), uint32_t(count), uint32_t(count)); };
  size_t rest = low.size() - 1;
  std::string_view lowRest = low.substr(1), highRest = high.substr(1);
  if (low[0] == high[0])
    return builder.sequence({digits(low[0], low[0]), digitsBetween(lowRest, highRest)});
  Node *made = builder.make(NodeKind::choice);
  bool allLow = lowRest.find_first_not_of('0') == lowRest.npos,
       allHigh = highRest.find_first_not_of('9') == highRest.npos;
  constexpr std::string_view nines = "9999999999999999999", zeros = "0000000000000000000";
  char first = char(low[0] + !allLow), last = char(high[0] - !allHigh);
  if (!allLow)
    builder.add(made, builder.sequence({digits(low[0], low[0]), digitsBetween(lowRest, nines.substr(0, rest))}));
  if (first <= last)
    builder.add(made, builder.sequence({digits(first, last), any(rest)}));
  if (!allHigh)
    builder.add(made, builder.sequence({digits(high[0], high[0]), digitsBetween(zeros.substr(0, rest), highRest)}));
  return made;
}

} // namespace mlc::grammar
