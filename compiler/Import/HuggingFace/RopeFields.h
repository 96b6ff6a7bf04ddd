//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The RoPE fields of config.json: rope_parameters (transformers 5), rope_scaling and rope_theta (transformers 4).
//
#pragma once

#include "compiler/Import/HuggingFace/Fields.h"
#include "compiler/Import/ModelConfig.h"

namespace mlc::hf {

/// Fills config.rope; architecture, sizes and maxPositions must be set. Problems go to `fields`.
void parseRope(Fields &fields, double defaultTheta, ModelConfig &config);

} // namespace mlc::hf
