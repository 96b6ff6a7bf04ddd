//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Constrained decoding: a context-free grammar over bytes, from GBNF or a JSON Schema, and the matcher that says which
// tokens may come next. docs/chat.md says what is understood; everything else is refused by name.
//
#pragma once

#include "runtime/core/Owned.h"
#include "runtime/llm/TokenConstraint.h"
#include "runtime/llm/tokenizer/Tokenizer.h"

namespace mlc {

/// A compiled grammar: immutable, shared by any number of matchers of any threads.
class Grammar {
public:
  /// GBNF with a rule `root`. Errors name the line and the rule or construct.
  static Result<Grammar *> fromGbnf(std::string_view text, const Allocator &allocator = systemAllocator());
  /// The JSON texts that a JSON Schema allows. Errors name the place in the schema (as a JSON pointer) and the keyword.
  static Result<Grammar *> fromJsonSchema(std::string_view schema, const Allocator &allocator = systemAllocator());
  /// Any JSON object.
  static Result<Grammar *> jsonObject(const Allocator &allocator = systemAllocator());
  static void destroy(Grammar *grammar);

  /// Positions of the automaton.
  size_t positions() const;

private:
  friend class GrammarMatcher;
  Grammar() = default;
  ~Grammar() = default;
  struct State;
  State *state = nullptr;
};

/// The bytes of a vocabulary as a tree: immutable, one per model, shared by all matchers. Special tokens and holes are
/// not in it: they never are text.
class TokenTrie {
public:
  /// `vocab`: ids of the model; those that the tokenizer does not have are never allowed. The tokenizer outlives it.
  static Result<TokenTrie *> create(const Tokenizer &tokenizer, uint64_t vocab,
                                    const Allocator &allocator = systemAllocator());
  static void destroy(TokenTrie *trie);
  size_t bytes() const;

private:
  friend class GrammarMatcher;
  TokenTrie() = default;
  ~TokenTrie() = default;
  struct State;
  State *state = nullptr;
};

/// Where one sequence stands in a grammar.
class GrammarMatcher final : public TokenConstraint {
public:
  /// Grammar and trie outlive it. `endTokens`: those that end an answer.
  static Result<GrammarMatcher *> create(const Grammar &grammar, const TokenTrie &trie,
                                         std::span<const uint32_t> endTokens,
                                         const Allocator &allocator = systemAllocator());
  static void destroy(GrammarMatcher *matcher);

  Status mask(std::span<uint64_t> allowed) override;
  Status accept(int32_t token) override;
  bool canEnd() const override;
  /// Takes bytes of text (at most 1024) instead of a token; refused bytes change nothing.
  Status acceptText(std::string_view text);
  /// Back to the start of the text.
  Status reset();

private:
  GrammarMatcher() = default;
  ~GrammarMatcher() = default;
  struct State;
  State *state = nullptr;
};

} // namespace mlc
