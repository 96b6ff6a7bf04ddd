#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""The CUDA target at the size of real models: decode beside the GPU's copy
bandwidth, prefill beside cuBLAS, both measured in the same run, and the start
to the first token.

    python3 target_bench.py --mlc build/bin/mlc --out DIR
                            [--sizes qwen2.5-0.5b,qwen2.5-3b] [--modes bf16,int4]

The models are the draft pair's draft, grown (models/grow.py): what they say is
a small model's, what they cost is their size's. Needs numpy; without PyTorch
there is no cuBLAS rate. DIR gets target.json and keeps the artifacts.
"""
import argparse
import json
import os
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
MODES = {"bf16": ("--quant", "none", "--math", "fast"), "int4": ("--quant", "int4"), "int8": ("--quant", "int8")}
BARS = {("qwen2.5-0.5b", "bf16"): 0.45, ("qwen2.5-3b", "bf16"): 0.75, ("qwen2.5-3b", "int4"): 0.55}
PREFILL_BAR, BATCH_BAR, START_BAR = 0.70, 20.0, 1.0


def call(*arguments):
    done = subprocess.run(arguments, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"target_bench.py: {' '.join(arguments)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def product_flops(config):
    """Operations that a token's linears take, the head's but for."""
    hidden, head = config["hidden_size"], config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])
    attention = hidden * head * (2 * config["num_attention_heads"] + 2 * config["num_key_value_heads"])
    return 2 * config["num_hidden_layers"] * (attention + 3 * hidden * config["intermediate_size"])


def cublas_tflops():
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    best = 0.0
    for _ in range(5):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        for _ in range(10):
            torch.mm(a, b.t())
        end.record()
        torch.cuda.synchronize()
        best = max(best, 10 * 2 * 8192**3 / begin.elapsed_time(end) / 1e9)
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mlc", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--sizes", default="qwen2.5-0.5b,qwen2.5-3b")
    parser.add_argument("--modes", default="bf16,int4")
    options = parser.parse_args()
    os.makedirs(options.out, exist_ok=True)
    peak = cublas_tflops()
    print("cuBLAS 8192^3: " + (f"{peak:.0f} TFLOP/s" if peak else "not measured (no PyTorch with CUDA)"), flush=True)
    rows = []

    def add(what, value, bar=None):
        rows.append({"what": what, "value": value, "bar": bar})
        print(f"{what}: {value:.3f}" + ("" if bar is None else f" (bar {bar}{', missed' if value < bar else ''})"),
              flush=True)

    for size in options.sizes.split(","):
        grown = os.path.join(options.out, size)
        if not os.path.exists(os.path.join(grown, "config.json")):
            call(sys.executable, os.path.join(ROOT, "models", "grow.py"),
                 os.path.join(ROOT, "models", "draft-pair", "draft"), grown, "--size", size)
        with open(os.path.join(grown, "config.json"), encoding="utf-8") as file:
            flops = product_flops(json.load(file))
        for mode in options.modes.split(","):
            name, artifact = f"{size} {mode}", os.path.join(options.out, f"{size}-{mode}.mlca")
            if not os.path.exists(artifact):
                call(options.mlc, "compile", grown, "-o", artifact, "--target", "cuda", "--gpu", "sm_90a,compute_80",
                     *MODES[mode])
            bench = json.loads(call(options.mlc, "bench", artifact, "-p", "512", "-n", "128", "-r", "3", "--json"))
            add(f"{name} decode, tokens/s", bench["tokens_per_s"]["median"])
            add(f"{name} decode, of the copy", bench["fraction_of_bandwidth"], BARS.get((size, mode)))
            long = json.loads(call(options.mlc, "bench", artifact, "-p", "4096", "-n", "0", "-r", "3", "--json"))
            for tokens, run in ((512, bench), (4096, long)):
                rate = run["prompt_tokens_per_s"]["median"]
                add(f"{name} prefill {tokens}, tokens/s", rate)
                if peak:
                    bar = PREFILL_BAR if (size, mode, tokens) == ("qwen2.5-3b", "bf16", 4096) else None
                    add(f"{name} prefill {tokens}, of cuBLAS", rate * flops / 1e12 / peak, bar)
            speeds = []
            for samples in (1, 64):
                run = json.loads(call(options.mlc, "run", artifact, "--prompt", "The", "--max-tokens", "64",
                                      "--ignore-eos", "--temperature", "1", "--samples", str(samples), "--json"))
                speeds.append(run["timings"]["tokens_per_s"])
            add(f"{name} batch 64 over batch 1", speeds[1] / speeds[0], BATCH_BAR if size == "qwen2.5-3b" else None)
            begin = time.monotonic()
            call(options.mlc, "run", artifact, "--prompt", "The", "--max-tokens", "1", "--json")
            rows.append({"what": f"{name} process to first token, s", "value": time.monotonic() - begin, "bar": None})
            print(f"{name} process to first token, the driver's start included: {rows[-1]['value']:.2f} s (bar "
                  f"{START_BAR} beyond the driver's)", flush=True)
    with open(os.path.join(options.out, "target.json"), "w", encoding="utf-8") as file:
        json.dump({"cublas_tflops": peak, "rows": rows}, file, indent=1)


main()
