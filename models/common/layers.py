# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Layers of the language models that are trained here, under the names that
Hugging Face's checkpoints give them, and the rounding that the compiler does."""
import math

import torch
import torch.nn.functional as F
from torch import nn

GROUP = 128
QMAX = {4: 7, 8: 127}


# --- Rounding as the compiler does it ---------------------------------------

def fake_quantize(x, bits, clip=1.0):
    """Rounds x to symmetric integers with one scale for each row and group of
    128 along the last axis (length a multiple of 128); the scale is
    clip * max|x| / (2^(bits-1) - 1). Gradients pass straight through."""
    limit = QMAX[bits]
    groups = x.float().unflatten(-1, (-1, GROUP))
    scale = groups.detach().abs().amax(-1, keepdim=True) * (clip / limit)
    scale = scale.clamp_min(1e-12)
    rounded = (groups.detach() / scale).round().clamp_(-limit, limit) * scale
    return (groups + (rounded - groups.detach())).flatten(-2).to(x.dtype)


class Rounding:
    """What the linear layers round to: None keeps floats."""
    weight_bits = None
    head_bits = None
    clip = 1.0

    def set(self, rounded, clip=1.0):
        """int4 weights and an int8 head, or floats."""
        self.weight_bits, self.head_bits = (4, 8) if rounded else (None, None)
        self.clip = clip


class Linear(nn.Linear):
    def __init__(self, columns, rows, rounding):
        super().__init__(columns, rows, bias=False)
        self.rounding = rounding

    def forward(self, x):
        bits = self.rounding.weight_bits
        if bits is None:
            return F.linear(x, self.weight)
        weight = fake_quantize(self.weight, bits, self.rounding.clip)
        return F.linear(fake_quantize(x, 8), weight)


def head(x, weight, rounding):
    """Logits by the embedding's rows (tied)."""
    if rounding.head_bits is not None:
        x, weight = fake_quantize(x, 8), fake_quantize(weight, rounding.head_bits)
    return F.linear(x, weight)


class RMSNorm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


# --- Attention and MLP (Llama, arXiv 2302.13971) ----------------------------

def rope_tables(length, head_dim, theta):
    """cos and sin [length, head_dim], the halves repeated (rotate-half)."""
    inverse = theta ** -(torch.arange(0, head_dim, 2).float() / head_dim)
    angle = torch.outer(torch.arange(length).float(), inverse)
    angle = torch.cat([angle, angle], -1)
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], -1)
    return x * cos.to(x.dtype) + turned * sin.to(x.dtype)


class Attention(nn.Module):
    """Causal; without cos and sin it knows no positions."""

    def __init__(self, c, rounding):
        super().__init__()
        self.heads, self.kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
        hidden = c["hidden_size"]
        self.dim = c.get("head_dim", hidden // self.heads)
        self.q_proj = Linear(hidden, self.heads * self.dim, rounding)
        self.k_proj = Linear(hidden, self.kv_heads * self.dim, rounding)
        self.v_proj = Linear(hidden, self.kv_heads * self.dim, rounding)
        self.o_proj = Linear(self.heads * self.dim, hidden, rounding)

    def forward(self, x, cos=None, sin=None):
        batch, length, _ = x.shape
        split = lambda y, n: y.view(batch, length, n, self.dim).transpose(1, 2)
        q, k = split(self.q_proj(x), self.heads), split(self.k_proj(x), self.kv_heads)
        if cos is not None:
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        v = split(self.v_proj(x), self.kv_heads)
        times = self.heads // self.kv_heads
        k, v = k.repeat_interleave(times, 1), v.repeat_interleave(times, 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(batch, length, -1))


class MLP(nn.Module):
    def __init__(self, c, rounding):
        super().__init__()
        hidden, inner = c["hidden_size"], c["intermediate_size"]
        self.gate_proj = Linear(hidden, inner, rounding)
        self.up_proj = Linear(hidden, inner, rounding)
        self.down_proj = Linear(inner, hidden, rounding)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Mixture(nn.Module):
    """Experts of which a token takes the likeliest few, weighed by their share
    of the probability (Mixtral, arXiv 2401.04088). `logits` [tokens, experts]
    and `chosen` [tokens, few] are those of the last call."""

    def __init__(self, c, rounding):
        super().__init__()
        self.few = c["num_experts_per_tok"]
        self.gate = nn.Linear(c["hidden_size"], c["num_local_experts"], bias=False)
        self.experts = nn.ModuleList(MLP(c, rounding) for _ in range(c["num_local_experts"]))

    def forward(self, x):
        rows = x.flatten(0, -2)
        with torch.autocast(x.device.type, enabled=False):  # the compiler keeps routers in float32, too
            self.logits = self.gate(rows.float())
        likely, self.chosen = self.logits.softmax(-1).topk(self.few)
        weights = likely / likely.sum(-1, keepdim=True)
        order = self.chosen.flatten().argsort(stable=True)  # by expert, then by token
        token = order // self.few
        sizes = self.chosen.flatten().bincount(minlength=len(self.experts)).tolist()
        out = torch.cat([expert(part) for expert, part in zip(self.experts, rows[token].split(sizes))])
        out = out * weights.flatten()[order, None].to(out.dtype)
        return torch.zeros_like(out[:len(rows)]).index_add(0, token, out).view_as(x)


def initialize(model, layers, last):
    """Normal weights; the matrices that write into the residual stream, those
    whose names end in one of `last`, start smaller by sqrt(2 layers)."""
    for name, p in model.named_parameters():
        if p.dim() == 2:
            nn.init.normal_(p, std=0.02 / (math.sqrt(2 * layers) if name.endswith(last) else 1))


class Block(nn.Module):
    def __init__(self, c, rounding):
        super().__init__()
        self.input_layernorm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        self.self_attn = Attention(c, rounding)
        self.post_attention_layernorm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        self.mlp = (Mixture if "num_local_experts" in c else MLP)(c, rounding)

    def forward(self, x, cos, sin, dropout):
        x = x + F.dropout(self.self_attn(self.input_layernorm(x), cos, sin), dropout, self.training)
        return x + F.dropout(self.mlp(self.post_attention_layernorm(x)), dropout, self.training)


class Llama(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c, self.rounding = c, Rounding()
        self.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = nn.ModuleList(Block(c, self.rounding) for _ in range(c["num_hidden_layers"]))
        self.norm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        cos, sin = rope_tables(c["max_position_embeddings"], c["head_dim"], c["rope_theta"])
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        initialize(self, c["num_hidden_layers"], ("o_proj.weight", "down_proj.weight"))

    def forward(self, tokens, dropout=0.0):
        """tokens [batch, length] -> logits [batch, length, vocab]."""
        length = tokens.shape[1]
        x = F.dropout(self.embed_tokens(tokens), dropout, self.training)
        for layer in self.layers:
            x = layer(x, self.cos[:length], self.sin[:length], dropout)
        return head(self.norm(x), self.embed_tokens.weight, self.rounding)
