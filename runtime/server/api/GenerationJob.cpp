//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/api/GenerationJob.h"

#include <ctime>

namespace mlc::server {

namespace {

class GenerationSink final : public Sink {
public:
  GenerationSink(std::shared_ptr<GenerationJob> job, size_t index) : job(std::move(job)), index(index) {}
  void onPrompt(const PromptEvent &event) override { job->prompt(index, event); }
  bool onTokens(const TokensEvent &event) override { return job->tokens(index, event); }
  void onFinish(const FinishEvent &event) override { job->finished(index, event); }
  void onDone(const DoneEvent &event) override { job->ended(event); }

private:
  std::shared_ptr<GenerationJob> job;
  size_t index;
};

} // namespace

GenerationJob::GenerationJob(std::shared_ptr<Exchange> exchange, std::shared_ptr<ServedModel> model, Preparer &preparer,
                             const GenerationFields &fields, bool chat, size_t prompts)
    : ExchangeJob(std::move(exchange), std::move(model), preparer), chat(chat), stream(fields.stream),
      includeUsage(fields.includeUsage), wantsLogprobs(fields.logprobs >= 0), n(fields.n), created(time(nullptr)),
      head(answerHead(*this->model, this->exchange->head().id, chat, stream, created)) {
  if (!stream)
    choices.assign(prompts * n, Choice(LogprobsJson(*this->model, chat)));
}

std::shared_ptr<Sink> GenerationJob::sink(size_t index) {
  return std::make_shared<GenerationSink>(std::static_pointer_cast<GenerationJob>(shared_from_this()), index);
}

void GenerationJob::accepted() {
  if (stream)
    openStream();
}

void GenerationJob::openStream() {
  // The preparing thread or the engine's, whichever is first; the other one waits, so that nothing comes before it.
  std::call_once(opening, [this] {
    streaming = true;
    exchange->beginStream();
    if (!chat)
      return;
    for (uint32_t i = 0; i < n; ++i)
      event("[{\"index\":" + std::to_string(i) +
            ",\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}]");
  });
}

void GenerationJob::event(const std::string &choices) {
  exchange->write(eventText(head + choices + (includeUsage ? ",\"usage\":null}" : "}")));
}

void GenerationJob::prompt(size_t index, const PromptEvent &given) {
  LogprobsJson logprobs(*model, chat);
  if (wantsLogprobs)
    for (const TokenInfo &token : given.tokens)
      logprobs.add(token);
  if (stream)
    openStream();
  for (uint32_t i = 0; i < n; ++i) {
    uint32_t choice = choiceOf(index, i);
    if (stream) {
      event("[" + choiceJson(chat, true, choice, given.text, wantsLogprobs ? logprobs.json() : "", "") + "]");
      continue;
    }
    choices[choice].text = given.text;
    choices[choice].logprobs = logprobs;
  }
}

bool GenerationJob::tokens(size_t index, const TokensEvent &given) {
  uint32_t choice = choiceOf(index, given.choice);
  if (!stream) {
    choices[choice].text += given.text;
    for (const TokenInfo &token : given.tokens)
      if (wantsLogprobs)
        choices[choice].logprobs.add(token);
    return !clientGone();
  }
  if (given.text.empty() && (!wantsLogprobs || given.tokens.empty()))
    return !clientGone();
  openStream();
  std::string scores;
  if (wantsLogprobs) {
    LogprobsJson logprobs(*model, chat);
    for (const TokenInfo &token : given.tokens)
      logprobs.add(token);
    scores = logprobs.json();
  }
  event("[" + choiceJson(chat, true, choice, given.text, scores, "") + "]");
  return !clientGone();
}

void GenerationJob::finished(size_t index, const FinishEvent &given) {
  // Others are errors, which onDone tells.
  if (given.reason != FinishReason::stop && given.reason != FinishReason::length)
    return;
  uint32_t choice = choiceOf(index, given.choice);
  const char *reason = given.reason == FinishReason::stop ? "stop" : "length";
  if (!stream) {
    choices[choice].finish = reason;
    return;
  }
  openStream();
  event("[" + choiceJson(chat, true, choice, "", "", reason) + "]");
}

void GenerationJob::complete() {
  if (!stream) {
    JsonItems items;
    for (size_t i = 0; i < choices.size(); ++i)
      items.add(choiceJson(chat, false, uint32_t(i), choices[i].text, wantsLogprobs ? choices[i].logprobs.json() : "",
                           choices[i].finish));
    exchange->respond({200, head + items.list() + ",\"usage\":" + usageJson(usage) + "}", "application/json", {}});
    return;
  }
  openStream();
  if (includeUsage)
    exchange->write(eventText(head + "[],\"usage\":" + usageJson(usage) + "}"));
  exchange->write("data: [DONE]\n\n");
  exchange->finish();
}

void GenerationJob::failed(const ApiError &error) {
  if (!streaming)
    return ExchangeJob::failed(error);
  exchange->write(eventText(error.body()));
  exchange->finish();
}

} // namespace mlc::server
