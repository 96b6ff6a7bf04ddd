//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Falcon-H1: attention and Mamba-2 beside one another in every layer, with muP multipliers (arXiv 2507.22448).
//
#include "compiler/Import/Architectures/Architecture.h"
#include "compiler/Import/GGUF/Keys.h"
#include "compiler/Import/HuggingFace/FamilyFields.h"

#include "llvm/ADT/Twine.h"

namespace mlc {

static void readLayers(hf::Fields &fields, ModelConfig &config) {
  hf::readEqualLayers(fields, config, Mixer::parallel, /*feedForward=*/true);
}

static void readScales(hf::Fields &fields, ModelConfig &config) {
  auto scale = [&](const char *name) { return fields.number(name).value_or(1); };
  auto list = [&](const char *name, size_t count) {
    std::vector<double> values = fields.numbers(name);
    if (values.empty() && !fields.has(name))
      values.assign(count, 1);
    if (values.size() != count) {
      fields.refuse(name, llvm::Twine(count) + " numbers are expected");
      values.assign(count, 1);
    }
    return values;
  };
  config.embeddingScale = scale("embedding_multiplier");
  config.logitScale = scale("lm_head_multiplier");
  config.attentionScale *= scale("key_multiplier"); // q . (m k) = m (q . k).
  config.attentionInputScale = scale("attention_in_multiplier");
  config.attentionOutputScale = scale("attention_out_multiplier");
  config.mamba.inputScale = scale("ssm_in_multiplier");
  config.mamba.outputScale = scale("ssm_out_multiplier");
  std::vector<double> mlp = list("mlp_multipliers", 2), pieces = list("ssm_multipliers", 5);
  config.gateScale = mlp[0];
  config.downScale = mlp[1];
  std::copy(pieces.begin(), pieces.end(), config.mamba.pieceScales.begin());
}

static void readFields(hf::Fields &fields, ModelConfig &config) {
  config.qkvBias = config.outputBias = fields.boolean("attention_bias").value_or(false);
  config.mlpBias = fields.boolean("mlp_bias").value_or(false);
  hf::readSilu(fields, config, "hidden_act");
  readScales(fields, config);
  // null stands for mamba_expand times the hidden size.
  int64_t inner = fields.integer("mamba_d_ssm").value_or(fields.present("mamba_d_ssm") ? 0 : 1024);
  if (inner < 0 || inner > (1 << 24))
    return fields.refuse("mamba_d_ssm", "1 to 16777216 is expected");
  hf::readMamba(fields, config, inner);
  MambaConfig &mamba = config.mamba;
  mamba.inputBias = fields.boolean("mamba_proj_bias").value_or(false);
  mamba.outputBias = fields.boolean("projectors_bias").value_or(false);
  mamba.norm = fields.boolean("mamba_rms_norm").value_or(false);
  mamba.normBeforeGate = fields.boolean("mamba_norm_before_gate").value_or(true);
  fields.ignore(
      {"num_logits_to_keep", "mamba_use_mlp", "time_step_rank", "time_step_min", "time_step_max", "time_step_floor"});
}

static void readKeys(gguf::Keys &keys, const Checkpoint &checkpoint, ModelConfig &config) {
  // The multipliers lie in the weights. No key is for mamba_norm_before_gate or time_step_limit: in the format the gate
  // comes before the norm, as llama.cpp computes it, and dt is not bounded. A key of that name is refused.
  gguf::readMamba(keys, checkpoint, config);
  config.mamba.norm = gguf::firstLayerHas(checkpoint, "ssm_norm.weight");
  config.qkvBias = gguf::firstLayerHas(checkpoint, "attn_q.bias");
  config.outputBias = gguf::firstLayerHas(checkpoint, "attn_output.bias");
  config.mlpBias = gguf::firstLayerHas(checkpoint, "ffn_down.bias");
}

const Architecture kFalconH1 = {
    .name = "falcon_h1",
    .causalClass = "FalconH1ForCausalLM",
    .layers = Architecture::Layers::parallel,
    .kvHeads = 8,
    .normEps = 1e-5,
    .maxPositions = 8192,
    .bos = 1,
    .eos = 2,
    .readLayers = readLayers,
    .readFields = readFields,
    .huggingFaceNames = &kFeedForwardNames,
    .readKeys = readKeys,
    .ggufNames = &kGgufNames,
    .ggufName = "falcon-h1",
};

} // namespace mlc
