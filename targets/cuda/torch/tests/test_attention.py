# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The extension without a GPU: what is refused, fake tensors, torch.compile; with the emulator's library
(MLC_ATTENTION_EMULATOR) also the numbers, through the same path as on a device."""

import os
import sys

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import scaled_dot_product_attention

sys.path.insert(0, os.path.dirname(__file__))

import oracle  # noqa: E402

from mlc_attention import flash_attention, flash_attention_cached, flash_attention_varlen  # noqa: E402

emulated = pytest.mark.skipif(not os.environ.get("MLC_ATTENTION_EMULATOR"), reason="MLC_ATTENTION_EMULATOR is not set")


def inputs(rows=40, columns=50, heads=2, heads_kv=1, dim=64, batch=2, dtype=torch.float32, **options):
    torch.manual_seed(0)
    shapes = [(batch, rows, heads, dim), (batch, columns, heads_kv, dim), (batch, columns, heads_kv, dim)]
    return [torch.randn(shape, dtype=dtype, **options) for shape in shapes]


def zeros(*shape, dtype=torch.float32, **options):
    return torch.zeros(shape, dtype=dtype, **options)


def ints(*values):
    return torch.tensor(values, dtype=torch.int32)


# Shapes that scaled_dot_product_attention refuses too: [batch, heads, tokens, dim].
SHARED = [
    [zeros(2, 4, 8, 64), zeros(2, 4, 8, 128), zeros(2, 4, 8, 128)],
    [zeros(2, 4, 8, 64), zeros(2, 3, 8, 64), zeros(2, 3, 8, 64)],
    [zeros(2, 4, 8, 64), zeros(3, 4, 8, 64), zeros(3, 4, 8, 64)],
    [zeros(64), zeros(64), zeros(64)],
    [zeros(2, 4, 8, 64), zeros(2, 4, 8, 64, dtype=torch.float64), zeros(2, 4, 8, 64)],
    [zeros(2, 4, 8, 64), zeros(2, 4, 8, 64, device="meta"), zeros(2, 4, 8, 64)],
]


@pytest.mark.parametrize("tensors", SHARED)
def test_says_what_scaled_dot_product_attention_says(tensors):
    with pytest.raises(RuntimeError) as theirs:
        scaled_dot_product_attention(*tensors, enable_gqa=True)
    with pytest.raises(RuntimeError) as ours:
        flash_attention(*(x.transpose(1, 2) if x.dim() == 4 else x for x in tensors))
    assert str(ours.value).splitlines()[0] == str(theirs.value).splitlines()[0]


q, k, v = inputs()
odd = zeros(2, 40, 2, 72)[..., :64].to(torch.bfloat16)
REFUSED = [
    (lambda: flash_attention(q[0], q[0], q[0]), "of 4 dimensions"),
    (lambda: flash_attention(q.int(), k.int(), v.int()), "query is torch.int32"),
    (lambda: flash_attention(q.double(), k.double(), v.double()), "query is torch.float64"),
    (lambda: flash_attention(q, k, v[:, :3]), "batch2 tensor|do not fit"),
    (lambda: flash_attention(q[..., :48], k[..., :48], v[..., :48]), "head size 48 is not compiled in; 64, 80, 96"),
    (lambda: flash_attention(q, k[:, :, :0], v[:, :, :0]), "Number of heads in key and value must be greater than 0"),
    (lambda: flash_attention(zeros(2, 40, 2, 128)[..., ::2], k, v), "query: the head dimension must be contiguous"),
    (lambda: flash_attention(zeros(2, 40, 2, 66)[..., :64], k, v), "query: the stride of dimension 2 is 66"),
    (lambda: flash_attention(q, k, v, window=(-2, 0)), "window's bound is -2"),
    (lambda: flash_attention(q, k, v, softcap=-1.0), "softcap is -1.0"),
    (lambda: flash_attention(q, k, v, softmax_scale=float("nan")), "softmax_scale is nan"),
    (lambda: flash_attention(odd, odd, odd, compensated=True), "compensated is for float32"),
    (lambda: flash_attention(q.requires_grad_(), k, v), "no gradients for torch.float32 with head size 64"),
    (lambda: flash_attention_varlen(q, k, v, ints(0), ints(0), 1, 1), "3 dimensions"),
    (lambda: flash_attention_varlen(q[0], k[0], v[0], ints(0, 40), ints(0), 40, 50), "2 entries and cu_seqlens_kv 1"),
    (lambda: flash_attention_varlen(q[0], k[0], v[0], ints(0, 40).long(), ints(0, 50), 40, 50), "contiguous int32"),
    (lambda: flash_attention_varlen(q[0], k[0], v[0], ints(0, 40), ints(0, 50), -1, 50), "max_seqlen_q is -1"),
    (lambda: flash_attention_varlen(q[0], k[0], v[0], ints(0, 30, 20, 40), ints(0, 1, 2, 50), 40, 50), "negative length -10"),
    (lambda: flash_attention_varlen(q[0], k[0], v[0], ints(0, 41), ints(0, 50), 41, 50), "0 to the 40 tokens"),
    (lambda: flash_attention_varlen(q[0], k[0], v[0], ints(0, 40), ints(0, 50), 39, 50), "longest was said to have 39"),
    (lambda: flash_attention_cached(q, k[:1], v[:1]), "query has batch 2, key and value 1"),
    (lambda: flash_attention_cached(q, k, v, ints(50, -3)), "sequence 1 has the negative length -3"),
    (lambda: flash_attention_cached(q, k, v, ints(50, 51)), "sequence 1 has 51 tokens; 50 fit"),
    (lambda: flash_attention_cached(q, k, v, ints(50)), "lengths has 1 entries for a batch of 2"),
    (lambda: flash_attention_cached(q, k, v, None, ints(0, 1).view(2, 1)), "needs the sequences' lengths"),
    (lambda: flash_attention_cached(q, k, v, ints(50, 51), ints(0, 1).view(2, 1)), "1 pages of 50 hold 50"),
    (lambda: flash_attention_cached(q, k, v, ints(50, 1), ints(0, 2).view(2, 1)), "names page 2; there are 2"),
    (lambda: flash_attention_cached(q, k.char(), v.char()), "int8 keys and values need k_scales of shape"),
    (lambda: flash_attention_cached(q, k.half(), v.half()), "key is torch.float16 and value torch.float16"),
    (lambda: flash_attention_cached(q, k, v, splits=-1), "splits is -1"),
    (lambda: flash_attention_cached(q, k, v, k_scales=zeros(2)), "k_scales is given"),
]


@pytest.mark.parametrize("call, text", REFUSED)
def test_refused_before_any_launch(call, text):
    q.requires_grad_(False)
    with pytest.raises(RuntimeError, match=text):
        call()


def test_a_device_without_kernels_is_named(monkeypatch):
    from mlc_attention import _library

    monkeypatch.delenv("MLC_ATTENTION_EMULATOR", raising=False)
    _library.library.cache_clear()
    with pytest.raises(RuntimeError, match="tensors are on a cpu device"):
        flash_attention(q.detach(), k, v)
    _library.library.cache_clear()


def test_lengths_are_checked_again_when_they_change():
    from mlc_attention import _check

    lengths = ints(3, 4)
    _check.check_lengths(lengths, 4)
    _check.check_lengths(lengths, 4)
    lengths[1] = 5
    with pytest.raises(RuntimeError, match="5 tokens; 4 fit"):
        _check.check_lengths(lengths, 4)


def test_fake_tensors():
    with FakeTensorMode():
        a, b, c = inputs(dtype=torch.bfloat16, device="cuda")
        out, lse = flash_attention(a, b, c, causal=True, return_lse=True)
        assert out.shape == a.shape and out.dtype == a.dtype and out.device == a.device
        assert lse.shape == (2, 2, 40) and lse.dtype == torch.float32
        with pytest.raises(RuntimeError, match="head size"):
            flash_attention(a[..., :48], b[..., :48], c[..., :48])
        starts = torch.zeros(3, dtype=torch.int32, device="cuda")
        out, lse = flash_attention_varlen(a[0], b[0], c[0], starts, starts, 40, 50, return_lse=True)
        assert out.shape == a[0].shape and lse.shape == (2, 40)
        assert flash_attention_cached(a, b, c, starts[:2]).shape == a.shape


def test_compiles_in_one_graph():
    def layer(a, b, c):
        return flash_attention(a * 2, b, c, causal=True).sum()

    seen = []

    def backend(graph, example):
        seen.append([str(node.target) for node in graph.graph.nodes if node.op == "call_function"])
        return graph.forward

    with FakeTensorMode():
        a, b, c = inputs(dtype=torch.bfloat16, device="cuda")
        exported = torch.compile(layer, backend=backend, fullgraph=True)
        exported(a, b, c)
    assert len(seen) == 1 and any("mlc.flash_attention" in name for name in seen[0])


@emulated
@pytest.mark.parametrize("name", ["flash_attention", "flash_attention_backward", "flash_attention_cached"])
def test_operators_pass_opcheck(name):
    operator = getattr(torch.ops.mlc, name).default
    a, b, c = inputs(rows=3, columns=5, dtype=torch.float32)
    if name == "flash_attention":
        arguments = (a, b, c, -1, 0, 0.125, 0.0, False, True)
    elif name == "flash_attention_cached":
        arguments = (a, b, c, ints(5, 2), None, None, None, -1, 0, 0.125, 0.0, 0, True, True)
    else:
        a, b, c = (x.to(torch.bfloat16) for x in (a, b, c))
        out, lse = oracle.attention(a, b, c, scale=0.125)
        arguments = (a, a, b, c, out.to(a.dtype), lse.float().contiguous(), -1, -1, 0.125, 0.0)
    torch.library.opcheck(operator, arguments, test_utils=("test_schema", "test_faketensor"))


@emulated
@pytest.mark.parametrize(
    "options", [{}, {"causal": True}, {"window": (7, 3)}, {"window": 9, "causal": True, "softcap": 2.0}]
)
@pytest.mark.parametrize("compensated", [False, True])
def test_float32(options, compensated):
    a, b, c = inputs()
    out, lse = flash_attention(a, b, c, compensated=compensated, return_lse=True, softmax_scale=0.3, **options)
    left, right = {None: (-1, -1), 9: (9, 9)}.get(options.get("window"), (7, 3))
    right = 0 if options.get("causal") else right
    expected, expected_lse = oracle.attention(a, b, c, left, right, 0.3, options.get("softcap", 0.0))
    assert (out - expected).abs().max() < 1e-6 * expected.abs().max()
    torch.testing.assert_close(lse.double(), expected_lse, rtol=1e-6, atol=1e-6)


@emulated
def test_views_are_read_where_they_are():
    a, b, c = inputs()
    expected = flash_attention(a, b, c, causal=True)
    packed = torch.zeros(2, 50, 4, 64)  # q | k | v | nothing, of [batch, tokens, heads, dim]
    packed[:, :40, :2], packed[:, :, 2:3], packed[:, :, 3:] = a, b, c
    assert torch.equal(flash_attention(packed[:, :40, :2], packed[:, :, 2:3], packed[:, :, 3:], causal=True), expected)
    # As scaled_dot_product_attention has it.
    swapped = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (a, b, c)]
    out = flash_attention(*swapped, causal=True)
    assert torch.equal(out, expected) and out.stride() == swapped[0].stride()
    spread = flash_attention(a, b.expand(2, 50, 1, 64), c[:1].expand(2, 50, 1, 64), causal=True)
    assert torch.equal(spread[0], expected[0])


@emulated
def test_rows_without_keys_are_zero():
    a, b, c = inputs(rows=50, columns=20)
    out, lse = flash_attention(a, b, c, causal=True, return_lse=True)
    assert not out[:, :30].any() and (lse[:, :, :30] == -torch.inf).all()
    assert not flash_attention(a, b[:, :0], c[:, :0]).any()


@emulated
def test_ragged_and_cached():
    a, b, c = inputs(columns=64, heads=4, heads_kv=2)
    starts, keys = ints(0, 5, 5, 40), ints(0, 30, 50, 64)
    out = flash_attention_varlen(a[0], b[0], c[0], starts, keys, 35, 30, causal=True)
    for i in range(3):
        q_range, kv_range = slice(starts[i], starts[i + 1]), slice(keys[i], keys[i + 1])
        expected, _ = oracle.attention(a[:1, q_range], b[:1, kv_range], c[:1, kv_range], -1, 0)
        torch.testing.assert_close(out[None, q_range].double(), expected, rtol=1e-5, atol=1e-6)
    a, b, c = inputs(columns=256, heads=4, heads_kv=2)
    lengths, table = ints(200, 70), ints(3, 0, 1, 2, 2, 3, -1, 9).view(2, 4)
    pages = [x[0].view(4, 64, 2, 64) for x in (b, c)]
    out = flash_attention_cached(a[:, :2], *pages, lengths, table)
    for i in range(2):
        whole = [p[table[i].clamp(0, 3).long()].reshape(1, 256, 2, 64)[:, : lengths[i]] for p in pages]
        expected, _ = oracle.attention(a[i : i + 1, :2], *whole, -1, 0)
        torch.testing.assert_close(out[i : i + 1].double(), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(RuntimeError, match="pages of 16 tokens; f32 needs a multiple of 64"):
        flash_attention_cached(a, *(x.view(16, 16, 2, 64) for x in pages), lengths, ints(*[0] * 32).view(2, 16))


@emulated
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_gradients(dtype):
    """Of the registered backward operator; the forward pass is the oracle's."""
    a, b, c = inputs(dtype=dtype)
    exact = [x.double().requires_grad_() for x in (a, b, c)]
    out, lse = oracle.attention(*exact, 9, 0)
    dout = torch.randn_like(a)
    out.backward(dout.double())
    out, lse = out.detach().to(dtype), lse.detach().float().contiguous()
    found = torch.ops.mlc.flash_attention_backward(dout, a, b, c, out, lse, 9, 0, 0.125, 0.0)
    for ours, theirs in zip(found, exact):
        error = (ours.double() - theirs.grad).norm() / theirs.grad.norm()
        assert error < (8e-3 if dtype == torch.bfloat16 else 1e-3)
    ones = torch.ones(1, dtype=dtype).expand_as(a)
    for ours, theirs in zip(
        torch.ops.mlc.flash_attention_backward(ones, a, b, c, out, lse, 9, 0, 0.125, 0.0),
        torch.ops.mlc.flash_attention_backward(ones.contiguous(), a, b, c, out, lse, 9, 0, 0.125, 0.0),
    ):
        assert torch.equal(ours, theirs)
