#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""The scan of Mamba-2 layers beside its peers, in one run: gpu_ssd_bench (48 heads of 64, a state of 128), the chunked
form in PyTorch with bf16 products, eager and compiled, and mamba-ssm's kernels where they are installed.

    python3 ssd_bench.py [--program build/bench/gpu_ssd_bench] [--out FILE.json]

The chunked form of chunks of 64, 128 and 256 tokens, each compared with the recurrence first; the best one counts. A
time is the median of rounds. Without PyTorch only the program runs.
"""
import argparse
import json
import re
import statistics
import subprocess
import sys

TOKENS, HEADS, DIM, STATE = 4096, 48, 64, 128
CHUNKS = 64, 128, 256

try:
    import torch
except ImportError:
    torch = None


def chunked(x, dt, a, b, c, d, chunk):
    """y of x [T, H, P], dt [T, H] (positive), a, d [H], b, c [T, N]. Inside a chunk of Q tokens, cum the sums of dt a:
    y_t = sum over j <= t of (c_t . b_j) exp(cum_t - cum_j) dt_j x_j + exp(cum_t) S c_t + d x_t, S the state before it."""
    low, (tokens, heads, dim) = x.dtype, x.shape
    chunks = tokens // chunk
    x_, b_, c_ = (v.reshape(chunks, chunk, *v.shape[1:]) for v in (x, b, c))
    steps = dt.reshape(chunks, chunk, heads).permute(0, 2, 1)  # [C, H, Q]
    cum = torch.cumsum(steps * a[:, None], dim=-1)
    sees = torch.ones(chunk, chunk, dtype=torch.bool, device=x.device).tril()
    decay = torch.exp((cum[..., :, None] - cum[..., None, :]).masked_fill(~sees, -torch.inf))
    products = torch.einsum("ctn,cjn->ctj", c_, b_)
    weights = (products[:, None] * decay * steps[..., None, :]).to(low)
    y = torch.einsum("chtj,cjhp->cthp", weights, x_).float()
    last = cum[..., -1]
    weighted = (torch.exp(last[..., None] - cum) * steps).permute(0, 2, 1)[..., None] * x_
    states = torch.einsum("cjhp,cjn->chpn", weighted.to(low), b_).float()
    # The state before chunk k: what each chunk before it leaves, as it decays until there.
    total = torch.cumsum(last, dim=0)
    until = total - last  # Before the chunk.
    before = torch.ones(chunks, chunks, dtype=torch.bool, device=x.device).tril(-1)
    passed = torch.exp((until[:, None] - total[None]).masked_fill(~before[..., None], -torch.inf))
    states = torch.einsum("kch,chpn->khpn", passed, states)
    y = y + torch.einsum("ctn,chpn->cthp", c_, states.to(low)).float() * torch.exp(cum).permute(0, 2, 1)[..., None]
    return y.reshape(tokens, heads, dim) + d[:, None] * x.float()


def recurrence(x, dt, a, b, c, d):
    state = torch.zeros(*x.shape[1:], b.shape[-1], dtype=torch.float64, device=x.device)
    x, dt, a, b, c, d = (v.double() for v in (x, dt, a, b, c, d))
    out = []
    for t in range(len(x)):
        state = state * torch.exp(dt[t] * a)[:, None, None] + (dt[t, :, None] * x[t])[..., None] * b[t]
        out.append(state @ c[t] + d[:, None] * x[t])
    return torch.stack(out)


def inputs():
    torch.manual_seed(1)
    make = lambda *shape: torch.randn(*shape, device="cuda")
    x, b, c = (make(TOKENS, *shape).bfloat16() for shape in ((HEADS, DIM), (STATE,), (STATE,)))
    return x, torch.nn.functional.softplus(make(TOKENS, HEADS)), -torch.exp(make(HEADS) / 2), b, c, make(HEADS)


def microseconds(call):
    times = []
    for _ in range(3):
        call()
    for _ in range(7):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(10):
            call()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 100)
    return statistics.median(times)


def peers():
    """Microseconds by name; a text where there is none."""
    found = {}
    full = inputs()
    want = recurrence(*full)
    for name, form in ("eager", lambda f: f), ("compiled", torch.compile):
        for chunk in CHUNKS:
            label = f"PyTorch, {name}, chunks of {chunk}"
            try:
                call = form(lambda *v, q=chunk: chunked(*v, q))
                error = ((call(*full).double() - want).abs().mean() / want.abs().mean()).item()
                found[label] = microseconds(lambda: call(*full)) if error < 2e-2 else f"wrong by {error:.1e}"
            except Exception as failure:  # pylint: disable=broad-except; a compiler that does not run says so
                found[label] = str(failure).splitlines()[0][:120]
    try:
        from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined
    except ImportError as failure:
        found["mamba-ssm"] = str(failure)
        return found
    for chunk in CHUNKS:
        def call(values, q=chunk):
            x, dt, a, b, c, d = values
            return mamba_chunk_scan_combined(x[None], dt[None], a, b[None, :, None], c[None, :, None], q, D=d)[0]
        error = ((call(full).double() - want).abs().mean() / want.abs().mean()).item()
        found[f"mamba-ssm, chunks of {chunk}"] = (microseconds(lambda: call(full)) if error < 2e-2
                                                   else f"wrong by {error:.1e}")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default="build/bench/gpu_ssd_bench")
    parser.add_argument("--out")
    options = parser.parse_args()
    done = subprocess.run([options.program], capture_output=True, text=True, check=False)
    print(done.stdout, end="")
    if done.returncode:
        sys.exit(f"ssd_bench.py: {options.program}: {done.stderr.strip() or done.returncode}")
    mine = {f"mlc, {m[1]} products, {m[2]} states": float(m[3]) for m in re.finditer(
        rf"(\w+) +products, (\w+) +states, prompt of {TOKENS}: +([\d.]+) us", done.stdout)}
    others = peers() if torch and torch.cuda.is_available() else {"PyTorch": "not here, or without CUDA"}
    for name, time in {**mine, **others}.items():
        print(f"{name}: " + (time if isinstance(time, str) else f"{time:.1f} us a prompt of {TOKENS}"))
    best = min((time for time in others.values() if not isinstance(time, str)), default=None)
    tile = mine.get("mlc, bf16 products, f32 states")
    if best and tile:
        print(f"the fastest peer takes {best / tile:.2f} times as long as bf16 products with f32 states")
    if options.out:
        with open(options.out, "w", encoding="utf-8") as f:
            json.dump({"program": mine, "peers": others}, f, indent=1)


if __name__ == "__main__":
    main()
