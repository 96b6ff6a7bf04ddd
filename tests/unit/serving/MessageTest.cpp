//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/http/Message.h"

#include <gtest/gtest.h>

using namespace mlc::server;

namespace {

struct Parsed {
  HeadOrError head;
  boost::system::error_code error;
  bool done = false;
};

Parsed parse(std::string_view text, const HttpLimits &limits = {}) {
  RequestParser parser;
  parser.eager(true);
  limitParser(parser, limits);
  Parsed parsed;
  parser.put(boost::asio::buffer(text.data(), text.size()), parsed.error);
  parsed.done = parser.is_done();
  if (parser.is_header_done())
    parsed.head = readHead(parser.get());
  return parsed;
}

TEST(Message, HeadsAreTakenApart) {
  Parsed parsed = parse("GET /v1/models/a%20b?x=1 HTTP/1.1\r\nHost: h:1\r\nAuthorization: Bearer k\r\n"
                        "X-Request-Id: CMPL-x\r\n\r\n");
  ASSERT_FALSE(parsed.error);
  EXPECT_EQ(parsed.head.error, nullptr);
  EXPECT_EQ(parsed.head.head.path, "/v1/models/a b");
  EXPECT_EQ(parsed.head.head.query, "x=1");
  EXPECT_EQ(parsed.head.head.host, "h:1");
  EXPECT_EQ(parsed.head.head.authorization, "Bearer k");
  EXPECT_EQ(parsed.head.head.clientId, "CMPL-x");
  Parsed known =
      parse("GET / HTTP/1.1\r\nHost: h\r\nX-Request-Id: cmpl-01234567-89ab-cdef-8899-aabbccddeeff-2\r\n\r\n");
  EXPECT_EQ(known.head.head.id.text(), "0123456789abcdef8899aabbccddeeff");
  EXPECT_EQ(known.head.head.clientId, "");
  EXPECT_EQ(parse("GET http://h/health HTTP/1.1\r\nHost: h\r\n\r\n").head.head.path, "/health");
}

TEST(Message, MalformedOnesAreRefused) {
  for (const char *bad :
       {"GET /\r\n\r\n", "GET / HTTP/2.0\r\n\r\n", "\x16\x03\x01\x02\x00 \r\n\r\n", "G@T / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost h\r\n\r\n", "GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"}) {
    Parsed parsed = parse(bad);
    ASSERT_TRUE(parsed.error) << bad;
    EXPECT_EQ(statusOf(parsed.error), 400u) << bad << parsed.error.message();
  }
  for (const char *bad :
       {"GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "GET x HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /%0 HTTP/1.1\r\nHost: a\r\n\r\n", "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n"}) {
    Parsed parsed = parse(bad);
    EXPECT_FALSE(parsed.error) << bad;
    EXPECT_NE(parsed.head.error, nullptr) << bad;
  }
}

TEST(Message, LimitsHold) {
  HttpLimits limits;
  limits.headerBytes = 200;
  limits.bodyBytes = 10;
  EXPECT_EQ(statusOf(parse("GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(200, 'x') + "\r\n\r\n", limits).error),
            431u);
  EXPECT_EQ(statusOf(parse("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n01234567890", limits).error), 413u);
  EXPECT_EQ(
      statusOf(
          parse("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n", limits).error),
      413u);
  EXPECT_TRUE(parse("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n0123456789", limits).done);
}

TEST(Message, ResponsesAndChunks) {
  PublicId id{1, 2};
  std::string text = responseBytes({404, "{}", "application/json", {{"Retry-After", "1"}}}, id, true, false);
  EXPECT_TRUE(text.starts_with("HTTP/1.1 404 Not Found\r\n"));
  EXPECT_NE(text.find("\r\nX-Request-Id: " + id.text() + "\r\n"), text.npos);
  EXPECT_NE(text.find("\r\nRetry-After: 1\r\n"), text.npos);
  EXPECT_TRUE(text.ends_with("Content-Length: 2\r\n\r\n{}"));
  EXPECT_TRUE(responseBytes({200, "{}", "a/b", {}}, id, true, true).ends_with("Content-Length: 2\r\n\r\n"));
  EXPECT_EQ(chunk("0123456789abcdef"), "10\r\n0123456789abcdef\r\n");
}

} // namespace
