//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/tokenizer/Tables.h"
#include "runtime/llm/tokenizer/Utf8.h"
#include "runtime/llm/value/Value.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

namespace mlc {

//===----------------------------------------------------------------------===//
// Dicts
//===----------------------------------------------------------------------===//

uint32_t Dict::slotOf(std::string_view key) const {
  uint32_t mask = slotCount - 1, at = uint32_t(hashText(key.data(), key.size())) & mask;
  while (slots[at] && entries[slots[at] - 1].key->view() != key)
    at = (at + 1) & mask;
  return at;
}

const Value *Dict::find(std::string_view key) const {
  if (slots) {
    uint32_t index = slots[slotOf(key)];
    return index ? &entries[index - 1].value : nullptr;
  }
  for (const Entry &entry : entries)
    if (entry.key->view() == key)
      return &entry.value;
  return nullptr;
}

bool Dict::set(Arena &arena, const Text *key, const Value &value) {
  if (const Value *known = find(key->view())) {
    *const_cast<Value *>(known) = value;
    return true;
  }
  if (!entries.push(arena, {key, value}))
    return false;
  if (entries.size <= 8)
    return true;
  if (entries.size * 2 > slotCount) {
    uint32_t count = slotCount ? slotCount * 2 : 32;
    auto *bigger = arena.array<uint32_t>(count);
    if (!bigger)
      return false;
    memset(bigger, 0, count * sizeof *bigger);
    slots = bigger;
    slotCount = count;
    for (uint32_t i = 0; i < entries.size; ++i)
      slots[slotOf(entries[i].key->view())] = i + 1;
  } else {
    slots[slotOf(key->view())] = entries.size;
  }
  return true;
}

//===----------------------------------------------------------------------===//
// JSON
//===----------------------------------------------------------------------===//

namespace {

constexpr unsigned kMaxDepth = 64;

class JsonTree {
public:
  JsonTree(Arena &arena, std::string_view text)
      : arena(arena), begin(text.data()), at(begin), end(begin + text.size()) {}

