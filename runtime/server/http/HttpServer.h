//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The HTTP/1.1 server: one thread, one coroutine a connection, limits on everything that a client can make it hold.
//
#pragma once

#include "runtime/core/Result.h"
#include "runtime/server/http/Http.h"
#include "runtime/server/http/Log.h"

namespace mlc::server {

struct HttpOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8080; // 0: any free one.
  HttpLimits limits;
};

class HttpServer {
public:
  /// Listens; nothing is answered before run(). A port in use is an error that names it. The application and the log
  /// outlive the server.
  static Result<std::unique_ptr<HttpServer>> open(const HttpOptions &options, Application &application, const Log &log);
  virtual ~HttpServer() = default;

  virtual uint16_t port() const = 0;
  /// Answers until drained or stopped.
  virtual void run() = 0;
  // Any thread.
  /// Ends run() when no request is being answered. New ones are the application's to refuse.
  virtual void drain() = 0;
  /// Cuts all connections and ends run().
  virtual void stop() = 0;
  /// Calls `task` on the HTTP thread.
  virtual void post(std::function<void()> task) = 0;
  /// SIGTERM and SIGINT, from run() on: calls `handler` on the HTTP thread with 1 for the first one, then 2, ...
  virtual void onTerminate(std::function<void(int count)> handler) = 0;
  /// Calls `handler` on the HTTP thread when a request or a connection has ended and nothing has been answered since.
  virtual void onIdle(std::function<void()> handler) = 0;

  struct Counts {
    size_t connections = 0, requests = 0; // Open; being answered.
    uint64_t accepted = 0, evicted = 0;   // Ever; evicted: idle ones closed to make room.
  };
  /// HTTP thread.
  virtual Counts counts() const = 0;
};

} // namespace mlc::server
