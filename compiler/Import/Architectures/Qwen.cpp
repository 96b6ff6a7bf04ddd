//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Qwen 2 and 2.5 (biases on q, k and v), Qwen 3 (norms over each head of q and k instead) (arXiv 2407.10671,
// 2505.09388).
//
#include "compiler/Import/Architectures/Architecture.h"
#include "compiler/Import/GGUF/Keys.h"
#include "compiler/Import/HuggingFace/FamilyFields.h"

namespace mlc {

static void readWindows(hf::Fields &fields, ModelConfig &config) {
  int64_t window = hf::readWindow(fields, 4096), full = fields.integer("max_window_layers").value_or(28);
  if (!fields.boolean("use_sliding_window").value_or(false))
    window = 0;
  hf::readLayerTypes(fields, config, window, [&](int64_t layer) { return window > 0 && layer >= full; });
}

static void readFields2(hf::Fields &fields, ModelConfig &config) {
  fields.refuseUnlessOff({"attention_bias", "mlp_bias"});
  config.qkvBias = true;
  hf::readActivation(fields, config, "hidden_act", "silu");
  readWindows(fields, config);
}

static void readFields3(hf::Fields &fields, ModelConfig &config) {
  fields.refuseUnlessOff({"mlp_bias"});
  config.qkvBias = config.outputBias = fields.boolean("attention_bias").value_or(false);
  config.qkNorm = true;
  hf::readActivation(fields, config, "hidden_act", "silu");
  readWindows(fields, config);
}

static void readKeys2(gguf::Keys &, const Checkpoint &, ModelConfig &config) { config.qkvBias = true; }

static void readKeys3(gguf::Keys &, const Checkpoint &, ModelConfig &config) { config.qkNorm = true; }

const Architecture kQwen2 = {
    .name = "qwen2",
    .causalClass = "Qwen2ForCausalLM",
    .kvHeads = 32,
    .readFields = readFields2,
    .huggingFaceNames = &kHuggingFaceNames,
    .readKeys = readKeys2,
    .ggufNames = &kGgufNames,
};

const Architecture kQwen3 = {
    .name = "qwen3",
    .causalClass = "Qwen3ForCausalLM",
    .kvHeads = 32,
    .headDim = 128,
    .readFields = readFields3,
    .huggingFaceNames = &kHuggingFaceNames,
    .readKeys = readKeys3,
    .ggufNames = &kGgufNames,
};

} // namespace mlc
