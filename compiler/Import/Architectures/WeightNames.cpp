//===----------------------------------------------------------------------===//
// The tables of weight names that several architectures share. All are constants before any other file's are made, so
// that a table of one family may begin as a copy of one of these.
//
#include "compiler/Import/Architectures/Architecture.h"

namespace mlc {

constexpr WeightNames kHuggingFace = {
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

constinit const WeightNames kGgufNames = {
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

static constexpr WeightNames feedForwardNames() {
  WeightNames names = kHuggingFace;
  names.finalNorm = "model.final_layernorm";
  names.mlpNorm = "pre_ff_layernorm";
  names.gate = "feed_forward.gate_proj";
  names.up = "feed_forward.up_proj";
  names.down = "feed_forward.down_proj";
  return names;
}

static constexpr WeightNames mixerNames() {
  WeightNames names = kHuggingFace;
  // The names of files; transformers 5 renames the prefix in memory.
  names.embedding = "backbone.embeddings";
  names.finalNorm = "backbone.norm_f";
  names.layerPrefix = "backbone.layers.";
  names.attentionNorm = names.mlpNorm = "norm";
  names.q = "mixer.q_proj";
  names.k = "mixer.k_proj";
  names.v = "mixer.v_proj";
  names.output = "mixer.o_proj";
  names.up = "mixer.up_proj";
  names.down = "mixer.down_proj";
  names.mambaIn = "mixer.in_proj";
  names.mambaConv = "mixer.conv1d";
  names.mambaA = "mixer.A_log";
  names.mambaD = "mixer.D";
  names.mambaDtBias = "mixer.dt_bias";
  names.mambaNorm = "mixer.norm";
  names.mambaOut = "mixer.out_proj";
  names.router = "mixer.gate";
  names.selectionBias = "mixer.gate.e_score_correction_bias";
  names.expertGateUp = nullptr;
  names.experts = "mixer.experts.";
  names.sharedUp = "mixer.shared_experts.up_proj";
  names.sharedDown = "mixer.shared_experts.down_proj";
  return names;
}

static constexpr WeightNames blockSparseNames() {
  WeightNames names = kHuggingFace;
  names.router = "block_sparse_moe.router.layer";
  names.expertGateUp = "block_sparse_moe.input_linear.weight";
  names.expertDown = "block_sparse_moe.output_linear.weight";
  names.experts = nullptr;
  names.sharedGateUp = "shared_mlp.input_linear";
  names.sharedDown = "shared_mlp.output_linear";
  return names;
}

constinit const WeightNames kHuggingFaceNames = kHuggingFace;
constinit const WeightNames kFeedForwardNames = feedForwardNames();
constinit const WeightNames kMixerNames = mixerNames();
constinit const WeightNames kBlockSparseNames = blockSparseNames();

} // namespace mlc
