//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Granite 4: layers of Mamba-2 or attention, each before an MLP (and a mixture of experts beside it), with Granite's
// multipliers; most do not rotate.
//
#include "compiler/Import/Architectures/Architecture.h"
#include "compiler/Import/GGUF/Keys.h"
#include "compiler/Import/HuggingFace/FamilyFields.h"

namespace mlc {

static void readLayers(hf::Fields &fields, ModelConfig &config) {
  // Both names have been written.
  hf::readHybridLayers(fields, config, fields.has("layers_block_type") ? "layers_block_type" : "layer_types");
}

static void readFields(hf::Fields &fields, ModelConfig &config) {
  config.qkvBias = config.outputBias = fields.boolean("attention_bias").value_or(false);
  hf::readSilu(fields, config, "hidden_act");
  hf::readMultipliers(fields, config);
  hf::readMamba(fields, config);
  config.mamba.inputBias = config.mamba.outputBias = fields.boolean("mamba_proj_bias").value_or(false);
  // intermediate_size is that of the experts; every layer also has an MLP of this one.
  config.intermediate = fields.integer("shared_intermediate_size").value_or(1024);
  config.fusedGateUp = true;
  // 0 is a model without them; absent, the class takes 8, which readExperts wants to see.
  if (fields.integer("num_local_experts").value_or(8) != 0) {
    hf::readExperts(fields, config, "num_local_experts", "intermediate_size");
    config.moe.form = fb::RouterForm::topk_softmax;
    config.moe.sharedIntermediate = config.intermediate;
  }
  fields.ignore({"num_experts_per_tok", "output_router_logits", "router_aux_loss_coef", "normalization_function",
                 "init_method", "embedding_dropout"});
  std::string position = fields.string("position_embedding_type").value_or("nope");
  if (position != "rope" && position != "nope")
    fields.refuse("position_embedding_type", "rope, nope or null is expected");
  config.rotates.assign(size_t(config.layers), position == "rope");
}

static void readKeys(gguf::Keys &keys, const Checkpoint &checkpoint, ModelConfig &config) {
  gguf::readMamba(keys, checkpoint, config);
  gguf::readMultipliers(keys, config);
  // Whether it rotates stands in a key that means something else elsewhere; then q and k rows are permuted as llama's.
  config.rotates.assign(size_t(config.layers), keys.boolean("rope.scaling.finetuned").value_or(true));
  config.rope.interleaved = true;
  config.qkvBias = gguf::anyLayerHas(checkpoint, config.layers, "attn_q.bias");
  config.outputBias = gguf::anyLayerHas(checkpoint, config.layers, "attn_output.bias");
  if (keys.integer("expert_count").value_or(0) == 0)
    return;
  gguf::readExperts(keys, config);
  config.moe.form = fb::RouterForm::topk_softmax;
  config.moe.sharedIntermediate = keys.integer("expert_shared_feed_forward_length").value_or(0);
}

static WeightNames huggingFaceNames() {
  WeightNames names = kBlockSparseNames;
  // Without experts the shared MLP is the layer's.
  names.gateUp = names.sharedGateUp;
  names.down = names.sharedDown;
  return names;
}
static const WeightNames kNames = huggingFaceNames();

const Architecture kGraniteMoeHybrid = {
    .name = "granitemoehybrid",
    .causalClass = "GraniteMoeHybridForCausalLM",
    .layers = Architecture::Layers::hybrid,
    .bos = 1,
    .eos = 2,
    .readLayers = readLayers,
    .readFields = readFields,
    .huggingFaceNames = &kNames,
    .readKeys = readKeys,
    .ggufNames = &kGgufNames,
    .ggufName = "granitehybrid",
};

} // namespace mlc
