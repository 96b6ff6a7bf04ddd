//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Mixtures of experts: Mixtral (arXiv 2401.04088; in GGUF a llama), OLMoE (2409.02060), GLM-4.5 with DeepSeek-V3's
// router (2508.06471, 2412.19437). Qwen's and Granite's stand in their families' files.
//
#include "compiler/Import/Architectures/Architecture.h"
#include "compiler/Import/GGUF/Keys.h"
#include "compiler/Import/HuggingFace/FamilyFields.h"

#include <algorithm>

namespace mlc {

static void readMixtral(hf::Fields &fields, ModelConfig &config) {
  fields.refuseUnlessOff({"attention_bias", "mlp_bias"});
  hf::readActivation(fields, config, "hidden_act", "silu");
  config.windows.assign(size_t(config.layers), hf::readWindow(fields, 0));
  hf::readExperts(fields, config, "num_local_experts", "intermediate_size");
  config.moe.normalize = true;
}

static void readOlmoe(hf::Fields &fields, ModelConfig &config) {
  fields.refuseUnlessOff({"clip_qkv"});
  config.qkvBias = config.outputBias = fields.boolean("attention_bias").value_or(false);
  config.qkNormWhole = true;
  hf::readActivation(fields, config, "hidden_act", "silu");
  hf::readExperts(fields, config, "num_experts", "intermediate_size");
  config.moe.normalize = fields.boolean("norm_topk_prob").value_or(false);
}

static void readOlmoeKeys(gguf::Keys &keys, const Checkpoint &, ModelConfig &config) {
  config.qkNormWhole = true;
  gguf::readExperts(keys, config);
}

static void readGlm4(hf::Fields &fields, ModelConfig &config) {
  fields.refuseUnlessOff({"mlp_bias"});
  config.qkvBias = fields.boolean("attention_bias").value_or(false);
  config.qkNorm = fields.boolean("use_qk_norm").value_or(false);
  hf::readActivation(fields, config, "hidden_act", "silu");
  MoeConfig &moe = config.moe;
  hf::readExperts(fields, config, "n_routed_experts", "moe_intermediate_size");
  hf::readSigmoidRouter(fields, config);
  int64_t shared = fields.integer("n_shared_experts").value_or(1);
  if (shared < 0 || shared > 1024)
    fields.refuse("n_shared_experts", "0 to 1024 is expected");
  moe.sharedIntermediate = shared * moe.intermediate;
  int64_t dense = fields.integer("first_k_dense_replace").value_or(1);
  if (dense < 0)
    fields.refuse("first_k_dense_replace", "no negative number is expected");
  for (int64_t i = 0; i < config.layers; ++i)
    moe.layers.push_back(i >= dense);
  config.rope.partial = 0.5;
  for (const char *name : {"num_nextn_predict_layers", "num_mtp_layers"})
    config.unusedLayers = std::max(config.unusedLayers, fields.integer(name).value_or(0));
  if (config.unusedLayers < 0 || config.unusedLayers > 64)
    fields.refuse("num_nextn_predict_layers", "0 to 64 is expected");
}

static WeightNames mixtralNames() {
  WeightNames names = kHuggingFaceNames;
  names.router = "block_sparse_moe.gate";
  names.expertGateUp = "block_sparse_moe.experts.gate_up_proj";
  names.expertDown = "block_sparse_moe.experts.down_proj";
  names.experts = "block_sparse_moe.experts.";
  names.ownGate = "w1";
  names.ownUp = "w3";
  names.ownDown = "w2";
  return names;
}
static const WeightNames kMixtralNames = mixtralNames();

static WeightNames glm4Names() {
  WeightNames names = kHuggingFaceNames;
  names.sharedGate = "mlp.shared_experts.gate_proj";
  names.sharedUp = "mlp.shared_experts.up_proj";
  names.sharedDown = "mlp.shared_experts.down_proj";
  return names;
}
static const WeightNames kGlm4Names = glm4Names();

const Architecture kMixtral = {
    .name = "mixtral",
    .causalClass = "MixtralForCausalLM",
    .kvHeads = 8,
    .normEps = 1e-5,
    .theta = 1e6,
    .bos = 1,
    .eos = 2,
    .readFields = readMixtral,
    .huggingFaceNames = &kMixtralNames,
};

const Architecture kOlmoe = {
    .name = "olmoe",
    .causalClass = "OlmoeForCausalLM",
    .normEps = 1e-5,
    .eos = 50279,
    .readFields = readOlmoe,
    .huggingFaceNames = &kHuggingFaceNames,
    .readKeys = readOlmoeKeys,
    .ggufNames = &kGgufNames,
};

const Architecture kGlm4Moe = {
    .name = "glm4_moe",
    .causalClass = "Glm4MoeForCausalLM",
    .kvHeads = 8,
    .normEps = 1e-5,
    .readFields = readGlm4,
    .huggingFaceNames = &kGlm4Names,
};

} // namespace mlc
