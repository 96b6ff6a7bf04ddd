//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The steps that rewrite text before it is cut into tokens.
//
#pragma once

#include "runtime/llm/tokenizer/Match.h"

namespace mlc {

/// Runs Transform steps. One per encoder: its scratch serves every step.
class Transformer {
public:
  Transformer(const TokenizerView &view, const Allocator &allocator)
      : view(&view), matcher(allocator), codes(allocator), classes(allocator), sortedCodes(allocator),
        sortedClasses(allocator) {}

  /// Text larger than this is an error from here on: tables could otherwise grow it without end.
  void limit(size_t bytes) { most = bytes; }

  /// `text` rewritten into `out`, or `text` itself when the step leaves it. `atStart`: the text begins the
  /// whole input; turns false when the step takes its first character away, as the library's offsets then say.
  Result<std::string_view> apply(const fb::Transform &step, std::string_view text, bool &atStart, Scratch<char> &out);

private:
  Result<std::string_view> replace(const fb::Transform &step, std::string_view text, Scratch<char> &out);
  Result<std::string_view> replacePattern(const fb::Transform &step, std::string_view text, bool &atStart,
                                          Scratch<char> &out);
  Result<std::string_view> unicodeForm(const fb::UnicodeForm &form, std::string_view text, Scratch<char> &out);
  Result<std::string_view> stringMap(const fb::StringMap &map, std::string_view text, Scratch<char> &out);
  Result<std::string_view> collapseSpaces(std::string_view text, Scratch<char> &out);
  Status normalize(const fb::UnicodeForm &form, std::string_view part, Scratch<char> &out);
  Status append(Scratch<char> &out, std::string_view text);

  const TokenizerView *view;
  size_t most = 0;
  Matcher matcher;
  Scratch<uint32_t> codes;
  Scratch<uint8_t> classes;
  Scratch<uint32_t> sortedCodes;
  Scratch<uint8_t> sortedClasses;
};

} // namespace mlc
