//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/chat/Interpreter.h"
#include "runtime/llm/tokenizer/Utf8.h"

#include <algorithm>

namespace mlc::chat {

static bool isPythonSpace(uint32_t code) { return isSpace(code) || (code >= 0x1c && code <= 0x1f); }

/// The character before `at`.
static const char *before(const char *at) {
  while ((uint8_t(*--at) & 0xc0) == 0x80)
    ;
  return at;
}

Value Interpreter::trim(const Text &text, const Value &chars, bool left, bool right) {
  if (!chars.is(Kind::none) && !chars.is(Kind::string)) {
    fail("a set of characters is a string, not %s", nameOf(chars));
    return {};
  }
  auto goes = [&](const char *from, const char *to) {
    charge(chars.is(Kind::string) ? chars.text->size : 0);
    if (chars.is(Kind::string))
      return chars.view().find({from, size_t(to - from)}) != std::string_view::npos;
    const char *at = from;
    return isPythonSpace(nextChar(at));
  };
  const char *begin = text.data, *end = begin + text.size;
  while (left && begin != end && !failed()) {
    const char *next = begin + charLength(*begin);
    if (!goes(begin, next))
      break;
    begin = next;
  }
  while (right && begin != end && !failed()) {
    const char *last = before(end);
    if (!goes(last, end))
      break;
    end = last;
  }
  return string(text.part(size_t(begin - text.data), size_t(end - text.data)));
}

Value Interpreter::split(const Text &text, const Call &call, bool fromRight) {
  const Value *separator = call.get(0, "sep"), *limit = call.get(1, "maxsplit");
  int64_t most = -1;
  if (limit && !integerOf(*limit, most))
    fail("maxsplit is an integer");
  bool spaces = !separator || separator->is(Kind::none);
  if (!spaces && !separator->is(Kind::string))
    fail("a string is split at a string, not at %s", nameOf(*separator));
  else if (!spaces && !separator->text->size)
    fail("a string cannot be split at an empty string");
  ArenaList<Value> parts;
  auto give = [&](size_t from, size_t to) {
    if (charge() && !parts.push(arena, string(text.part(from, to))))
      noMemory();
  };
  if (failed() || !charge(text.size))
    return {};
  std::string_view view = text.view(), mark = spaces ? std::string_view() : separator->view();
  auto skip = [&](size_t at) {
    while (at < view.size()) {
      const char *next = view.data() + at;
      if (!isPythonSpace(nextChar(next)))
        break;
      at = size_t(next - view.data());
    }
    return at;
  };
  auto skipBack = [&](size_t at) {
    while (at) {
      const char *from = before(view.data() + at), *next = from;
      if (!isPythonSpace(nextChar(next)))
        break;
      at = size_t(from - view.data());
    }
    return at;
  };
  if (!fromRight) {
    size_t at = spaces ? skip(0) : 0;
    while (!failed() && (!spaces || at < view.size())) {
      size_t cut = view.size();
      if (!most) {
        // The rest is one part; without a separator its end keeps its spaces.
      } else if (!spaces) {
        cut = std::min(view.find(mark, at), view.size());
      } else {
        for (cut = at; cut < view.size() && skip(cut) == cut;)
          cut += charLength(view[cut]);
      }
      give(at, cut);
      if (cut == view.size() && (spaces || !most || view.find(mark, at) == view.npos))
        break;
      --most;
      at = spaces ? skip(cut) : cut + mark.size();
    }
  } else {
    size_t end = spaces ? skipBack(view.size()) : view.size();
    while (!failed() && (!spaces || end)) {
      size_t cut = 0;
      bool found = false;
      if (!most) {
      } else if (!spaces) {
        size_t place = end < mark.size() ? view.npos : view.rfind(mark, end - mark.size());
        found = place != view.npos;
        cut = found ? place + mark.size() : 0;
      } else {
        for (cut = end; cut && skipBack(cut) == cut;)
          cut = size_t(before(view.data() + cut) - view.data());
        found = cut;
      }
      give(cut, end);
      if (!found)
        break;
      --most;
      end = spaces ? skipBack(cut) : cut - mark.size();
    }
    std::reverse(parts.begin(), parts.end());
  }
  return listOf({parts.items, parts.size});
}

Value Interpreter::splitLines(const Text &text, bool keep) {
  ArenaList<Value> parts;
  size_t from = 0;
  for (size_t at = 0; at < text.size && !failed();) {
    const char *next = text.data + at;
    uint32_t code = nextChar(next);
    size_t end = size_t(next - text.data);
    bool ends = (code >= 10 && code <= 13) || (code >= 0x1c && code <= 0x1e) || code == 0x85 || code == 0x2028 ||
                code == 0x2029;
    if (code == '\r' && end < text.size && text.data[end] == '\n')
      ++end;
    if (ends && charge() && !parts.push(arena, string(text.part(from, keep ? end : at))))
      noMemory();
    from = ends ? end : from;
    at = end;
  }
  if (from < text.size && !parts.push(arena, string(text.part(from, text.size))))
    noMemory();
  return listOf({parts.items, parts.size});
}

Value Interpreter::replace(const Text &text, const Text &from, const Text &to, int64_t most) {
  Builder made{*this, {}};
  std::string_view view = text.view(), mark = from.view();
  size_t at = 0;
  for (; most && !failed() && charge(); --most) {
    size_t found = mark.empty() ? at : view.find(mark, at);
    if (found == view.npos)
      break;
    made.add(text.part(at, found));
    made.add(to);
    at = found + mark.size();
    if (mark.empty()) {
      // Between all characters, and at both ends.
      if (at == view.size()) {
        break;
      }
      size_t next = at + charLength(view[at]);
      made.add(text.part(at, next));
      at = next;
    }
  }
  made.add(text.part(at, text.size));
  return made.value();
}

Value Interpreter::join(const Text &separator, const Value &values, std::string_view path) {
  Builder made{*this, {}};
  bool first = true;
  for (const Value &value : iterate(values)) {
    if (!first)
      made.add(separator);
    first = false;
    made.add(print(path.empty() ? value : byPath(value, string(path))));
    if (failed())
      break;
  }
  return made.value();
}

/// Whether a character has another case somewhere (blocks of scripts with case, ASCII aside).
static bool mayHaveCase(uint32_t code) {
  return code == 0xaa || code == 0xb5 || code == 0xba || (code >= 0xc0 && code < 0x590) ||
         (code >= 0x10a0 && code < 0x1100) || (code >= 0x13a0 && code < 0x1400) || (code >= 0x1c80 && code < 0x1cc0) ||
         (code >= 0x1d00 && code < 0x2000) || (code >= 0x2071 && code < 0x20a0) || (code >= 0x2100 && code < 0x2190) ||
         (code >= 0x24b6 && code < 0x24ea) || (code >= 0x2c00 && code < 0x2e00) || (code >= 0xa640 && code < 0xa6a0) ||
         (code >= 0xa720 && code < 0xa800) || (code >= 0xab30 && code < 0xabc0) || (code >= 0xfb00 && code < 0xfb20) ||
         (code >= 0xff21 && code < 0xff5b) || (code >= 0x10400 && code < 0x11000) ||
         (code >= 0x118a0 && code < 0x118e0) || (code >= 0x16e40 && code < 0x16ea0) ||
         (code >= 0x1d400 && code < 0x1d800) || (code >= 0x1df00 && code < 0x1e000) ||
         (code >= 0x1e900 && code < 0x1e960);
}

/// how: 'u' upper, 'l' lower, 't' title of str.title(), 'j' of the filter `title`, 'c' capitalize.
Value Interpreter::changeCase(const Text &text, int how) {
  char *bytes = arena.array<char>(text.size + 1);
  if (!bytes || !charge(text.size)) {
    noMemory();
    return Value::string(textOf({}, false));
  }
  bool wordStart = true;
  for (size_t at = 0; at < text.size;) {
    const char *next = text.data + at;
    uint32_t code = nextChar(next);
    if (mayHaveCase(code)) {
      fail("changing the case of U+%04X is not supported", code);
      break;
    }
    bool up = how == 'u' || (how != 'l' && wordStart);
    for (; at < size_t(next - text.data); ++at) {
      char c = text.data[at];
      bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
      bytes[at] = !letter ? c : up ? char(c & ~32) : char(c | 32);
    }
    bool letter = (code | 32) >= 'a' && (code | 32) <= 'z';
    if (how == 't')
      wordStart = !letter;
    else if (how == 'j')
      wordStart = isPythonSpace(code) || code == '-' || code == '(' || code == '{' || code == '[' || code == '<';
    else
      wordStart = false;
  }
  return string(Text{bytes, text.marks, text.size, text.plain});
}

Value Interpreter::indent(const Text &text, const Call &call) {
  const Value *width = call.get(0, "width"), *first = call.get(1, "first"), *blank = call.get(2, "blank");
  Builder spaces{*this, {}};
  int64_t count = 4;
  if (width && width->is(Kind::string)) {
    spaces.add(*width->text);
  } else {
    if (width && (!integerOf(*width, count) || count > 1024))
      fail("indent by %s is not supported", nameOf(*width));
    for (int64_t i = 0; i < count && !failed(); ++i)
      spaces.add(" ");
  }
  Text by = *spaces.text();
  // Jinja splits a text with one more newline, so an empty last line is a line.
  Builder extended{*this, {}};
  extended.add(text);
  extended.add("\n");
  Value lines = splitLines(*extended.text(), false);
  Builder made{*this, {}};
  if (failed())
    return {};
  bool all = blank && truth(*blank);
  if (first && truth(*first))
    made.add(by);
  for (uint32_t i = 0; i < lines.list->size && !failed(); ++i) {
    const Text &each = *(*lines.list)[i].text;
    if (i) {
      made.add("\n");
      if (all || each.size)
        made.add(by);
    }
    made.add(each);
  }
  return made.value();
}

bool Interpreter::affix(const Text &text, const Value &affixes, bool end) {
  if (affixes.is(Kind::list) && affixes.list->form == ListForm::tuple) {
    for (const Value &each : *affixes.list)
      if (!each.is(Kind::list) && affix(text, each, end))
        return true;
    return false;
  }
  if (!affixes.is(Kind::string)) {
    refuseUndefined(affixes);
    fail("a string begins and ends with a string, not with %s", nameOf(affixes));
    return false;
  }
  charge(affixes.text->size);
  return end ? text.view().ends_with(affixes.view()) : text.view().starts_with(affixes.view());
}

Value Interpreter::sliceText(const Text &text, int64_t from, int64_t to, int64_t step) {
  if (!charge(text.size))
    return {};
  // Where each character begins.
  size_t count = charactersIn(text.view());
  auto *starts = arena.array<uint32_t>(count + 1);
  if (!starts) {
    noMemory();
    return {};
  }
  size_t at = 0;
  for (size_t i = 0; i < count; ++i) {
    starts[i] = uint32_t(at);
    at += charLength(text.data[at]);
  }
  starts[count] = text.size;
  if (step == 1)
    return string(from < to ? text.part(starts[from], starts[to]) : text.part(0, 0));
  Builder made{*this, {}};
  for (int64_t i = from; (step > 0 ? i < to : i > to) && !failed();) {
    made.add(text.part(starts[i], starts[i + 1]));
    if (__builtin_add_overflow(i, step, &i))
      break;
  }
  return made.value();
}

} // namespace mlc::chat
