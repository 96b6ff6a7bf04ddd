//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/api/Answers.h"
#include "runtime/server/http/Log.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace mlc::server {

std::string tokenJson(std::string_view bytes) {
  if (isUtf8(bytes))
    return jsonText(bytes);
  std::string text = "bytes:";
  for (unsigned char byte : bytes) {
    char escape[8];
    snprintf(escape, sizeof escape, "\\x%02x", byte);
    text += escape;
  }
  return jsonText(text);
}

std::string logprobJson(float value) {
  if (!std::isfinite(value))
    return "-9999.0";
  char text[32];
  snprintf(text, sizeof text, "%.9g", double(value));
  return text;
}

/// {"token", "logprob", "bytes"}, open at its end.
static std::string chatToken(std::string_view bytes, float logprob) {
  JsonItems numbers;
  for (unsigned char byte : bytes)
    numbers.add(std::to_string(byte));
  return "{\"token\":" + tokenJson(bytes) + ",\"logprob\":" + logprobJson(logprob) + ",\"bytes\":" + numbers.list();
}

void LogprobsJson::add(const TokenInfo &token) {
  // The text's own bytes, which a leading space may have been taken from; special tokens have none there.
  std::string_view own = token.bytes.empty() && model->isSpecial(token.token) ? model->bytes(token.token) : token.bytes;
  auto bytesOf = [&](int32_t id) { return id == token.token ? own : model->bytes(id); };
  if (chat) {
    JsonItems alternatives;
    for (const TokenScore &score : token.top)
      alternatives.add(chatToken(bytesOf(score.token), score.logprob) + "}");
    tokens.add(chatToken(own, token.logprob) + ",\"top_logprobs\":" + alternatives.list() + "}");
    return;
  }
  tokens.add(tokenJson(own));
  offsets.add(std::to_string(token.textOffset));
  if (!token.scored) {
    logprobs.add("null");
    tops.add("null");
    return;
  }
  logprobs.add(logprobJson(token.logprob));
  // Tokens of one spelling share a key: the likeliest has it, but the token that was chosen is always there.
  std::string chosen = tokenJson(own), object = chosen + ":" + logprobJson(token.logprob);
  std::vector<std::string> keys{chosen};
  for (const TokenScore &score : token.top) {
    std::string key = tokenJson(bytesOf(score.token));
    if (score.token == token.token || std::find(keys.begin(), keys.end(), key) != keys.end())
      continue;
    object += "," + key + ":" + logprobJson(score.logprob);
    keys.push_back(std::move(key));
  }
  tops.add("{" + object + "}");
}

std::string LogprobsJson::json() const {
  if (chat)
    return "{\"content\":" + tokens.list() + ",\"refusal\":null}";
  return "{\"tokens\":" + tokens.list() + ",\"token_logprobs\":" + logprobs.list() +
         ",\"top_logprobs\":" + tops.list() + ",\"text_offset\":" + offsets.list() + "}";
}

std::string usageJson(const Usage &usage) {
  auto number = [](uint64_t value) { return std::to_string(value); };
  return "{\"prompt_tokens\":" + number(usage.promptTokens) +
         ",\"completion_tokens\":" + number(usage.completionTokens) +
         ",\"total_tokens\":" + number(usage.promptTokens + usage.completionTokens) +
         ",\"prompt_tokens_details\":{\"cached_tokens\":" + number(usage.cachedTokens) + "}}";
}

std::string answerHead(const ServedModel &model, const PublicId &id, bool chat, bool stream, int64_t created) {
  const char *object = !chat ? "text_completion" : stream ? "chat.completion.chunk" : "chat.completion";
  return "{\"id\":\"" + formatId(id, chat ? IdKind::chat : IdKind::completion) + "\",\"object\":\"" + object +
         "\",\"created\":" + std::to_string(created) + ",\"model\":" + jsonText(model.name()) +
         ",\"system_fingerprint\":\"" + model.fingerprint() + "\",\"choices\":";
}

std::string choiceJson(bool chat, bool stream, uint32_t index, std::string_view text, std::string_view logprobs,
                       std::string_view finish) {
  std::string json = "{\"index\":" + std::to_string(index);
  if (!chat)
    json += ",\"text\":" + jsonText(text);
  else if (!stream)
    json += ",\"message\":{\"role\":\"assistant\",\"content\":" + jsonText(text) + ",\"refusal\":null}";
  else if (!finish.empty())
    json += ",\"delta\":{}";
  else
    json += ",\"delta\":{\"content\":" + jsonText(text) + "}";
  json += ",\"logprobs\":";
  json += logprobs.empty() ? "null" : logprobs;
  json += ",\"finish_reason\":";
  json += finish.empty() ? "null" : jsonText(finish);
  return json + "}";
}

std::string eventText(std::string_view json) {
  std::string text = "data: ";
  text += json;
  return text + "\n\n";
}

} // namespace mlc::server
