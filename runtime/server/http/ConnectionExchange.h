//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The exchange that a connection hands to the application: what other threads say is moved to the HTTP thread, where
// the connection takes it.
//
#pragma once

#include "runtime/server/http/Connection.h"

#include <atomic>

namespace mlc::server {

class ConnectionExchange : public Exchange, public std::enable_shared_from_this<ConnectionExchange> {
public:
  ConnectionExchange(std::shared_ptr<Connection> connection, RequestHead head, std::string body, bool chunked)
      : connection(std::move(connection)), executor(this->connection->socket.get_executor()),
        requestHead(std::move(head)), requestBody(std::move(body)), chunked(chunked) {}

  const RequestHead &head() const override { return requestHead; }
  std::string &body() override { return requestBody; }
  void respond(Response response) override;
  void beginStream() override;
  void write(std::string bytes) override;
  void finish() override;
  void note(std::string name, int64_t value) override;
  void onGone(std::function<void()> gone) override;

  // The rest is the connection's, on the HTTP thread.
  /// The client has left: tells the application, once.
  void leave();
  /// No more is taken from the application.
  void end();
  bool hasGone() const { return gone; }
  bool hasEnded() const { return ended; }
  bool hasOutput() const { return response || !unsent.empty() || finished; }

  std::optional<Response> response;
  bool streaming = false, streamStarted = false, finished = false;
  std::string unsent; // Of a stream.
  std::vector<std::pair<std::string, int64_t>> notes;

private:
  /// Runs `task` on the HTTP thread unless the exchange has ended.
  template <typename Task> void post(Task task);

  std::shared_ptr<Connection> connection;
  boost::asio::any_io_executor executor;
  RequestHead requestHead;
  std::string requestBody;
  std::function<void()> goneCallback;
  std::atomic<bool> gone{false}, ended{false};
  const bool chunked;
};

} // namespace mlc::server
