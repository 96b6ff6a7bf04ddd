//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/api/Requests.h"
#include "runtime/server/http/Log.h"
#include <nlohmann/json.hpp>

namespace mlc::server {

/// A message's content: text, or parts of text, which become lines.
static Json readContent(const Json &content, const std::string &path, bool lenient) {
  if (content.is_string())
    return content;
  if (!content.is_array())
    wrongType(path, "a string or a list of parts", content);
  std::string text;
  for (size_t i = 0; i < content.size(); ++i) {
    Fields part(content[i], path + "[" + std::to_string(i) + "]", lenient);
    part.require("type");
    std::string type = part.text("type");
    if (type != "text")
      throw ApiError(400, "unsupported_value",
                     part.pathOf("type") + ": " + jsonText(type) + " is not supported; only text", part.pathOf("type"));
    part.require("text");
    text += (i ? "\n" : "") + part.text("text");
    part.finish();
  }
  return text;
}

static Json readMessage(const Json &value, const std::string &path, bool lenient) {
  Fields fields(value, path, lenient);
  fields.require("role");
  std::string role = fields.choice("role", {"user", "system", "assistant", "developer"});
  Json message = Json::object();
  // Templates know the older name.
  message["role"] = role == "developer" ? "system" : role;
  message["content"] = readContent(fields.require("content"), fields.pathOf("content"), lenient);
  if (fields.find("name"))
    message["name"] = fields.text("name");
  if (fields.find("reasoning_content"))
    message["reasoning_content"] = fields.text("reasoning_content");
  // What an assistant's message carries beside its text, as clients send it back.
  for (const char *name : {"refusal", "audio", "function_call"})
    fields.unsupported(name);
  for (const char *name : {"tool_calls", "annotations"})
    fields.unsupported(name, Json::array());
  fields.finish();
  return message;
}

static std::string readMessages(const Json &value, bool lenient) {
  if (!value.is_array())
    wrongType("messages", "a list of messages", value);
  if (value.empty())
    wrongValue("messages", "an empty list");
  Json messages = Json::array();
  for (size_t i = 0; i < value.size(); ++i)
    messages.push_back(readMessage(value[i], "messages[" + std::to_string(i) + "]", lenient));
  return messages.dump();
}

ChatRequest readChat(const Json &body, bool lenient) {
  Fields fields(body, "", lenient);
  ChatRequest request;
  readGeneration(fields, request);
  request.messages = readMessages(fields.require("messages"), lenient);

  int64_t older = fields.integer("max_tokens", 1, INT32_MAX, 0);
  int64_t limit = fields.integer("max_completion_tokens", 1, INT32_MAX, older);
  if (older && older != limit)
    wrongValue("max_tokens", "differs from max_completion_tokens; give one of them");
  // Without a limit the context is one.
  request.maxTokens = limit ? uint64_t(limit) : INT32_MAX;

  bool logprobs = fields.flag("logprobs", false);
  int64_t top = fields.integer("top_logprobs", 0, 20, -1);
  if (top >= 0 && !logprobs)
    wrongValue("top_logprobs", "only with logprobs: true");
  request.logprobs = logprobs ? int32_t(std::max<int64_t>(top, 0)) : -1;

  request.addGenerationPrompt = fields.flag("add_generation_prompt", true);
  if (const Json *variables = fields.find("chat_template_kwargs")) {
    if (!variables->is_object())
      wrongType("chat_template_kwargs", "an object", *variables);
    request.variables = variables->dump();
  }
  if (request.user.empty())
    request.user = fields.text("safety_identifier");
  else
    fields.text("safety_identifier");
  // Hints whose purpose is served without them.
  fields.text("prompt_cache_key");
  fields.choice("service_tier", {"auto", "default"});
  if (const Json *modalities = fields.find("modalities"); modalities && *modalities != Json::array({"text"}))
    wrongValue("modalities", "only [\"text\"]");
  fields.unsupported("store", false);
  fields.unsupported("tools", Json::array());
  fields.unsupported("tool_choice", "none");
  fields.unsupported("functions", Json::array());
  fields.unsupported("function_call", "none");
  fields.unsupported("metadata", Json::object());
  for (const char *name : {"audio", "parallel_tool_calls", "prediction", "prompt_cache_retention", "reasoning_effort",
                           "verbosity", "web_search_options"})
    fields.unsupported(name);
  fields.finish();
  return request;
}

} // namespace mlc::server
