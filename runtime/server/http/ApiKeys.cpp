//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/http/ApiKeys.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

namespace mlc::server {

// A file of keys beyond it is some other file.
static constexpr size_t kLargestFile = 1 << 20;

ApiKeys::Padded ApiKeys::pad(std::string_view key) {
  Padded padded{};
  size_t length = std::min(key.size(), kLongest);
  std::copy_n(key.begin(), length, padded.begin());
  padded[length] = 1;
  return padded;
}

Result<ApiKeys> ApiKeys::read(const char *path) {
  std::unique_ptr<FILE, int (*)(FILE *)> file(fopen(path, "rbe"), fclose);
  if (!file)
    return Error(ErrorCode::Io, "%s: %s", path, strerror(errno));
  std::string text(kLargestFile + 1, 0);
  text.resize(fread(text.data(), 1, text.size(), file.get()));
  if (ferror(file.get()))
    return Error(ErrorCode::Io, "%s: %s", path, strerror(errno));
  if (text.size() > kLargestFile)
    return Error(ErrorCode::InvalidArgument, "%s: larger than 1 MiB; give a file of API keys, one a line", path);
  Result<ApiKeys> keys = parse(text);
  if (!keys)
    return Error(keys.error().code(), "%s: %s", path, keys.error().message());
  return keys;
}

Result<ApiKeys> ApiKeys::parse(std::string_view text) {
  ApiKeys parsed;
  for (size_t line = 1; !text.empty(); ++line) {
    size_t end = std::min(text.find('\n'), text.size());
    std::string_view key = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    while (!key.empty() && (key.back() == ' ' || key.back() == '\t' || key.back() == '\r'))
      key.remove_suffix(1);
    while (!key.empty() && (key.front() == ' ' || key.front() == '\t'))
      key.remove_prefix(1);
    if (key.empty())
      continue;
    if (key.size() > kLongest)
      return Error(ErrorCode::InvalidArgument, "line %zu: a key has at most %zu characters", line, kLongest);
    if (std::any_of(key.begin(), key.end(), [](char c) { return c < 0x21 || c > 0x7e; }))
      return Error(ErrorCode::InvalidArgument, "line %zu: a key is printable ASCII without spaces", line);
    parsed.keys.push_back(pad(key));
  }
  if (parsed.keys.empty())
    return Error(ErrorCode::InvalidArgument, "no API key; give one a line");
  return parsed;
}

bool ApiKeys::accepts(std::string_view authorization) const {
  constexpr std::string_view scheme = "bearer ";
  bool bearer = authorization.size() > scheme.size();
  for (size_t i = 0; bearer && i < scheme.size(); ++i)
    bearer = char(authorization[i] | 0x20) == scheme[i];
  if (!bearer)
    return false;
  std::string_view given = authorization.substr(scheme.size());
  if (given.size() > kLongest)
    return false;
  Padded padded = pad(given);
  unsigned matches = 0;
  for (const Padded &key : keys) {
    // The barrier keeps the compiler from leaving the loop early.
    unsigned difference = 0;
    for (size_t i = 0; i < key.size(); ++i) {
      difference |= unsigned(padded[i] ^ key[i]);
      asm volatile("" : "+r"(difference));
    }
    matches |= unsigned(difference == 0);
  }
  return matches != 0;
}

} // namespace mlc::server
