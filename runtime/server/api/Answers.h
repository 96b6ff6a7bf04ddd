//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The JSON of answers: choices, their log-probabilities, usage, events of a stream. OpenAI's field names throughout.
//
#pragma once

#include "runtime/server/api/ServedModel.h"

namespace mlc::server {

/// Items of JSON lists, separated by commas.
class JsonItems {
public:
  void add(std::string_view item) {
    if (!text.empty())
      text += ',';
    text += item;
  }
  std::string list() const { return "[" + text + "]"; }

private:
  std::string text;
};

/// The log-probabilities of a choice or of a piece of it.
class LogprobsJson {
public:
  LogprobsJson(const ServedModel &model, bool chat) : model(&model), chat(chat) {}
  void add(const TokenInfo &token);
  std::string json() const;

private:
  const ServedModel *model;
  bool chat;
  JsonItems tokens, logprobs, tops, offsets; // Chat has `tokens` alone.
};

/// A token as JSON's string: its text, or "bytes:\\xe2\\x80" where it is no whole character.
std::string tokenJson(std::string_view bytes);
/// A finite number that reads back as the same float; log-probabilities of -inf become -9999.
std::string logprobJson(float value);
std::string usageJson(const Usage &usage);

/// What all responses to a request and all events of its stream begin with.
std::string answerHead(const ServedModel &model, const PublicId &id, bool chat, bool stream, int64_t created);
/// One choice. `finish`: the reason, or empty for null.
std::string choiceJson(bool chat, bool stream, uint32_t index, std::string_view text, std::string_view logprobs,
                       std::string_view finish);
/// "data: ...", as server-sent events are written.
std::string eventText(std::string_view json);

} // namespace mlc::server
