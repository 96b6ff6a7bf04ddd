#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Attention beside its peers and the device's ceilings, all in one process and in turns.

    PYTHONPATH=targets/cuda/torch:targets/cuda/torch/tests tests/bench/gpu/attention_bench.py [--out FOLDER] [--quick]

Peers: scaled_dot_product_attention with each backend by name, and a Triton kernel of ours. Ceilings: the cuBLAS rate of
an 8192^3 bf16 product, a device copy, f32 FMAs. A figure is the median of rounds in which all sides run once; inputs are
normal. TFLOP/s count 4 x rows x columns x dim a head (half of it causal; 2.5 times that for gradients). Writes
attention.json and attention.md into the folder. What a bar is held to is met, missed or not measured; nothing fails.
"""
import argparse
import functools
import json
import os
import statistics

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

import oracle
import triton_attention
from mlc_attention import _ops, flash_attention, flash_attention_cached

BACKENDS = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "math": SDPBackend.MATH,
}


def seconds(call, repeat):
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(repeat):
        call()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) * 1e-3 / repeat


def in_turns(calls, rounds, budget=0.03):
    """Medians in seconds by name; None with the reason for what does not run."""
    times, reasons, repeats = {}, {}, {}
    for name, call in calls.items():
        try:
            call()
            once = seconds(call, 1)
            repeats[name] = max(1, min(50, int(budget / once)))
            times[name] = []
        except Exception as failure:  # a backend that has no kernel for this says so
            reasons[name] = str(failure).splitlines()[0][:120]
            torch.cuda.empty_cache()
    for _ in range(rounds):
        for name in times:
            times[name].append(seconds(calls[name], repeats[name]))
    return {name: statistics.median(values) for name, values in times.items()}, reasons


def normal(*shape, dtype=torch.bfloat16):
    return torch.randn(shape, device="cuda").to(dtype)


def sdpa(backend, q, k, v, **options):
    def call():
        with sdpa_kernel([backend]):
            return scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v)), **options)

    return call


def captured(parts):
    """A call that replays `parts` as one graph; what cannot be captured says so when it is called."""
    try:
        for part in parts:
            part()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for part in parts:
                part()
    except Exception as failure:
        text = str(failure)

        def refuse():
            raise RuntimeError(text)

        return refuse

    def replay(held=parts):
        graph.replay()

    return replay


class Bench:
    def __init__(self, rounds):
        self.rounds, self.rows, self.ceilings = rounds, [], {}

    def measure_ceilings(self):
        a, b = normal(8192, 8192), normal(8192, 8192)
        source, target = (normal(1 << 30) for _ in range(2))
        sums, blocks = torch.empty(2048, device="cuda"), 8 * torch.cuda.get_device_properties(0).multi_processor_count
        calls = {
            "cublas": lambda: torch.mm(a, b.t()),
            "copy": lambda: torch.add(source, 1, out=target),  # faster than the driver's copy
            "fma": lambda: triton_attention.fma_launch(sums, 256, blocks),
        }
        times, reasons = in_turns(calls, self.rounds, 0.1)
        found = {
            "cublas_tflops": 2 * 8192**3 / times["cublas"] / 1e12,
            "copy_gb_s": 4 * source.numel() / times["copy"] / 1e9,
        }
        if "fma" in times:
            found["fma_tflops"] = 2 * 32 * 2048 * 256 * blocks / times["fma"] / 1e12
        # Before and after: the mean counts.
        for name, value in found.items():
            old = self.ceilings.get(name)
            self.ceilings[name] = value if old is None else (old + value) / 2

    def add(self, name, calls, work, unit, ceiling, bars=()):
        """work: of a call, in `unit`s. bars: (text, function of rates by name and the ceiling)."""
        times, reasons = in_turns(calls, self.rounds)
        rates = {side: work / time for side, time in times.items()}
        row = {"name": name, "unit": unit, "rates": rates, "not_run": reasons}
        if "mlc" in rates and ceiling in self.ceilings:
            row["share"] = rates["mlc"] / self.ceilings[ceiling]
            row["of"] = ceiling
        row["bars"] = []
        for text, met in bars:
            try:
                state = "met" if met(rates, self.ceilings[ceiling]) else "missed"
            except KeyError:
                state = "not measured"
            row["bars"].append({"bar": text, "state": state})
        self.rows.append(row)
        shown = " ".join(f"{side} {rate:.0f}" for side, rate in rates.items())
        print(f"{name}: {shown} {unit}", *(f"[{b['bar']}: {b['state']}]" for b in row["bars"]), flush=True)

    def forward(self, dim, tokens, causal, bars, dtype=torch.bfloat16):
        batch, heads = max(1, 16384 // tokens), 2048 // dim
        q, k, v = (normal(batch, tokens, heads, dim, dtype=dtype) for _ in range(3))
        calls = {"mlc": lambda: flash_attention(q, k, v, causal=causal)}
        for name, backend in BACKENDS.items():
            if name != "math" or tokens <= 4096:
                calls[name] = sdpa(backend, q, k, v, is_causal=causal)
        calls["triton"] = lambda: triton_attention.flash_attention(q, k, v, causal)
        work = 4 * batch * heads * tokens**2 * dim * (0.5 if causal else 1) / 1e12
        kind = f"{str(dtype)[6:]} head {dim} {'causal' if causal else 'full'} {tokens}"
        self.add(f"forward {kind}", calls, work, "TFLOP/s", "cublas_tflops", bars)

    def backward(self, dim, tokens, causal):
        batch, heads = max(1, 16384 // tokens), 2048 // dim
        q, k, v, dout = (normal(batch, tokens, heads, dim) for _ in range(4))
        calls = {}

        def gradients(out, inputs, dout):
            return lambda: torch.autograd.grad(out, inputs, dout, retain_graph=True)

        try:
            inputs = [x.detach().requires_grad_() for x in (q, k, v)]
            calls["mlc"] = gradients(flash_attention(*inputs, causal=causal), inputs, dout)
        except RuntimeError as failure:
            print("backward:", failure)
        for name in ("cudnn", "flash", "efficient"):
            inputs = [x.detach().requires_grad_() for x in (q, k, v)]
            out = sdpa(BACKENDS[name], *inputs, is_causal=causal)()
            calls[name] = gradients(out, inputs, dout.transpose(1, 2))
        work = 10 * batch * heads * tokens**2 * dim * (0.5 if causal else 1) / 1e12
        name = f"backward bfloat16 head {dim} {'causal' if causal else 'full'} {tokens}"
        self.add(name, calls, work, "TFLOP/s", "cublas_tflops")

    def exact(self, dim, tokens, causal, bars):
        q, k, v = (normal(2, tokens, 2048 // dim, dim, dtype=torch.float32) for _ in range(3))
        calls = {
            "mlc": lambda: flash_attention(q, k, v, causal=causal),
            "compensated": lambda: flash_attention(q, k, v, causal=causal, compensated=True),
            "efficient": sdpa(BACKENDS["efficient"], q, k, v, is_causal=causal),
            "math": sdpa(BACKENDS["math"], q, k, v, is_causal=causal),
        }
        work = 4 * 2 * (2048 // dim) * tokens**2 * dim * (0.5 if causal else 1) / 1e12
        name = f"float32 head {dim} {'causal' if causal else 'full'} {tokens}"
        self.add(name, calls, work, "TFLOP/s", "fma_tflops", bars)
        heads = [x[:1, :, :4] for x in (q, k, v)]
        exact, _ = oracle.attention(*heads, -1, 0 if causal else -1)
        errors = {}
        for side, call in {
            "mlc": lambda: flash_attention(*heads, causal=causal),
            "compensated": lambda: flash_attention(*heads, causal=causal, compensated=True),
            "efficient": lambda: sdpa(BACKENDS["efficient"], *heads, is_causal=causal)().transpose(1, 2),
        }.items():
            errors[side] = ((call() - exact).abs().max() / exact.abs().max()).item()
        self.rows[-1]["errors"] = errors
        self.rows[-1]["bars"].append({"bar": "error <= 1e-6", "state": "met" if errors["mlc"] <= 1e-6 else "missed"})
        print("   errors:", {side: f"{error:.1e}" for side, error in errors.items()})

    def decode(self, batch, context, kind, bars):
        """In graphs, over caches that take turns and exceed the L2 cache together. The workspace is one that stays zero,
        as a runtime keeps it."""
        heads, heads_kv, dim = 64, 8, 128
        size = 2 if kind == "bf16" else 1
        work = 2 * batch * context * heads_kv * dim * size / 1e9
        calls = {side: [] for side in ("mlc", "cudnn", "flash", "efficient") if kind == "bf16" or side == "mlc"}
        for _ in range(3 if work < 0.4 else 1):
            q = normal(batch, 1, heads, dim)
            k, v = (normal(batch, context, heads_kv, dim) for _ in range(2))
            lengths = torch.full((batch,), context, dtype=torch.int32, device="cuda")
            scales, stored = {}, (k, v)
            if kind == "fp8":
                stored = tuple(x.to(torch.float8_e4m3fn) for x in stored)
            if kind == "int8":
                stored = tuple((x * 30).clamp(-127, 127).char() for x in stored)
                scales = {f"{n}_scales": torch.full((batch, context, heads_kv), 1 / 30, device="cuda") for n in "kv"}
            calls["mlc"].append(functools.partial(flash_attention_cached, q, *stored, lengths, validate=False, **scales))
            for side in list(calls)[1:]:
                calls[side].append(sdpa(BACKENDS[side], q, k, v, enable_gqa=True))
        workspace = torch.zeros(1 << 26, dtype=torch.uint8, device="cuda")
        kept, _ops._workspace = _ops._workspace, lambda device, stream, size: workspace
        try:
            replays = {side: captured(parts) for side, parts in calls.items()}
        finally:
            _ops._workspace = kept
        self.add(f"decode {kind} {context} batch {batch}", replays, work * len(calls["mlc"]), "GB/s", "copy_gb_s", bars)

    def write(self, folder):
        os.makedirs(folder, exist_ok=True)
        device = torch.cuda.get_device_name()
        with open(os.path.join(folder, "attention.json"), "w") as file:
            json.dump({"device": device, "torch": torch.__version__, "ceilings": self.ceilings, "rows": self.rows}, file, indent=1)
        sides = ["mlc", "compensated", "cudnn", "flash", "efficient", "math", "triton"]
        lines = [f"{device}, PyTorch {torch.__version__}. " + ", ".join(f"{n} {v:.0f}" for n, v in self.ceilings.items()), ""]
        lines += [f"| | unit | {' | '.join(sides)} | share | bars |", "|---" * (len(sides) + 4) + "|"]
        for row in self.rows:
            cells = [f"{row['rates'][side]:.0f}" if side in row["rates"] else "" for side in sides]
            share = f"{row['share']:.2f} of {row['of']}" if "share" in row else ""
            bars = "; ".join(f"{b['bar']}: {b['state']}" for b in row["bars"])
            lines.append(f"| {row['name']} | {row['unit']} | {' | '.join(cells)} | {share} | {bars} |")
        with open(os.path.join(folder, "attention.md"), "w") as file:
            file.write("\n".join(lines) + "\n")


def share(bar):
    return (f">= {bar} of the ceiling", lambda rates, ceiling: rates["mlc"] >= bar * ceiling)


def times(bar, peer):
    return (f">= {bar} x {peer}", lambda rates, ceiling: rates["mlc"] >= bar * rates[peer])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="build/gpu", help="folder of attention.json and attention.md (build/gpu)")
    parser.add_argument("--quick", action="store_true", help="3 rounds instead of 7")
    options = parser.parse_args()
    torch.manual_seed(0)
    bench = Bench(3 if options.quick else 7)
    bench.measure_ceilings()
    at_4096 = [times(1.6, "flash"), times(2.1, "efficient")]
    groups = [
        lambda: bench.forward(128, 16384, True, [share(0.80), times(1.0, "cudnn")]),
        lambda: bench.forward(128, 4096, True, [share(0.72), times(1.0, "cudnn"), *at_4096]),
        lambda: bench.forward(128, 16384, False, [share(0.85)]),
        lambda: bench.forward(128, 4096, False, at_4096),
        lambda: bench.forward(
            64, 16384, True, [(">= 480 or 0.6", lambda r, c: r["mlc"] >= 480 or r["mlc"] >= 0.6 * c)]
        ),
        lambda: bench.forward(64, 4096, True, at_4096),
        lambda: bench.forward(256, 4096, True, []),
        lambda: bench.forward(128, 4096, True, [], torch.float16),
        lambda: [bench.decode(batch, 32768, "bf16", [share(0.85)]) for batch in (1, 16)],
        lambda: [bench.decode(batch, 32768, kind, []) for kind in ("int8", "fp8") for batch in (1, 16)],
        lambda: bench.exact(128, 4096, False, [share(0.6)]),
        lambda: bench.exact(128, 4096, True, [share(0.6)]),
        lambda: bench.exact(64, 4096, False, [share(0.6)]),
        lambda: bench.exact(256, 4096, False, []),
        lambda: bench.backward(128, 4096, True),
        lambda: bench.backward(128, 16384, True),
        lambda: bench.backward(64, 4096, True),
    ]
    for group in groups:
        try:
            group()
        except RuntimeError as failure:  # the rest is still measured
            print("not measured:", str(failure).splitlines()[0])
        torch.cuda.empty_cache()
    bench.measure_ceilings()
    print({name: round(value, 1) for name, value in bench.ceilings.items()})
    bench.write(options.out)


if __name__ == "__main__":
    main()
