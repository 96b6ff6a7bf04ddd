# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The C interface of targets/cuda/attention (Attention.h, Exact.h, Backward.h), by ctypes."""

import ctypes
import functools
import os
import pathlib

import torch

_i32, _i64, _f32, _pointer = ctypes.c_int32, ctypes.c_int64, ctypes.c_float, ctypes.c_void_p


class Tensor(ctypes.Structure):
    """mlc_attention_tensor: [batch, tokens, heads, dim] by strides in elements."""

    _fields_ = [("data", _pointer), ("batch", _i64), ("token", _i64), ("head", _i64)]


class Problem(ctypes.Structure):
    """mlc_attention_problem."""

    _fields_ = [
        ("dtype", _i32),
        ("kv_dtype", _i32),
        ("head_dim", _i32),
        ("batch", _i32),
        ("heads_q", _i32),
        ("heads_kv", _i32),
        ("seq_q", _i32),
        ("seq_kv", _i32),
        ("q", Tensor),
        ("k", Tensor),
        ("v", Tensor),
        ("out", Tensor),
        ("lse", _pointer),
        ("cu_seqlens_q", _pointer),
        ("cu_seqlens_kv", _pointer),
        ("total_q", _i32),
        ("total_kv", _i32),
        ("lengths_kv", _pointer),
        ("page_table", _pointer),
        ("pages_per_sequence", _i32),
        ("page_size", _i32),
        ("pages", _i32),
        ("window_left", _i32),
        ("window_right", _i32),
        ("scale", _f32),
        ("softcap", _f32),
        ("k_scales", _pointer),
        ("v_scales", _pointer),
        ("splits", _i32),
    ]


class Gradients(ctypes.Structure):
    """mlc_attention_gradients."""

    _fields_ = [("dout", Tensor), ("dq", Tensor), ("dk", Tensor), ("dv", Tensor)]


DTYPES = {
    torch.bfloat16: 0,
    torch.float16: 1,
    torch.float32: 2,
    torch.float8_e4m3fn: 3,
    torch.int8: 4,
}

_ERROR_BYTES = 512


def view(tensor):
    """The strides of [batch, tokens, heads, dim], or of ragged [tokens, heads, dim]."""
    strides = tensor.stride()[:-1]
    return Tensor(tensor.data_ptr(), *(strides if tensor.dim() == 4 else (0, *strides)))


def _load(path):
    library = ctypes.CDLL(str(path))
    problem, error = ctypes.POINTER(Problem), [ctypes.c_char_p, ctypes.c_size_t]
    workspace = [_pointer, ctypes.c_size_t]
    signatures = {
        "mlc_attention_forward": (ctypes.c_int, [problem, _pointer, *workspace, *error]),
        "mlc_attention_workspace": (ctypes.c_size_t, [problem]),
        "mlc_attention_exact_forward": (ctypes.c_int, [problem, ctypes.c_int, _pointer, *error]),
        "mlc_attention_backward": (
            ctypes.c_int,
            [problem, ctypes.POINTER(Gradients), _pointer, *workspace, *error],
        ),
        "mlc_attention_backward_workspace": (ctypes.c_size_t, [problem]),
    }
    for name, (result, arguments) in signatures.items():
        # The emulator's library has the kernels of the sm_80 path alone.
        function = getattr(library, name, None)
        if function is not None:
            function.restype, function.argtypes = result, arguments
    return library


@functools.lru_cache(maxsize=None)
def library(device_type):
    """The library whose kernels run on `device_type`: on "cpu" the emulator's, which only tests have."""
    if device_type == "cuda":
        default = pathlib.Path(__file__).with_name("libmlc_cuda_attention.so")
        return _load(os.environ.get("MLC_ATTENTION_LIBRARY") or default)
    path = os.environ.get("MLC_ATTENTION_EMULATOR")
    if device_type == "cpu" and path:
        return _load(path)
    raise RuntimeError(
        f"flash_attention: tensors are on a {device_type} device; the kernels run on CUDA devices. "
        "Use torch.nn.functional.scaled_dot_product_attention elsewhere."
    )


def call(name, device, *arguments):
    """Calls a function that takes (..., error, error_bytes), with `device` current; raises what it says."""
    error = ctypes.create_string_buffer(_ERROR_BYTES)
    function = getattr(library(device.type), name)
    if device.type == "cuda":
        with torch.cuda.device(device):
            status = function(*arguments, error, _ERROR_BYTES)
    else:
        status = function(*arguments, error, _ERROR_BYTES)
    if status:
        raise RuntimeError(f"flash_attention: {error.value.decode(errors='replace')}")


def stream(device):
    """The current stream of `device`, as a pointer."""
    return torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else None