  Result<Value> run() {
    size_t size = size_t(end - begin), valid = validUtf8({begin, size});
    if (valid != size)
      return Error(ErrorCode::InvalidArgument, "byte %zu is not UTF-8", valid + 1);
    if (size > UINT32_MAX / 4)
      return Error(ErrorCode::OutOfRange, "%zu bytes of JSON are too many", size);
    MLC_ASSIGN(Value value, read(0));
    space();
    if (at != end)
      return wrong("the end");
    return value;
  }

private:
  Error wrong(const char *expected) const {
    if (at == end)
      return Error(ErrorCode::InvalidArgument, "ends at byte %zu, where %s is missing", size_t(at - begin), expected);
    return Error(ErrorCode::InvalidArgument, "byte %zu: expected %s", size_t(at - begin) + 1, expected);
  }
  Error full() const {
    return Error(ErrorCode::OutOfMemory, "no memory left for the JSON at byte %zu", size_t(at - begin));
  }
  void space() {
    while (at != end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r'))
      ++at;
  }
  bool take(char wanted) {
    space();
    if (at == end || *at != wanted)
      return false;
    ++at;
    return true;
  }
  bool word(std::string_view wanted) {
    if (size_t(end - at) < wanted.size() || std::string_view(at, wanted.size()) != wanted)
      return false;
    at += wanted.size();
    return true;
  }

  Result<Value> read(unsigned depth) {
    if (depth > kMaxDepth)
      return Error(ErrorCode::OutOfRange, "byte %zu: more than %u levels deep", size_t(at - begin) + 1, kMaxDepth);
    space();
    if (at == end)
      return wrong("a value");
    switch (*at) {
    case '"': {
      MLC_ASSIGN(const Text *text, string());
      return Value::string(text);
    }
    case '[':
      return list(depth);
    case '{':
      return dict(depth);
    case 't':
      return word("true") ? Result<Value>(Value::boolean(true)) : wrong("a value");
    case 'f':
      return word("false") ? Result<Value>(Value::boolean(false)) : wrong("a value");
    case 'n':
      return word("null") ? Result<Value>(Value::none()) : wrong("a value");
    default:
      return number();
    }
  }

  Result<Value> list(unsigned depth) {
    ++at;
    auto *made = arena.make<List>();
    if (!made)
      return full();
    if (take(']'))
      return Value::sequence(made);
    do {
      MLC_ASSIGN(Value item, read(depth + 1));
      if (!made->push(arena, item))
        return full();
    } while (take(','));
    return take(']') ? Result<Value>(Value::sequence(made)) : wrong("',' or ']'");
  }

  Result<Value> dict(unsigned depth) {
    ++at;
    auto *made = arena.make<Dict>();
    if (!made)
      return full();
    if (take('}'))
      return Value::mapping(made);
    do {
      space();
      if (at == end || *at != '"')
        return wrong("a key");
      MLC_ASSIGN(const Text *key, string());
      if (!take(':'))
        return wrong("':'");
      MLC_ASSIGN(Value item, read(depth + 1));
      if (!made->set(arena, key, item))
        return full();
    } while (take(','));
    return take('}') ? Result<Value>(Value::mapping(made)) : wrong("',' or '}'");
  }

  Result<uint32_t> hex() {
    uint32_t value = 0;
    for (int i = 0; i < 4; ++i, ++at) {
      char c = at == end ? 0 : *at;
      uint32_t digit = c >= '0' && c <= '9'                 ? uint32_t(c - '0')
                       : (c | 32) >= 'a' && (c | 32) <= 'f' ? uint32_t((c | 32) - 'a' + 10)
                                                            : 16;
      if (digit == 16)
        return wrong("a hexadecimal digit");
      value = value * 16 + digit;
    }
    return value;
  }

  Result<const Text *> string() {
    ++at;
    const char *close = at;
    while (close != end && *close != '"')
      close += *close == '\\' && close + 1 != end ? 2 : 1;
    auto *made = arena.make<Text>();
    // No escape is shorter than what it stands for.
    auto *bytes = arena.array<char>(size_t(close - at) + 1);
    if (!made || !bytes)
      return full();
    char *out = bytes;
    while (at != end && *at != '"') {
      if (uint8_t(*at) < 0x20)
        return wrong("no control character in a string");
      if (*at != '\\') {
        *out++ = *at++;
        continue;
      }
      if (++at == end)
        break;
      char kind = *at++;
      if (kind != 'u') {
        constexpr std::string_view names = "\"\\/bfnrt", values = "\"\\/\b\f\n\r\t";
        size_t known = names.find(kind);
        if (known == names.npos) {
          --at;
          return wrong("an escape that JSON knows");
        }
        *out++ = values[known];
        continue;
      }
      MLC_ASSIGN(uint32_t code, hex());
      if (code >= 0xd800 && code < 0xdc00 && word("\\u")) {
        MLC_ASSIGN(uint32_t low, hex());
        if (low < 0xdc00 || low > 0xdfff)
          return wrong("the second half of a surrogate pair");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
      } else if (code >= 0xd800 && code < 0xe000) {
        return wrong("a surrogate pair, not half of one");
      }
      out += putChar(code, out);
    }
    if (at == end)
      return wrong("'\"'");
    ++at;
    *made = {bytes, nullptr, uint32_t(out - bytes), true};
    return static_cast<const Text *>(made);
  }

  Result<Value> number() {
    const char *first = at, *whole;
    auto digits = [&] {
      const char *from = at;
      while (at != end && *at >= '0' && *at <= '9')
        ++at;
      return at - from;
    };
    if (at != end && *at == '-')
      ++at;
    whole = at;
    if (!digits()) {
      at = first;
      return wrong("a value");
    }
    if (*whole == '0' && at - whole > 1) {
      at = whole + 1;
      return wrong("no digit after a leading zero");
    }
    bool real = false;
    if (at != end && *at == '.') {
      ++at;
      real = true;
      if (!digits())
        return wrong("a digit");
    }
    if (at != end && (*at | 32) == 'e') {
      ++at;
      real = true;
      if (at != end && (*at == '+' || *at == '-'))
        ++at;
      if (!digits())
        return wrong("a digit");
    }
    std::string_view text = arena.copy({first, size_t(at - first)});
    if (!text.data())
      return full();
    if (!real) {
      errno = 0;
      long long value = strtoll(text.data(), nullptr, 10);
      if (!errno)
        return Value::number(int64_t(value));
      auto *big = arena.make<Text>();
      if (!big)
        return full();
      *big = {text.data(), nullptr, uint32_t(text.size()), true};
      Value made = Value::string(big);
      made.kind = Kind::big;
      return made;
    }
    double value = strtod(text.data(), nullptr);
    if (!isfinite(value)) {
      at = first;
      return wrong("a number that a double can hold");
    }
    return Value::number(value);
  }

  Arena &arena;
  const char *begin, *at, *end;
};

} // namespace

Result<Value> parseJson(Arena &arena, std::string_view text) { return JsonTree(arena, text).run(); }

} // namespace mlc
