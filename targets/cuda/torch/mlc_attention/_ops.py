# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The operators mlc::*, registered with torch.library: implementation, fake tensors, gradients.

They take what the functions of this package have checked and brought into one form: windows as two bounds, the scale
as a number.
"""

import ctypes
from typing import Optional, Tuple

import torch
from torch import Tensor

from . import _check, _library


def _problem(q, k, v, out, lse, window, scale, softcap):
    problem = _library.Problem()
    problem.dtype = _library.DTYPES[q.dtype]
    problem.kv_dtype = _library.DTYPES[k.dtype]
    problem.head_dim = q.shape[-1]
    problem.heads_q, problem.heads_kv = q.shape[-2], k.shape[-2]
    problem.batch, problem.seq_q, problem.seq_kv = q.shape[0], q.shape[1], k.shape[1]
    for name, tensor in (("query", q), ("key", k), ("value", v), ("output", out)):
        _check.check_address(name, tensor)
    problem.q, problem.k = _library.view(q), _library.view(k)
    problem.v, problem.out = _library.view(v), _library.view(out)
    problem.lse = lse.data_ptr() if lse.numel() else None
    problem.window_left, problem.window_right = window
    problem.scale, problem.softcap = scale, softcap
    return problem


def _ragged(problem, q, k, cu_seqlens_q, cu_seqlens_kv, max_seqlen_q, max_seqlen_kv):
    problem.batch = cu_seqlens_q.numel() - 1
    problem.seq_q, problem.seq_kv = max_seqlen_q, max_seqlen_kv
    problem.total_q, problem.total_kv = q.shape[0], k.shape[0]
    problem.cu_seqlens_q, problem.cu_seqlens_kv = cu_seqlens_q.data_ptr(), cu_seqlens_kv.data_ptr()
    return problem


def _run(problem, q, compensated):
    """The forward pass into the problem's output."""
    reference = ctypes.byref(problem)
    stream = _library.stream(q.device)
    if q.dtype == torch.float32:
        _library.call("mlc_attention_exact_forward", q.device, reference, int(compensated), stream)
        return
    with torch.cuda.device(q.device):
        size = _library.library(q.device.type).mlc_attention_workspace(reference)
    workspace = _workspace(q.device, stream, size)
    size, address = (0, None) if workspace is None else (workspace.numel(), workspace.data_ptr())
    _library.call("mlc_attention_forward", q.device, reference, stream, address, size)


_WORKSPACES = {}  # by device and stream; zeros where the kernels count, between launches


def _workspace(device, stream, size):
    """At least `size` bytes that are the stream's alone. A captured graph may run beside the stream that captured it,
    so it gets its own, and none that it can do without."""
    if torch.cuda.is_current_stream_capturing():
        return torch.zeros(size, dtype=torch.uint8, device=device) if size else None
    kept = _WORKSPACES.get((device, stream))
    if kept is None or kept.numel() < size:
        kept = _WORKSPACES[device, stream] = torch.zeros(max(size, 16), dtype=torch.uint8, device=device)
    return kept


def _lse_like(q, wanted):
    """[batch, heads, tokens], ragged [heads, tokens]; empty if not wanted."""
    shape = (*q.shape[:-3], q.shape[-2], q.shape[-3]) if wanted else (0,)
    return torch.empty(shape, dtype=torch.float32, device=q.device)


def _gradients(problem, q, dout, dq, dk, dv):
    gradients = _library.Gradients(*(_library.view(tensor) for tensor in (dout, dq, dk, dv)))
    reference = ctypes.byref(problem)
    size = _library.library(q.device.type).mlc_attention_backward_workspace(reference)
    workspace = torch.empty(size, dtype=torch.uint8, device=q.device)
    _library.call(
        "mlc_attention_backward",
        q.device,
        reference,
        ctypes.byref(gradients),
        _library.stream(q.device),
        workspace.data_ptr(),
        size,
    )
    return dq, dk, dv


def _readable(dout):
    """dout, copied only if the kernels cannot address it: autograd may hand over an expanded tensor."""
    unit = 16 // dout.element_size()
    readable = dout.stride(-1) == 1 and not any(stride % unit for stride in dout.stride()[:-1])
    return dout if readable and dout.data_ptr() % 16 == 0 else dout.contiguous()


@torch.library.custom_op("mlc::flash_attention", mutates_args=())
def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    window_left: int,
    window_right: int,
    scale: float,
    softcap: float,
    compensated: bool,
    with_lse: bool,
) -> Tuple[Tensor, Tensor]:
    out, lse = torch.empty_like(q), _lse_like(q, with_lse)
    if q.numel():
        _run(_problem(q, k, v, out, lse, (window_left, window_right), scale, softcap), q, compensated)
    return out, lse


@attention.register_fake
def _(q, k, v, window_left, window_right, scale, softcap, compensated, with_lse):
    return torch.empty_like(q), _lse_like(q, with_lse)


@torch.library.custom_op("mlc::flash_attention_backward", mutates_args=())
def attention_backward(
    dout: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    window_left: int,
    window_right: int,
    scale: float,
    softcap: float,
) -> Tuple[Tensor, Tensor, Tensor]:
    dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    if not q.numel() or not k.numel():
        return dq.zero_(), dk.zero_(), dv.zero_()
    problem = _problem(q, k, v, out, lse, (window_left, window_right), scale, softcap)
    return _gradients(problem, q, _readable(dout), dq, dk, dv)


