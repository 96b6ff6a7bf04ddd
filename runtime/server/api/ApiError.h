//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What is wrong with a request, in OpenAI's form: {"error": {"message", "type", "param", "code"}}.
//
#pragma once

#include "runtime/server/http/Http.h"

#include <exception>

namespace mlc::server {

/// Thrown and caught inside the server.
struct ApiError : std::exception {
  ApiError(unsigned status, std::string code, std::string message, std::string param = {})
      : status(status), code(std::move(code)), message(std::move(message)), param(std::move(param)) {}
  const char *what() const noexcept override { return message.c_str(); }

  unsigned status;
  std::string code, message;
  std::string param;       // The field to blame; empty: none.
  unsigned retryAfter = 0; // Seconds; 0: not said.

  /// {"error": ...}
  std::string body() const;
  Response response() const;
};

} // namespace mlc::server
