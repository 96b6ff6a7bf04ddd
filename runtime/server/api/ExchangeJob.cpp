//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/api/ExchangeJob.h"

#include <algorithm>
#include <cmath>

namespace mlc::server {

// Of one exchange, in the engine at a time.
static constexpr size_t kWindow = 32;
// Between two attempts to get one into a full queue.
static constexpr std::chrono::milliseconds kRetry{50};

/// Names of fields that differ from the engine's.
static std::string paramOf(std::string_view field) {
  static constexpr std::pair<std::string_view, const char *> names[] = {
      {"bias", "logit_bias"},
      {"maxTokens", "max_tokens"},
      {"bestOf", "best_of"},
      {"promptLogprobs", "logprobs"},
      {"stops", "stop"},
      {"constraint", "response_format"},
      {"sampling", "temperature"},
      {"sampling.topP", "top_p"},
      {"sampling.topK", "top_k"},
      {"sampling.minP", "min_p"},
      {"deadlineMs", "deadline_ms"},
  };
  for (auto [engine, api] : names)
    if (field == engine)
      return api;
  return std::string(field);
}

static ApiError refusal(const Submission &submission) {
  using Outcome = Submission::Outcome;
  switch (submission.outcome) {
  case Outcome::contextExceeded:
    return {400, "context_length_exceeded", submission.message, paramOf(submission.field)};
  case Outcome::queueFull: {
    ApiError error(429, "queue_full", submission.message.empty() ? "too many requests wait" : submission.message);
    error.retryAfter = unsigned(std::clamp(std::ceil(submission.retryAfterSeconds), 1.0, 3600.0));
    return error;
  }
  case Outcome::draining:
    return {503, "shutting_down", "the server is shutting down"};
  case Outcome::unsupported:
    return {400, "unsupported_value", submission.message, paramOf(submission.field)};
  default:
    return {400, "invalid_value", submission.message, paramOf(submission.field)};
  }
}

void ExchangeJob::start(std::vector<Request> requests) {
  waiting = std::move(requests);
  std::reverse(waiting.begin(), waiting.end());
  std::weak_ptr<ExchangeJob> weak = weak_from_this();
  exchange->onGone([weak] {
    if (std::shared_ptr<ExchangeJob> job = weak.lock()) {
      job->gone = true;
      job->cancelAll();
    }
  });
  pump();
}

void ExchangeJob::cancelAll() {
  std::lock_guard guard(lock);
  for (RequestId id : ids)
    model->engine().cancel(id);
}

void ExchangeJob::pump() {
  while (!over && !gone && !waiting.empty() && running < kWindow) {
    std::unique_lock guard(lock);
    // A copy: what the queue has no room for is tried again.
    Submission submission = model->engine().submit(waiting.back(), sink(submitted));
    if (submission.outcome == Submission::Outcome::accepted)
      ids.push_back(submission.id);
    guard.unlock();
    if (submission.outcome == Submission::Outcome::accepted) {
      waiting.pop_back();
      ++running;
      if (!submitted++)
        accepted();
      continue;
    }
    if (!submitted)
      throw refusal(submission);
    if (submission.outcome != Submission::Outcome::queueFull) {
      over = true;
      giveUp(refusal(submission));
    } else if (!running) {
      // Those of this exchange make no room any more.
      preparer.after(kRetry, [self = shared_from_this()] { self->pump(); });
    }
    break;
  }
  // It may have left while its requests were on their way.
  if (gone)
    cancelAll();
}

void ExchangeJob::giveUp(const ApiError &error) {
  cancelAll();
  failed(error);
}

void ExchangeJob::ended(const DoneEvent &event) {
  std::optional<ApiError> error;
  if (event.reason == FinishReason::error)
    error.emplace(event.code == ErrorCode::InvalidArgument ? 400 : 500, "generation_failed",
                  std::string(event.message));
  if (event.reason == FinishReason::deadline)
    error.emplace(504, "deadline_exceeded", "the request's deadline has passed");
  if (event.reason == FinishReason::cancelled)
    error.emplace(503, "cancelled", "the request was cancelled: the server is shutting down");
  preparer.post([self = shared_from_this(), id = event.id, used = event.usage, took = event.timings,
                 error = std::move(error)] { self->finishOne(id, used, took, error); });
}

void ExchangeJob::finishOne(RequestId id, const Usage &used, const Timings &took, std::optional<ApiError> error) {
  {
    std::lock_guard guard(lock);
    std::erase(ids, id);
  }
  --running;
  usage.promptTokens += used.promptTokens;
  usage.cachedTokens += used.cachedTokens;
  usage.completionTokens += used.completionTokens;
  if (!timings)
    timings = took;
  if (over || gone)
    return;
  if (error) {
    over = true;
    giveUp(*error);
    return;
  }
  pump();
  if (over || running || !waiting.empty())
    return;
  over = true;
  exchange->note("prompt_tokens", int64_t(usage.promptTokens));
  exchange->note("cached_tokens", int64_t(usage.cachedTokens));
  exchange->note("completion_tokens", int64_t(usage.completionTokens));
  exchange->note("queue_ms", int64_t(timings->queued));
  exchange->note("first_token_ms", int64_t(timings->firstToken));
  complete();
}

} // namespace mlc::server
