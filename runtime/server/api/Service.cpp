//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/api/Service.h"
#include "runtime/server/api/Metrics.h"
#include "runtime/server/page/Page.h"

namespace mlc::server {

struct Service::RouteEntry {
  std::string_view path; // Ends with '/': whatever follows belongs to it.
  Route route;
  bool post, open; // Open: without a key.
};

const Service::RouteEntry *Service::find(std::string_view path) {
  static constexpr RouteEntry routes[] = {
      {"/health", Route::health, false, true},
      {"/v1/models", Route::models, false, false},
      {"/v1/models/", Route::model, false, false},
      {"/metrics", Route::metrics, false, false},
      {"/v1/completions", Route::completions, true, false},
      {"/v1/chat/completions", Route::chat, true, false},
      {"/v1/embeddings", Route::embeddings, true, false},
      {"/tokenize", Route::tokenize, true, false},
      {"/detokenize", Route::detokenize, true, false},
  };
  static constexpr RouteEntry page{"/", Route::page, false, true};
  for (const RouteEntry &entry : routes)
    if (path == entry.path || (entry.path.ends_with('/') && path.starts_with(entry.path)))
      return &entry;
  return pageFile(path) ? &page : nullptr;
}

void Service::serve(Models given) {
  std::lock_guard guard(lock);
  models = std::make_shared<const Models>(std::move(given));
}

void Service::stop() {
  std::shared_ptr<const Models> gone;
  {
    std::lock_guard guard(lock);
    gone.swap(models);
  }
  // Requests hold their model: an engine whose last one ends must not go on its own thread.
  if (gone)
    for (const std::shared_ptr<ServedModel> &model : *gone)
      model->engine().stop();
  // Engines tell the preparing thread what became of their requests.
  gone = nullptr;
  preparer.stop();
}

std::shared_ptr<const Service::Models> Service::loaded() const {
  std::lock_guard guard(lock);
  return models;
}

/// A page of another site must not use what listens on the loopback of whoever looks at it.
bool Service::originAllowed(const RequestHead &head) const {
  if (head.origin.empty() || (!options.allowOrigin.empty() && head.origin == options.allowOrigin))
    return true;
  size_t slashes = head.origin.find("://");
  return slashes != head.origin.npos && head.origin.substr(slashes + 3) == head.host;
}

Headers Service::headersFor(const RequestHead &head) {
  if (head.origin.empty() || head.origin != options.allowOrigin)
    return {};
  return {{"Access-Control-Allow-Origin", options.allowOrigin},
          {"Access-Control-Expose-Headers", "X-Request-Id, Retry-After"},
          {"Vary", "Origin"}};
}

std::optional<Response> Service::admit(const RequestHead &head) {
  auto refusal = [](const ApiError &error) { return error.response(); };
  const RouteEntry *entry = find(head.path);
  if (!entry)
    return refusal({404, "unknown_url", "unknown URL: " + head.method + " " + head.path});
  if (!originAllowed(head))
    return refusal(
        {403, "origin_not_allowed", "origin " + head.origin + " may not use this server; see --allow-origin"});
  if (head.method == "OPTIONS" && !options.allowOrigin.empty()) {
    Response response{204, {}, "text/plain", {}};
    response.headers.emplace_back("Access-Control-Allow-Methods", "GET, POST");
    response.headers.emplace_back("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Request-Id");
    return response;
  }
  bool fits = entry->post ? head.method == "POST" : head.method == "GET" || head.method == "HEAD";
  if (!fits) {
    Response response = ApiError(405, "method_not_allowed",
                                 head.method + " is not for " + head.path + "; use " + (entry->post ? "POST" : "GET"))
                            .response();
    response.headers.emplace_back("Allow", entry->post ? "POST" : "GET, HEAD");
    return response;
  }
  if (!entry->open && options.keys.required() && !options.keys.accepts(head.authorization))
    return refusal({401, "invalid_api_key",
                    head.authorization.empty() ? "an API key is required: Authorization: Bearer KEY"
                                               : "the API key is not valid"});
  if (entry->route == Route::health || entry->route == Route::metrics || entry->route == Route::page)
    return std::nullopt;
  std::optional<ApiError> later;
  if (draining)
    later.emplace(503, "shutting_down", "the server is shutting down");
  else if (!loaded())
    later.emplace(503, "loading", "the model is being loaded");
  if (!later)
    return std::nullopt;
  later->retryAfter = 1;
  return refusal(*later);
}

Response Service::refuse(unsigned status, std::string_view) {
  switch (status) {
  case 408:
    return ApiError(408, "request_timeout", "the request came too slowly").response();
  case 413:
    return ApiError(413, "request_too_large", "the body is too large; see --max-body").response();
  case 417:
    return ApiError(417, "expectation_failed", "of Expect only 100-continue is understood").response();
  case 431:
    return ApiError(431, "header_too_large", "the header is too large").response();
  case 503: {
    ApiError error(503, "overloaded", "too many connections or too much in flight");
    error.retryAfter = 1;
    return error.response();
  }
  default:
    return ApiError(status, "malformed_request", "the request is no well-formed HTTP/1.1").response();
  }
}

void Service::handle(std::shared_ptr<Exchange> exchange) {
  const RouteEntry *entry = find(exchange->head().path);
  switch (entry->route) {
  case Route::health:
    return answerHealth(*exchange);
  case Route::models:
    return answerModels(*exchange);
  case Route::model:
    return answerModel(*exchange);
  case Route::metrics:
    return answerMetrics(*exchange);
  case Route::page: {
    const PageFile *file = pageFile(exchange->head().path);
    // Nothing from elsewhere: the page works without a network.
    return exchange->respond({200,
                              std::string(file->text),
                              file->type,
                              {{"Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; "
                                                           "connect-src 'self'; form-action 'none'; "
                                                           "frame-ancestors 'none'; base-uri 'none'"},
                               {"Cache-Control", "no-cache"}}});
  }
  default:
    break;
  }
  preparer.post([this, route = entry->route, exchange] { prepare(route, exchange); });
}

void Service::answerHealth(Exchange &exchange) {
  const char *status = draining ? "draining" : loaded() ? "ok" : "loading";
  bool well = !draining && loaded();
  exchange.respond({well ? 200u : 503u, std::string("{\"status\":\"") + status + "\"}", "application/json", {}});
}

static std::string modelJson(const ServedModel &model) {
  return "{\"id\":" + jsonText(model.name()) + ",\"object\":\"model\",\"created\":" + std::to_string(model.created()) +
         ",\"owned_by\":\"mlc\",\"context_length\":" + std::to_string(model.engine().context()) + "}";
}

void Service::answerModels(Exchange &exchange) {
  std::string list;
  for (const std::shared_ptr<ServedModel> &model : *loaded())
    list += (list.empty() ? "" : ",") + modelJson(*model);
  exchange.respond({200, "{\"object\":\"list\",\"data\":[" + list + "]}", "application/json", {}});
}

void Service::answerModel(Exchange &exchange) {
  try {
    std::string name = exchange.head().path.substr(std::string_view("/v1/models/").size());
    exchange.respond({200, modelJson(*modelOf(name, true)), "application/json", {}});
  } catch (const ApiError &error) {
    exchange.respond(error.response());
  }
}

void Service::answerMetrics(Exchange &exchange) {
  std::vector<ModelMetrics> metrics;
  std::shared_ptr<const Models> now = loaded();
  if (now)
    for (const std::shared_ptr<ServedModel> &model : *now)
      metrics.push_back({model->name(), model->engine().stats()});
  exchange.respond({200,
                    metricsText(metrics, counts ? counts() : HttpServer::Counts(), now && !draining),
                    "text/plain; version=0.0.4; charset=utf-8",
                    {}});
}

std::shared_ptr<ServedModel> Service::modelOf(const std::string &name, bool required) const {
  std::shared_ptr<const Models> now = loaded();
  if (name.empty() && required)
    throw ApiError(400, "missing_required_parameter", "model: required", "model");
  if (name.empty())
    return now->front();
  for (const std::shared_ptr<ServedModel> &model : *now)
    if (model->name() == name)
      return model;
  throw ApiError(404, "model_not_found",
                 "the model " + jsonText(name) + " does not exist; GET /v1/models lists what does", "model");
}

} // namespace mlc::server
