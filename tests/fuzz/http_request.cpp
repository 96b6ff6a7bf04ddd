//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Bytes of a client through the HTTP parser as the server sets it: requests one behind the other, whole or refused;
// heads are taken apart, and ids come back as they were read.
//
#include "runtime/server/http/ApiKeys.h"
#include "runtime/server/http/Message.h"

#include <boost/beast/core/flat_buffer.hpp>
#include <cstdlib>

using namespace mlc::server;

static const HttpLimits kLimits = [] {
  HttpLimits limits;
  limits.headerBytes = 512;
  limits.bodyBytes = 256;
  return limits;
}();

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const ApiKeys keys = *ApiKeys::parse("key");
  const char *at = reinterpret_cast<const char *>(data);
  while (size) {
    RequestParser parser;
    parser.eager(true);
    limitParser(parser, kLimits);
    boost::system::error_code error;
    size_t used = parser.put(boost::asio::buffer(at, size), error);
    if (used > size || parser.get().body().size() > kLimits.bodyBytes)
      abort();
    if (error == boost::beast::http::error::need_more)
      return 0;
    if (error) {
      statusOf(error);
      return 0;
    }
    if (parser.is_header_done()) {
      HeadOrError head = readHead(parser.get());
      keys.accepts(head.head.authorization);
      if (!head.error && head.head.path.find('\0') != std::string::npos)
        abort();
      if (!(parseId(formatId(head.head.id, IdKind::chat, 7))->id == head.head.id))
        abort();
    }
    if (!parser.is_done() || !used)
      return 0;
    at += used;
    size -= used;
  }
  return 0;
}
