# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""The hybrid: Mamba-2 and attention layers in the layout of transformers'
GraniteMoeHybridForCausalLM without experts, all multipliers 1 but the
attention's 1/sqrt(head dimension), no position encoding."""
import math
import os
import sys

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "common"))
from layers import Attention, Linear, RMSNorm, Rounding, head, initialize  # noqa: E402

CHUNK = 64


def ssd(x, dt, a, b, c):
    """State-space duality as matrix products over chunks (Dao and Gu 2024,
    arXiv 2405.21060, section 6). With h_0 = 0:
        h_t = exp(dt_t a) h_{t-1} + dt_t b_t x_t,   y_t = c_t h_t
    x [batch, length, heads, p], dt [batch, length, heads] > 0, a [heads] < 0,
    b, c [batch, length, n], one group -> y like x."""
    batch, length, heads, p = x.shape
    pad = -length % CHUNK
    if pad:
        x, b, c = (F.pad(t, (0, 0) * (t.dim() - 2) + (0, pad)) for t in (x, b, c))
        dt = F.pad(dt, (0, 0, 0, pad))
    chunks = x.shape[1] // CHUNK
    dt = dt.view(batch, chunks, CHUNK, heads).permute(0, 1, 3, 2)
    x = x.view(batch, chunks, CHUNK, heads, p).transpose(2, 3) * dt[..., None]  # [batch, chunk, head, position, p]
    b, c = (t.view(batch, chunks, CHUNK, -1) for t in (b, c))
    decay = (dt * a[:, None]).cumsum(-1)  # log, from before the chunk to after the position
    later = torch.ones(CHUNK, CHUNK, dtype=torch.bool, device=x.device).triu(1)
    inside = (decay[..., :, None] - decay[..., None, :]).masked_fill(later, -math.inf).exp()
    y = ((c @ b.transpose(-1, -2))[:, :, None] * inside) @ x
    last = decay[..., -1:]
    states = (b.transpose(-1, -2)[:, :, None] * (last - decay).exp()[..., None, :]) @ x  # [batch, chunk, head, n, p]
    state, before = torch.zeros_like(states[:, 0]), []
    for i in range(chunks):
        before.append(state)
        state = last[:, i, :, :, None].exp() * state + states[:, i]
    y = y + (c[:, :, None] @ torch.stack(before, 1)) * decay.exp()[..., None]
    return y.transpose(2, 3).reshape(batch, -1, heads, p)[:, :length]


class Convolution(nn.Module):
    """Causal, by channel; the shape of nn.Conv1d's weight."""

    def __init__(self, channels, taps):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, taps).uniform_(-taps ** -0.5, taps ** -0.5))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        taps, length = self.weight.shape[-1], x.shape[1]
        x = F.pad(x, (0, 0, taps - 1, 0))
        return sum((x[:, i:i + length] * self.weight[:, 0, i] for i in range(taps)), self.bias)


class Mamba(nn.Module):
    def __init__(self, c, rounding):
        super().__init__()
        self.heads, self.p, self.n = c["mamba_n_heads"], c["mamba_d_head"], c["mamba_d_state"]
        inner = self.heads * self.p
        self.in_proj = Linear(c["hidden_size"], 2 * inner + 2 * self.n + self.heads, rounding)
        self.conv1d = Convolution(inner + 2 * self.n, c["mamba_d_conv"])
        # Time steps from 0.001 to 0.1, decays from 1 to 16, as Mamba-2 starts.
        step = torch.exp(torch.rand(self.heads) * math.log(100) + math.log(0.001))
        self.dt_bias = nn.Parameter(step + torch.log(-torch.expm1(-step)))
        self.A_log = nn.Parameter(torch.empty(self.heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(self.heads))
        self.norm = RMSNorm(inner, c["rms_norm_eps"])
        self.out_proj = Linear(inner, c["hidden_size"], rounding)

    def forward(self, u):
        inner = self.heads * self.p
        gate, x, dt = self.in_proj(u).split([inner, inner + 2 * self.n, self.heads], -1)
        x, b, c = F.silu(self.conv1d(x)).split([inner, self.n, self.n], -1)
        x = x.unflatten(-1, (self.heads, self.p))
        y = ssd(x, F.softplus(dt + self.dt_bias), -self.A_log.exp(), b, c) + self.D[:, None] * x
        return self.out_proj(self.norm(y.flatten(-2) * F.silu(gate)))


class SharedMLP(nn.Module):
    def __init__(self, c, rounding):
        super().__init__()
        self.input_linear = Linear(c["hidden_size"], 2 * c["shared_intermediate_size"], rounding)
        self.output_linear = Linear(c["shared_intermediate_size"], c["hidden_size"], rounding)

    def forward(self, x):
        gate, up = self.input_linear(x).chunk(2, -1)
        return self.output_linear(F.silu(gate) * up)


class Block(nn.Module):
    def __init__(self, c, kind, rounding):
        super().__init__()
        self.input_layernorm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        if kind == "linear_attention":
            self.mamba = Mamba(c, rounding)
        else:
            self.self_attn = Attention(c, rounding)
        self.post_attention_layernorm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        self.shared_mlp = SharedMLP(c, rounding)

    def forward(self, x, dropout):
        mixer = self.mamba if hasattr(self, "mamba") else self.self_attn
        x = x + F.dropout(mixer(self.input_layernorm(x)), dropout, self.training)
        return x + F.dropout(self.shared_mlp(self.post_attention_layernorm(x)), dropout, self.training)


class Hybrid(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c, self.rounding = c, Rounding()
        self.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = nn.ModuleList(Block(c, kind, self.rounding) for kind in c["layer_types"])
        self.norm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        initialize(self, len(c["layer_types"]), ("o_proj.weight", "out_proj.weight", "output_linear.weight"))

    def forward(self, tokens, dropout=0.0):
        """tokens [batch, length] -> logits [batch, length, vocab]."""
        x = F.dropout(self.embed_tokens(tokens), dropout, self.training)
        for layer in self.layers:
            x = layer(x, dropout)
        return head(self.norm(x), self.embed_tokens.weight, self.rounding)
