//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The keys that requests must carry, read from a file with one key a line.
//
#pragma once

#include "runtime/core/Result.h"

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace mlc::server {

class ApiKeys {
public:
  static constexpr size_t kLongest = 256;

  /// No keys: everything is open.
  ApiKeys() = default;
  /// Spaces around a key and empty lines do not count. A file without a key, a key longer than kLongest or of anything
  /// but printable ASCII is refused with its line.
  static Result<ApiKeys> read(const char *path);
  static Result<ApiKeys> parse(std::string_view text);

  bool required() const { return !keys.empty(); }
  /// Whether an Authorization header's value is "Bearer KEY" with one of the keys. Takes the same time for every key of
  /// every length and content.
  bool accepts(std::string_view authorization) const;

private:
  // The key, a 1 and zeros, so that all comparisons run over as many bytes.
  using Padded = std::array<unsigned char, kLongest + 1>;
  static Padded pad(std::string_view key);
  std::vector<Padded> keys;
};

} // namespace mlc::server
