//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Qwen 2 and 2.5 (biases on q, k and v), Qwen 3 (norms over each head of q and k instead), and the mixtures of experts
// of both (arXiv 2407.10671, 2505.09388).
//
#include "compiler/Import/Architectures/Architecture.h"
#include "compiler/Import/Checkpoint.h"
#include "compiler/Import/GGUF/Keys.h"
#include "compiler/Import/HuggingFace/FamilyFields.h"

namespace mlc {

static void readWindows(hf::Fields &fields, ModelConfig &config) {
  int64_t window = hf::readWindow(fields, 4096), full = fields.integer("max_window_layers").value_or(28);
  if (!fields.boolean("use_sliding_window").value_or(false))
    window = 0;
  hf::readLayerTypes(fields, config, window, [&](int64_t layer) { return window > 0 && layer >= full; });
}

static void readFields2(hf::Fields &fields, ModelConfig &config) {
  fields.refuseUnlessOff({"attention_bias", "mlp_bias"});
  config.qkvBias = true;
  hf::readActivation(fields, config, "hidden_act", "silu");
  readWindows(fields, config);
}

static void readFields3(hf::Fields &fields, ModelConfig &config) {
  fields.refuseUnlessOff({"mlp_bias"});
  config.qkvBias = config.outputBias = fields.boolean("attention_bias").value_or(false);
  config.qkNorm = true;
  hf::readActivation(fields, config, "hidden_act", "silu");
  readWindows(fields, config);
}

static void readMoeFields2(hf::Fields &fields, ModelConfig &config) {
  fields.refuseUnlessOff({"attention_bias", "mlp_bias"});
  config.qkvBias = fields.boolean("qkv_bias").value_or(true);
  hf::readActivation(fields, config, "hidden_act", "silu");
  // Off, version 5 of transformers writes a window of 0.
  bool slides = fields.boolean("use_sliding_window").value_or(false);
  fields.ignore({"sliding_window"});
  int64_t window = slides ? hf::readWindow(fields, 4096) : 0, full = fields.integer("max_window_layers").value_or(28);
  // Of the first layers every other one, unlike Qwen2.
  hf::readLayerTypes(fields, config, window,
                     [&](int64_t layer) { return window > 0 && layer % 2 == 0 && layer < full; });
  hf::readExperts(fields, config, "num_experts", "moe_intermediate_size");
  hf::readSparseLayers(fields, config);
  config.moe.normalize = fields.boolean("norm_topk_prob").value_or(false);
  config.moe.sharedIntermediate = fields.requiredInteger("shared_expert_intermediate_size");
  config.moe.sharedGate = true;
}

static void readMoeFields3(hf::Fields &fields, ModelConfig &config) {
  fields.refuseUnlessOff({"mlp_bias"});
  fields.ignore({"max_window_layers"});
  config.qkvBias = config.outputBias = fields.boolean("attention_bias").value_or(false);
  config.qkNorm = true;
  hf::readActivation(fields, config, "hidden_act", "silu");
  int64_t window = hf::readWindow(fields, 4096);
  if (fields.boolean("use_sliding_window").value_or(false))
    config.windows.assign(size_t(config.layers), window);
  hf::readExperts(fields, config, "num_experts", "moe_intermediate_size");
  hf::readSparseLayers(fields, config);
  config.moe.normalize = fields.boolean("norm_topk_prob").value_or(false);
}

static void readMoeKeys2(gguf::Keys &keys, const Checkpoint &checkpoint, ModelConfig &config) {
  config.qkvBias = gguf::firstLayerHas(checkpoint, "attn_q.bias");
  gguf::readExperts(keys, config);
  // Files of older converters leave the size to the tensors.
  const TensorInfo *shared = checkpoint.find("blk.0.ffn_gate_shexp.weight");
  config.moe.sharedIntermediate = keys.integer("expert_shared_feed_forward_length")
                                      .value_or(shared && shared->shape.size() == 2 ? shared->shape[0] : 0);
  config.moe.sharedGate = true;
}

static void readMoeKeys3(gguf::Keys &keys, const Checkpoint &, ModelConfig &config) {
  config.qkNorm = true;
  gguf::readExperts(keys, config);
  config.moe.normalize = true; // The format's convention for this architecture.
}

static void readKeys2(gguf::Keys &, const Checkpoint &, ModelConfig &config) { config.qkvBias = true; }

static void readKeys3(gguf::Keys &, const Checkpoint &, ModelConfig &config) { config.qkNorm = true; }

const Architecture kQwen2 = {
    .name = "qwen2",
    .causalClass = "Qwen2ForCausalLM",
    .kvHeads = 32,
    .readFields = readFields2,
    .huggingFaceNames = &kHuggingFaceNames,
    .readKeys = readKeys2,
    .ggufNames = &kGgufNames,
};

const Architecture kQwen3 = {
    .name = "qwen3",
    .causalClass = "Qwen3ForCausalLM",
    .kvHeads = 32,
    .headDim = 128,
    .readFields = readFields3,
    .huggingFaceNames = &kHuggingFaceNames,
    .readKeys = readKeys3,
    .ggufNames = &kGgufNames,
};

const Architecture kQwen2Moe = {
    .name = "qwen2_moe",
    .causalClass = "Qwen2MoeForCausalLM",
    .kvHeads = 16,
    .readFields = readMoeFields2,
    .huggingFaceNames = &kHuggingFaceNames,
    .readKeys = readMoeKeys2,
    .ggufNames = &kGgufNames,
    .ggufName = "qwen2moe",
};

const Architecture kQwen3Moe = {
    .name = "qwen3_moe",
    .causalClass = "Qwen3MoeForCausalLM",
    .kvHeads = 4,
    .readFields = readMoeFields3,
    .huggingFaceNames = &kHuggingFaceNames,
    .readKeys = readMoeKeys3,
    .ggufNames = &kGgufNames,
    .ggufName = "qwen3moe",
};

} // namespace mlc
