//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//

#include "runtime/llm/tokenizer/Match.h"
#include "runtime/llm/tokenizer/ByteAlphabet.h"
#include "runtime/llm/tokenizer/Utf8.h"

namespace mlc {

void Matcher::start(const DfaView &view, const char *from, const char *to) {
  dfa = &view;
  begin = from;
  end = to;
  marked = false;
}

template <bool byteMapped> const char *Matcher::scan(const char *from, const char *&stop) {
  const uint16_t *table = dfa->table;
  const ClassView &classes = *dfa->classes;
  uint32_t stride = dfa->stride, state = 1;
  const char *last = nullptr, *at = from;
  while (at != end) {
    const char *here = at;
    uint32_t column;
    if (byteMapped)
      column = classes.of(byteAlphabet[uint8_t(*at++)]);
    else
      column = classes.of(nextChar(at));
    uint16_t entry = table[state * stride + column];
    if (entry & dfaMatch)
      last = here;
    state = entry & ~dfaMatch;
    if (!state)
      break;
    // Blocks are counted from the piece's start, so every scan meets a mark at the same character.
    if (marked && ((here - begin) ^ (at - begin)) >> 6) {
      const Mark &mark = marks[size_t(at - begin) >> 6];
      if (mark.epoch == epoch)
        for (uint16_t failed : mark.states)
          if (failed == state) {
            stop = at;
            return last;
          }
    }
  }
  if (at == end && state && table[state * stride + classes.count] & dfaMatch)
    last = end;
  stop = at;
  return last;
}

Status Matcher::remember(const char *from, const char *matchEnd, const char *stop) {
  size_t blocks = size_t(end - begin) / 64 + 1;
  if (!marked) {
    size_t known = marks.size();
    if (known < blocks) {
      MLC_TRY(marks.resize(blocks));
      memset(marks.data() + known, 0, (blocks - known) * sizeof(Mark));
    }
    if (++epoch == 0) {
      memset(marks.data(), 0, marks.size() * sizeof(Mark));
      epoch = 1;
    }
    marked = true;
  }
  uint32_t state = 1;
  for (const char *at = from; at < stop && state;) {
    const char *here = at;
    uint32_t column = dfa->classes->of(dfa->byteMapped ? byteAlphabet[uint8_t(*at++)] : nextChar(at));
    state = dfa->table[state * dfa->stride + column] & ~dfaMatch;
    if (!state || here < matchEnd || !(((here - begin) ^ (at - begin)) >> 6))
      continue;
    Mark &mark = marks[size_t(at - begin) >> 6];
    if (mark.epoch != epoch)
      mark = {epoch, {0, 0, 0, 0}};
    bool known = false;
    for (uint16_t failed : mark.states)
      known |= failed == state;
    if (known)
      continue;
    memmove(mark.states + 1, mark.states, 3 * sizeof(uint16_t));
    mark.states[0] = uint16_t(state);
  }
  return {};
}

Result<const char *> Matcher::match(const char *from) {
  const char *stop = from;
  const char *last = dfa->byteMapped ? scan<true>(from, stop) : scan<false>(from, stop);
  if (last == from)
    last = nullptr;
  // Long runs past the match would be repeated by later scans.
  const char *reached = last ? last : from;
  if (stop - reached > 128)
    MLC_TRY(remember(from, reached, stop));
  return last;
}

Result<bool> Matcher::find(const char *from, const char *&matchBegin, const char *&matchEnd) {
  while (from != end) {
    MLC_ASSIGN(const char *last, match(from));
    if (last) {
      matchBegin = from;
      matchEnd = last;
      return true;
    }
    from += dfa->byteMapped ? 1 : charLength(*from);
  }
  return false;
}

} // namespace mlc
