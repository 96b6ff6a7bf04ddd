//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Finds stop texts in a text that comes piece by piece: of those that end first the one that begins first. What may
// become one is held back.
//
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mlc::server {

class StopMatcher {
public:
  /// None of `stops` is empty.
  explicit StopMatcher(std::span<const std::string> stops);

  struct Match {
    /// Index of the stop, or -1; its first byte, from the beginning of the text.
    int32_t stop = -1;
    uint64_t begin = 0;
  };
  /// Takes the next piece; nothing is to be fed after a match.
  Match feed(std::string_view piece);
  /// Bytes at the end of the text that a stop may begin with.
  size_t held() const;

private:
  /// Knuth, Morris and Pratt's: failure[i] is the longest proper border of the first i bytes.
  struct Pattern {
    std::string text;
    std::vector<uint32_t> failure;
    uint32_t matched = 0;
  };
  std::vector<Pattern> patterns;
  uint64_t position = 0;
};

} // namespace mlc::server
