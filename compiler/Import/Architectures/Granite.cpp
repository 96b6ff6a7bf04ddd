//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Granite 3: Llama with multipliers on embeddings, attention, residuals and logits (arXiv 2408.13359's muP), its
// mixtures of experts, and those with a shared MLP.
//
#include "compiler/Import/Architectures/Architecture.h"
#include "compiler/Import/GGUF/Keys.h"
#include "compiler/Import/HuggingFace/FamilyFields.h"

namespace mlc {

static void readFields(hf::Fields &fields, ModelConfig &config) {
  config.qkvBias = config.outputBias = fields.boolean("attention_bias").value_or(false);
  config.mlpBias = fields.boolean("mlp_bias").value_or(false);
  hf::readActivation(fields, config, "hidden_act", "silu");
  hf::readMultipliers(fields, config);
}

static void readKeys(gguf::Keys &keys, const Checkpoint &, ModelConfig &config) {
  config.rope.interleaved = true; // q and k rows are permuted as llama's.
  gguf::readMultipliers(keys, config);
}

static void readMoeFields(hf::Fields &fields, ModelConfig &config) {
  readFields(fields, config);
  hf::readExperts(fields, config, "num_local_experts", "intermediate_size");
  config.moe.form = fb::RouterForm::topk_softmax;
}

static void readSharedFields(hf::Fields &fields, ModelConfig &config) {
  readMoeFields(fields, config);
  config.moe.sharedIntermediate = fields.integer("shared_intermediate_size").value_or(0);
}

static void readMoeKeys(gguf::Keys &keys, const Checkpoint &checkpoint, ModelConfig &config) {
  readKeys(keys, checkpoint, config);
  gguf::readExperts(keys, config);
  config.moe.form = fb::RouterForm::topk_softmax;
  config.moe.sharedIntermediate = keys.integer("expert_shared_feed_forward_length").value_or(0);
}

const Architecture kGranite = {
    .name = "granite",
    .causalClass = "GraniteForCausalLM",
    .bos = 1,
    .eos = 2,
    .readFields = readFields,
    .huggingFaceNames = &kHuggingFaceNames,
    .readKeys = readKeys,
    .ggufNames = &kGgufNames,
};

const Architecture kGraniteMoe = {
    .name = "granitemoe",
    .causalClass = "GraniteMoeForCausalLM",
    .bos = 1,
    .eos = 2,
    .readFields = readMoeFields,
    .huggingFaceNames = &kBlockSparseNames,
    .readKeys = readMoeKeys,
    .ggufNames = &kGgufNames,
};

// In GGUF a granitemoe.
const Architecture kGraniteMoeShared = {
    .name = "granitemoeshared",
    .causalClass = "GraniteMoeSharedForCausalLM",
    .bos = 1,
    .eos = 2,
    .readFields = readSharedFields,
    .huggingFaceNames = &kBlockSparseNames,
};

} // namespace mlc
