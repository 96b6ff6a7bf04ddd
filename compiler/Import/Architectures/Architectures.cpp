//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The list of architectures, and the weight names that most share.
//
#include "compiler/Import/Architectures/Architecture.h"

#include "llvm/ADT/STLExtras.h"

namespace mlc {

const WeightNames kHuggingFaceNames = {
    .embedding = "model.embed_tokens",
    .finalNorm = "model.norm",
    .head = "lm_head",
    .layerPrefix = "model.layers.",
    .attentionNorm = "input_layernorm",
    .q = "self_attn.q_proj",
    .k = "self_attn.k_proj",
    .v = "self_attn.v_proj",
    .output = "self_attn.o_proj",
    .qkv = "self_attn.qkv_proj",
    .qNorm = "self_attn.q_norm",
    .kNorm = "self_attn.k_norm",
    .attentionPostNorm = "post_attention_layernorm",
    .mlpNorm = "post_attention_layernorm",
    .gate = "mlp.gate_proj",
    .up = "mlp.up_proj",
    .gateUp = "mlp.gate_up_proj",
    .down = "mlp.down_proj",
    .mlpPostNorm = "post_feedforward_layernorm",
    .mambaIn = "mamba.in_proj",
    .mambaConv = "mamba.conv1d",
    .mambaA = "mamba.A_log",
    .mambaD = "mamba.D",
    .mambaDtBias = "mamba.dt_bias",
    .mambaNorm = "mamba.norm",
    .mambaOut = "mamba.out_proj",
    .router = "mlp.gate",
    .selectionBias = "mlp.gate.e_score_correction_bias",
    .expertGateUp = "mlp.experts.gate_up_proj",
    .expertDown = "mlp.experts.down_proj",
    .experts = "mlp.experts.",
    .ownGate = "gate_proj",
    .ownUp = "up_proj",
    .ownDown = "down_proj",
    .sharedGate = "mlp.shared_expert.gate_proj",
    .sharedUp = "mlp.shared_expert.up_proj",
    .sharedDown = "mlp.shared_expert.down_proj",
    .sharedScale = "mlp.shared_expert_gate",
};

const WeightNames kGgufNames = {
    .embedding = "token_embd",
    .finalNorm = "output_norm",
    .head = "output",
    .layerPrefix = "blk.",
    .attentionNorm = "attn_norm",
    .q = "attn_q",
    .k = "attn_k",
    .v = "attn_v",
    .output = "attn_output",
    .qkv = "attn_qkv",
    .qNorm = "attn_q_norm",
    .kNorm = "attn_k_norm",
    .attentionPostNorm = "post_attention_norm",
    .mlpNorm = "ffn_norm",
    .gate = "ffn_gate",
    .up = "ffn_up",
    .gateUp = "ffn_gate_up",
    .down = "ffn_down",
    .mlpPostNorm = "post_ffw_norm",
    .mambaIn = "ssm_in",
    .mambaConv = "ssm_conv1d",
    .mambaA = "ssm_a",
    .mambaD = "ssm_d",
    .mambaDtBias = "ssm_dt.bias",
    .mambaNorm = "ssm_norm",
    .mambaOut = "ssm_out",
    .router = "ffn_gate_inp",
    .selectionBias = "exp_probs_b.bias",
    .expertGate = "ffn_gate_exps.weight",
    .expertUp = "ffn_up_exps.weight",
    .expertDown = "ffn_down_exps.weight",
    .sharedGate = "ffn_gate_shexp",
    .sharedUp = "ffn_up_shexp",
    .sharedDown = "ffn_down_shexp",
    .sharedScale = "ffn_gate_inp_shexp",
};

llvm::ArrayRef<const Architecture *> architectures() {
  static const Architecture *const all[] = {&kLlama,
                                            &kMistral,
                                            &kQwen2,
                                            &kQwen3,
                                            &kGemma2,
                                            &kSmolLM3,
                                            &kPhi3,
                                            &kGranite,
                                            &kMixtral,
                                            &kQwen2Moe,
                                            &kQwen3Moe,
                                            &kGraniteMoe,
                                            &kGraniteMoeShared,
                                            &kOlmoe,
                                            &kGlm4Moe,
                                            &kMamba2,
                                            &kGraniteMoeHybrid,
                                            &kBamba,
                                            &kFalconH1,
                                            &kNemotronH};
  return all;
}

const Architecture *findArchitecture(llvm::StringRef name) {
  auto found = llvm::find_if(architectures(), [&](const Architecture *entry) { return name == entry->name; });
  return found == architectures().end() ? nullptr : *found;
}

const Architecture *findGgufArchitecture(llvm::StringRef name) {
  auto found = llvm::find_if(architectures(), [&](const Architecture *entry) {
    return entry->readKeys && name == (entry->ggufName ? entry->ggufName : entry->name);
  });
  return found == architectures().end() ? nullptr : *found;
}

const char *missingFeature(llvm::StringRef name) {
  for (const char *latent : {"deepseek_v2", "deepseek_v3", "deepseek2"})
    if (name == latent)
      return "multi-head latent attention is not built yet (its router and experts are)";
  return nullptr;
}

} // namespace mlc
