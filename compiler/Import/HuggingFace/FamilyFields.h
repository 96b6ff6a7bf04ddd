//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Fields of config.json that several families share, for the files of Architectures/.
//
#pragma once

#include "compiler/Import/HuggingFace/Fields.h"
#include "compiler/Import/ModelConfig.h"

#include "llvm/ADT/STLFunctionalExtras.h"

namespace mlc::hf {

/// Sets config.activation from the field of that name; `fallback` where it is absent.
void readActivation(Fields &fields, ModelConfig &config, llvm::StringRef name, llvm::StringRef fallback);

/// sliding_window: `absent` where the field is absent, 0 (none) where it is null.
int64_t readWindow(Fields &fields, int64_t absent);

/// Sets config.windows: layers of layer_types that are sliding_attention, or those of `byDefault` where the file has
/// none, see `window` positions.
void readLayerTypes(Fields &fields, ModelConfig &config, int64_t window, llvm::function_ref<bool(int64_t)> byDefault);

/// config.moe's experts, which the field `experts` counts, chosen, and their intermediate size, from `intermediate`.
void readExperts(Fields &fields, ModelConfig &config, const char *experts, const char *intermediate);

/// Which layers are mixtures by decoder_sparse_step and mlp_only_layers (Qwen).
void readSparseLayers(Fields &fields, ModelConfig &config);

/// Granite's multipliers: embedding_, residual_ and attention_multiplier, and the divisor logits_scaling; all 1 where
/// absent.
void readMultipliers(Fields &fields, ModelConfig &config);

} // namespace mlc::hf
