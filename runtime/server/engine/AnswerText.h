//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The text of one answer: tokens go in, text comes out that is whole characters and part of no stop text, with the
// tokens that it is made of.
//
#pragma once

#include "runtime/llm/tokenizer/Tokenizer.h"
#include "runtime/server/engine/Request.h"
#include "runtime/server/engine/StopMatcher.h"

#include <deque>
#include <optional>

namespace mlc::server {

/// A TokenInfo that owns what it points to.
struct TokenRecord {
  int32_t token = 0;
  bool scored = false;
  float logprob = 0;
  std::string bytes;
  uint64_t textOffset = 0;
  std::vector<TokenScore> top;

  TokenInfo info() const { return {token, scored, logprob, bytes, textOffset, top}; }
};

/// Code points of whole UTF-8 characters.
uint64_t countCharacters(std::string_view text);

/// What may be sent.
struct Release {
  std::string text;
  std::vector<TokenRecord> tokens;

  bool empty() const { return text.empty() && tokens.empty(); }
};

class AnswerText {
public:
  /// `tokenizer` may be null: then there is no text. The answer goes on where the prompt ends, be it in the middle of a
  /// character.
  AnswerText(const Tokenizer *tokenizer, bool skipSpecial, std::span<const std::string> stops);
  /// The prompt's whole characters are appended to `text`; its records get their bytes and offsets. `shown`: offsets of
  /// the answer count the prompt.
  void setPrompt(std::span<const int32_t> prompt, bool shown, std::string &text, std::span<TokenRecord> records);

  /// Takes the next token and appends what it sets free. The index of the stop text that it completes, or -1: then the
  /// answer has ended and nothing is held back any more.
  int32_t add(TokenRecord record, Release &released);
  /// The answer ended otherwise: what was held back is set free.
  void finish(Release &released);

private:
  struct Pending {
    TokenRecord record;
    std::string text;    // What came out when it went in,
    uint64_t begin, end; // and where that stands.
  };
  /// Decodes into `held`; the bytes that came.
  std::string_view decode(int32_t token);
  void release(uint64_t end, Release &released);

  const Tokenizer *tokenizer;
  std::optional<Decoder> decoder;
  StopMatcher matcher;
  std::string held; // Bytes [released, produced) of the text.
  uint64_t producedBytes = 0, releasedBytes = 0, characters = 0;
  std::deque<Pending> pending;
};

} // namespace mlc::server
