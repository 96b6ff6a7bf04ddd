//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The endpoints: who may call what, and what is done for each.
//
#pragma once

#include "runtime/server/api/Preparer.h"
#include "runtime/server/api/ServedModel.h"
#include "runtime/server/http/ApiKeys.h"
#include "runtime/server/http/HttpServer.h"

#include <atomic>
#include <mutex>

namespace mlc::server {

struct ServiceOptions {
  ApiKeys keys;
  bool lenient = false;
  std::string allowOrigin; // Of web pages from elsewhere; empty: none.
};

class Service final : public Application {
public:
  explicit Service(ServiceOptions options) : options(std::move(options)) {}

  // Any thread.
  /// Requests are taken from now on. At least one model; the first is that of requests that need not name one.
  void serve(std::vector<std::shared_ptr<ServedModel>> models);
  /// New requests are refused from now on.
  void drain() { draining = true; }
  /// Lets go of the models and of every exchange. Neither the HTTP thread nor anybody else calls from now on.
  void stop();
  void countWith(std::function<HttpServer::Counts()> given) { counts = std::move(given); }

  std::optional<Response> admit(const RequestHead &head) override;
  Headers headersFor(const RequestHead &head) override;
  void handle(std::shared_ptr<Exchange> exchange) override;
  Response refuse(unsigned status, std::string_view why) override;

private:
  using Models = std::vector<std::shared_ptr<ServedModel>>;
  enum class Route : uint8_t {
    health,
    page,
    models,
    model,
    metrics,
    completions,
    chat,
    embeddings,
    tokenize,
    detokenize,
  };
  struct RouteEntry;
  static const RouteEntry *find(std::string_view path);
  std::shared_ptr<const Models> loaded() const;
  std::shared_ptr<ServedModel> modelOf(const std::string &name, bool required) const;
  bool originAllowed(const RequestHead &head) const;

  void answerHealth(Exchange &exchange);
  void answerModels(Exchange &exchange);
  void answerModel(Exchange &exchange);
  void answerMetrics(Exchange &exchange);
  // On the preparing thread; throw ApiError.
  void prepare(Route route, std::shared_ptr<Exchange> exchange);
  void complete(std::shared_ptr<Exchange> exchange, const Json &body);
  void chat(std::shared_ptr<Exchange> exchange, const Json &body);
  void embed(std::shared_ptr<Exchange> exchange, const Json &body);
  void tokenize(Exchange &exchange, const Json &body);
  void detokenize(Exchange &exchange, const Json &body);

  const ServiceOptions options;
  std::function<HttpServer::Counts()> counts;
  std::atomic<bool> draining{false};
  mutable std::mutex lock;
  std::shared_ptr<const Models> models; // Null while loading.
  Preparer preparer;                    // Last: its tasks use the others.
};

} // namespace mlc::server
