//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Bamba: layers of Mamba-2, and of attention that rotates half of each head, before an MLP each.
//
#include "compiler/Import/Architectures/Architecture.h"
#include "compiler/Import/HuggingFace/FamilyFields.h"

#include "llvm/ADT/Twine.h"

namespace mlc {

static void readLayers(hf::Fields &fields, ModelConfig &config) {
  hf::readEqualLayers(fields, config, Mixer::mamba, /*feedForward=*/true);
  for (int64_t index : fields.integers("attn_layer_indices")) {
    if (index < 0 || index >= config.layers)
      return fields.refuse("attn_layer_indices",
                           "numbers of the " + llvm::Twine(config.layers) + " layers, from 0 on, are expected");
    config.mixers[size_t(index)] = Mixer::attention;
  }
}

static void readFields(hf::Fields &fields, ModelConfig &config) {
  config.rope.partial = 0.5;
  config.qkvBias = config.outputBias = fields.boolean("attention_bias").value_or(false);
  config.mlpBias = fields.boolean("mlp_bias").value_or(false);
  hf::readSilu(fields, config, "hidden_act");
  hf::readMamba(fields, config);
  config.mamba.inputBias = config.mamba.outputBias = fields.boolean("mamba_proj_bias").value_or(false);
  fields.ignore({"num_logits_to_keep", "z_loss_coefficient", "attn_rotary_emb", "layers_block_type", "layer_types"});
}

const Architecture kBamba = {
    .name = "bamba",
    .causalClass = "BambaForCausalLM",
    .layers = Architecture::Layers::hybrid,
    .kvHeads = 8,
    .normEps = 1e-5,
    .maxPositions = 262144,
    .bos = 1,
    .eos = 2,
    .readLayers = readLayers,
    .readFields = readFields,
    .huggingFaceNames = &kFeedForwardNames,
};

} // namespace mlc
