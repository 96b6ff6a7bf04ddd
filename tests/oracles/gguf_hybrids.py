# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Writes checkpoints with Mamba-2 layers as GGUF, by the conventions of
llama.cpp's converter: A_log is stored as A = -exp(A_log), convolutions lose
their middle axis, A and D gain one, gated norms are (groups, columns), the
number of heads is ssm.time_step_rank, Granite's q and k rows are permuted like
Llama's, and Falcon-H1's multipliers are folded into the weights. What the
format has no key for must be what it takes for granted: Falcon-H1's gate comes
before the norm, and nothing bounds the time step.
"""
import math

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

from gguf_forms import permute

ARCHITECTURES = {"mamba2": "mamba2", "granitemoehybrid": "granitehybrid", "falcon_h1": "falcon-h1",
                 "nemotron_h": "nemotron_h"}
TOP = {"backbone.embeddings.weight": "token_embd.weight", "model.embeddings.weight": "token_embd.weight",
       "model.embed_tokens.weight": "token_embd.weight", "backbone.norm_f.weight": "output_norm.weight",
       "model.norm_f.weight": "output_norm.weight", "model.norm.weight": "output_norm.weight",
       "model.final_layernorm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}
PARTS = {"norm.weight": "attn_norm.weight", "input_layernorm.weight": "attn_norm.weight",
         "post_attention_layernorm.weight": "ffn_norm.weight", "pre_ff_layernorm.weight": "ffn_norm.weight",
         "q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output",
         "gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down",
         "in_proj": "ssm_in", "out_proj": "ssm_out", "conv1d": "ssm_conv1d"}


def layer_forms(config, rest, value):
    """(GGUF name below blk.N., value) of each tensor that one becomes."""
    owner, _, leaf = rest.rpartition(".")
    if rest in PARTS:
        return [(PARTS[rest], value)]
    if leaf == "A_log":
        return [("ssm_a", -np.exp(value)[:, None])]
    if leaf == "D":
        return [("ssm_d", value[:, None])]
    if leaf == "dt_bias":
        return [("ssm_dt.bias", value)]
    part = owner.split(".")[-1]
    if rest == "block_sparse_moe.router.weight":
        return [("ffn_gate_inp.weight", value)]
    if rest.endswith("experts.gate_up_proj"):
        gate, up = np.split(value, 2, axis=1)
        return [("ffn_gate_exps.weight", gate), ("ffn_up_exps.weight", up)]
    if rest.endswith("experts.down_proj"):
        return [("ffn_down_exps.weight", value)]
    if part == "norm":
        groups = getattr(config, "n_groups", None) or config.mamba_n_groups
        return [("ssm_norm.weight", value.reshape(groups, -1))]
    if part == "conv1d" and leaf == "weight":
        value = value[:, 0]
    shared = "_shexp" if getattr(config, "num_local_experts", 0) else ""
    if part == "input_linear":
        gate, up = np.split(value, 2)
        return [(f"ffn_gate{shared}.weight", gate), (f"ffn_up{shared}.weight", up)]
    if part == "output_linear":
        return [(f"ffn_down{shared}.weight", value)]
    if config.model_type == "granitemoehybrid" and part in ("q_proj", "k_proj"):
        value = permute(value, config.num_attention_heads if part == "q_proj" else config.num_key_value_heads)
    return [(f"{PARTS[part]}.{leaf}", value)]


def fold_falcon(config, name, value):
    """Multipliers go into the weights."""
    if name.endswith(".in_proj.weight"):
        group = config.mamba_n_groups * config.mamba_d_state
        sizes = [config.mamba_d_ssm, config.mamba_d_ssm, group, group, config.mamba_n_heads]
        return value * config.ssm_in_multiplier * np.repeat(config.ssm_multipliers, sizes)[:, None]
    inner = config.attention_in_multiplier
    factors = {"down_proj": config.mlp_multipliers[1], "gate_proj": config.mlp_multipliers[0],
               "k_proj": config.key_multiplier * inner, "q_proj": inner, "v_proj": inner,
               "o_proj": config.attention_out_multiplier, "out_proj": config.ssm_out_multiplier,
               "lm_head": config.lm_head_multiplier, "embed_tokens": config.embedding_multiplier}
    return value * factors.get(name.split(".")[-2], 1.0)


def refuse_unsayable(config):
    limit = getattr(config, "time_step_limit", None)
    low, high = limit if limit and config.model_type != "nemotron_h" else (0.0, math.inf)
    if config.model_type == "nemotron_h":  # its class takes time_step_min for the bound
        low = config.time_step_min
    assert low <= 1e-6 and high == math.inf, "GGUF has no key for the bounds of the time step"
    assert not (getattr(config, "mamba_rms_norm", False) and config.mamba_norm_before_gate), \
        "GGUF has no key for a norm before the gate"


def layer_types(config):
    if config.model_type == "mamba2":
        return ["linear_attention"] * config.num_hidden_layers
    if config.model_type == "falcon_h1":
        return ["parallel"] * config.num_hidden_layers
    return config.layer_types


def write_keys(w, config):
    types = layer_types(config)
    attention = [t in ("full_attention", "parallel") for t in types]
    w.add_name("mlc oracle")
    w.add_block_count(len(types))
    w.add_embedding_length(config.hidden_size)
    w.add_layer_norm_rms_eps(getattr(config, "layer_norm_epsilon", None) or config.rms_norm_eps)
    w.add_vocab_size(config.vocab_size)
    w.add_tokenizer_model("no_vocab")
    first = lambda *names: next(getattr(config, n) for n in names if hasattr(config, n))
    heads = first("mamba_n_heads", "mamba_num_heads", "num_heads")
    head_dim = first("mamba_d_head", "mamba_head_dim", "head_dim")
    w.add_ssm_conv_kernel(first("mamba_d_conv", "conv_kernel"))
    w.add_ssm_state_size(first("mamba_d_state", "ssm_state_size", "state_size"))
    w.add_ssm_group_count(first("mamba_n_groups", "n_groups"))
    w.add_ssm_inner_size(heads * head_dim)
    w.add_ssm_time_step_rank(heads)
    if config.model_type == "mamba2":
        w.add_context_length(1 << 20)
        w.add_feed_forward_length(0)
        w.add_head_count(0)
        return
    w.add_context_length(config.max_position_embeddings)
    kv, size = config.num_key_value_heads, getattr(config, "head_dim", None)
    size = size or config.hidden_size // config.num_attention_heads
    w.add_head_count(config.num_attention_heads)
    w.add_head_count_kv(kv if all(attention) else [kv * a for a in attention])
    w.add_key_length(size)
    w.add_value_length(size)
    if config.model_type == "nemotron_h":
        w.add_feed_forward_length([config.intermediate_size * (t == "mlp") for t in types])
        return
    experts = getattr(config, "num_local_experts", 0)
    w.add_feed_forward_length(getattr(config, "shared_intermediate_size", None) if not experts and hasattr(
        config, "shared_intermediate_size") else config.intermediate_size)
    if experts:
        w.add_expert_count(experts)
        w.add_expert_used_count(config.num_experts_per_tok)
        w.add_expert_shared_feed_forward_length(config.shared_intermediate_size)
    w.add_rope_freq_base(config.rope_parameters["rope_theta"])
    if config.model_type == "granitemoehybrid":
        w.add_rope_dimension_count(size)
        w.add_rope_scaling_finetuned(config.position_embedding_type == "rope")
        w.add_attention_scale(config.attention_multiplier)
        w.add_embedding_scale(config.embedding_multiplier)
        w.add_residual_scale(config.residual_multiplier)
        w.add_logit_scale(config.logits_scaling)


def write(path, config, tensors, kind):
    """tensors: Hugging Face name -> float32 array. Matrices take `kind`; what
    is no product's matrix stays F32."""
    refuse_unsayable(config)
    w = gguf.GGUFWriter(path, ARCHITECTURES[config.model_type])
    write_keys(w, config)
    for name, value in tensors.items():
        value = np.asarray(value, np.float32)
        if config.model_type == "falcon_h1":
            value = np.asarray(fold_falcon(config, name, value), np.float32)
        if name in TOP:
            forms = [(TOP[name], value)]
        else:
            _, _, index, rest = name.split(".", 3)
            forms = [(f"blk.{index}.{part}", v) for part, v in layer_forms(config, rest, value)]
        for target, v in forms:
            v = np.ascontiguousarray(v, np.float32)
            small = (".ssm_" in target or "ffn_gate_inp" in target) and not target.endswith(("ssm_in.weight", "ssm_out.weight"))
            if v.ndim == 1 or small or kind == Type.F32:
                w.add_tensor(target, v)
            elif kind == Type.F16:
                w.add_tensor(target, v.astype(np.float16))
            else:
                w.add_tensor(target, gguf.quants.quantize(v, kind), raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
