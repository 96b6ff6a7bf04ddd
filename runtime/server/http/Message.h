//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// HTTP/1.1 on the wire: a request's head taken apart, a response's bytes. What Beast parses passes through here, so the
// fuzz target does too.
//
#pragma once

#include "runtime/server/http/Http.h"

#include <boost/beast/http.hpp>

namespace mlc::server {

using RequestParser = boost::beast::http::request_parser<boost::beast::http::string_body>;

/// Sets the parser's limits.
void limitParser(RequestParser &parser, const HttpLimits &limits);
/// The status with which a parser's error is answered; 0: not at all, the client has gone.
unsigned statusOf(const boost::system::error_code &error);

struct HeadOrError {
  RequestHead head;
  const char *error = nullptr; // Why the request is refused with 400.
};
/// Takes the head of a message apart. Percent-escapes of the path are decoded; a target that is no path is refused, and
/// so are a missing or second Host and a body without a length of a method that has one.
HeadOrError readHead(const RequestParser::value_type &message);

/// The response's head and body. A response to HEAD, and status 204, has no body but its length.
std::string responseBytes(const Response &response, const PublicId &id, bool keepAlive, bool headOnly);
/// The head of a stream: chunked, or until the connection closes for HTTP/1.0.
std::string streamHead(const PublicId &id, const Headers &headers, bool keepAlive, bool chunked);
/// `bytes` as one chunk.
std::string chunk(std::string_view bytes);

} // namespace mlc::server
