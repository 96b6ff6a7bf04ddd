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

/// The same where Mamba layers need silu: it is the convolution's and the gate's too, and any other is refused.
void readSilu(Fields &fields, ModelConfig &config, llvm::StringRef name);

/// sliding_window: `absent` where the field is absent, 0 (none) where it is null.
int64_t readWindow(Fields &fields, int64_t absent);

/// Sets config.windows: layers of layer_types that are sliding_attention, or those of `byDefault` where the file has
/// none, see `window` positions.
void readLayerTypes(Fields &fields, ModelConfig &config, int64_t window, llvm::function_ref<bool(int64_t)> byDefault);

/// num_hidden_layers, 1 to 4096; 0 after a problem.
int64_t readLayerCount(Fields &fields);

/// Sets config.layers from num_hidden_layers, and mixers and feedForwards to the same for all.
void readEqualLayers(Fields &fields, ModelConfig &config, Mixer mixer, bool feedForward);

/// Sets config.layers, mixers and feedForwards (all 1) of a hybrid: `name` lists what each layer is, in the words of
/// transformers 4 ("mamba", "attention") or 5 ("linear_attention", "full_attention"); absent: all are Mamba layers.
void readHybridLayers(Fields &fields, ModelConfig &config, llvm::StringRef name);

/// The sizes of Mamba-2 layers, by the names that Bamba, GraniteMoeHybrid and Falcon-H1 share (mamba_n_heads, ...), and
/// time_step_limit. `inner`: their columns; 0: mamba_expand times the hidden size.
void readMamba(Fields &fields, ModelConfig &config, int64_t inner = 0);
/// time_step_limit: the bounds of dt.
void readTimeStepLimit(Fields &fields, ModelConfig &config);

/// config.moe's experts, which the field `experts` counts, chosen, and their intermediate size, from `intermediate`.
void readExperts(Fields &fields, ModelConfig &config, const char *experts, const char *intermediate);

/// DeepSeek-V3's router: sigmoids with a selection bias, norm_topk_prob, routed_scaling_factor, n_group and topk_group.
void readSigmoidRouter(Fields &fields, ModelConfig &config);

/// Which layers are mixtures by decoder_sparse_step and mlp_only_layers (Qwen).
void readSparseLayers(Fields &fields, ModelConfig &config);

/// Granite's multipliers: embedding_, residual_ and attention_multiplier, and the divisor logits_scaling; all 1 where
/// absent.
void readMultipliers(Fields &fields, ModelConfig &config);

} // namespace mlc::hf
