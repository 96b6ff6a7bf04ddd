//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Mistral: Llama with a sliding window in every layer (arXiv 2310.06825).
//
#include "compiler/Import/Architectures/Architecture.h"
#include "compiler/Import/HuggingFace/FamilyFields.h"

namespace mlc {

static void readFields(hf::Fields &fields, ModelConfig &config) {
  fields.refuseUnlessOff({"attention_bias", "mlp_bias"});
  hf::readActivation(fields, config, "hidden_act", "silu");
  config.windows.assign(size_t(config.layers), hf::readWindow(fields, 4096));
}

const Architecture kMistral = {
    .name = "mistral",
    .causalClass = "MistralForCausalLM",
    .kvHeads = 8,
    .bos = 1,
    .eos = 2,
    .readFields = readFields,
    .huggingFaceNames = &kHuggingFaceNames,
};

} // namespace mlc
