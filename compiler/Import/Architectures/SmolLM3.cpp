//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// SmolLM3: Llama with layers that do not rotate (NoPE, arXiv 2501.18795).
//
#include "compiler/Import/Architectures/Architecture.h"
#include "compiler/Import/HuggingFace/FamilyFields.h"

#include "llvm/ADT/Twine.h"

namespace mlc {

/// no_rope_layers, where 1 marks a layer that rotates whatever the name says; else every interval-th layer does not.
static void readRotating(hf::Fields &fields, ModelConfig &config) {
  std::vector<int64_t> flags = fields.integers("no_rope_layers");
  int64_t interval = fields.integer("no_rope_layer_interval").value_or(4);
  if (interval < 1)
    return fields.refuse("no_rope_layer_interval", "at least 1 is expected");
  if (fields.has("no_rope_layers") && int64_t(flags.size()) < config.layers)
    return fields.refuse("no_rope_layers",
                         "one entry for each of " + llvm::Twine(config.layers) + " layers is expected");
  for (int64_t i = 0; i < config.layers; ++i)
    config.rotates[size_t(i)] = flags.empty() ? (i + 1) % interval != 0 : flags[size_t(i)] != 0;
}

static void readFields(hf::Fields &fields, ModelConfig &config) {
  config.qkvBias = config.outputBias = fields.boolean("attention_bias").value_or(false);
  config.mlpBias = fields.boolean("mlp_bias").value_or(false);
  hf::readActivation(fields, config, "hidden_act", "silu");
  readRotating(fields, config);
  fields.ignore({"max_window_layers"});
  int64_t window = hf::readWindow(fields, 0);
  if (!fields.boolean("use_sliding_window").value_or(false))
    window = 0;
  hf::readLayerTypes(fields, config, window,
                     [&](int64_t layer) { return window > 0 && !config.rotates[size_t(layer)]; });
}

const Architecture kSmolLM3 = {
    .name = "smollm3",
    .causalClass = "SmolLM3ForCausalLM",
    .kvHeads = 4,
    .theta = 2e6,
    .tied = true,
    .bos = 128000,
    .eos = 128001,
    .readFields = readFields,
    .huggingFaceNames = &kHuggingFaceNames,
};

} // namespace mlc
