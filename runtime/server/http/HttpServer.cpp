//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/http/HttpServer.h"
#include "runtime/server/http/Connection.h"

#include <algorithm>
#include <csignal>
#include <unordered_set>

namespace asio = boost::asio;
using asio::ip::tcp;

namespace mlc::server {

namespace {

class Server final : public HttpServer {
public:
  Server(const HttpOptions &options, Application &application, const Log &log)
      : options(options), log(log), shared{application, log, this->options.limits, 0, 0, false, nullptr} {
    shared.requestEnded = [this] {
      endIfDrained();
      waitForQuiet();
    };
  }
  ~Server() override {
    // Connections wait in the executor's queues, which go first.
    open.clear();
  }

  /// The message of what failed, or nothing.
  std::string listen() {
    boost::system::error_code error;
    asio::ip::address address = asio::ip::make_address(options.host, error);
    if (error) {
      tcp::resolver resolver(io);
      auto found = resolver.resolve(options.host, "", tcp::resolver::passive, error);
      if (error || found.empty())
        return "--host " + options.host + ": no address of this machine";
      address = found.begin()->endpoint().address();
    }
    tcp::endpoint endpoint(address, options.port);
    acceptor.open(endpoint.protocol(), error);
    if (!error)
      acceptor.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error)
      acceptor.bind(endpoint, error);
    if (!error)
      acceptor.listen(4096, error);
    if (!error)
      return {};
    if (error == asio::error::address_in_use)
      return options.host + ": port " + std::to_string(options.port) + " is in use; choose another with --port";
    return options.host + ": port " + std::to_string(options.port) + ": " + error.message();
  }

  uint16_t port() const override { return acceptor.local_endpoint().port(); }
  void run() override {
    asio::co_spawn(io, accept(), asio::detached);
    io.run();
    acceptor.close();
  }
  void drain() override {
    asio::post(io, [this] {
      shared.draining = true;
      endIfDrained();
    });
  }
  void stop() override {
    asio::post(io, [this] {
      for (const std::shared_ptr<Connection> &connection : open)
        connection->cut();
      // What the cuts have set going still runs.
      asio::post(io, [this] { io.stop(); });
    });
  }
  void post(std::function<void()> task) override { asio::post(io, std::move(task)); }
  void onTerminate(std::function<void(int)> handler) override {
    terminate = std::move(handler);
    waitForSignal();
  }
  void onIdle(std::function<void()> handler) override { idle = std::move(handler); }
  Counts counts() const override { return {open.size(), shared.requests, accepted, evicted}; }

private:
  void endIfDrained() {
    if (shared.draining && shared.requests == 0)
      io.stop();
  }

  void waitForSignal() {
    signals.async_wait([this](boost::system::error_code error, int) {
      if (error)
        return;
      terminate(++terminations);
      waitForSignal();
    });
  }

  /// Each call puts it off.
  void waitForQuiet() {
    if (!idle || shared.requests)
      return;
    quiet.expires_after(kQuiet);
    quiet.async_wait([this](boost::system::error_code error) {
      if (!error && shared.requests == 0)
        idle();
    });
  }

  asio::awaitable<void> accept() {
    for (;;) {
      boost::system::error_code error;
      tcp::socket socket = co_await acceptor.async_accept(asio::redirect_error(asio::use_awaitable, error));
      if (error == asio::error::operation_aborted)
        co_return;
      if (error) {
        // Out of descriptors: make room, and let what is closed be closed.
        log.event("accept", {{"error", error.message()}});
        evict();
        asio::steady_timer pause(io, std::chrono::milliseconds(10));
        co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
        continue;
      }
      ++accepted;
      bool room = open.size() < options.limits.connections || evict();
      auto connection = std::make_shared<Connection>(std::move(socket), shared);
      // Those turned away are counted too: they live for a second at most, but so may many be.
      if (!room && open.size() >= options.limits.connections + kTurnedAway) {
        connection->cut();
        continue;
      }
      open.insert(connection);
      asio::co_spawn(io, room ? connection->run() : connection->turnAway(),
                     [this, connection](std::exception_ptr failure) {
                       open.erase(connection);
                       waitForQuiet();
                       if (failure)
                         report(failure);
                     });
    }
  }

  /// Closes the connection that has been without a request for longest.
  bool evict() {
    auto waits = [](const std::shared_ptr<Connection> &c) { return c->phase() != Connection::Phase::answer; };
    std::shared_ptr<Connection> oldest;
    for (const std::shared_ptr<Connection> &connection : open)
      if (waits(connection) && (!oldest || connection->phaseSince() < oldest->phaseSince()))
        oldest = connection;
    if (!oldest)
      return false;
    ++evicted;
    oldest->cut();
    open.erase(oldest);
    return true;
  }

  void report(std::exception_ptr failure) {
    try {
      std::rethrow_exception(failure);
    } catch (const std::exception &error) {
      log.event("connection", {{"error", std::string_view(error.what())}});
    }
  }

  static constexpr size_t kTurnedAway = 64;
  static constexpr std::chrono::milliseconds kQuiet{200};

  HttpOptions options;
  const Log &log;
  ConnectionShared shared;
  std::unordered_set<std::shared_ptr<Connection>> open;
  uint64_t accepted = 0, evicted = 0;
  std::function<void(int)> terminate;
  std::function<void()> idle;
  int terminations = 0;
  asio::io_context io{1};
  tcp::acceptor acceptor{io};
  asio::signal_set signals{io, SIGTERM, SIGINT};
  asio::steady_timer quiet{io};
};

} // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::open(const HttpOptions &options, Application &application,
                                                     const Log &log) {
  auto server = std::make_unique<Server>(options, application, log);
  std::string failure;
  try {
    failure = server->listen();
  } catch (const std::exception &error) {
    failure = error.what();
  }
  if (!failure.empty())
    return Error(ErrorCode::Io, "%s", failure.c_str());
  return std::unique_ptr<HttpServer>(std::move(server));
}

} // namespace mlc::server
