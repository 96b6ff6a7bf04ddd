//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/api/ApiError.h"
#include "runtime/server/http/Log.h"

namespace mlc::server {

static const char *typeOf(unsigned status) {
  switch (status) {
  case 401:
    return "authentication_error";
  case 429:
    return "rate_limit_error";
  default:
    return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

std::string ApiError::body() const {
  auto orNull = [](const std::string &text) { return text.empty() ? std::string("null") : jsonText(text); };
  return "{\"error\":{\"message\":" + jsonText(message) + ",\"type\":\"" + typeOf(status) +
         "\",\"param\":" + orNull(param) + ",\"code\":" + orNull(code) + "}}";
}

Response ApiError::response() const {
  Response response{status, body(), "application/json", {}};
  if (retryAfter)
    response.headers.emplace_back("Retry-After", std::to_string(retryAfter));
  if (status == 401)
    response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

} // namespace mlc::server
