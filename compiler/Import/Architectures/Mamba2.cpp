//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Mamba 2: a Mamba mixer in every layer and nothing else (arXiv 2405.21060).
//
#include "compiler/Import/Architectures/Architecture.h"
#include "compiler/Import/GGUF/Keys.h"
#include "compiler/Import/HuggingFace/FamilyFields.h"

namespace mlc {

static void readLayers(hf::Fields &fields, ModelConfig &config) {
  hf::readEqualLayers(fields, config, Mixer::mamba, /*feedForward=*/false);
}

static void readFields(hf::Fields &fields, ModelConfig &config) {
  MambaConfig &mamba = config.mamba;
  hf::readSilu(fields, config, "hidden_act");
  mamba.heads = fields.integer("num_heads").value_or(128);
  mamba.headDim = fields.integer("head_dim").value_or(64);
  mamba.stateSize = fields.integer("state_size").value_or(128);
  mamba.groups = fields.integer("n_groups").value_or(8);
  mamba.kernel = fields.integer("conv_kernel").value_or(4);
  mamba.convBias = fields.boolean("use_conv_bias").value_or(true);
  mamba.inputBias = mamba.outputBias = fields.boolean("use_bias").value_or(false);
  hf::readTimeStepLimit(fields, config);
  int64_t expand = fields.integer("expand").value_or(2);
  bool bounded = mamba.heads > 0 && mamba.heads <= 65536 && mamba.headDim > 0 && mamba.headDim <= 65536;
  if (!fields.failed() && (expand < 1 || expand > 1024 || !bounded || mamba.inner() != expand * config.hidden))
    fields.refuse("num_heads", "heads times head_dim must be expand times hidden_size");
  if (fields.integer("chunk_size").value_or(256) < 1)
    fields.refuse("chunk_size", "a positive number is expected");
  // How weights were drawn, and in which precision sums are kept where the model's is lower.
  fields.ignore({"time_step_rank", "time_step_min", "time_step_max", "time_step_floor", "rescale_prenorm_residual",
                 "residual_in_fp32", "num_logits_to_keep", "rms_norm", "norm_before_gate"});
}

static void readKeys(gguf::Keys &keys, const Checkpoint &checkpoint, ModelConfig &config) {
  gguf::readMamba(keys, checkpoint, config);
}

const Architecture kMamba2 = {
    .name = "mamba2",
    .causalClass = "Mamba2ForCausalLM",
    .layers = Architecture::Layers::hybrid,
    .mambaOnly = true,
    .normEps = 1e-5,
    .maxPositions = 1 << 20, // Nothing in it bounds a sequence; what GGUF's converters write.
    .normEpsName = "layer_norm_epsilon",
    .bos = 0,
    .eos = 2,
    .readLayers = readLayers,
    .readFields = readFields,
    .huggingFaceNames = &kMixerNames,
    .readKeys = readKeys,
    .ggufNames = &kGgufNames,
};

} // namespace mlc
