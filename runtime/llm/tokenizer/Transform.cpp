//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//

#include "runtime/llm/tokenizer/Transform.h"
#include "runtime/llm/tokenizer/Utf8.h"

namespace mlc {
namespace {

std::string_view textOf(const flatbuffers::Vector<uint8_t> *bytes) {
  auto span = viewOf(bytes);
  return {reinterpret_cast<const char *>(span.data()), span.size()};
}

std::string_view viewOfScratch(Scratch<char> &out) { return {out.data(), out.size()}; }

constexpr uint32_t hangulBase = 0xac00, hangulCount = 11172, leadBase = 0x1100, vowelBase = 0x1161, tailBase = 0x11a7;
constexpr uint32_t leadCount = 19, vowelCount = 21, tailCount = 28;

struct FormView {
  explicit FormView(const fb::UnicodeForm &form)
      : pages(viewOf(form.pages()).data()), cells(viewOf(form.cells()).data()), records(viewOf(form.records()).data()),
        codes(viewOf(form.codes()).data()), pairs(viewOf(form.pairs())), composes(form.composes()) {}
  const fb::CharRecord &record(uint32_t code) const {
    return records[cells[size_t(pages[code >> 8]) * 256 + (code & 255)]];
  }
  /// The composite of two characters, or 0.
  uint32_t compose(uint32_t first, uint32_t second) const {
    if (first - leadBase < leadCount && second - vowelBase < vowelCount)
      return hangulBase + ((first - leadBase) * vowelCount + (second - vowelBase)) * tailCount;
    if (first - hangulBase < hangulCount && (first - hangulBase) % tailCount == 0 && second > tailBase &&
        second < tailBase + tailCount)
      return first + (second - tailBase);
    size_t low = 0, high = pairs.size();
    while (low < high) {
      size_t middle = (low + high) / 2;
      const fb::ComposePair &pair = pairs[middle];
      if (pair.first() == first && pair.second() == second)
        return pair.composed();
      if (pair.first() < first || (pair.first() == first && pair.second() < second))
        low = middle + 1;
      else
        high = middle;
    }
    return 0;
  }
  const uint16_t *pages, *cells;
  const fb::CharRecord *records;
  const uint32_t *codes;
  std::span<const fb::ComposePair> pairs;
  bool composes;
};

} // namespace

Status Transformer::append(Scratch<char> &out, std::string_view text) {
  if (out.size() + text.size() > most)
    return Error(ErrorCode::OutOfRange, "text: normalizing it gives more than %zu bytes; give it in smaller parts",
                 most);
  return out.append(text.data(), text.size());
}

Result<std::string_view> Transformer::apply(const fb::Transform &step, std::string_view text, bool &atStart,
                                            Scratch<char> &out) {
  if (text.empty())
    return text;
  out.clear();
  switch (step.op()) {
  case fb::TransformOp::prepend: {
    std::string_view prefix = textOf(step.text());
    if ((step.first_only() && !atStart) || (step.unless_present() && text.starts_with(prefix)))
      return text;
    MLC_TRY(append(out, prefix));
    MLC_TRY(append(out, text));
    return viewOfScratch(out);
  }
  case fb::TransformOp::replace:
    atStart &= !textOf(step.text()).empty() || !text.starts_with(textOf(step.find()));
    return replace(step, text, out);
  case fb::TransformOp::replace_pattern:
    return replacePattern(step, text, atStart, out);
  case fb::TransformOp::strip: {
    const char *begin = text.data(), *end = begin + text.size();
    for (const char *at = begin; step.left() && at != end && isSpace(nextChar(at));)
      begin = at;
    atStart &= begin == text.data();
    while (step.right() && begin != end) {
      const char *last = end - 1;
      while ((uint8_t(*last) & 0xc0) == 0x80)
        --last;
      const char *at = last;
      if (!isSpace(nextChar(at)))
        break;
      end = last;
    }
    return std::string_view(begin, size_t(end - begin));
  }
  case fb::TransformOp::unicode_form:
    return unicodeForm(*view->tables->forms()->Get(step.index()), text, out);
  case fb::TransformOp::string_map:
    return stringMap(*view->tables->maps()->Get(step.index()), text, out);
  case fb::TransformOp::collapse_spaces:
    return collapseSpaces(text, out);
  }
  return Error(ErrorCode::Internal, "tokenizer: transform %u slipped through the verifier", unsigned(step.op()));
}

Result<std::string_view> Transformer::replace(const fb::Transform &step, std::string_view text, Scratch<char> &out) {
  std::string_view find = textOf(step.find()), by = textOf(step.text());
  size_t at = text.find(find);
  if (at == text.npos)
    return text;
  if (find.size() == 1) {
    // The common case (a space becomes U+2581), sized first so that the copy needs no checks.
    size_t count = 0;
    for (char c : text)
      count += c == find[0];
    size_t size = text.size() - count + count * by.size();
    if (size > most)
      return append(out, {text.data(), most + 1}).error();
    MLC_TRY(out.resize(size + 8));
    char *to = out.data();
    char padded[8] = {};
    if (by.size() <= 8)
      memcpy(padded, by.data(), by.size());
    for (char c : text) {
      if (c != find[0]) {
        *to++ = c;
      } else {
        by.size() <= 8 ? memcpy(to, padded, 8) : memcpy(to, by.data(), by.size());
        to += by.size();
      }
    }
    out.truncate(size);
    return viewOfScratch(out);
  }
  size_t from = 0;
  for (; at != text.npos; at = text.find(find, from)) {
    MLC_TRY(append(out, std::string_view(text.data() + from, at - from)));
    MLC_TRY(append(out, by));
    from = at + find.size();
  }
  MLC_TRY(append(out, std::string_view(text.data() + from, text.size() - from)));
  return viewOfScratch(out);
}

Result<std::string_view> Transformer::replacePattern(const fb::Transform &step, std::string_view text, bool &atStart,
                                                     Scratch<char> &out) {
  DfaView dfa(*view->tables->dfas()->Get(step.index()), view->classes);
  std::string_view by = textOf(step.text());
  const char *at = text.data(), *end = at + text.size(), *first, *last;
  matcher.start(dfa, at, end);
  for (;;) {
    MLC_ASSIGN(bool found, matcher.find(at, first, last));
    if (!found)
      break;
    atStart &= !by.empty() || first != text.data();
    MLC_TRY(append(out, {at, size_t(first - at)}));
    MLC_TRY(append(out, by));
    at = last;
  }
  MLC_TRY(append(out, {at, size_t(end - at)}));
  return viewOfScratch(out);
}

Result<std::string_view> Transformer::stringMap(const fb::StringMap &map, std::string_view text, Scratch<char> &out) {
  auto trie = viewOf(map.trie());
  auto offsets = viewOf(map.offsets());
  std::string_view pool = textOf(map.bytes());
  const char *at = text.data(), *end = at + text.size(), *kept = at;
  while (at != end) {
    const char *longest = nullptr;
    int32_t value = -1;
    uint32_t node = 0;
    for (const char *next = at; next != end;) {
      node = trieStep(trie, node, uint8_t(*next++));
      if (!node)
        break;
      // A key must end where a character does, whatever the table says.
      if (trie[node].value() >= 0 && (next == end || (uint8_t(*next) & 0xc0) != 0x80)) {
        longest = next;
        value = trie[node].value();
      }
    }
    if (longest) {
      MLC_TRY(append(out, {kept, size_t(at - kept)}));
      MLC_TRY(append(out, std::string_view(pool.data() + offsets[value], offsets[value + 1] - offsets[value])));
      kept = at = longest;
    } else {
      at += charLength(*at);
    }
  }
  if (kept == text.data())
    return text;
  MLC_TRY(append(out, {kept, size_t(end - kept)}));
  return viewOfScratch(out);
}

Result<std::string_view> Transformer::collapseSpaces(std::string_view text, Scratch<char> &out) {
  while (!text.empty() && text.front() == ' ')
    text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ')
    text.remove_suffix(1);
  MLC_TRY(out.reserve(text.size()));
  char before = 0;
  for (char c : text) {
    if (c != ' ' || before != ' ')
      out.put(c);
    before = c;
  }
  return viewOfScratch(out);
}

Result<std::string_view> Transformer::unicodeForm(const fb::UnicodeForm &tables, std::string_view text,
                                                  Scratch<char> &out) {
  FormView form(tables);
  const char *at = text.data(), *end = at + text.size();
  // `starter`: the last character that composes with nothing before it; nothing behind it is written yet beyond `kept`.
  const char *starter = at, *kept = at;
  uint8_t lastClass = 0;
  while (at != end) {
    const char *here = at;
    if (uint8_t(*at) < 0x80) {
      starter = at++;
      lastClass = 0;
      continue;
    }
    const fb::CharRecord &record = form.record(nextChar(at));
    if (!record.quick() && !record.combining()) {
      starter = here;
      lastClass = 0;
      continue;
    }
    if (!record.quick() && record.combining() >= lastClass) {
      lastClass = record.combining();
      continue;
    }
    // Not certainly in the form: normalize from the starter up to the next character that nothing before can change.
    while (at != end) {
      const char *next = at;
      const fb::CharRecord &following = form.record(nextChar(next));
      if (!following.quick() && !following.combining())
        break;
      at = next;
    }
    MLC_TRY(append(out, {kept, size_t(starter - kept)}));
    MLC_TRY(normalize(tables, {starter, size_t(at - starter)}, out));
    kept = starter = at;
    lastClass = 0;
  }
  if (kept == text.data())
    return text;
  MLC_TRY(append(out, {kept, size_t(end - kept)}));
  return viewOfScratch(out);
}

Status Transformer::normalize(const fb::UnicodeForm &tables, std::string_view part, Scratch<char> &out) {
  FormView form(tables);
  codes.clear();
  classes.clear();
  auto put = [&](uint32_t code) -> Status {
    MLC_TRY(codes.push(code));
    return classes.push(form.record(code).combining());
  };
  for (const char *at = part.data(), *end = at + part.size(); at != end;) {
    uint32_t code = nextChar(at);
    const fb::CharRecord &record = form.record(code);
    if (code - hangulBase < hangulCount) {
      uint32_t index = code - hangulBase;
      MLC_TRY(put(leadBase + index / (vowelCount * tailCount)));
      MLC_TRY(put(vowelBase + index / tailCount % vowelCount));
      if (index % tailCount)
        MLC_TRY(put(tailBase + index % tailCount));
    } else if (record.length()) {
      for (uint32_t i = 0; i < record.length(); ++i)
        MLC_TRY(put(form.codes[record.decomposition() + i]));
    } else {
      MLC_TRY(put(code));
    }
    if (codes.size() > most)
      return Error(ErrorCode::OutOfRange,
                   "text: normalizing it gives more than %zu characters; give it in smaller parts", most);
  }
  // Canonical order: each run of combining marks, stably by class; counting keeps long runs linear.
  size_t count = codes.size();
  for (size_t i = 0; i < count;) {
    if (!classes[i]) {
      ++i;
      continue;
    }
    size_t run = i;
    bool ordered = true;
    for (; run < count && classes[run]; ++run)
      ordered &= run == i || classes[run - 1] <= classes[run];
    if (!ordered) {
      size_t start[257] = {};
      MLC_TRY(sortedCodes.resize(run - i));
      MLC_TRY(sortedClasses.resize(run - i));
      for (size_t k = i; k < run; ++k)
        ++start[classes[k] + 1];
      for (size_t k = 1; k < 257; ++k)
        start[k] += start[k - 1];
      for (size_t k = i; k < run; ++k) {
        size_t to = start[classes[k]]++;
        sortedCodes[to] = codes[k];
        sortedClasses[to] = classes[k];
      }
      memcpy(codes.data() + i, sortedCodes.data(), (run - i) * sizeof(uint32_t));
      memcpy(classes.data() + i, sortedClasses.data(), run - i);
    }
    i = run;
  }
  if (form.composes) {
    size_t kept = 0, starter = count;
    uint8_t last = 0;
    for (size_t i = 0; i < count; ++i) {
      uint8_t combining = classes[i];
      if (starter < count && (kept == starter + 1 || last < combining)) {
        if (uint32_t composed = form.compose(codes[starter], codes[i])) {
          codes[starter] = composed;
          continue;
        }
      }
      if (!combining)
        starter = kept;
      last = combining;
      codes[kept++] = codes[i];
    }
    count = kept;
  }
  for (size_t i = 0; i < count; ++i) {
    char bytes[4];
    MLC_TRY(append(out, {bytes, putChar(codes[i], bytes)}));
  }
  return {};
}

} // namespace mlc
