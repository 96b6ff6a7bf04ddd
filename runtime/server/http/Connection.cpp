//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/http/ConnectionExchange.h"

#include <poll.h>

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;

namespace mlc::server {

// A slow reader has HttpLimits::write for every so many bytes.
static constexpr size_t kPiece = 64 << 10;
// Unread bytes of a request are thrown away for so long before the connection closes, so that the response is not lost
// to a reset.
static constexpr std::chrono::milliseconds kLinger{2000};
static constexpr size_t kLingerBytes = 64 << 20;
// How often a client that has sent more than one request is looked at.
static constexpr std::chrono::milliseconds kPoll{20};

Connection::Connection(tcp::socket given, ConnectionShared &shared)
    : socket(std::move(given)), shared(shared), deadline(socket.get_executor()), wake(socket.get_executor()),
      poll(socket.get_executor()) {
  boost::system::error_code error;
  tcp::endpoint endpoint = socket.remote_endpoint(error);
  if (!error)
    peer = endpoint.address().to_string() + ":" + std::to_string(endpoint.port());
  socket.set_option(tcp::no_delay(true), error);
}

Connection::~Connection() { holdBody(0); }

void Connection::arm(std::chrono::milliseconds limit) {
  timedOut = false;
  deadline.expires_after(limit);
  deadline.async_wait([weak = weak_from_this(), turn = ++armed](boost::system::error_code error) {
    std::shared_ptr<Connection> self = weak.lock();
    if (error || !self || self->armed != turn)
      return;
    self->timedOut = true;
    boost::system::error_code ignored;
    self->socket.cancel(ignored);
  });
}

void Connection::disarm() {
  ++armed;
  deadline.cancel();
}

void Connection::enter(Phase phase, std::chrono::milliseconds limit) {
  currentPhase = phase;
  since = Clock::now();
  if (limit.count())
    arm(limit);
  else
    disarm();
}

void Connection::holdBody(size_t bytes) {
  shared.bodyBytes += bytes - heldBody;
  heldBody = bytes;
}

void Connection::cut() {
  boost::system::error_code ignored;
  disarm();
  socket.close(ignored);
  poll.cancel();
}

asio::awaitable<void> Connection::run() {
  while (co_await serveOne()) {
  }
  co_await close();
}

asio::awaitable<void> Connection::turnAway() {
  co_await refuse(503, PublicId::fresh());
  co_await close();
}

asio::awaitable<bool> Connection::serveOne() {
  boost::system::error_code error;
  if (buffer.size() == 0) {
    // Nothing is allocated for a connection that says nothing.
    buffer.shrink_to_fit();
    enter(Phase::idle, shared.limits.idle);
    co_await socket.async_wait(tcp::socket::wait_read, asio::redirect_error(asio::use_awaitable, error));
    if (error)
      co_return false;
  }
  enter(Phase::head, shared.limits.header);
  RequestParser parser;
  limitParser(parser, shared.limits);
  co_await http::async_read_header(socket, buffer, parser, asio::redirect_error(asio::use_awaitable, error));
  PublicId id = PublicId::fresh();
  if (error) {
    if (unsigned status = timedOut ? 408 : statusOf(error))
      co_await refuse(status, id);
    co_return false;
  }
  HeadOrError head = readHead(parser.get());
  head.head.peer = peer;
  if (head.error) {
    co_await refuse(400, id);
    co_return false;
  }
  bool keepAlive = parser.get().keep_alive() && !shared.draining, headOnly = head.head.method == "HEAD";
  unsigned version = parser.get().version();
  if (std::optional<Response> refusal = shared.application.admit(head.head)) {
    for (auto &header : shared.application.headersFor(head.head))
      refusal->headers.push_back(header);
    // What is left of the request would be taken for the next one.
    keepAlive = keepAlive && parser.is_done();
    shared.log.event("request", {{"id", head.head.id.text()},
                                 {"peer", peer},
                                 {"method", head.head.method},
                                 {"path", head.head.path},
                                 {"status", int64_t(refusal->status)}});
    bool sent = co_await send(responseBytes(*refusal, head.head.id, keepAlive, headOnly));
    co_return sent &&keepAlive;
  }
  boost::beast::string_view expect = parser.get()[http::field::expect];
  if (!expect.empty() && version >= 11 && !parser.is_done()) {
    if (!boost::beast::iequals(expect, "100-continue")) {
      co_await refuse(417, head.head.id);
      co_return false;
    }
    if (!co_await send("HTTP/1.1 100 Continue\r\n\r\n"))
      co_return false;
  }
  unsigned status = 0;
  if (!co_await readBody(parser, status)) {
    if (status)
      co_await refuse(status, head.head.id);
    holdBody(0);
    co_return false;
  }
  auto exchange = std::make_shared<ConnectionExchange>(shared_from_this(), std::move(head.head),
                                                       std::move(parser.get().body()), version >= 11);
  bool more = co_await answer(std::move(exchange), keepAlive, version);
  co_return more;
}

asio::awaitable<bool> Connection::readBody(RequestParser &parser, unsigned &status) {
  enter(Phase::body, shared.limits.body);
  boost::system::error_code error;
  while (!parser.is_done()) {
    if (!timedOut)
      co_await http::async_read_some(socket, buffer, parser, asio::redirect_error(asio::use_awaitable, error));
    if (error || timedOut) {
      status = timedOut ? 408 : statusOf(error);
      co_return false;
    }
    holdBody(parser.get().body().size());
    if (shared.bodyBytes > shared.limits.allBodiesBytes) {
      status = 503;
      co_return false;
    }
  }
  co_return true;
}

asio::awaitable<bool> Connection::answer(std::shared_ptr<ConnectionExchange> exchange, bool keepAlive,
                                         unsigned version) {
  enter(Phase::answer, std::chrono::milliseconds(0));
  ++shared.requests;
  bool headOnly = exchange->head().method == "HEAD", done = false;
  unsigned status = 0;
  size_t bytes = 0;
  Headers headers = shared.application.headersFor(exchange->head());
  asio::co_spawn(socket.get_executor(), watch(exchange), asio::detached);
  shared.application.handle(exchange);
  while (!done && !exchange->hasGone()) {
    if (!exchange->hasOutput() && !(exchange->streaming && !exchange->streamStarted)) {
      boost::system::error_code ignored;
      wake.expires_at(Clock::time_point::max());
      co_await wake.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
      continue;
    }
    std::string output;
    keepAlive = keepAlive && !shared.draining;
    if (exchange->response) {
      status = exchange->response->status;
      for (auto &header : headers)
        exchange->response->headers.push_back(header);
      output = responseBytes(*exchange->response, exchange->head().id, keepAlive, headOnly);
      done = true;
    } else {
      status = 200;
      if (!exchange->streamStarted)
        output = streamHead(exchange->head().id, headers, keepAlive, version >= 11);
      exchange->streamStarted = true;
      output += std::exchange(exchange->unsent, {});
      done = exchange->finished;
      // An end of the stream that only the connection's end can tell.
      if (version < 11)
        keepAlive = false;
    }
    bytes += output.size();
    if (!co_await send(std::move(output)))
      exchange->leave();
  }
  bool gone = exchange->hasGone();
  std::string notes;
  for (const auto &[name, value] : exchange->notes)
    notes += (notes.empty() ? "" : " ") + name + "=" + std::to_string(value);
  shared.log.event("request",
                   {{"id", exchange->head().id.text()},
                    {"client_id", exchange->head().clientId},
                    {"peer", peer},
                    {"method", exchange->head().method},
                    {"path", exchange->head().path},
                    {"status", int64_t(gone ? 499 : status)},
                    {"ms", std::chrono::duration<double, std::milli>(Clock::now() - exchange->head().arrival).count()},
                    {"bytes", int64_t(bytes)},
                    {"usage", notes}});
  exchange->end();
  boost::system::error_code ignored;
  socket.cancel(ignored);
  poll.cancel();
  holdBody(0);
  --shared.requests;
  if (shared.requestEnded)
    shared.requestEnded();
  co_return !gone && keepAlive;
}

asio::awaitable<void> Connection::watch(std::shared_ptr<ConnectionExchange> exchange) {
  std::shared_ptr<Connection> self = shared_from_this();
  boost::system::error_code error;
  co_await socket.async_wait(tcp::socket::wait_read, asio::redirect_error(asio::use_awaitable, error));
  while (!exchange->hasEnded() && !exchange->hasGone()) {
    // Requests that follow at once stay unread; poll tells an end behind them.
    pollfd state{socket.native_handle(), POLLRDHUP, 0};
    if (!socket.is_open() || (::poll(&state, 1, 0) > 0 && state.revents)) {
      exchange->leave();
      co_return;
    }
    poll.expires_after(kPoll);
    co_await poll.async_wait(asio::redirect_error(asio::use_awaitable, error));
  }
}

asio::awaitable<bool> Connection::send(std::string bytes) {
  boost::system::error_code error;
  for (size_t at = 0; at < bytes.size() && !error; at += std::min(kPiece, bytes.size() - at)) {
    arm(shared.limits.write);
    auto piece = asio::buffer(bytes.data() + at, std::min(kPiece, bytes.size() - at));
    co_await asio::async_write(socket, piece, asio::redirect_error(asio::use_awaitable, error));
  }
  disarm();
  co_return !error;
}

asio::awaitable<void> Connection::refuse(unsigned status, const PublicId &id) {
  Response response = shared.application.refuse(status, {});
  shared.log.event("refused", {{"id", id.text()}, {"peer", peer}, {"status", int64_t(status)}});
  co_await send(responseBytes(response, id, false, false));
}

asio::awaitable<void> Connection::close() {
  boost::system::error_code error, ignored;
  currentPhase = Phase::head; // May be cut.
  socket.shutdown(tcp::socket::shutdown_send, error);
  if (!error) {
    arm(kLinger);
    char discarded[4096];
    for (size_t total = 0; !error && !timedOut && total < kLingerBytes;) {
      auto room = asio::buffer(discarded);
      total += co_await socket.async_read_some(room, asio::redirect_error(asio::use_awaitable, error));
    }
  }
  disarm();
  socket.close(ignored);
}

} // namespace mlc::server
