//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/server/engine/StopMatcher.h"

#include <algorithm>

namespace mlc::server {

StopMatcher::StopMatcher(std::span<const std::string> stops) {
  for (const std::string &stop : stops) {
    Pattern &pattern = patterns.emplace_back(Pattern{stop, std::vector<uint32_t>(stop.size() + 1, 0)});
    for (size_t i = 1; i < stop.size(); ++i) {
      uint32_t border = pattern.failure[i];
      while (border && stop[border] != stop[i])
        border = pattern.failure[border];
      pattern.failure[i + 1] = border + (stop[border] == stop[i]);
    }
  }
}

StopMatcher::Match StopMatcher::feed(std::string_view piece) {
  for (char byte : piece) {
    ++position;
    Match match;
    for (size_t i = 0; i < patterns.size(); ++i) {
      Pattern &p = patterns[i];
      while (p.matched && p.text[p.matched] != byte)
        p.matched = p.failure[p.matched];
      p.matched += p.text[p.matched] == byte;
      if (p.matched < p.text.size())
        continue;
      uint64_t begin = position - p.text.size();
      if (match.stop < 0 || begin < match.begin)
        match = {int32_t(i), begin};
      p.matched = p.failure[p.matched];
    }
    if (match.stop >= 0)
      return match;
  }
  return {};
}

size_t StopMatcher::held() const {
  uint32_t most = 0;
  for (const Pattern &pattern : patterns)
    most = std::max(most, pattern.matched);
  return most;
}

} // namespace mlc::server
