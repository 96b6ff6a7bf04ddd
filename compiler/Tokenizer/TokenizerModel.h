//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// A tokenizer as every source describes it once read: what TokenizerTables compiles.
//
#pragma once

#include "runtime/llm/tokenizer/Tables.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <optional>
#include <string>
#include <vector>

namespace mlc {

/// A step that rewrites text. `pattern` is the regular expression of replace_pattern; `replacements` the keys and
/// values of string_map; `form` one of NFC, NFD, NFKC, NFKD.
struct TransformStep {
  fb::TransformOp op = fb::TransformOp::prepend;
  std::string text, find, pattern, form;
  std::vector<std::pair<std::string, std::string>> replacements;
  bool firstOnly = false, unlessPresent = false, left = false, right = false;
};

/// A step that cuts text. `rustWords`: \w as the Rust regex crate has it, else as Oniguruma does. `byteMapped`: the
/// pattern sees the byte-level alphabet's characters.
struct SplitStep {
  std::string pattern;
  fb::SplitBehavior behavior = fb::SplitBehavior::isolated;
  bool invert = false, byteMapped = false, rustWords = false;
};

/// One pre-tokenizer step: exactly one of the two is set.
struct StageStep {
  std::optional<TransformStep> transform;
  std::optional<SplitStep> split;
};

struct TokenEntry {
  std::string text;    // What the token is looked up by: raw bytes (byte_bpe) or UTF-8.
  std::string decoded; // What it decodes to.
  double score = 0;    // Unigram.
  bool present = false, special = false, added = false, byte = false;
  bool mergeable = true; // May be the outcome of the model (not a control, unknown or byte token).
};

/// left + right -> merged; lower ranks first, leftmost first within a rank. Ids are symbols (see extraChars).
struct MergeRule {
  uint32_t left, right, merged, rank;
};

struct AddedEntry {
  uint32_t token;
  std::string text;
  bool special = false, leftStrip = false, rightStrip = false, singleWord = false, normalized = false;
};

struct TokenizerModel {
  static constexpr uint32_t none = noId;
  std::string file; // Names the source in errors.
  fb::TokenizerKind kind = fb::TokenizerKind::byte_bpe;
  std::vector<TokenEntry> tokens;
  std::vector<MergeRule> merges;
  std::vector<uint32_t> extraChars; // Symbol tokens.size() + i is this character.
  std::vector<uint32_t> byteTokens; // Empty or 256.
  bool ignoreMerges = false;        // A piece that is a token is that token, whatever the merges say.
  uint32_t unknown = none;
  bool fuseUnknown = false, singlePrecision = false;
  double unknownScore = 0;
  std::vector<TransformStep> normalizer;
  std::vector<StageStep> stages;
  std::vector<AddedEntry> added;
  std::vector<uint32_t> prefix, suffix;
  uint32_t stripLeading = 0;
  uint32_t bos = none, eos = none, pad = none;
  std::vector<uint32_t> endTokens;
  std::string chatTemplate;
  std::vector<std::pair<std::string, std::string>> namedTemplates; // Besides it: name and text.
};

/// Compiles the tables into `builder`. `modelVocab`: the model's vocabulary; ids above the tokenizer's become holes; a
/// smaller one is an error. Errors name the file and the pattern or token.
llvm::Expected<flatbuffers::Offset<fb::Tokenizer>> buildTokenizer(flatbuffers::FlatBufferBuilder &builder,
                                                                  const TokenizerModel &model, uint64_t modelVocab = 0);

/// The tables alone, as a finished FlatBuffer with fb::Tokenizer as its root.
llvm::Expected<std::vector<uint8_t>> buildTokenizerBuffer(const TokenizerModel &model, uint64_t modelVocab = 0);

} // namespace mlc
