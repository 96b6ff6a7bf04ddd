//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Llama 2 and 3, TinyLlama, SmolLM; in GGUF also Mistral (arXiv 2302.13971, 2407.21783).
//
#include "compiler/Import/Architectures/Architecture.h"
#include "compiler/Import/GGUF/Keys.h"
#include "compiler/Import/HuggingFace/FamilyFields.h"

namespace mlc {

static void readFields(hf::Fields &fields, ModelConfig &config) {
  config.qkvBias = config.outputBias = fields.boolean("attention_bias").value_or(false);
  config.mlpBias = fields.boolean("mlp_bias").value_or(false);
  hf::readActivation(fields, config, "hidden_act", "silu");
}

static void readKeys(gguf::Keys &keys, const Checkpoint &checkpoint, ModelConfig &config) {
  // llama's q and k rows are permuted so that neighbours rotate.
  config.rope.interleaved = true;
  config.qkvBias = gguf::firstLayerHas(checkpoint, "attn_q.bias");
  config.outputBias = gguf::firstLayerHas(checkpoint, "attn_output.bias");
  config.mlpBias = gguf::firstLayerHas(checkpoint, "ffn_down.bias");
  // Mixtral.
  if (keys.integer("expert_count").value_or(0)) {
    gguf::readExperts(keys, config);
    config.moe.normalize = true;
  }
}

const Architecture kLlama = {
    .name = "llama",
    .causalClass = "LlamaForCausalLM",
    .bos = 1,
    .eos = 2,
    .readFields = readFields,
    .huggingFaceNames = &kHuggingFaceNames,
    .readKeys = readKeys,
    .ggufNames = &kGgufNames,
};

} // namespace mlc
