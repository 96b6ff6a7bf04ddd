//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Regular expressions of pre-tokenizers: the supported subset, parsed to an ordered NFA and compiled to DFA tables that
// match as a backtracking engine would (leftmost, first alternative).
//
#pragma once

#include "compiler/Tokenizer/CharSet.h"

#include <string>

namespace mlc {

/// Alternatives are ordered: `out` is tried before `other`.
struct NfaNode {
  enum Kind : uint8_t { Chars, Fork, Ahead, Match } kind = Match;
  bool atEnd = false; // Ahead: holds at the end of the text.
  unsigned set = 0;   // Chars: the characters consumed; Ahead: those the next one must be among.
  unsigned out = 0, other = 0;
};

struct Pattern {
  std::vector<NfaNode> nodes;
  std::vector<CharSet> sets;
  unsigned start = 0;
};

/// Parses the subset: alternation, groups, (?i:...), classes with ranges, negation and \p{..}, \s \S \d \D \w \W and
/// the usual escapes, `.`, greedy and lazy ? * + {m,n}, one-character lookahead (?!X) and (?=X), $. Anything else is an
/// error that names the construct and its byte (without a file name).
llvm::Expected<Pattern> parsePattern(llvm::StringRef text, bool rustWords);

/// The pattern that matches exactly `text`.
std::string escapePattern(llvm::StringRef text);

/// Table of `pattern` over the classes of `partition` (sets of the pattern are `setIds` there): fb::Dfa's layout.
llvm::Expected<std::vector<uint16_t>> compileDfa(const Pattern &pattern, const CharPartition &partition,
                                                 llvm::ArrayRef<unsigned> setIds);

} // namespace mlc
