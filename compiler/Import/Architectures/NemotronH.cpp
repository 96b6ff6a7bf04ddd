//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Nemotron-H: each layer is one of Mamba-2, attention that does not rotate, an ungated MLP (arXiv 2504.03624), and a
// mixture of such MLPs.
//
#include "compiler/Import/Architectures/Architecture.h"
#include "compiler/Import/GGUF/Keys.h"
#include "compiler/Import/HuggingFace/FamilyFields.h"
#include "compiler/Support/Text.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/ADT/Twine.h"

namespace mlc {

/// layers_block_type, or the pattern of version 4: M Mamba, * attention, - MLP, E experts.
static std::vector<std::string> layerTypes(hf::Fields &fields, const char *&name) {
  name = fields.has("layers_block_type") ? "layers_block_type"
         : fields.has("layer_types")     ? "layer_types"
                                         : "hybrid_override_pattern";
  if (llvm::StringRef(name) != "hybrid_override_pattern") {
    fields.ignore({"hybrid_override_pattern"});
    return fields.strings(name);
  }
  std::vector<std::string> types;
  for (char letter : fields.string(name).value_or(""))
    types.push_back(std::string(1, letter));
  return types;
}

static void readLayers(hf::Fields &fields, ModelConfig &config) {
  const char *name;
  std::vector<std::string> types = layerTypes(fields, name);
  if (!fields.failed() && (types.empty() || types.size() > 4096))
    fields.refuse(name, "1 to 4096 layers are expected");
  if (fields.failed())
    return;
  config.layers = int64_t(types.size());
  if (fields.integer("num_hidden_layers").value_or(config.layers) != config.layers)
    fields.refuse(name, "num_hidden_layers says otherwise");
  for (const std::string &type : types) {
    auto mixer = llvm::StringSwitch<std::optional<Mixer>>(type)
                     .Cases("M", "mamba", "linear_attention", Mixer::mamba)
                     .Cases("*", "attention", "full_attention", Mixer::attention)
                     .Cases("-", "mlp", "E", "moe", Mixer::none)
                     .Default(std::nullopt);
    if (!mixer)
      fields.refuse(name,
                    "\"" + printable(type) + "\" is not supported; layers are Mamba, attention, an MLP or experts");
    config.mixers.push_back(mixer.value_or(Mixer::none));
    config.feedForwards.push_back(config.mixers.back() == Mixer::none);
    config.moe.layers.push_back(type == "E" || type == "moe");
  }
}

static void readMixture(hf::Fields &fields, ModelConfig &config) {
  MoeConfig &moe = config.moe;
  if (llvm::is_contained(moe.layers, 1)) {
    hf::readExperts(fields, config, "n_routed_experts", "moe_intermediate_size");
    hf::readSigmoidRouter(fields, config);
    moe.sharedIntermediate = fields.integer("moe_shared_expert_intermediate_size").value_or(7688);
    moe.sharedBias = config.mlpBias;
    fields.refuseUnlessOff({"moe_latent_size"});
  }
  // What no layer has, and how many of the shared experts are one MLP.
  fields.ignore({"n_routed_experts", "n_shared_experts", "moe_intermediate_size", "moe_shared_expert_intermediate_size",
                 "moe_latent_size", "moe_shared_expert_overlap", "num_experts_per_tok", "routed_scaling_factor",
                 "n_group", "topk_group", "norm_topk_prob", "output_router_logits"});
}

static void readFields(hf::Fields &fields, ModelConfig &config) {
  fields.refuseUnlessOff({"attention_bias", "mamba_proj_bias", "sliding_window"});
  config.mlpBias = fields.boolean("mlp_bias").value_or(false);
  config.gatedMlp = false;
  hf::readSilu(fields, config, "mamba_hidden_act");
  hf::readActivation(fields, config, "mlp_hidden_act", "relu2");
  config.rotates.assign(size_t(config.layers), 0);

  // Some fields stand under a second name that older files use.
  auto either = [&](const char *name, const char *old, int64_t absent) {
    std::optional<int64_t> first = fields.integer(name), second = fields.integer(old);
    return second ? *second : first.value_or(absent);
  };
  MambaConfig &mamba = config.mamba;
  mamba.heads = fields.integer("mamba_num_heads").value_or(128);
  mamba.headDim = fields.integer("mamba_head_dim").value_or(64);
  mamba.stateSize = fields.integer("ssm_state_size").value_or(128);
  mamba.groups = either("n_groups", "mamba_n_groups", 8);
  mamba.kernel = either("conv_kernel", "mamba_d_conv", 4);
  mamba.convBias = fields.boolean(fields.has("mamba_conv_bias") ? "mamba_conv_bias" : "use_conv_bias").value_or(true);
  mamba.inputBias = mamba.outputBias = fields.boolean("use_bias").value_or(false);
  // The class takes time_step_min for the lower bound of dt, and none above.
  mamba.dtMin = fields.number(fields.has("mamba_dt_min") ? "mamba_dt_min" : "time_step_min").value_or(0.001);
  if (either("chunk_size", "mamba_chunk_size", 128) < 1)
    fields.refuse("chunk_size", "a positive number is expected");
  fields.ignore({"num_logits_to_keep", "use_mamba_kernels", "expand", "mamba_expand", "time_step_max",
                 "time_step_limit", "time_step_floor", "time_step_rank", "mamba_dt_max", "mamba_dt_limit",
                 "mamba_dt_init_floor", "mamba_ssm_cache_dtype", "residual_in_fp32", "rescale_prenorm_residual",
                 "use_conv_bias", "time_step_min", "mtp_layers_block_type", "mtp_hybrid_override_pattern",
                 "num_nextn_predict_layers"});
  readMixture(fields, config);
}

static void readKeys(gguf::Keys &keys, const Checkpoint &checkpoint, ModelConfig &config) {
  // No key is for a bound of dt: in the format there is none, and in the published models' own code neither. The class
  // of transformers takes time_step_min (0.001) for one (its pull request 48989), which readFields follows.
  gguf::readMamba(keys, checkpoint, config);
  keys.ignore({"attention.layer_norm_epsilon"}); // Beside the one of RMS norms, which are all that the model has.
  config.mlpBias = gguf::anyLayerHas(checkpoint, config.layers, "ffn_down.bias");
  config.rotates.assign(size_t(config.layers), 0);
  config.gatedMlp = false;
  config.activation = fb::Activation::relu2;
}

static WeightNames huggingFaceNames() {
  WeightNames names = kMixerNames;
  names.unused = "mtp."; // Heads that guess further tokens.
  return names;
}
static const WeightNames kNames = huggingFaceNames();

static WeightNames ggufNames() {
  WeightNames names = kGgufNames;
  names.mlpNorm = names.attentionNorm;
  return names;
}
static const WeightNames kNamesOfGguf = ggufNames();

const Architecture kNemotronH = {
    .name = "nemotron_h",
    .causalClass = "NemotronHForCausalLM",
    .layers = Architecture::Layers::single,
    .kvHeads = 8,
    .headDim = 128,
    .normEps = 1e-5,
    .maxPositions = 4096,
    .normEpsName = "layer_norm_epsilon",
    .bos = 1,
    .eos = 2,
    .readLayers = readLayers,
    .readFields = readFields,
    .huggingFaceNames = &kNames,
    .readKeys = readKeys,
    .ggufNames = &kNamesOfGguf,
};

} // namespace mlc
