# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What is refused before anything is launched. Nothing here looks at the values of a tensor but check_lengths()."""

import torch
from torch.nn import functional
from torch.utils import weak

HEAD_DIMS = (64, 80, 96, 128, 256)
BACKWARD_HEAD_DIMS = (64, 128)
DTYPES = (torch.bfloat16, torch.float16, torch.float32)
_INT32_MAX = 2**31 - 1


# Tensors of lengths that were found good: their version, and what they were checked against.
_checked = weak.WeakTensorKeyDictionary()


def _fail(text):
    raise RuntimeError(f"flash_attention: {text}")


def _as_scaled_dot_product_attention(q, k, v):
    """Raises what scaled_dot_product_attention says of these shapes and types, if it says anything."""

    def meta(tensor):
        if tensor.dim() == 4:
            tensor = tensor.transpose(1, 2)
        return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")

    functional.scaled_dot_product_attention(meta(q), meta(k), meta(v), enable_gqa=True)


def _check_kinds(q, k, v, kv_dtypes=None):
    if not (q.device == k.device == v.device):
        raise RuntimeError(
            "Expected query, key, and value to have the same device type, but got query.device: "
            f"{q.device} key.device: {k.device} and value.device: {v.device} instead."
        )
    if q.dtype not in DTYPES:
        _fail(f"query is {q.dtype}; the kernels take bfloat16, float16 and float32")
    if kv_dtypes is None:
        if not (q.dtype == k.dtype == v.dtype):
            _as_scaled_dot_product_attention(q, k, v)
            _fail(f"query is {q.dtype}, key {k.dtype}, value {v.dtype}; they must agree")
    elif k.dtype != v.dtype or k.dtype not in (q.dtype, *kv_dtypes):
        _fail(
            f"key is {k.dtype} and value {v.dtype}; with a {q.dtype} query both must be of that type"
            + "".join(f", or {dtype}" for dtype in kv_dtypes)
        )


def _check_heads(q, k, v):
    if q.shape[-1] not in HEAD_DIMS:
        _fail(f"head size {q.shape[-1]} is not compiled in; {', '.join(map(str, HEAD_DIMS))} are")
    if k.shape[-2] == 0:
        raise RuntimeError("Number of heads in key and value must be greater than 0")
    if q.shape[-2] == 0 or q.shape[-2] % k.shape[-2]:
        raise RuntimeError("Number of heads in key and value must divide the number of heads in query")
    for name, tensor in (("query", q), ("key", k), ("value", v)):
        check_layout(name, tensor)


def check_layout(name, tensor):
    """Strides and sizes that the kernels can address."""
    if tensor.numel() == 0:
        return
    if tensor.stride(-1) != 1:
        _fail(f"{name}: the head dimension must be contiguous, its stride is {tensor.stride(-1)}")
    unit = 16 // tensor.element_size()
    for axis in range(tensor.dim() - 1):
        if tensor.shape[axis] > _INT32_MAX:
            _fail(f"{name}: dimension {axis} is {tensor.shape[axis]}; at most {_INT32_MAX} fit")
        if tensor.shape[axis] > 1 and tensor.stride(axis) % unit:
            _fail(
                f"{name}: the stride of dimension {axis} is {tensor.stride(axis)}; it must be a multiple of {unit} "
                f"elements (16 bytes)"
            )


def check_address(name, tensor):
    """Only for real tensors."""
    if tensor.numel() and tensor.data_ptr() % 16:
        _fail(f"{name}: its address must be a multiple of 16 bytes; clone() a view that begins elsewhere")


def check_dense(q, k, v):
    """[batch, tokens, heads, dim]."""
    if not (q.dim() == k.dim() == v.dim() == 4):
        _as_scaled_dot_product_attention(q, k, v)
        _fail(
            "expected query, key and value of 4 dimensions [batch, tokens, heads, dim], but got "
            f"{q.dim()}, {k.dim()} and {v.dim()}"
        )
    _check_kinds(q, k, v)
    if k.shape != v.shape or q.shape[0] != k.shape[0] or q.shape[3] != k.shape[3]:
        _as_scaled_dot_product_attention(q, k, v)
        _fail(
            f"query {list(q.shape)}, key {list(k.shape)} and value {list(v.shape)} do not fit: batch and head size "
            "must agree, and key and value must have one shape"
        )
    _check_heads(q, k, v)


def check_ragged(q, k, v, cu_seqlens_q, cu_seqlens_kv, max_seqlen_q, max_seqlen_kv):
    """[tokens of all sequences, heads, dim]."""
    if not (q.dim() == k.dim() == v.dim() == 3):
        _fail(
            "expected query, key and value of 3 dimensions [tokens, heads, dim], but got "
            f"{q.dim()}, {k.dim()} and {v.dim()}"
        )
    _check_kinds(q, k, v)
    if k.shape != v.shape or q.shape[2] != k.shape[2]:
        _fail(f"query {list(q.shape)}, key {list(k.shape)} and value {list(v.shape)} do not fit")
    _check_heads(q, k, v)
    check_integers("cu_seqlens_q", cu_seqlens_q, q.device, 1)
    check_integers("cu_seqlens_kv", cu_seqlens_kv, q.device, 1)
    if cu_seqlens_q.numel() != cu_seqlens_kv.numel() or cu_seqlens_q.numel() < 1:
        _fail(
            f"cu_seqlens_q has {cu_seqlens_q.numel()} entries and cu_seqlens_kv {cu_seqlens_kv.numel()}; both need one "
            "more than there are sequences"
        )
    for name, value in (("max_seqlen_q", max_seqlen_q), ("max_seqlen_kv", max_seqlen_kv)):
        if not 0 <= value <= _INT32_MAX:
            _fail(f"{name} is {value}; it must lie between 0 and {_INT32_MAX}")


