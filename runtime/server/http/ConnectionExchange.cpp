//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/http/ConnectionExchange.h"

namespace asio = boost::asio;

namespace mlc::server {

template <typename Task> void ConnectionExchange::post(Task task) {
  if (gone || ended)
    return;
  asio::post(executor, [self = shared_from_this(), task = std::move(task)]() mutable {
    if (self->gone || self->ended)
      return;
    task();
    self->connection->wake.cancel();
  });
}

void ConnectionExchange::respond(Response given) {
  post([this, given = std::move(given)]() mutable {
    if (!response && !streaming)
      response = std::move(given);
  });
}

void ConnectionExchange::beginStream() {
  post([this] {
    if (!response)
      streaming = true;
  });
}

void ConnectionExchange::write(std::string bytes) {
  post([this, bytes = std::move(bytes)] {
    if (!streaming || finished || bytes.empty())
      return;
    unsent += chunked ? chunk(bytes) : bytes;
    // A client that reads too slowly is as good as gone.
    if (unsent.size() > connection->shared.limits.unsentBytes)
      leave();
  });
}

void ConnectionExchange::finish() {
  post([this] {
    if (!streaming || finished)
      return;
    finished = true;
    if (chunked)
      unsent += "0\r\n\r\n";
  });
}

void ConnectionExchange::note(std::string name, int64_t value) {
  post([this, name = std::move(name), value] { notes.emplace_back(name, value); });
}

void ConnectionExchange::onGone(std::function<void()> callback) {
  // Posted even when the client has gone, which the callback is to learn.
  asio::post(executor, [self = shared_from_this(), callback = std::move(callback)]() mutable {
    if (self->gone)
      callback();
    else if (!self->ended)
      self->goneCallback = std::move(callback);
  });
}

void ConnectionExchange::leave() {
  if (gone.exchange(true))
    return;
  if (goneCallback)
    std::exchange(goneCallback, nullptr)();
  connection->wake.cancel();
}

void ConnectionExchange::end() {
  ended = true;
  goneCallback = nullptr;
  connection = nullptr;
}

} // namespace mlc::server