@attention_backward.register_fake
def _(dout, q, k, v, out, lse, window_left, window_right, scale, softcap):
    return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)


def _save(ctx, inputs, output):
    q, k, v, *options, compensated, with_lse = inputs
    ctx.save_for_backward(q, k, v, *output)
    ctx.options = options
    ctx.mark_non_differentiable(output[1])


def _backward(ctx, dout, _):
    q, k, v, out, lse = ctx.saved_tensors
    return (*attention_backward(dout, q, k, v, out, lse, *ctx.options), *[None] * 6)


attention.register_autograd(_backward, setup_context=_save)


@torch.library.custom_op("mlc::flash_attention_varlen", mutates_args=())
def attention_varlen(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_kv: Tensor,
    max_seqlen_q: int,
    max_seqlen_kv: int,
    window_left: int,
    window_right: int,
    scale: float,
    softcap: float,
    compensated: bool,
    with_lse: bool,
    validate: bool,
) -> Tuple[Tensor, Tensor]:
    if validate:
        _check.check_cumulative("cu_seqlens_q", cu_seqlens_q, q.shape[0], max_seqlen_q)
        _check.check_cumulative("cu_seqlens_kv", cu_seqlens_kv, k.shape[0], max_seqlen_kv)
    out, lse = torch.empty_like(q), _lse_like(q, with_lse)
    if q.numel():
        problem = _problem(q, k, v, out, lse, (window_left, window_right), scale, softcap)
        _run(_ragged(problem, q, k, cu_seqlens_q, cu_seqlens_kv, max_seqlen_q, max_seqlen_kv), q, compensated)
    return out, lse


@attention_varlen.register_fake
def _(q, k, v, cu_q, cu_kv, max_q, max_kv, left, right, scale, softcap, compensated, with_lse, validate):
    return torch.empty_like(q), _lse_like(q, with_lse)


@torch.library.custom_op("mlc::flash_attention_varlen_backward", mutates_args=())
def attention_varlen_backward(
    dout: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_kv: Tensor,
    max_seqlen_q: int,
    max_seqlen_kv: int,
    window_left: int,
    window_right: int,
    scale: float,
    softcap: float,
) -> Tuple[Tensor, Tensor, Tensor]:
    dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    if not q.numel() or not k.numel():
        return dq.zero_(), dk.zero_(), dv.zero_()
    problem = _problem(q, k, v, out, lse, (window_left, window_right), scale, softcap)
    problem = _ragged(problem, q, k, cu_seqlens_q, cu_seqlens_kv, max_seqlen_q, max_seqlen_kv)
    return _gradients(problem, q, _readable(dout), dq, dk, dv)


@attention_varlen_backward.register_fake
def _(dout, q, k, v, out, lse, cu_q, cu_kv, max_q, max_kv, left, right, scale, softcap):
    return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)


def _save_varlen(ctx, inputs, output):
    q, k, v, cu_q, cu_kv, *options, compensated, with_lse, validate = inputs
    ctx.save_for_backward(q, k, v, *output, cu_q, cu_kv)
    ctx.options = options
    ctx.mark_non_differentiable(output[1])


def _backward_varlen(ctx, dout, _):
    q, k, v, out, lse, cu_q, cu_kv = ctx.saved_tensors
    gradients = attention_varlen_backward(dout, q, k, v, out, lse, cu_q, cu_kv, *ctx.options)
    return (*gradients, *[None] * 11)


attention_varlen.register_autograd(_backward_varlen, setup_context=_save_varlen)


@torch.library.custom_op("mlc::flash_attention_cached", mutates_args=())
def attention_cached(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lengths: Optional[Tensor],
    page_table: Optional[Tensor],
    k_scales: Optional[Tensor],
    v_scales: Optional[Tensor],
    window_left: int,
    window_right: int,
    scale: float,
    softcap: float,
    splits: int,
    with_lse: bool,
    validate: bool,
) -> Tuple[Tensor, Tensor]:
    paged = page_table is not None
    most = page_table.shape[1] * k.shape[1] if paged else k.shape[1]
    if validate and lengths is not None:
        _check.check_lengths(lengths, most, page_table, k.shape[1] if paged else 0, k.shape[0])
    out, lse = torch.empty_like(q), _lse_like(q, with_lse)
    if not q.numel():
        return out, lse
    problem = _problem(q, k, v, out, lse, (window_left, window_right), scale, softcap)
    problem.seq_kv, problem.splits = most, splits
    if lengths is not None:
        problem.lengths_kv = lengths.data_ptr()
    if paged:
        problem.page_table = page_table.data_ptr()
        problem.pages_per_sequence, problem.page_size, problem.pages = page_table.shape[1], k.shape[1], k.shape[0]
    if k_scales is not None:
        problem.k_scales, problem.v_scales = k_scales.data_ptr(), v_scales.data_ptr()
    _run(problem, q, False)
    return out, lse


@attention_cached.register_fake
def _(q, k, v, lengths, page_table, k_scales, v_scales, left, right, scale, softcap, splits, with_lse, validate):
    return torch.empty_like(q), _lse_like(q, with_lse)
