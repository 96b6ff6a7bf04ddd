//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Running a compiled pattern over text, in linear time.
//
#pragma once

#include "runtime/llm/tokenizer/Scratch.h"
#include "runtime/llm/tokenizer/Tables.h"

#include <string_view>

namespace mlc {

/// One pattern of a tokenizer, viewed.
struct DfaView {
  DfaView(const fb::Dfa &dfa, const ClassView &classes)
      : table(viewOf(dfa.table()).data()), stride(classes.count + 1), byteMapped(dfa.byte_mapped()), classes(&classes) {
  }
  const uint16_t *table;
  uint32_t stride;
  bool byteMapped;
  const ClassView *classes;
};

/// Finds the matches of a pattern in one piece of text, left to right. A scan that runs far past its match and finds
/// nothing leaves marks (state, position), and later scans stop there: each is passed at most once, so a whole piece
/// costs O(states * length) even where every scan looks far ahead.
class Matcher {
public:
  explicit Matcher(const Allocator &allocator) : marks(allocator) {}

  /// Starts on [begin, end).
  void start(const DfaView &dfa, const char *begin, const char *end);
  /// The end of the match that begins at `from`, or null.
  Result<const char *> match(const char *from);
  /// The next match that begins at or after `from`; false: none.
  Result<bool> find(const char *from, const char *&matchBegin, const char *&matchEnd);

private:
  struct Mark {
    uint32_t epoch;
    uint16_t states[4];
  };
  template <bool byteMapped> const char *scan(const char *from, const char *&stop);
  Status remember(const char *from, const char *matchEnd, const char *stop);
  const DfaView *dfa = nullptr;
  const char *begin = nullptr, *end = nullptr;
  uint32_t epoch = 0;
  bool marked = false;
  Scratch<Mark> marks;
};

} // namespace mlc
