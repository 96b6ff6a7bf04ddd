//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The chat template of a checkpoint: a strict subset of Jinja (docs/chat.md), with what transformers gives a template.
// A construct that is not of the subset is refused by name when the template is compiled.
//
#pragma once

#include "runtime/core/Owned.h"
#include "runtime/llm/tokenizer/Tokenizer.h"

#include <string_view>

namespace mlc {

/// What a template is rendered with. The JSON texts are copied as they are read; object members keep their order.
struct ChatInput {
  /// A JSON array of messages, each an object with `role` and `content`.
  std::string_view messages;
  /// A JSON array of tools; empty: none.
  std::string_view tools;
  /// A JSON object of further variables (`enable_thinking`, `documents`, ...); empty: none.
  std::string_view variables;
  /// Ends with what introduces the assistant's answer.
  bool addGenerationPrompt = true;
  /// Seconds since 1970 UTC that strftime_now sees; -1: the clock.
  int64_t now = -1;
};

/// What hostile templates and inputs are held to.
struct ChatLimits {
  uint64_t steps = 20'000'000;       // Evaluations, bytes copied or compared / 16 among them.
  size_t memory = size_t(256) << 20; // Bytes of everything a rendering makes.
  size_t output = size_t(16) << 20;  // Bytes of text.
};

/// Text, and which parts of it came from the input: in those, nothing is a special token.
struct ChatText {
  std::string_view text;
  std::span<const TextRange> plain;
};

class ChatTemplate {
public:
  /// Parses `source` (at most 1 MiB). The error names line and construct. `source` is copied.
  static Result<ChatTemplate *> compile(std::string_view source, const Allocator &allocator = systemAllocator());
  static void destroy(ChatTemplate *chat);

  /// `bos` and `eos`: the texts of bos_token and eos_token; empty: undefined, as a checkpoint without them has it.
  struct Specials {
    std::string_view bos, eos;
  };

  /// Renders. The text lives until the next call or the end of `*this`; one rendering at a time. InvalidArgument:
  /// raise_exception of the template, or JSON that is none; OutOfRange: a limit.
  Result<ChatText> render(const ChatInput &input, const Specials &specials, const ChatLimits &limits = {});

private:
  ChatTemplate() = default;
  ~ChatTemplate() = default;
  struct State;
  State *state = nullptr;
};

/// A model's template and tokenizer together: from messages to the ids of a prompt. One per thread.
class ChatPrompt {
public:
  /// Whether a template for requests with tools exists beside the usual one, it is taken for them. Unsupported: the
  /// artifact has no tokenizer or no template, or one that is not of the subset (which is named).
  static Result<ChatPrompt *> create(const Tokenizer *tokenizer, const Allocator &allocator = systemAllocator());
  static void destroy(ChatPrompt *prompt);

  /// Ids of the prompt, valid until the next call. Special tokens are found in the template's own text only: what a
  /// message, a tool or a variable holds is ordinary text, whatever it spells.
  Result<std::span<const uint32_t>> encode(const ChatInput &input, const ChatLimits &limits = {});
  /// The text of the last encode().
  std::string_view text() const { return rendered.text; }

private:
  explicit ChatPrompt(Encoder encoder) : encoder(std::move(encoder)) {}
  ~ChatPrompt() = default;

  const Tokenizer *tokenizer = nullptr;
  Encoder encoder;
  Owned<ChatTemplate> usual, withTools;
  ChatText rendered;
  Allocator allocator{};
};

} // namespace mlc
