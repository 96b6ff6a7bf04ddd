//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Text to token ids and back, over the compiled tables of an artifact, in place. docs/tokenizers.md describes them.
//
#pragma once

#include "runtime/core/Memory.h"
#include "runtime/llm/tokenizer/Tables.h"

#include <string_view>

namespace mlc {

/// Receives decoded text piece by piece; every piece is whole UTF-8 characters.
struct TextSink {
  void (*write)(void *context, std::string_view text);
  void *context;
};

/// A view of verified tables: immutable, shared by any number of encoders and decoders. The FlatBuffer must outlive it.
class Tokenizer {
public:
  static constexpr uint32_t none = noId;

  /// Checks every index of the tables, whose FlatBuffer structure is already verified. After success no text and no id
  /// leads out of bounds or to an endless loop. `vocabSize`: the model's; the tokenizer may hold fewer tokens, not
  /// more.
  static Status verify(const fb::Tokenizer &tables, uint64_t vocabSize);
  /// Verifies, then views.
  static Result<Tokenizer> create(const fb::Tokenizer &tables, uint64_t vocabSize);

  /// Ids below this are known here, holes among them included.
  uint32_t vocabSize() const { return uint32_t(view.offsets.size() - 1); }
  /// The bytes `id` is looked up by (byte-level: raw bytes; else UTF-8 text, with U+2581 for the space). Empty for a
  /// hole and for ids out of range.
  std::string_view tokenText(uint32_t id) const;
  /// The bytes `id` decodes to; they need not be whole characters.
  std::string_view decodedText(uint32_t id) const;
  /// The token of exactly this text, added tokens first, or `none`.
  uint32_t findToken(std::string_view text) const;
  bool isSpecial(uint32_t id) const { return flags(id) & tokenSpecial; }
  /// An id of the model without a token.
  bool isHole(uint32_t id) const { return flags(id) & tokenHole; }

  /// `none` where the checkpoint names none.
  uint32_t bos() const { return view.tables->bos(); }
  uint32_t eos() const { return view.tables->eos(); }
  /// Every token that ends a turn or a message.
  std::span<const uint32_t> endTokens() const { return view.endTokens; }
  /// Whether EncodeOptions::addSpecial puts anything before or after the text.
  std::span<const uint32_t> prefix() const { return view.prefix; }
  std::span<const uint32_t> suffix() const { return view.suffix; }
  /// The checkpoint's chat template, empty where it has none; or the one it has under a name besides ("tool_use").
  std::string_view chatTemplate() const;
  std::string_view chatTemplate(std::string_view name) const;

  const TokenizerView &tables() const { return view; }

private:
  uint8_t flags(uint32_t id) const { return id < view.tokenFlags.size() ? view.tokenFlags[id] : uint8_t(tokenHole); }
  TokenizerView view;
};

/// Bytes [begin, end) of a text.
struct TextRange {
  size_t begin, end;
};

struct EncodeOptions {
  /// Adds the checkpoint's BOS, EOS and template tokens.
  bool addSpecial = true;
  /// Text that spells a special token becomes that token; else it is ordinary text.
  bool parseSpecial = true;
  /// With parseSpecial: ascending ranges in which it is ordinary text all the same. They do not part the text: what
  /// holds no special token is encoded as if they were not there.
  std::span<const TextRange> plain = {};
};

/// Turns text into ids. Owns its scratch, which grows with the longest text through the allocator; keep one per thread.
class Encoder {
public:
  /// The tokenizer's tables must outlive the encoder.
  static Result<Encoder> create(const Tokenizer &tokenizer, const Allocator &allocator = systemAllocator());
  Encoder(Encoder &&other) noexcept : state(std::exchange(other.state, nullptr)) {}
  Encoder(const Encoder &) = delete;
  Encoder &operator=(const Encoder &) = delete;
  Encoder &operator=(Encoder &&) = delete;
  ~Encoder();

  /// The ids of `text`, valid until the next call. Errors: text that is not UTF-8 (names the byte offset), a byte or
  /// character that the tokenizer has no token for, more than 1 GiB of text, memory. O(n log n) in the worst case.
  Result<std::span<const uint32_t>> encode(std::string_view text, EncodeOptions options = {});

private:
  struct State;
  explicit Encoder(State *state) : state(state) {}
  State *state = nullptr;
};

struct DecodeOptions {
  bool skipSpecial = true;
};

/// Turns ids into text as they come. Holds back at most 3 bytes of an unfinished character; allocates nothing.
class Decoder {
public:
  explicit Decoder(const Tokenizer &tokenizer, DecodeOptions options = {})
      : tokenizer(&tokenizer), options(options), leading(tokenizer.tables().tables->strip_leading()) {}

  /// Emits the whole characters that `id` completes; bytes that can be no UTF-8 come out as U+FFFD, one per maximal
  /// invalid part. Error: an id of no token table entry (OutOfRange).
  Status feed(uint32_t id, TextSink sink);
  /// Ends the text: an unfinished character comes out as one U+FFFD. The decoder is then as new.
  void flush(TextSink sink);
  /// feed for each id, then flush.
  Status decode(std::span<const uint32_t> ids, TextSink sink);

private:
  void write(std::string_view bytes, TextSink sink);
  void emit(std::string_view text, TextSink sink);
  const Tokenizer *tokenizer;
  DecodeOptions options;
  uint32_t leading;
  uint8_t held[4] = {};
  uint8_t heldSize = 0;
};

} // namespace mlc
