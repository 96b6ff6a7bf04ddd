//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Chat templates: refused, or rendered within the limits; and JSON, which every caller's input is.
//
#include "runtime/llm/chat/ChatTemplate.h"
#include "runtime/llm/value/Value.h"

#include <cstdlib>

using namespace mlc;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string_view text(reinterpret_cast<const char *>(data), size);
  {
    Arena arena(size_t(16) << 20);
    (void)bool(parseJson(arena, text));
  }
  auto compiled = ChatTemplate::compile(text);
  if (!compiled)
    return 0;
  Owned<ChatTemplate> chat(*compiled);
  ChatLimits limits;
  limits.steps = 20'000;
  limits.memory = size_t(8) << 20;
  limits.output = size_t(1) << 16;
  ChatInput input;
  input.messages =
      R"([{"role":"system","content":"S"},{"role":"user","content":" <s>a,b \n"},{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":{"x":1.5}}}]}])";
  input.tools = R"([{"type":"function","function":{"name":"f","parameters":{"properties":{"x":{"type":"number"}}}}}])";
  input.variables = R"({"n":3,"words":["b","A"],"big":12345678901234567890})";
  input.now = 0;
  auto made = chat->render(input, {"<s>", "</s>"}, limits);
  size_t at = 0;
  if (made)
    for (TextRange range : made->plain) {
      if (range.begin < at || range.end <= range.begin || range.end > made->text.size())
        abort();
      at = range.end;
    }
  return 0;
}
