//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What proposes tokens. A drafter sees the text that is settled and gives, one at a time, the tokens that may follow.
//
#pragma once

#include "runtime/llm/Generate.h"
#include "runtime/llm/speculate/Acceptance.h"

#include <array>

namespace mlc {

/// Most tokens of a draft: a sequence can go back that far, whatever its states.
constexpr unsigned kMaxDraftTokens = unsigned(kRollbackTokens);
/// Classes of Draft::confidence.
constexpr unsigned kConfidenceClasses = 8;
/// By class, how likely a token stays that was drafted with such confidence, before anything is known of the text.
using Claims = std::array<float, kConfidenceClasses>;
/// What an unknown draft is taken for: good enough to be tried. Its confidence stops it where it is not.
constexpr double kPriorAcceptance = 0.9;
constexpr Claims kEvenClaims = [] {
  Claims claims{};
  claims.fill(float(kPriorAcceptance));
  return claims;
}();

/// What a draft that was left behind reads at least: enough to know what the text is about.
constexpr size_t kShortRead = 32;

class Drafter {
public:
  /// Before a generation: `text` is what the target has processed. May allocate.
  virtual Status start(const GenerateOptions &options, std::span<const int32_t> text) = 0;
  /// Reads at most `most` of the tokens that it is behind(), after start() or begin().
  virtual Status read(size_t most) { return {}; }
  /// Begins a draft behind `text`, which stays where it is and only grows at its end from one draft to the next. False
  /// when there is nothing to propose.
  virtual bool begin(std::span<const int32_t> text) = 0;
  /// The token behind the text and those already drafted; `uniform`, a number in [0, 1), draws it. False: there is
  /// none.
  virtual Result<bool> next(double uniform, Draft &draft) = 0;
  /// Tokens of the text that the first next() has to read besides the last one.
  virtual size_t behind() const { return 0; }
  /// Leaves out all of these but the last `most`: the draft will know less of the text.
  virtual void leaveOut(size_t most) {}
  /// The confidence of the whole draft where begin() knows it; kConfidenceClasses: not known.
  virtual unsigned expectedConfidence() const { return kConfidenceClasses; }
  /// What its drafts claim of themselves, until something is measured.
  virtual const Claims &claims() const { return kEvenClaims; }
  /// A guess of what a token costs, as a share of a step of the target.
  virtual double costShare() const { return 0; }

protected:
  ~Drafter() = default; // Owners know the class.
};

} // namespace mlc
