//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Granite 3: Llama with multipliers on embeddings, attention, residuals and logits (arXiv 2408.13359's muP).
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

} // namespace mlc
