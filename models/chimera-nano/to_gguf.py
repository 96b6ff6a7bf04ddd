#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Writes chimera-nano as GGUF, as llama.cpp's converter would (architecture
granitehybrid).

    python3 models/chimera-nano/to_gguf.py [DIR] OUT.gguf [--f32]

Needs numpy. A_log is stored as -exp(A_log); convolutions lose their middle axis,
A and D gain one, the gated norm is (groups, columns), the number of heads is
ssm.time_step_rank, q and k rows are permuted so that a rotation (which this
model has not) would turn adjacent pairs. Matrices stay bfloat16; the rest is
float32.
"""
import argparse
import json
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "common"))
import bpe  # noqa: E402
from checkpoints import Source, write_gguf  # noqa: E402

TOP = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
PARTS = {"input_layernorm.weight": "attn_norm.weight", "post_attention_layernorm.weight": "ffn_norm.weight",
         "self_attn.q_proj.weight": "attn_q.weight", "self_attn.k_proj.weight": "attn_k.weight",
         "self_attn.v_proj.weight": "attn_v.weight", "self_attn.o_proj.weight": "attn_output.weight",
         "shared_mlp.output_linear.weight": "ffn_down.weight", "mamba.in_proj.weight": "ssm_in.weight",
         "mamba.out_proj.weight": "ssm_out.weight", "mamba.conv1d.weight": "ssm_conv1d.weight",
         "mamba.conv1d.bias": "ssm_conv1d.bias", "mamba.dt_bias": "ssm_dt.bias", "mamba.A_log": "ssm_a", "mamba.D": "ssm_d",
         "mamba.norm.weight": "ssm_norm.weight"}
MATRICES = ("embed_tokens.weight", "_proj.weight", "_linear.weight")


def permute(rows, heads):
    """[heads * dim, ...]: rotate-half order to adjacent pairs."""
    shape = (heads, 2, rows.shape[0] // heads // 2)
    return rows.reshape(*shape, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def forms(config, name, value):
    """(GGUF name, array) of each tensor that one becomes."""
    if name in TOP:
        return [(TOP[name], value)]
    _, _, layer, rest = name.split(".", 3)
    prefix = f"blk.{layer}."
    if rest == "shared_mlp.input_linear.weight":
        gate, up = np.split(value, 2)
        return [(prefix + "ffn_gate.weight", gate), (prefix + "ffn_up.weight", up)]
    if rest.endswith("A_log"):
        value = -np.exp(value)[:, None]
    elif rest.endswith("mamba.D"):
        value = value[:, None]
    elif rest.endswith("mamba.norm.weight"):
        value = value.reshape(config["mamba_n_groups"], -1)
    elif rest.endswith("conv1d.weight"):
        value = value[:, 0]
    elif rest.endswith("q_proj.weight"):
        value = permute(value, config["num_attention_heads"])
    elif rest.endswith("k_proj.weight"):
        value = permute(value, config["num_key_value_heads"])
    return [(prefix + PARTS[rest], value)]


def keys(config, tokenizer):
    c, a = config, "granitehybrid"
    attention = [kind == "full_attention" for kind in c["layer_types"]]
    size = c["hidden_size"] // c["num_attention_heads"]
    return {
        "general.architecture": a, "general.name": "chimera-nano", f"{a}.block_count": len(attention),
        f"{a}.context_length": c["max_position_embeddings"], f"{a}.embedding_length": c["hidden_size"],
        f"{a}.feed_forward_length": c["shared_intermediate_size"], f"{a}.vocab_size": c["vocab_size"],
        f"{a}.attention.layer_norm_rms_epsilon": c["rms_norm_eps"], f"{a}.attention.head_count": c["num_attention_heads"],
        f"{a}.attention.head_count_kv": [c["num_key_value_heads"] * on for on in attention],
        f"{a}.attention.key_length": size, f"{a}.attention.value_length": size,
        f"{a}.attention.scale": c["attention_multiplier"], f"{a}.embedding_scale": c["embedding_multiplier"],
        f"{a}.residual_scale": c["residual_multiplier"], f"{a}.logit_scale": c["logits_scaling"],
        f"{a}.rope.dimension_count": size, f"{a}.rope.scaling.finetuned": False,
        f"{a}.ssm.conv_kernel": c["mamba_d_conv"], f"{a}.ssm.state_size": c["mamba_d_state"],
        f"{a}.ssm.group_count": c["mamba_n_groups"], f"{a}.ssm.inner_size": c["mamba_n_heads"] * c["mamba_d_head"],
        f"{a}.ssm.time_step_rank": c["mamba_n_heads"],
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": bpe.PRE, "tokenizer.ggml.tokens": tokenizer.names,
        "tokenizer.ggml.token_type": [3] + [1] * (len(tokenizer.names) - 1),  # control, normal
        "tokenizer.ggml.merges": [" ".join(m) for m in tokenizer.ranks], "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 0, "tokenizer.ggml.add_bos_token": True}


def convert(folder, out, f32=False):
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    source, tensors = Source(folder), {}
    for name in source.tensors:
        bits = name.endswith(MATRICES) and not f32
        tensors |= forms(config, name, source[name] if bits else source.floats(name))
    write_gguf(out, keys(config, bpe.Tokenizer(os.path.join(folder, "tokenizer.json"))), tensors)


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", nargs="?", default=HERE)
    p.add_argument("out")
    p.add_argument("--f32", action="store_true", help="all tensors float32")
    a = p.parse_args()
    convert(a.folder, a.out, a.f32)
