//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/chat/ChatTemplate.h"
#include "runtime/llm/chat/Interpreter.h"

namespace mlc {

/// Sources are at most 1 MiB; a tree takes tens of bytes for each of them.
constexpr size_t kProgramMemory = size_t(256) << 20;

struct ChatTemplate::State {
  explicit State(const Allocator &allocator) : allocator(allocator), program(kProgramMemory, allocator) {}
  Allocator allocator;
  Arena program;
  chat::Program parsed;
  std::optional<Arena> rendering;
};

Result<ChatTemplate *> ChatTemplate::compile(std::string_view source, const Allocator &allocator) {
  auto *memory = allocator.allocate(allocator.context, sizeof(ChatTemplate), alignof(ChatTemplate));
  auto *state = allocator.allocate(allocator.context, sizeof(State), alignof(State));
  if (!memory || !state) {
    if (memory)
      allocator.release(allocator.context, memory, sizeof(ChatTemplate));
    if (state)
      allocator.release(allocator.context, state, sizeof(State));
    return Error(ErrorCode::OutOfMemory, "no memory for a chat template");
  }
  Owned<ChatTemplate> made(new (memory) ChatTemplate());
  made->state = new (state) State(allocator);
  auto parsed = chat::parse(made->state->program, source);
  if (!parsed)
    return parsed.error();
  made->state->parsed = *parsed;
  return made.release();
}

void ChatTemplate::destroy(ChatTemplate *chat) {
  Allocator allocator = chat->state->allocator;
  chat->state->~State();
  allocator.release(allocator.context, chat->state, sizeof(State));
  chat->~ChatTemplate();
  allocator.release(allocator.context, chat, sizeof(ChatTemplate));
}

/// The JSON of one input; `kind` is what it must be.
static Result<Value> read(Arena &arena, std::string_view text, Kind kind, const char *what) {
  auto value = parseJson(arena, text);
  if (!value)
    return Error(value.error().code(), "%s: %s", what, value.error().message());
  if (!value->is(kind))
    return Error(ErrorCode::InvalidArgument, "%s: not %s", what, kind == Kind::list ? "an array" : "an object");
  return *value;
}

Result<ChatText> ChatTemplate::render(const ChatInput &input, const Specials &specials, const ChatLimits &limits) {
  state->rendering.emplace(limits.memory, state->allocator);
  Arena &arena = *state->rendering;
  chat::Interpreter run(arena, state->parsed, limits, input.now);
  // transformers passes tools and documents as none where there are none.
  run.define(chat::symbolTools, Value::none());
  run.define("documents", Value::none());
  if (!input.variables.empty()) {
    MLC_ASSIGN(Value variables, read(arena, input.variables, Kind::dict, "variables"));
    for (const Dict::Entry &entry : variables.dict->entries)
      run.define(entry.key->view(), entry.value);
  }
  MLC_ASSIGN(Value messages, read(arena, input.messages, Kind::list, "messages"));
  run.define(chat::symbolMessages, messages);
  if (!input.tools.empty()) {
    MLC_ASSIGN(Value tools, read(arena, input.tools, Kind::list, "tools"));
    run.define(chat::symbolTools, tools);
  }
  if (!specials.bos.empty())
    run.define(chat::symbolBos, Value::string(run.textOf(specials.bos, false)));
  if (!specials.eos.empty())
    run.define(chat::symbolEos, Value::string(run.textOf(specials.eos, false)));
  run.define(chat::symbolPrompt, Value::boolean(input.addGenerationPrompt));
  return run.run();
}

} // namespace mlc
