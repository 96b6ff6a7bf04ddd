//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// One client's connection: reads requests one after the other, hands them to the application and sends what it answers.
//
#pragma once

#include "runtime/server/http/Http.h"
#include "runtime/server/http/Log.h"
#include "runtime/server/http/Message.h"

#include <boost/asio.hpp>
#include <boost/beast/core/flat_buffer.hpp>

namespace mlc::server {

class ConnectionExchange;

/// What all connections of a server share; used on the HTTP thread alone.
struct ConnectionShared {
  Application &application;
  const Log &log;
  const HttpLimits &limits;
  size_t bodyBytes = 0; // Of the bodies held now.
  size_t requests = 0;  // Being answered.
  bool draining = false;
  std::function<void()> requestEnded;
};

class Connection : public std::enable_shared_from_this<Connection> {
public:
  enum class Phase : uint8_t { idle, head, body, answer };

  Connection(boost::asio::ip::tcp::socket socket, ConnectionShared &shared);
  ~Connection();
  Connection(const Connection &) = delete;
  Connection &operator=(const Connection &) = delete;

  /// Serves until the connection closes.
  boost::asio::awaitable<void> run();
  /// Answers 503 and closes.
  boost::asio::awaitable<void> turnAway();
  /// Closes at once; what runs for it is told that the client has gone.
  void cut();

  Phase phase() const { return currentPhase; }
  Clock::time_point phaseSince() const { return since; }

private:
  friend class ConnectionExchange;
  using Timer = boost::asio::steady_timer;
  boost::asio::awaitable<bool> serveOne();
  boost::asio::awaitable<bool> readBody(RequestParser &parser, unsigned &status);
  boost::asio::awaitable<bool> answer(std::shared_ptr<ConnectionExchange> exchange, bool keepAlive, unsigned version);
  boost::asio::awaitable<bool> send(std::string bytes);
  boost::asio::awaitable<void> refuse(unsigned status, const PublicId &id);
  boost::asio::awaitable<void> close();
  boost::asio::awaitable<void> watch(std::shared_ptr<ConnectionExchange> exchange);
  void enter(Phase phase, std::chrono::milliseconds limit);
  void arm(std::chrono::milliseconds limit);
  void disarm();
  void holdBody(size_t bytes);

  boost::asio::ip::tcp::socket socket;
  ConnectionShared &shared;
  Timer deadline, wake, poll;
  boost::beast::flat_buffer buffer;
  std::string peer;
  size_t heldBody = 0;
  uint64_t armed = 0;
  Phase currentPhase = Phase::idle;
  Clock::time_point since = Clock::now();
  bool timedOut = false;
};

} // namespace mlc::server
