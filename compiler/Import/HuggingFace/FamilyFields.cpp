//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//

#include "compiler/Import/HuggingFace/FamilyFields.h"

#include "compiler/Support/Text.h"

#include "llvm/ADT/Twine.h"

using namespace llvm;

namespace mlc::hf {

void readActivation(Fields &fields, ModelConfig &config, StringRef name, StringRef fallback) {
  std::string text = fields.string(name).value_or(fallback.str());
  if (text == "silu" || text == "swish")
    config.activation = fb::Activation::silu;
  else if (text == "gelu_pytorch_tanh" || text == "gelu_new" || text == "gelu_fast")
    config.activation = fb::Activation::gelu_tanh;
  else if (text == "gelu")
    config.activation = fb::Activation::gelu_erf;
  else if (text == "relu")
    config.activation = fb::Activation::relu;
  else if (text == "relu2")
    config.activation = fb::Activation::relu2;
  else
    fields.refuse(name, "the activation is not supported");
}

void readSilu(Fields &fields, ModelConfig &config, StringRef name) {
  readActivation(fields, config, name, "silu");
  if (config.activation != fb::Activation::silu)
    fields.refuse(name, "only silu is supported");
}

int64_t readWindow(Fields &fields, int64_t absent) {
  bool present = fields.present("sliding_window");
  std::optional<int64_t> window = fields.integer("sliding_window");
  if (window && *window < 1)
    fields.refuse("sliding_window", "a positive window or null is expected");
  return window ? std::max<int64_t>(*window, 0) : present ? 0 : absent;
}

void readLayerTypes(Fields &fields, ModelConfig &config, int64_t window, function_ref<bool(int64_t)> byDefault) {
  std::vector<std::string> types = fields.strings("layer_types");
  if (!types.empty() && int64_t(types.size()) != config.layers)
    return fields.refuse("layer_types", "one entry for each of " + Twine(config.layers) + " layers is expected");
  for (int64_t i = 0; i < config.layers; ++i) {
    bool sliding = types.empty() ? byDefault(i) : types[size_t(i)] == "sliding_attention";
    if (!types.empty() && !sliding && types[size_t(i)] != "full_attention" && types[size_t(i)] != "attention")
      return fields.refuse("layer_types", "\"" + printable(types[size_t(i)]) + "\" is not supported");
    if (sliding && window <= 0)
      return fields.refuse("sliding_window", "layer " + Twine(i) + " slides, so a positive window is expected");
    config.windows[size_t(i)] = sliding ? window : 0;
  }
}

int64_t readLayerCount(Fields &fields) {
  int64_t layers = fields.requiredInteger("num_hidden_layers");
  if (!fields.failed() && (layers < 1 || layers > 4096))
    fields.refuse("num_hidden_layers", "1 to 4096 is expected");
  return fields.failed() ? 0 : layers;
}

void readEqualLayers(Fields &fields, ModelConfig &config, Mixer mixer, bool feedForward) {
  config.layers = readLayerCount(fields);
  config.mixers.assign(size_t(config.layers), mixer);
  config.feedForwards.assign(size_t(config.layers), feedForward);
}

void readHybridLayers(Fields &fields, ModelConfig &config, StringRef name) {
  readEqualLayers(fields, config, Mixer::mamba, /*feedForward=*/true);
  std::vector<std::string> types = fields.strings(name);
  if (fields.has(name) && int64_t(types.size()) != config.layers)
    fields.refuse(name, "one entry for each of " + Twine(config.layers) + " layers is expected");
  for (size_t i = 0; i < types.size() && !fields.failed(); ++i) {
    if (types[i] == "attention" || types[i] == "full_attention")
      config.mixers[i] = Mixer::attention;
    else if (types[i] != "mamba" && types[i] != "linear_attention")
      fields.refuse(name, "\"" + printable(types[i]) + "\" is not supported; mamba and attention are");
  }
}

void readTimeStepLimit(Fields &fields, ModelConfig &config) {
  std::vector<double> limits = fields.numbersWithInfinity("time_step_limit");
  if (limits.empty())
    return;
  if (limits.size() != 2)
    return fields.refuse("time_step_limit", "two numbers are expected");
  config.mamba.dtMin = limits[0];
  config.mamba.dtMax = limits[1];
}

void readMamba(Fields &fields, ModelConfig &config, int64_t inner) {
  MambaConfig &mamba = config.mamba;
  mamba.heads = fields.integer("mamba_n_heads").value_or(128);
  mamba.groups = fields.integer("mamba_n_groups").value_or(1);
  mamba.stateSize = fields.integer("mamba_d_state").value_or(256);
  mamba.kernel = fields.integer("mamba_d_conv").value_or(4);
  mamba.convBias = fields.boolean("mamba_conv_bias").value_or(true);
  int64_t expand = fields.integer("mamba_expand").value_or(2);
  if (expand < 1 || expand > 1024)
    fields.refuse("mamba_expand", "1 to 1024 is expected");
  if (fields.integer("mamba_chunk_size").value_or(256) < 1)
    fields.refuse("mamba_chunk_size", "a positive number is expected");
  readTimeStepLimit(fields, config);
  if (fields.failed())
    return;
  if (!inner)
    inner = expand * config.hidden;
  if (mamba.heads < 1 || inner % mamba.heads)
    return fields.refuse("mamba_n_heads", "a divisor of the layer's " + Twine(inner) + " columns is expected");
  mamba.headDim = inner / mamba.heads;
  // "auto" is what they follow to.
  if (!fields.is("mamba_d_head", "auto") && fields.integer("mamba_d_head").value_or(mamba.headDim) != mamba.headDim)
    return fields.refuse("mamba_d_head", Twine(mamba.heads) + " heads of " + Twine(mamba.headDim) +
                                             " fill the layer's " + Twine(inner) + " columns");
  if (mamba.groups < 1 || mamba.heads % mamba.groups)
    fields.refuse("mamba_n_groups", "a divisor of " + Twine(mamba.heads) + " heads is expected");
}

void readExperts(Fields &fields, ModelConfig &config, const char *experts, const char *intermediate) {
  // Version 5 of transformers gives the field a second name.
  std::optional<int64_t> count;
  for (const char *name : {experts, "num_local_experts", "num_experts"}) {
    std::optional<int64_t> found = fields.integer(name);
    if (found && (*found < 1 || (count && *found != *count)))
      fields.refuse(name, "at least 1 is expected, and no other field that says otherwise");
    count = count ? count : found;
  }
  config.moe.experts = count ? *count : fields.requiredInteger(experts);
  config.moe.chosen = fields.requiredInteger("num_experts_per_tok");
  config.moe.intermediate = fields.requiredInteger(intermediate);
}

void readSigmoidRouter(Fields &fields, ModelConfig &config) {
  MoeConfig &moe = config.moe;
  moe.form = fb::RouterForm::sigmoid;
  moe.selectionBias = true;
  moe.normalize = fields.boolean("norm_topk_prob").value_or(true);
  moe.scale = fields.number("routed_scaling_factor").value_or(1);
  moe.groups = fields.integer("n_group").value_or(1);
  moe.topGroups = fields.integer("topk_group").value_or(1);
}

void readSparseLayers(Fields &fields, ModelConfig &config) {
  int64_t step = fields.integer("decoder_sparse_step").value_or(1);
  if (step < 1)
    return fields.refuse("decoder_sparse_step", "at least 1 is expected");
  config.moe.layers.assign(size_t(config.layers), 0);
  for (int64_t i = 0; i < config.layers; ++i)
    config.moe.layers[size_t(i)] = (i + 1) % step == 0;
  for (int64_t layer : fields.integers("mlp_only_layers")) {
    if (layer < 0 || layer >= config.layers)
      return fields.refuse("mlp_only_layers", "layers 0 to " + Twine(config.layers - 1) + " are expected");
    config.moe.layers[size_t(layer)] = 0;
  }
}

void readMultipliers(Fields &fields, ModelConfig &config) {
  config.embeddingScale = fields.number("embedding_multiplier").value_or(1);
  config.residualScale = fields.number("residual_multiplier").value_or(1);
  config.attentionScale = fields.number("attention_multiplier").value_or(1);
  double divisor = fields.number("logits_scaling").value_or(1);
  if (!(divisor > 0))
    fields.refuse("logits_scaling", "a positive number is expected");
  config.logitScale = 1 / divisor;
}

} // namespace mlc::hf
