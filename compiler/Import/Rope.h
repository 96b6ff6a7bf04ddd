//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The inverse frequencies of rotary position embeddings (formulas: transformers' modeling_rope_utils.py, in f32 in the
// order written there).
//
#pragma once

#include "compiler/Import/ModelConfig.h"

namespace mlc {

/// 0.1 ln(factor) + 1, and 1 up to a factor of 1 (YaRN, arXiv 2309.00071, section 3.4).
double yarnAttentionFactor(double factor, double mscale = 1);
/// sqrt(1 + ln(factor) / ln(originalContext)), and 1 up to a factor of 1 (LongRoPE).
double longropeAttentionFactor(double factor, int64_t originalContext);

/// Tables of rotaryDim / 2 inverse frequencies: one; two for longrope, short then long. For `dynamic` the table of
/// sequences within the original context: longer ones compute theirs from their length.
std::vector<std::vector<float>> inverseFrequencies(const RopeConfig &rope);

} // namespace mlc
