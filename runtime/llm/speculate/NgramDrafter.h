//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Prompt lookup: what followed the last tokens when the text had them before. Costs next to nothing, and wins where a
// text repeats itself: code, JSON, answers that quote their prompt.
//
#pragma once

#include "runtime/llm/speculate/Drafter.h"

namespace mlc {

class NgramDrafter final : public Drafter {
public:
  /// Fewest tokens that must agree, and where a longer agreement no longer counts.
  static constexpr size_t kShortest = 2, kLongest = 16;

  Status start(const GenerateOptions &, std::span<const int32_t>) override { return {}; }
  bool begin(std::span<const int32_t> text) override;
  Result<bool> next(double uniform, Draft &draft) override;
  unsigned expectedConfidence() const override { return confidence; }
  const Claims &claims() const override;

private:
  std::span<const int32_t> text;
  size_t at = 0; // Of the next token; past the text's end it is among the drafted ones.
  size_t count = 0;
  int32_t drafted[kMaxDraftTokens] = {};
  unsigned confidence = 0;
};

} // namespace mlc
