//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Completions and chat completions: the engine's events to one response, or to a stream of them.
//
#pragma once

#include "runtime/server/api/Answers.h"
#include "runtime/server/api/ExchangeJob.h"

namespace mlc::server {

class GenerationJob : public ExchangeJob {
public:
  GenerationJob(std::shared_ptr<Exchange> exchange, std::shared_ptr<ServedModel> model, Preparer &preparer,
                const GenerationFields &fields, bool chat, size_t prompts);

  // The sinks', on the engine's thread.
  void prompt(size_t index, const PromptEvent &event);
  bool tokens(size_t index, const TokensEvent &event);
  void finished(size_t index, const FinishEvent &event);
  using ExchangeJob::ended;

private:
  struct Choice {
    explicit Choice(LogprobsJson logprobs) : logprobs(std::move(logprobs)) {}
    std::string text, finish;
    LogprobsJson logprobs;
  };

  void accepted() override;
  std::shared_ptr<Sink> sink(size_t index) override;
  void complete() override;
  void failed(const ApiError &error) override;
  void openStream();
  void event(const std::string &choices);
  uint32_t choiceOf(size_t index, uint32_t choice) const { return uint32_t(index) * n + choice; }

  const bool chat, stream, includeUsage, wantsLogprobs;
  const uint32_t n;
  const int64_t created;
  std::string head;
  std::vector<Choice> choices; // Empty for a stream.
  std::once_flag opening;
  std::atomic<bool> streaming{false};
};

} // namespace mlc::server
