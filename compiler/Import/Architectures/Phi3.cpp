//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Phi-3 and Phi-3.5-mini, Phi-4-mini: fused q, k, v and gate, up matrices, partial rotary (arXiv 2404.14219).
//
#include "compiler/Import/Architectures/Architecture.h"
#include "compiler/Import/HuggingFace/FamilyFields.h"

namespace mlc {

static void readFields(hf::Fields &fields, ModelConfig &config) {
  fields.refuseUnlessOff({"attention_bias", "mlp_bias"});
  config.fusedQkv = config.fusedGateUp = true;
  fields.refuseUnlessOff({"lm_head_bias"});
  // Phi-4's files state these for other implementations.
  for (const char *name : {"full_attn_mod", "interpolate_factor"})
    if (fields.number(name).value_or(1) != 1)
      fields.refuse(name, "only 1 is supported");
  hf::readActivation(fields, config, "hidden_act", "silu");
  config.windows.assign(size_t(config.layers), hf::readWindow(fields, 0));
  // Takes precedence over the field of that name among RoPE's; 4096 is the class's default.
  config.rope.originalContext = fields.integer("original_max_position_embeddings").value_or(4096);
}

const Architecture kPhi3 = {
    .name = "phi3",
    .causalClass = "Phi3ForCausalLM",
    .normEps = 1e-5,
    .bos = 1,
    .eos = 32000,
    .readFields = readFields,
    .huggingFaceNames = &kHuggingFaceNames,
};

} // namespace mlc
