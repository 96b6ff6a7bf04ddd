//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// How a device draws a row's token: SamplingOptions and a text so far, as plain numbers. The host's kernels and the
// device's read the same structs.
//
#pragma once

#include <cstdint>

namespace mlc {

/// What bias and penalties know of a token; those that no entry names keep their logits.
struct TokenAdjustment {
  int32_t token;
  float bias;
  uint32_t generated; // Times in the answer.
  uint32_t inPrompt;  // 0 or 1.
};

/// One row's draw. Fields as in SamplingOptions.
struct RowDraw {
  double uniform; // In [0, 1).
  int32_t row;    // Of the step's logits; negative: they go to the host.
  float temperature;
  uint32_t topK;
  float topP, minP;
  float repetitionPenalty, presencePenalty, frequencyPenalty;
  uint32_t firstAdjustment, adjustments; // Among the step's.
};

/// Of all rows of a step.
constexpr uint32_t kMostStepAdjustments = 1 << 16;
/// Of larger vocabularies a device draws no tokens: a sum of so many probabilities of 44 bits fits into 64.
constexpr int64_t kMostDrawnVocabulary = int64_t(1) << 19;

} // namespace mlc
