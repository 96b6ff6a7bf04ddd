//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/http/Message.h"

#include <cstdio>
#include <ctime>

namespace http = boost::beast::http;

namespace mlc::server {

void limitParser(RequestParser &parser, const HttpLimits &limits) {
  parser.header_limit(uint32_t(limits.headerBytes));
  parser.body_limit(limits.bodyBytes);
}

unsigned statusOf(const boost::system::error_code &error) {
  if (error == http::error::header_limit)
    return 431;
  if (error == http::error::body_limit)
    return 413;
  // The rest of Beast's are malformed messages, but for those of a client that has left.
  if (error == http::error::end_of_stream || error == http::error::partial_message)
    return 0;
  return error.category() == http::make_error_code(http::error::bad_method).category() ? 400 : 0;
}

static int hexDigit(char c) {
  return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/// Decodes %XX; false for an escape that is none or gives a control character.
static bool decodePath(std::string_view text, std::string &path) {
  path.clear();
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      if (text.size() - i < 3 || hexDigit(text[i + 1]) < 0 || hexDigit(text[i + 2]) < 0)
        return false;
      c = char(hexDigit(text[i + 1]) << 4 | hexDigit(text[i + 2]));
      i += 2;
    }
    if ((unsigned char)c < 0x20 || c == 0x7f)
      return false;
    path += c;
  }
  return true;
}

HeadOrError readHead(const RequestParser::value_type &message) {
  HeadOrError result;
  RequestHead &head = result.head;
  head.arrival = Clock::now();
  head.method = std::string(message.method_string());
  std::string_view target(message.target().data(), message.target().size());
  // The absolute form that proxies may send (RFC 9112, section 3.2.2).
  if (target.starts_with("http://") || target.starts_with("https://")) {
    size_t slash = target.find('/', target.find("//") + 2);
    target = slash == target.npos ? "/" : target.substr(slash);
  }
  size_t question = std::min(target.find('?'), target.size());
  if (question < target.size())
    head.query = target.substr(question + 1);
  if (!target.starts_with('/') || !decodePath(target.substr(0, question), head.path))
    result.error = "the request's target is no path";
  auto field = [&](http::field name) {
    auto value = message[name];
    return std::string(value.data(), value.size());
  };
  if (message.version() >= 11 && message.count(http::field::host) != 1)
    result.error = "a request has one Host header";
  if (message.count(http::field::authorization) > 1)
    result.error = "a request has one Authorization header at most";
  head.host = field(http::field::host);
  head.authorization = field(http::field::authorization);
  head.origin = field(http::field::origin);
  std::string given(message["X-Request-Id"].data(), message["X-Request-Id"].size());
  if (std::optional<ParsedId> parsed = parseId(given)) {
    head.id = parsed->id;
  } else {
    head.id = PublicId::fresh();
    head.clientId = given.substr(0, 128);
  }
  return result;
}

static std::string httpDate() {
  time_t now = time(nullptr);
  tm parts;
  gmtime_r(&now, &parts);
  char text[64];
  strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return text;
}

static std::string startLines(unsigned status, std::string_view contentType, const PublicId &id, bool keepAlive) {
  auto reason = http::obsolete_reason(http::int_to_status(status));
  std::string text = "HTTP/1.1 " + std::to_string(status) + " " + std::string(reason.data(), reason.size());
  text += "\r\nServer: mlc\r\nDate: " + httpDate() + "\r\nX-Request-Id: " + id.text();
  text += "\r\nContent-Type: ";
  text += contentType;
  text += "\r\nX-Content-Type-Options: nosniff\r\nConnection: ";
  text += keepAlive ? "keep-alive\r\n" : "close\r\n";
  return text;
}

std::string responseBytes(const Response &response, const PublicId &id, bool keepAlive, bool headOnly) {
  std::string text = startLines(response.status, response.contentType, id, keepAlive);
  for (const auto &[name, value] : response.headers)
    text += name + ": " + value + "\r\n";
  if (response.status == 204)
    return text + "\r\n";
  text += "Content-Length: " + std::to_string(response.body.size()) + "\r\n\r\n";
  if (!headOnly)
    text += response.body;
  return text;
}

std::string streamHead(const PublicId &id, const Headers &headers, bool keepAlive, bool chunked) {
  // nginx must not hold events back.
  std::string text = startLines(200, "text/event-stream; charset=utf-8", id, keepAlive && chunked);
  text += "Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n";
  for (const auto &[name, value] : headers)
    text += name + ": " + value + "\r\n";
  if (chunked)
    text += "Transfer-Encoding: chunked\r\n";
  return text + "\r\n";
}

std::string chunk(std::string_view bytes) {
  char size[24];
  snprintf(size, sizeof size, "%zx\r\n", bytes.size());
  std::string text = size;
  text += bytes;
  return text + "\r\n";
}

} // namespace mlc::server
