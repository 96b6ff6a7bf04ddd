# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Writes a Hugging Face checkpoint as GGUF with gguf-py, and reads it back.

Names and conventions are GGUF's: Llama's q and k rows are permuted so that a
rotation turns adjacent pairs; llama3 scaling becomes rope_freqs.weight.
"""
import ctypes
import math

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

TOP = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
       "lm_head.weight": "output.weight"}
LAYER = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
         "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
         "mlp.gate": "ffn_gate_inp", "block_sparse_moe.router": "ffn_gate_inp", "mlp.experts.gate": "ffn_gate_exps",
         "mlp.experts.up": "ffn_up_exps", "mlp.experts.down": "ffn_down_exps",
         "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down"}


def gguf_name(name):
    if name in TOP:
        return TOP[name]
    _, _, index, rest = name.split(".", 3)
    base, suffix = rest.rsplit(".", 1)
    return f"blk.{index}.{LAYER[base]}.{suffix}"


def permute(rows, heads, inverse=False):
    """[heads * dim, ...]: rotate-half order to adjacent pairs, or back."""
    dim = rows.shape[0] // heads
    shape = (heads, dim // 2, 2) if inverse else (heads, 2, dim // 2)
    return rows.reshape(*shape, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def apart(tensors):
    """Experts, which transformers keeps fused, as GGUF has them."""
    out = {}
    for name, value in tensors.items():
        base = name.replace("block_sparse_moe.experts", "mlp.experts")
        if base.endswith("experts.gate_up_proj"):
            half = value.shape[1] // 2
            out[base.replace("gate_up_proj", "gate.weight")] = value[:, :half]
            out[base.replace("gate_up_proj", "up.weight")] = value[:, half:]
        elif base.endswith("experts.down_proj"):
            out[base.replace("down_proj", "down.weight")] = value
        else:
            out[name] = value
    return out


# Mixtral is a llama there.
ARCHITECTURES = {"mixtral": "llama", "qwen3_moe": "qwen3moe"}
PERMUTED = ("llama", "mixtral", "granite", "granitemoe")


def add_experts(w, config):
    count = getattr(config, "num_local_experts", None) or getattr(config, "num_experts", None)
    if not count:
        return
    w.add_expert_count(count)
    w.add_expert_used_count(config.num_experts_per_tok)
    if hasattr(config, "moe_intermediate_size"):
        w.add_expert_feed_forward_length(config.moe_intermediate_size)


def add_multipliers(w, config):
    if not hasattr(config, "residual_multiplier"):
        return
    w.add_embedding_scale(config.embedding_multiplier)
    w.add_residual_scale(config.residual_multiplier)
    w.add_attention_scale(config.attention_multiplier)
    w.add_logit_scale(config.logits_scaling)


def is_rotated(config, name):
    return config.model_type in PERMUTED and name.endswith(("q_proj.weight", "k_proj.weight"))


def heads_of(config, name):
    return config.num_attention_heads if ".q_proj." in name else config.num_key_value_heads


def llama3_factors(rope, head_dim):
    """Divisors of the inverse frequencies (Llama 3.1's bands)."""
    original, low, high = (rope[k] for k in (
        "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"))
    out = []
    for i in range(0, head_dim, 2):
        wave = 2 * math.pi * rope["rope_theta"] ** (i / head_dim)
        if wave < original / high:
            out.append(1.0)
        elif wave > original / low:
            out.append(rope["factor"])
        else:
            smooth = (original / wave - low) / (high - low)
            out.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(out, np.float32)


class Quantizer:
    """ggml's own block quantizer, from a build of llama.cpp."""

    def __init__(self, library):
        self.call = ctypes.CDLL(library).ggml_quantize_chunk
        self.call.restype = ctypes.c_size_t
        self.call.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int64] * 3 + [ctypes.c_void_p]

    def __call__(self, values, kind):
        block, size = gguf.GGML_QUANT_SIZES[kind]
        rows, columns = values.shape
        out = np.zeros((rows, columns // block * size), np.uint8)
        values = np.ascontiguousarray(values, np.float32)
        self.call(int(kind), values.ctypes.data, out.ctypes.data, 0, rows, columns, None)
        return out


def write(path, config, tensors, kind, quantizer=None, split=0):
    """tensors: Hugging Face name -> float32 array. Matrices take `kind`, or
    F16 where its blocks do not divide a row; vectors stay F32."""
    tensors = apart(tensors)
    w = gguf.GGUFWriter(path, ARCHITECTURES.get(config.model_type, config.model_type), split_max_tensors=split)
    rope = config.rope_parameters
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    w.add_name("mlc oracle")
    w.add_context_length(config.max_position_embeddings)
    w.add_embedding_length(config.hidden_size)
    w.add_block_count(config.num_hidden_layers)
    w.add_feed_forward_length(config.intermediate_size)
    w.add_head_count(config.num_attention_heads)
    w.add_head_count_kv(config.num_key_value_heads)
    w.add_key_length(head_dim)
    w.add_value_length(head_dim)
    w.add_rope_dimension_count(head_dim)
    w.add_rope_freq_base(rope["rope_theta"])
    w.add_layer_norm_rms_eps(config.rms_norm_eps)
    w.add_vocab_size(config.vocab_size)
    add_experts(w, config)
    add_multipliers(w, config)
    w.add_tokenizer_model("no_vocab")
    if rope["rope_type"] in ("linear", "yarn"):
        w.add_rope_scaling_type(gguf.RopeScalingType(rope["rope_type"]))
        w.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "yarn":
        w.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if rope["rope_type"] == "llama3":
        w.add_tensor("rope_freqs.weight", llama3_factors(rope, head_dim))
    for name, value in tensors.items():
        if is_rotated(config, name):
            value = permute(value, heads_of(config, name))
        value = np.ascontiguousarray(value, np.float32)
        if value.ndim == 1 or kind == Type.F32:
            w.add_tensor(gguf_name(name), value)
        elif kind == Type.F16:
            w.add_tensor(gguf_name(name), value.astype(np.float16))
        elif kind == Type.BF16:
            w.add_tensor(gguf_name(name), gguf.quants.quantize(value, kind), raw_dtype=kind)
        elif value.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0]:
            w.add_tensor(gguf_name(name), value.astype(np.float16))
        else:
            w.add_tensor(gguf_name(name), quantizer(value, kind), raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def read_tensors(path, config, names):
    """Hugging Face name -> float32 array, dequantized by gguf-py."""
    found = {t.name: t for t in gguf.GGUFReader(path).tensors}
    out = {}
    for name in names:
        t = found[gguf_name(name)]
        value = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
        if is_rotated(config, name):
            value = permute(value, heads_of(config, name), inverse=True)
        out[name] = value
    return out
