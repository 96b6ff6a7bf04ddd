//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/chat/ChatTemplate.h"

namespace mlc {

Result<ChatPrompt *> ChatPrompt::create(const Tokenizer *tokenizer, const Allocator &allocator) {
  if (!tokenizer)
    return Error(ErrorCode::Unsupported, "has no tokenizer, so it cannot chat");
  if (tokenizer->chatTemplate().empty())
    return Error(ErrorCode::Unsupported,
                 "its checkpoint came without a chat template, and none is guessed; give prompts as text");
  auto compile = [&](std::string_view source) -> Result<ChatTemplate *> {
    auto compiled = ChatTemplate::compile(source, allocator);
    if (!compiled)
      return Error(ErrorCode::Unsupported, "its chat template: %s", compiled.error().message());
    return *compiled;
  };
  MLC_ASSIGN(ChatTemplate * compiledUsual, compile(tokenizer->chatTemplate()));
  Owned<ChatTemplate> usual(compiledUsual), withTools;
  if (std::string_view source = tokenizer->chatTemplate("tool_use"); !source.empty()) {
    MLC_ASSIGN(ChatTemplate * compiled, compile(source));
    withTools.reset(compiled);
  }
  MLC_ASSIGN(Encoder encoder, Encoder::create(*tokenizer, allocator));
  void *memory = allocator.allocate(allocator.context, sizeof(ChatPrompt), alignof(ChatPrompt));
  if (!memory)
    return Error(ErrorCode::OutOfMemory, "no memory for a chat template");
  auto *made = new (memory) ChatPrompt(std::move(encoder));
  made->tokenizer = tokenizer;
  made->usual = std::move(usual);
  made->withTools = std::move(withTools);
  made->allocator = allocator;
  return made;
}

void ChatPrompt::destroy(ChatPrompt *prompt) {
  Allocator allocator = prompt->allocator;
  prompt->~ChatPrompt();
  allocator.release(allocator.context, prompt, sizeof(ChatPrompt));
}

Result<std::span<const uint32_t>> ChatPrompt::encode(const ChatInput &input, const ChatLimits &limits) {
  rendered = {};
  ChatTemplate &chosen = withTools && !input.tools.empty() ? *withTools : *usual;
  MLC_ASSIGN(
      rendered,
      chosen.render(input, {tokenizer->tokenText(tokenizer->bos()), tokenizer->tokenText(tokenizer->eos())}, limits));
  // The template writes BOS and EOS itself.
  return encoder.encode(rendered.text, {.addSpecial = false, .parseSpecial = true, .plain = rendered.plain});
}

} // namespace mlc
