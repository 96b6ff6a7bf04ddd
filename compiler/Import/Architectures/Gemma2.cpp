//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Gemma 2: norms with weight + 1 around both halves of a layer, soft caps, every other layer slides (arXiv 2408.00118).
//
#include "compiler/Import/Architectures/Architecture.h"
#include "compiler/Import/HuggingFace/FamilyFields.h"

#include <cmath>

namespace mlc {

/// Absent: `fallback`; null: none, which is 0 here.
static double readSoftcap(hf::Fields &fields, const char *name, double fallback) {
  std::optional<double> value = fields.number(name);
  if (value && *value <= 0)
    fields.refuse(name, "a positive number or null is expected");
  return value ? *value : fields.present(name) ? 0 : fallback;
}

static void readFields(hf::Fields &fields, ModelConfig &config) {
  fields.refuseUnlessOff({"mlp_bias"});
  config.normOffset = 1;
  config.sandwichNorms = true;
  config.embeddingScale = std::sqrt(double(config.hidden));
  config.qkvBias = config.outputBias = fields.boolean("attention_bias").value_or(false);
  double scalar = fields.number("query_pre_attn_scalar").value_or(256);
  if (scalar <= 0)
    fields.refuse("query_pre_attn_scalar", "a positive number is expected");
  config.attentionScale = 1 / std::sqrt(scalar);
  config.attentionSoftcap = readSoftcap(fields, "attn_logit_softcapping", 50);
  config.finalSoftcap = readSoftcap(fields, "final_logit_softcapping", 30);
  // The class reads hidden_activation alone; files of version 4 carry hidden_act beside it.
  hf::readActivation(fields, config, "hidden_activation", "gelu_pytorch_tanh");
  fb::Activation activation = config.activation;
  if (fields.has("hidden_act")) {
    hf::readActivation(fields, config, "hidden_act", "");
    if (config.activation != activation)
      fields.refuse("hidden_act", "hidden_activation says otherwise");
  }
  int64_t window = hf::readWindow(fields, 4096);
  if (fields.integer("sliding_window_size").value_or(window) != window)
    fields.refuse("sliding_window_size", "sliding_window says otherwise");
  hf::readLayerTypes(fields, config, window, [](int64_t layer) { return layer % 2 == 0; });
}

static WeightNames names() {
  WeightNames names = kHuggingFaceNames;
  names.mlpNorm = "pre_feedforward_layernorm";
  return names;
}
static const WeightNames kNames = names();

const Architecture kGemma2 = {
    .name = "gemma2",
    .causalClass = "Gemma2ForCausalLM",
    .kvHeads = 4,
    .headDim = 256,
    .tied = true,
    .bos = 2,
    .eos = 1,
    .readFields = readFields,
    .huggingFaceNames = &kNames,
};

} // namespace mlc
