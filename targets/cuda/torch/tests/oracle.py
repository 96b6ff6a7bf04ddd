# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""An oracle for the tests and for tests/bench/gpu: attention by torch operations of any type, masks made of indices."""

import math

import torch


def hidden(rows, columns, left, right, device):
    """[rows, columns], true where a row does not see a column: aligned at the bottom right, -1 for no bound."""
    row = torch.arange(rows, device=device)[:, None] + columns - rows
    column = torch.arange(columns, device=device)[None]
    mask = torch.zeros(rows, columns, dtype=torch.bool, device=device)
    if left >= 0:
        mask |= column < row - left
    if right >= 0:
        mask |= column > row + right
    return mask


def attention(q, k, v, left=-1, right=-1, scale=None, softcap=0.0, dtype=torch.float64):
    """[batch, tokens, heads, dim], computed in `dtype`; and the log-sum-exp [batch, heads, tokens]."""
    q, k, v = (x.to(dtype).transpose(1, 2) for x in (q, k, v))
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    scores = q @ k.transpose(-1, -2) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores.masked_fill(hidden(q.shape[2], k.shape[2], left, right, q.device), -math.inf)
    lse = torch.logsumexp(scores, -1)
    p = torch.exp(scores - lse.masked_fill(lse == -math.inf, 0)[..., None])
    return (p @ v).transpose(1, 2), lse
