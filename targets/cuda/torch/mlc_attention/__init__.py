# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Attention on CUDA devices by the kernels of mlc.

    from mlc_attention import flash_attention
    out = flash_attention(q, k, v, causal=True)        # [batch, tokens, heads, dim]

A query row i of n sees key c of m if i + m - n - left <= c <= i + m - n + right: `window` = (left, right), -1 for no
bound, or one number for both. `causal` makes right 0: aligned at the bottom right, so the last query sees the last key.
A row that sees nothing is 0.
"""

import math

import torch

from . import _check, _ops

__all__ = ["flash_attention", "flash_attention_varlen", "flash_attention_cached"]


def _bounds(causal, window):
    if window is None:
        left, right = -1, -1
    elif isinstance(window, int):
        left, right = window, window
    else:
        left, right = window
    _check.check_window(left, right)
    return left, 0 if causal else right


def _numbers(q, softmax_scale, softcap):
    if not (math.isfinite(softcap) and softcap >= 0):
        raise RuntimeError(f"flash_attention: softcap is {softcap}; it must be 0 (none) or a positive number")
    scale = 1 / math.sqrt(q.shape[-1]) if softmax_scale is None else float(softmax_scale)
    if not math.isfinite(scale):
        raise RuntimeError(f"flash_attention: softmax_scale is {scale}; it must be finite")
    return scale, float(softcap)


def _needs_gradient(q, k, v):
    """Whether autograd will ask for one, which the kernels must have for this type and head size."""
    if not torch.is_grad_enabled() or not (q.requires_grad or k.requires_grad or v.requires_grad):
        return False
    if q.dtype == torch.float32 or q.shape[-1] not in _check.BACKWARD_HEAD_DIMS:
        raise RuntimeError(
            f"flash_attention: no gradients for {q.dtype} with head size {q.shape[-1]}; they exist for bfloat16 and "
            "float16 with head size 64 and 128. Use torch.no_grad(), or scaled_dot_product_attention to train."
        )
    return True


def _check_compensated(q, compensated):
    if compensated and q.dtype != torch.float32:
        raise RuntimeError(f"flash_attention: compensated is for float32, query is {q.dtype}")


def flash_attention(
    q, k, v, *, causal=False, window=None, softmax_scale=None, softcap=0.0, compensated=False, return_lse=False
):
    """softmax(softmax_scale * q k^T, masked) v.

    q [batch, tokens, heads, dim], k and v [batch, tokens, heads_kv, dim], heads a multiple of heads_kv; bfloat16,
    float16 or float32; dim 64, 80, 96, 128 or 256. Any strides of the first three dimensions that are multiples of 16
    bytes will do, so tensors laid out as scaled_dot_product_attention takes them pass as x.transpose(1, 2), without a
    copy; the output has the strides of q.

    softmax_scale: 1 / sqrt(dim) if None. softcap c > 0: scores s become c * tanh(s / c). float32 uses FMA products only
    (no TF32); `compensated` keeps scores in two floats, for scores up to 100. Differentiable for bfloat16 and float16
    with dim 64 and 128. return_lse: also the log-sum-exp of the scores, float32 [batch, heads, tokens].
    """
    _check.check_dense(q, k, v)
    _check_compensated(q, compensated)
    left, right = _bounds(causal, window)
    scale, softcap = _numbers(q, softmax_scale, softcap)
    with_lse = return_lse or _needs_gradient(q, k, v)
    out, lse = _ops.attention(q, k, v, left, right, scale, softcap, compensated, with_lse)
    return (out, lse) if return_lse else out


def flash_attention_varlen(
    q,
    k,
    v,
    cu_seqlens_q,
    cu_seqlens_kv,
    max_seqlen_q,
    max_seqlen_kv,
    *,
    causal=False,
    window=None,
    softmax_scale=None,
    softcap=0.0,
    compensated=False,
    return_lse=False,
    validate=True,
):
    """flash_attention() of sequences of different lengths, laid end to end: q [tokens, heads, dim], k and v [tokens,
    heads_kv, dim]; sequence i is tokens cu_seqlens[i] to cu_seqlens[i + 1] (int32, on the device). lse: [heads, tokens].

    The lengths are read and checked, which waits for the device, whenever the tensor has changed; validate=False leaves
    that out (as capture into a CUDA graph does): lengths that lie are then cut to what the tensors hold.
    """
    _check.check_ragged(q, k, v, cu_seqlens_q, cu_seqlens_kv, max_seqlen_q, max_seqlen_kv)
    _check_compensated(q, compensated)
    left, right = _bounds(causal, window)
    scale, softcap = _numbers(q, softmax_scale, softcap)
    with_lse = return_lse or _needs_gradient(q, k, v)
    out, lse = _ops.attention_varlen(
        q,
        k,
        v,
        cu_seqlens_q,
        cu_seqlens_kv,
        max_seqlen_q,
        max_seqlen_kv,
        left,
        right,
        scale,
        softcap,
        compensated,
        with_lse,
        validate,
    )
    return (out, lse) if return_lse else out


def flash_attention_cached(
    q,
    k,
    v,
    lengths=None,
    page_table=None,
    *,
    causal=True,
    window=None,
    softmax_scale=None,
    softcap=0.0,
    k_scales=None,
    v_scales=None,
    splits=0,
    return_lse=False,
    validate=True,
):
    """Queries at the end of cached sequences (decoding, 1 to 8 tokens, or a prompt's next part). The keys and values of
    the new tokens are in the cache already.

    q [batch, tokens, heads, dim]; k and v [batch, capacity, heads_kv, dim], or pages [pages, page_size, heads_kv, dim]
    with page_table [batch, pages of a sequence], int32. lengths [batch], int32: tokens of the cache in use, the new ones
    included. k and v are of q's type, or float8_e4m3fn (k_scales, v_scales [heads_kv] or None), or int8 (scales of each
    token: [batch or pages, tokens, heads_kv]). splits: parts of the cache that are worked on at a time; 0 chooses.

    Lengths and pages are checked as flash_attention_varlen() checks lengths. No gradients.
    """
    _check.check_cached(q, k, v, lengths, page_table, k_scales, v_scales)
    left, right = _bounds(causal, window)
    scale, softcap = _numbers(q, softmax_scale, softcap)
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        raise RuntimeError("flash_attention: no gradients through a cache; use torch.no_grad()")
    if not 0 <= splits <= 1024:
        raise RuntimeError(f"flash_attention: splits is {splits}; it must be 0 (chosen) to 1024")
    out, lse = _ops.attention_cached(
        q, k, v, lengths, page_table, k_scales, v_scales, left, right, scale, softcap, splits, return_lse, validate
    )
    return (out, lse) if return_lse else out
