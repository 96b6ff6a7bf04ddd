//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// An exchange whose answer comes from the engine: its prompts go there a few at a time, and when all have ended the
// derived class answers.
//
#pragma once

#include "runtime/server/api/Preparer.h"
#include "runtime/server/api/ServedModel.h"

#include <atomic>
#include <mutex>

namespace mlc::server {

class ExchangeJob : public std::enable_shared_from_this<ExchangeJob> {
public:
  ExchangeJob(std::shared_ptr<Exchange> exchange, std::shared_ptr<ServedModel> model, Preparer &preparer)
      : exchange(std::move(exchange)), model(std::move(model)), preparer(preparer) {}
  virtual ~ExchangeJob() = default;

  /// Submits, on the preparing thread. Throws ApiError when the engine does not even take the first one.
  void start(std::vector<Request> requests);

protected:
  /// Once, when the engine has taken the first request.
  virtual void accepted() {}
  virtual std::shared_ptr<Sink> sink(size_t index) = 0;
  /// All requests have ended well; on the preparing thread.
  virtual void complete() = 0;
  /// Answers with an error; on the preparing thread.
  virtual void failed(const ApiError &error) { exchange->respond(error.response()); }

  /// What every sink says at its end; any thread.
  void ended(const DoneEvent &event);
  bool clientGone() const { return gone; }

  std::shared_ptr<Exchange> exchange;
  std::shared_ptr<ServedModel> model;
  Usage usage;                    // Of those that have ended.
  std::optional<Timings> timings; // Of the first one to end.

private:
  void pump();
  void finishOne(RequestId id, const Usage &used, const Timings &took, std::optional<ApiError> error);
  void giveUp(const ApiError &error);
  void cancelAll();

  Preparer &preparer;
  std::vector<Request> waiting; // The next one last.
  size_t submitted = 0, running = 0;
  bool over = false;
  std::atomic<bool> gone{false};
  std::mutex lock;            // Of what follows, which the HTTP thread reads, too.
  std::vector<RequestId> ids; // Running.
};

} // namespace mlc::server
