//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "runtime/llm/speculate/NgramDrafter.h"

#include <algorithm>
#include <iterator>

namespace mlc {

bool NgramDrafter::begin(std::span<const int32_t> settled) {
  text = settled;
  count = at = 0;
  size_t longest = kShortest - 1;
  // From the end: of equally long agreements the latest counts.
  for (size_t end = text.size() > 1 ? text.size() - 1 : 0; end > longest && longest < kLongest; --end) {
    size_t length = 0, most = std::min(end, kLongest);
    while (length < most && text[end - 1 - length] == text[text.size() - 1 - length])
      ++length;
    if (length > longest) {
      longest = length;
      at = end;
    }
  }
  constexpr size_t borders[] = {3, 4, 5, 6, 8, 11, 16};
  static_assert(std::size(borders) + 1 == kConfidenceClasses);
  confidence = unsigned(std::upper_bound(std::begin(borders), std::end(borders), longest) - borders);
  return at != 0;
}

const Claims &NgramDrafter::claims() const {
  static constexpr Claims byLength = {0.5f, 0.6f, 0.7f, 0.75f, 0.8f, 0.85f, 0.9f, 0.95f};
  return byLength;
}

Result<bool> NgramDrafter::next(double, Draft &draft) {
  if (!at || count == kMaxDraftTokens)
    return false;
  // A text that repeats a short piece goes on with what was just drafted.
  int32_t token = at < text.size() ? text[at] : drafted[at - text.size()];
  ++at;
  drafted[count++] = token;
  draft = {token, {}, confidence};
  return true;
}

} // namespace mlc
