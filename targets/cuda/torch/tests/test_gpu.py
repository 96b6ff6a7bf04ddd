# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The extension on a GPU: numbers, gradients, streams, graphs, memory. tests/bench/gpu holds the grid of shapes."""

import os
import sys

import pytest
import torch

sys.path.insert(0, os.path.dirname(__file__))

import oracle  # noqa: E402

from mlc_attention import flash_attention, flash_attention_cached, flash_attention_varlen  # noqa: E402

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
HALF = [torch.bfloat16, torch.float16]


def inputs(rows=300, columns=333, heads=4, heads_kv=2, dim=64, batch=2, dtype=torch.bfloat16):
    torch.manual_seed(0)
    shapes = [(batch, rows, heads, dim), (batch, columns, heads_kv, dim), (batch, columns, heads_kv, dim)]
    return [torch.randn(shape, device="cuda").to(dtype) for shape in shapes]


def error(found, expected):
    return ((found.double() - expected).norm() / expected.norm()).item()


def bar(dtype):
    return {torch.bfloat16: 8e-3, torch.float16: 1e-3, torch.float32: 1e-6}[dtype]


@pytest.mark.parametrize("dim", [64, 80, 96, 128, 256])
@pytest.mark.parametrize("dtype", [*HALF, torch.float32])
def test_forward(dtype, dim):
    q, k, v = inputs(dim=dim, dtype=dtype)
    out, lse = flash_attention(q, k, v, causal=True, window=(100, -1), softcap=20.0, return_lse=True)
    expected, expected_lse = oracle.attention(q, k, v, 100, 0, softcap=20.0)
    assert error(out, expected) < bar(dtype)
    torch.testing.assert_close(lse.double(), expected_lse, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dim", [64, 128])
@pytest.mark.parametrize("dtype", HALF)
def test_gradients(dtype, dim):
    q, k, v = (x.requires_grad_() for x in inputs(dim=dim, dtype=dtype))
    exact = [x.detach().double().requires_grad_() for x in (q, k, v)]
    dout = torch.randn_like(q)
    oracle.attention(*exact, -1, 0)[0].backward(dout.double())
    flash_attention(q, k, v, causal=True).backward(dout)
    for ours, theirs in zip((q, k, v), exact):
        assert error(ours.grad, theirs.grad) < bar(dtype)
    first = [x.grad.clone() for x in (q, k, v)]
    for x in (q, k, v):
        x.grad = None
    flash_attention(q, k, v, causal=True).backward(dout)
    assert all(torch.equal(x.grad, y) for x, y in zip((q, k, v), first))


def test_gradients_of_ragged_sequences():
    q, k, v = (x[0].requires_grad_() for x in inputs())
    starts = torch.tensor([0, 40, 40, 300], dtype=torch.int32, device="cuda")
    keys = torch.tensor([0, 33, 133, 333], dtype=torch.int32, device="cuda")
    dout = torch.randn_like(q)
    flash_attention_varlen(q, k, v, starts, keys, 260, 200, causal=True).backward(dout)
    exact = [x.detach().double().requires_grad_() for x in (q, k, v)]
    for i in range(3):
        rows, columns = slice(starts[i], starts[i + 1]), slice(keys[i], keys[i + 1])
        part = [x[None] for x in (exact[0][rows], exact[1][columns], exact[2][columns])]
        oracle.attention(*part, -1, 0)[0].backward(dout[None, rows].double())
    for ours, theirs in zip((q, k, v), exact):
        assert error(ours.grad, theirs.grad) < bar(q.dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_graph_capture_and_streams(dtype):
    q, k, v = inputs(dtype=dtype)
    expected = flash_attention(q, k, v, causal=True)
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        assert torch.equal(flash_attention(q, k, v, causal=True), expected)
    stream.synchronize()
    with torch.cuda.graph(graph):
        out = flash_attention(q, k, v, causal=True)
    out.zero_()
    for _ in range(2):
        graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(out, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_prefill_takes_no_memory(dtype):
    q, k, v = inputs(rows=2048, columns=2048, dtype=dtype)
    flash_attention(q, k, v)  # loads the kernels
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    free = torch.cuda.mem_get_info()[0]
    out = flash_attention(q, k, v)
    torch.cuda.synchronize()
    assert torch.cuda.max_memory_allocated() - before == out.nbytes
    assert torch.cuda.mem_get_info()[0] >= free - out.nbytes - (2 << 20)


def test_compiled():
    q, k, v = (x.requires_grad_() for x in inputs())

    def layer(q, k, v):
        return flash_attention(q * 2, k, v, causal=True).float().sin().sum()

    expected = layer(q, k, v)
    gradients = torch.autograd.grad(expected, (q, k, v))
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")(q, k, v)
    torch.testing.assert_close(compiled, expected)
    for ours, theirs in zip(torch.autograd.grad(compiled, (q, k, v)), gradients):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", ["flash_attention"])
def test_opcheck(name):
    q, k, v = (x.requires_grad_() for x in inputs(rows=8, columns=16))
    torch.library.opcheck(getattr(torch.ops.mlc, name).default, (q, k, v, -1, 0, 0.125, 0.0, False, True))


@pytest.mark.parametrize("rows", [1, 2, 8])
@pytest.mark.parametrize("kind", ["same", "int8", "fp8"])
def test_paged_decoding(rows, kind):
    q, k, v = inputs(rows=rows, columns=512, heads=8, dim=128)
    lengths = torch.tensor([512, 77], dtype=torch.int32, device="cuda")
    table = torch.randperm(16, device="cuda").int().view(2, 8)
    scales = {}
    if kind == "int8":
        k, v = ((x.float() * 40).round().clamp(-127, 127).char() for x in (k, v))
        scales = {f"{name}_scales": torch.rand(16, 64, 2, device="cuda") / 40 for name in "kv"}
    elif kind == "fp8":
        k, v = (x.to(torch.float8_e4m3fn) for x in (k, v))
        scales = {f"{name}_scales": torch.rand(2, device="cuda") for name in "kv"}
    pages = []
    for x in (k, v):
        pool = torch.empty(16, 64, 2, 128, dtype=x.dtype, device="cuda")
        pool.view(torch.int8 if kind != "same" else x.dtype)[table.view(-1).long()] = x.view(
            torch.int8 if kind != "same" else x.dtype
        ).reshape(16, 64, 2, 128)
        pages.append(pool)
    out = flash_attention_cached(q, *pages, lengths, table, **scales)
    for i in range(2):
        whole = []
        for name, x in zip("kv", (k, v)):
            values = x[i : i + 1, : lengths[i]].double()
            if kind == "int8":
                values *= scales[f"{name}_scales"][table[i].long()].reshape(1, 512, 2, 1)[:, : lengths[i]]
            elif kind == "fp8":
                values *= scales[f"{name}_scales"][:, None]
            whole.append(values)
        expected, _ = oracle.attention(q[i : i + 1], *whole, -1, 0)
        assert error(out[i : i + 1], expected) < bar(q.dtype)


def test_lengths_beyond_the_pages():
    q, k, v = inputs(rows=1, columns=64)
    lengths = torch.tensor([64, 65], dtype=torch.int32, device="cuda")
    with pytest.raises(RuntimeError, match="65 tokens; 64 fit"):
        flash_attention_cached(q, k, v, lengths)