def check_cached(q, k, v, lengths, page_table, k_scales, v_scales):
    """q [batch, tokens, heads, dim]; K and V the same, or [pages, page_size, heads, dim]."""
    if not (q.dim() == k.dim() == v.dim() == 4):
        _fail(
            "expected query, key and value of 4 dimensions [batch or pages, tokens, heads, dim], but got "
            f"{q.dim()}, {k.dim()} and {v.dim()}"
        )
    _check_kinds(q, k, v, (torch.float8_e4m3fn, torch.int8))
    if k.shape != v.shape or q.shape[3] != k.shape[3]:
        _fail(f"query {list(q.shape)}, key {list(k.shape)} and value {list(v.shape)} do not fit")
    if page_table is None and q.shape[0] != k.shape[0]:
        _fail(f"query has batch {q.shape[0]}, key and value {k.shape[0]}")
    _check_heads(q, k, v)
    if page_table is not None:
        check_integers("page_table", page_table, q.device, 2)
        if page_table.shape[0] != q.shape[0]:
            _fail(f"page_table has {page_table.shape[0]} rows for a batch of {q.shape[0]}")
        if lengths is None:
            _fail("a page table needs the sequences' lengths")
        if page_table.shape[1] * k.shape[1] > _INT32_MAX:
            _fail(f"{page_table.shape[1]} pages of {k.shape[1]} tokens are more than {_INT32_MAX} tokens")
    if lengths is not None:
        check_integers("lengths", lengths, q.device, 1)
        if lengths.numel() != q.shape[0]:
            _fail(f"lengths has {lengths.numel()} entries for a batch of {q.shape[0]}")
    for name, scales in (("k_scales", k_scales), ("v_scales", v_scales)):
        expected = {torch.int8: list(k.shape[:3]), torch.float8_e4m3fn: [k.shape[2]]}.get(k.dtype)
        if scales is None:
            if k.dtype == torch.int8:
                _fail(f"int8 keys and values need {name} of shape {expected}")
        elif expected is None:
            _fail(f"{name} is given, and keys and values are {k.dtype}")
        elif scales.dtype != torch.float32 or list(scales.shape) != expected or not scales.is_contiguous():
            _fail(
                f"{name} must be contiguous float32 of shape {expected}, but is {scales.dtype} {list(scales.shape)}"
            )
        elif scales.device != q.device:
            _fail(f"{name} is on {scales.device}, query on {q.device}")


def check_integers(name, tensor, device, dims):
    if tensor.dtype != torch.int32 or tensor.dim() != dims or not tensor.is_contiguous():
        _fail(f"{name} must be a contiguous int32 tensor of {dims} dimensions, but is {tensor.dtype} {list(tensor.shape)}")
    if tensor.device != device:
        _fail(f"{name} is on {tensor.device}, query on {device}")


def check_window(window_left, window_right):
    for value in (window_left, window_right):
        if not -1 <= value <= _INT32_MAX:
            _fail(f"a window's bound is {value}; it must be -1 (none) or count tokens")


def _is_known(tensor, against):
    """Whether the tensor was found good before and has not changed since, or cannot be read now."""
    if tensor.device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        return True
    return not tensor.is_inference() and _checked.get(tensor) == (tensor._version, against)


def _remember(tensor, against):
    if not tensor.is_inference():
        _checked[tensor] = (tensor._version, against)


def check_cumulative(name, tensor, total, longest):
    """Reads the values, which waits for the device; what was found good is remembered until it changes."""
    if _is_known(tensor, (total, longest)):
        return
    values = tensor.tolist()
    if values[0] != 0 or values[-1] != total:
        _fail(f"{name} goes from {values[0]} to {values[-1]}; it must go from 0 to the {total} tokens there are")
    for i, (begin, end) in enumerate(zip(values, values[1:])):
        if end < begin:
            _fail(f"{name}: sequence {i} has the negative length {end - begin}")
        if end - begin > longest:
            _fail(f"{name}: sequence {i} has {end - begin} tokens; the longest was said to have {longest}")
    _remember(tensor, (total, longest))


def check_lengths(lengths, most, page_table=None, page_size=0, pages=0):
    """As check_cumulative(), of tokens in use, at most `most`, and of the pages that hold them."""
    against = (most, page_size, pages)
    if page_table is not None:
        version = None if page_table.is_inference() else page_table._version
        against += (page_table.data_ptr(), version)
    if _is_known(lengths, against):
        return
    values = lengths.tolist()
    for i, length in enumerate(values):
        if length < 0:
            _fail(f"lengths: sequence {i} has the negative length {length}")
        if length > most and page_table is not None:
            _fail(f"lengths: sequence {i} has {length} tokens; {page_table.shape[1]} pages of {page_size} hold {most}")
        if length > most:
            _fail(f"lengths: sequence {i} has {length} tokens; {most} fit")
    if page_table is not None:
        # What a sequence does not use of its row may be anything.
        for i, (length, places) in enumerate(zip(values, page_table.tolist())):
            for place in places[: -(-length // page_size)]:
                if not 0 <= place < pages:
                    _fail(f"page_table: sequence {i} names page {place}; there are {pages}")
        if page_table.is_inference():
            return
    _remember(lengths, against)
