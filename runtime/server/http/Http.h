//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What passes between the HTTP layer and the application above it: requests, responses, and the exchange in which a
// response is given, at once or piece by piece, by any thread.
//
#pragma once

#include "runtime/server/http/PublicId.h"

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mlc::server {

using Clock = std::chrono::steady_clock;

/// What a client can make the server hold, and for how long.
struct HttpLimits {
  size_t headerBytes = 16 << 10;
  size_t bodyBytes = 8 << 20;
  /// Of all requests that are being read or answered.
  size_t allBodiesBytes = 256 << 20;
  /// Of one stream that its client does not read.
  size_t unsentBytes = 1 << 20;
  size_t connections = 4096;
  std::chrono::milliseconds idle{75'000}, header{10'000}, body{60'000}, write{30'000};
};

struct RequestHead {
  std::string method, path, query, host, authorization, origin;
  std::string peer; // Address and port.
  PublicId id;
  std::string clientId; // The X-Request-Id as it came, where it is no id of our form; for the log.
  Clock::time_point arrival;
};

using Headers = std::vector<std::pair<std::string, std::string>>;

struct Response {
  unsigned status = 200;
  std::string body;
  std::string contentType = "application/json";
  Headers headers;
};

/// One request and its response. Either respond(), or beginStream(), write() any number of times and finish(). Calls
/// after the end, or to a client that has gone, do nothing.
class Exchange {
public:
  virtual ~Exchange() = default;
  virtual const RequestHead &head() const = 0;
  /// The request's body; may be moved from.
  virtual std::string &body() = 0;

  // Any thread.
  virtual void respond(Response response) = 0;
  /// Sends the head of a stream of server-sent events.
  virtual void beginStream() = 0;
  virtual void write(std::string bytes) = 0;
  virtual void finish() = 0;
  /// A field of this request's line in the log.
  virtual void note(std::string name, int64_t value) = 0;

  /// Calls `gone` once, on the HTTP thread, when the client leaves before the response's end (or at once, when it has
  /// left). Replaces the one set before.
  virtual void onGone(std::function<void()> gone) = 0;
};

/// What answers the requests. All calls come from the HTTP thread, which they must not hold up.
class Application {
public:
  virtual ~Application() = default;
  /// Looks at a request whose body is not read yet; a response refuses it.
  virtual std::optional<Response> admit(const RequestHead &head) = 0;
  /// What every response to the request carries beside its own headers.
  virtual Headers headersFor(const RequestHead &head) = 0;
  virtual void handle(std::shared_ptr<Exchange> exchange) = 0;
  /// The response for what is no acceptable request: 400 and 408 malformed or too slow, 413 and 431 too large, 503 too
  /// many connections.
  virtual Response refuse(unsigned status, std::string_view why) = 0;
};

} // namespace mlc::server
