#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Attention over a grid of shapes and options against f64: in each block of 64 rows the root mean square and the largest
error are at most 1.5 times those of PyTorch's math backend with reduced-precision reductions disallowed.

    PYTHONPATH=targets/cuda/torch:targets/cuda/torch/tests tests/bench/gpu/attention_grid.py [--out FILE.json] [--only GROUP]

A little is added to the peer's, what another order of f32 operations leaves: a unit of a block's largest value to the
largest error and a quarter to the root mean square. Blocks with fewer rows than 32 join the one before; queries of
decoding (up to 8 rows) are taken together over heads and
sequences. Gradients are held to the same factor by their root mean square over the whole tensor; the peer works in f32
and rounds once. Exits 1 if a bar is missed.
"""
import argparse
import itertools
import json
import sys
import time

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

import oracle
from mlc_attention import flash_attention, flash_attention_cached, flash_attention_varlen

BAR = 1.5
HALF = [torch.bfloat16, torch.float16]
DIMS = [64, 80, 96, 128, 256]
# rows, columns, heads, heads of K and V
SHAPES = [(1, 1, 2, 2), (64, 64, 4, 4), (130, 130, 4, 2), (257, 513, 6, 2), (300, 100, 4, 1), (1000, 1024, 4, 4)]
# left, right, soft-cap, scale
MASKS = [(-1, -1, 0, None), (-1, 0, 0, None), (50, 0, 0, None), (70, 40, 0, 0.3), (-1, 0, 15.0, None), (90, -1, 2.0, 1.0)]


def random(*shape, dtype=torch.float32):
    return torch.randn(shape, device="cuda").to(dtype)


def peer(q, k, v, left, right, softcap, scale):
    """The math backend's output in q's type; with a soft-cap, which it lacks, the same in f32, rounded once."""
    if softcap:
        return oracle.attention(q, k, v, left, right, scale, softcap, torch.float32)[0].to(q.dtype)
    mask = ~oracle.hidden(q.shape[1], k.shape[1], left, right, q.device)
    group = q.shape[2] // k.shape[2]
    heads = [x.transpose(1, 2) for x in (q, k.repeat_interleave(group, 2), v.repeat_interleave(group, 2))]
    with sdpa_kernel(SDPBackend.MATH):
        return scaled_dot_product_attention(*heads, attn_mask=mask, scale=scale).transpose(1, 2)


class Results:
    def __init__(self):
        self.groups, self.missed = {}, []

    def group(self, name):
        empty = {"cases": 0, "blocks": 0, "rms": 0.0, "max": 0.0, "over": 0, "lse": 0.0}
        return self.groups.setdefault(name, empty)

    def blocks(self, group, case, found, theirs, exact, pooled=False):
        """[batch, rows, heads, dim], each."""
        if pooled:
            found, theirs, exact = (x.reshape(1, -1, 1, x.shape[-1]) for x in (found, theirs, exact))
        seen = theirs.isfinite().all(-1, keepdim=True)
        if not torch.equal(found.masked_fill(seen, 0), torch.zeros_like(found)):
            self.missed.append({"case": case, "what": "a row without keys is not 0"})
        ours = (found.double() - exact).masked_fill(~seen, 0)
        theirs = (theirs.double() - exact).masked_fill(~seen, 0)
        edges = list(range(0, exact.shape[1], 64))
        if len(edges) > 1 and exact.shape[1] - edges[-1] < 32:
            edges.pop()
        rms, most = [], []
        for begin, end in zip(edges, [*edges[1:], exact.shape[1]]):
            a, b = ours[:, begin:end], theirs[:, begin:end]
            floor = exact[:, begin:end].abs().amax((1, 3)) * 2**-23  # a unit of f32 in the block's largest value
            rms.append((a.square().mean((1, 3)).sqrt() / (b.square().mean((1, 3)).sqrt() + floor / 4 + 1e-30)).flatten())
            most.append((a.abs().amax((1, 3)) / (b.abs().amax((1, 3)) + floor + 1e-30)).flatten())
        rms, most = torch.cat(rms), torch.cat(most)
        entry = self.group(group)
        worst = torch.stack([rms.max(), most.max()]).tolist()
        over = int(((rms > BAR) | (most > BAR) | ~ours.isfinite().all()).sum())
        entry["cases"] += 1
        entry["blocks"] += rms.numel()
        entry["over"] += over
        entry["rms"], entry["max"] = max(entry["rms"], worst[0]), max(entry["max"], worst[1])
        if over:
            self.missed.append({"case": case, "blocks": over, "of": rms.numel(), "rms": worst[0], "max": worst[1]})

    def lse(self, group, case, found, exact):
        both = (found == exact) | (found.double() - exact).abs().le(1e-5 * exact.abs().clamp(min=1))
        if not bool(both.all()):
            self.missed.append({"case": case, "what": "log-sum-exp", "error": (found - exact).abs().max().item()})


def prefill(results):
    for dtype, dim, shape, mask in itertools.product([*HALF, torch.float32], DIMS, SHAPES, MASKS):
        rows, columns, heads, heads_kv = shape
        left, right, softcap, scale = mask
        q, k, v = random(2, rows, heads, dim), random(2, columns, heads_kv, dim), random(2, columns, heads_kv, dim)
        q, k, v = (x.to(dtype) for x in (q, k, v))
        if rows == 130:  # as scaled_dot_product_attention has them
            q, k, v = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v))
        group, case = f"forward {str(dtype)[6:]}", f"{dtype} {dim} {shape} {mask}"
        out, lse = flash_attention(
            q, k, v, window=(left, right), softmax_scale=scale, softcap=softcap, return_lse=True
        )
        exact, exact_lse = oracle.attention(q, k, v, left, right, scale, softcap)
        results.blocks(group, case, out, peer(q, k, v, left, right, softcap, scale), exact)
        results.lse(group, case, lse, exact_lse)
        if dtype == torch.float32 and mask == MASKS[1]:
            out = flash_attention(q, k, v, causal=True, compensated=True)
            results.blocks("forward compensated", case, out, peer(q, k, v, -1, 0, 0, scale), exact)


def ragged(results):
    lengths, keys = [70, 0, 1, 200, 129], [100, 30, 65, 200, 64]
    starts = torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32, device="cuda")
    starts_kv = torch.tensor([0, *itertools.accumulate(keys)], dtype=torch.int32, device="cuda")
    for dtype, dim, mask in itertools.product([*HALF, torch.float32], DIMS, MASKS[:3]):
        q, k, v = (random(n, h, dim, dtype=dtype) for n, h in ((400, 4), (459, 2), (459, 2)))
        left, right, _, _ = mask
        out = flash_attention_varlen(q, k, v, starts, starts_kv, 200, 200, window=(left, right))
        for i in range(5):
            if not lengths[i]:
                continue
            a, b = slice(starts[i], starts[i + 1]), slice(starts_kv[i], starts_kv[i + 1])
            part = [x[None] for x in (q[a], k[b], v[b])]
            exact, _ = oracle.attention(*part, left, right)
            case = f"ragged {dtype} {dim} {mask} sequence {i}"
            results.blocks("ragged", case, out[None, a], peer(*part, left, right, 0, None), exact, lengths[i] < 64)


def decode(results):
    batch, page, per = 3, 64, 20
    for dtype, dim, kind, rows, splits, (left, softcap) in itertools.product(
        HALF, DIMS, ["same", "int8", "fp8"], [1, 2, 5, 8], [0, 3], [(-1, 0), (300, 10.0)]
    ):
        if (rows + splits + dim // 16 + len(kind)) % 2 and kind != "same":
            continue  # half of the quantized ones
        heads, heads_kv = (8, 1) if rows == 5 else (8, 2)
        q = random(batch, rows, heads, dim, dtype=dtype)
        k, v = random(batch * per, page, heads_kv, dim), random(batch * per, page, heads_kv, dim)
        lengths = torch.tensor([per * page, 333, 9], dtype=torch.int32, device="cuda")
        table = torch.randperm(batch * per, device="cuda").int().view(batch, per)
        scales, values = {}, (k.to(dtype), v.to(dtype))
        stored = values
        if kind == "int8":
            scales = {"k_scales": k.abs().amax(-1) / 127, "v_scales": v.abs().amax(-1) / 127}
            stored = [(x / s[..., None]).round().char() for x, s in zip((k, v), scales.values())]
            values = [x.float() * s[..., None] for x, s in zip(stored, scales.values())]
        elif kind == "fp8":
            scales = {name: torch.rand(heads_kv, device="cuda") + 0.5 for name in ("k_scales", "v_scales")}
            stored = [(x / s[:, None]).to(torch.float8_e4m3fn) for x, s in zip((k, v), scales.values())]
            values = [x.float() * s[:, None] for x, s in zip(stored, scales.values())]
        out = flash_attention_cached(
            q, *stored, lengths, table, window=(left, -1), softcap=softcap, splits=splits, **scales
        )
        case = f"decode {dtype} {dim} {kind} rows {rows} splits {splits} window {left} cap {softcap}"
        theirs, exact = [], []
        for i in range(batch):
            whole = [x[table[i].long()].flatten(0, 1)[None, : lengths[i]] for x in values]
            part = [q[i : i + 1], *whole] if kind == "same" else [q[i : i + 1].float(), *whole]
            theirs.append(peer(*part, left, 0, softcap, None).to(dtype))
            exact.append(oracle.attention(*part, left, 0, None, softcap)[0])
        results.blocks(f"decode {kind}", case, out, torch.cat(theirs), torch.cat(exact), True)


def gradients(results):
    for dtype, dim, shape, mask in itertools.product(HALF, [64, 128], SHAPES[1:], MASKS):
        rows, columns, heads, heads_kv = shape
        left, right, softcap, scale = mask
        q, k, v = (random(2, n, h, dim, dtype=dtype) for n, h in ((rows, heads), (columns, heads_kv), (columns, heads_kv)))
        dout = random(2, rows, heads, dim, dtype=dtype)
        found = []
        for kind in ("ours", torch.float32, torch.float64):
            inputs = [x.detach().to(dtype if kind == "ours" else kind).requires_grad_() for x in (q, k, v)]
            if kind == "ours":
                out = flash_attention(*inputs, window=(left, right), softmax_scale=scale, softcap=softcap)
            else:
                out = oracle.attention(*inputs, left, right, scale, softcap, kind)[0]
            out.backward(dout.to(out.dtype))
            found.append([x.grad for x in inputs])
        entry = results.group("gradients")
        entry["cases"] += 1
        for name, ours, theirs, exact in zip(("dq", "dk", "dv"), *found):
            norm = (theirs.to(dtype).double() - exact).norm() + 1e-7 * exact.norm()
            ratio = ((ours.double() - exact).norm() / norm).item()
            entry["blocks"] += 1
            entry["rms"] = max(entry["rms"], ratio)
            if not ratio <= BAR:
                entry["over"] += 1
                results.missed.append({"case": f"{name} {dtype} {dim} {shape} {mask}", "rms": ratio})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", help="a JSON file for the results")
    parser.add_argument("--only", choices=["prefill", "ragged", "decode", "gradients"], help="one group")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(False)
    results, begin = Results(), time.time()
    for run in (prefill, ragged, decode, gradients):
        if options.only in (None, run.__name__):
            try:
                run(results)
            except RuntimeError as failure:  # the other groups still run
                results.missed.append({"case": run.__name__, "what": str(failure)[:500]})
    print(f"{'group':24}{'cases':>7}{'blocks':>8}{'rms':>8}{'max':>8}{'over':>6}   (worst ratios; bar {BAR})")
    for name, entry in results.groups.items():
        print(f"{name:24}{entry['cases']:7}{entry['blocks']:8}{entry['rms']:8.2f}{entry['max']:8.2f}{entry['over']:6}")
    cases = sum(entry["cases"] for entry in results.groups.values())
    print(f"{cases} cases in {time.time() - begin:.0f} s, {len(results.missed)} missed")
    for entry in results.missed[:12]:
        print("  missed:", json.dumps(entry))
    if options.out:
        with open(options.out, "w") as file:
            json.dump({"bar": BAR, "groups": results.groups, "missed": results.missed[:200]}, file, indent=1)
    sys.exit(bool(results.missed))


if __name__ == "__main__":
    main()
