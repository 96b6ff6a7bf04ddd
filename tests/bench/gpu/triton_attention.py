# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""The forward kernel once more, in Triton: a peer, and an oracle that shares nothing with ours. And the multiprocessors'
rate of f32 FMAs. Not shipped."""
import torch
import triton
import triton.language as tl


@triton.jit
def _forward(q, k, v, out, sqb, sqt, sqh, skb, skt, skh, svb, svt, svh, sob, sot, soh, rows, columns, heads, group, scale,
             CAUSAL: tl.constexpr, DIM: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    # The last rows first: under a causal mask they are the longest.
    block = tl.num_programs(0) - 1 - tl.program_id(0)
    batch, head = tl.program_id(1) // heads, tl.program_id(1) % heads
    row, column, dim = block * ROWS + tl.arange(0, ROWS), tl.arange(0, COLUMNS), tl.arange(0, DIM)
    q += batch.to(tl.int64) * sqb + head * sqh
    k += batch.to(tl.int64) * skb + head // group * skh
    v += batch.to(tl.int64) * svb + head // group * svh
    out += batch.to(tl.int64) * sob + head * soh
    tile = tl.load(q + row[:, None] * sqt + dim[None], mask=row[:, None] < rows, other=0.0)
    most = tl.full([ROWS], -float("inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    sums = tl.zeros([ROWS, DIM], tl.float32)
    shift = columns - rows
    whole, end = columns // COLUMNS * COLUMNS, columns
    if CAUSAL:
        end = tl.minimum(columns, tl.maximum((block + 1) * ROWS + shift, 0))
        whole = tl.minimum(whole, tl.maximum(block * ROWS + shift + 1, 0) // COLUMNS * COLUMNS)
    for stage in tl.static_range(2):  # tiles that the mask leaves whole, then the others
        for first in range(0 if stage == 0 else whole, whole if stage == 0 else end, COLUMNS):
            at = first + column
            keys = tl.load(k + at[None] * skt + dim[:, None], mask=at[None] < columns, other=0.0)
            scores = tl.dot(tile, keys) * (scale * 1.4426950408889634)
            if stage == 1:
                seen = at[None] < columns
                if CAUSAL:
                    seen &= at[None] <= row[:, None] + shift
                scores = tl.where(seen, scores, -float("inf"))
            largest = tl.maximum(most, tl.max(scores, 1))
            reference = tl.where(largest == -float("inf"), 0.0, largest)
            weights = tl.exp2(scores - reference[:, None])
            factor = tl.exp2(most - reference)
            values = tl.load(v + at[:, None] * svt + dim[None], mask=at[:, None] < columns, other=0.0)
            sums = tl.dot(weights.to(values.dtype), values, sums * factor[:, None])
            total = total * factor + tl.sum(weights, 1)
            most = largest
    sums /= tl.where(total == 0.0, 1.0, total)[:, None]
    tl.store(out + row[:, None] * sot + dim[None], sums.to(tile.dtype), mask=row[:, None] < rows)


def flash_attention(q, k, v, causal=False, scale=None):
    """[batch, tokens, heads, dim], dim a power of 2; 16-bit types."""
    out = torch.empty_like(q)
    dim, rows = q.shape[3], 128
    strides = [stride for x in (q, k, v, out) for stride in x.stride()[:3]]
    grid = (triton.cdiv(q.shape[1], rows), q.shape[0] * q.shape[2])
    scale = dim**-0.5 if scale is None else scale
    _forward[grid](
        q, k, v, out, *strides, q.shape[1], k.shape[1], q.shape[2], q.shape[2] // k.shape[2], scale,
        CAUSAL=causal, DIM=dim, ROWS=rows, COLUMNS=128 if dim == 64 else 64, num_warps=8, num_stages=3,
    )
    return out


@triton.jit
def _fma(out, count, a, b, SIZE: tl.constexpr):
    x = tl.arange(0, SIZE).to(tl.float32)
    for _ in range(count):
        for _ in tl.static_range(32):
            x = x * a + b
    tl.store(out + tl.arange(0, SIZE), x)


def fma_launch(out, count, blocks):
    """`blocks` blocks of 32 x 2048 x `count` FMAs; out [2048] f32."""
    _fma[(blocks,)](out, count, 0.999, 0.001, SIZE=2048, num_warps=4)
