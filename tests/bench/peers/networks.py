#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""The latency of small networks beside onnxruntime: both in this process, in turns, inputs bound in place.

    networks.py --build build --data ../shared/data [--threads 1,2] [--rounds 9] [--runs 300] [--json F]
    networks.py --build build --exported FOLDER [--only NAME,...] ...   # the networks that exported.py left there

Needs numpy and onnxruntime, and libmlc.so (target mlc_shared). Each row: the network is compiled by mlc, its outputs are
compared with onnxruntime's, then each round times `runs` runs of one side and of the other. Figures are medians of the
rounds' medians, in microseconds; the ratio is that of the same round, its median over the rounds. A round of a network that
takes long has fewer runs: about --seconds of both sides together.
"""
import argparse
import ctypes
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnxruntime

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "e2e"))
from libmlc import Network  # noqa: E402

# Name, file under --data, --dim, and inputs that --dim fixes.
NETWORKS = [
    ("silero-vad, 512 samples", "silero-vad/silero_vad.onnx", "sr=16000,input.0=1,input.1=576,state.1=1",
     {"sr": np.array(16000, np.int64)}),
    ("openWakeWord embedding", "openwakeword/embedding_model.onnx", "unk__314=1", {}),
    ("openWakeWord mel, 1760 samples", "openwakeword/melspectrogram.onnx", "batch_size=1,samples=1760", {}),
    ("openWakeWord classifier", "openwakeword/alexa_v0.1.onnx", "", {}),
]


def timed(run, runs):
    times = []
    for _ in range(runs):
        begin = time.perf_counter_ns()
        run()
        times.append((time.perf_counter_ns() - begin) / 1e3)
    return statistics.median(times)


def measure(name, path, dims, fixed, threads, options, library, values_for=None):
    with tempfile.TemporaryDirectory() as folder:
        artifact = os.path.join(folder, "network.mlca")
        command = [os.path.join(options.build, "bin", "mlc"), "compile", path, "-o", artifact]
        begin = time.perf_counter()
        subprocess.run(command + (["--dim", dims] if dims else []), check=True)
        compile_s = time.perf_counter() - begin
        ours = Network(library, artifact, threads)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = threads, 1
    peer = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(1)
    feeds = dict(fixed)
    for port, array in ours.inputs.items():
        values = values_for(port, array, random) if values_for else (
            random.standard_normal(array.shape) * 0.3).astype(array.dtype)
        array[...] = values
        feeds[port] = values
    binding = peer.io_binding()
    for port, array in feeds.items():
        binding.bind_cpu_input(port, array)
    for output in peer.get_outputs():
        binding.bind_output(output.name)
    expected = dict(zip([o.name for o in peer.get_outputs()], peer.run(None, feeds)))
    ours.run()
    error = max(np.abs(ours.outputs[n] - v).max() / max(np.abs(v).max(), 1e-30) for n, v in expected.items())
    sides = (ours.run, lambda: peer.run_with_iobinding(binding))
    once = sum(timed(run, 3) for run in sides)
    runs = max(1, min(options.runs, int(options.seconds * 1e6 / once)))
    for run in sides:
        timed(run, runs // 4 + 1)
    rounds = [[timed(run, runs) for run in sides] for _ in range(options.rounds)]
    return {"network": name, "threads": threads, "mlc_us": statistics.median(r[0] for r in rounds),
            "onnxruntime_us": statistics.median(r[1] for r in rounds),
            "ratio": statistics.median(r[1] / r[0] for r in rounds), "relative_error": float(error),
            "compile_s": compile_s}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--data", default="../shared/data")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--exported")
    parser.add_argument("--only")
    parser.add_argument("--json")
    options = parser.parse_args()
    networks = [(name, os.path.join(options.data, path), dims, fixed, None) for name, path, dims, fixed in NETWORKS]
    if options.exported:
        import exported
        paths = {name: os.path.join(options.exported, name + ".onnx") for name in exported.SHAPES}
        networks = [(name, path, exported.dims_of(path, name), {}, functools.partial(exported.values_for, name))
                    for name, path in paths.items() if os.path.exists(path)]
    if options.only:
        networks = [n for n in networks if n[0] in options.only.split(",")]
    library = ctypes.CDLL(os.path.join(options.build, "lib", "libmlc.so"))
    print("| network | threads | mlc, us | onnxruntime, us | ratio | relative error | compile, s |\n|---|---|---|---|---|---|---|")
    rows = []
    for threads in map(int, options.threads.split(",")):
        for name, path, dims, fixed, values_for in networks:
            row = measure(name, path, dims, fixed, threads, options, library, values_for)
            rows.append(row)
            print(f"| {name} | {threads} | {row['mlc_us']:.1f} | {row['onnxruntime_us']:.1f} | {row['ratio']:.2f} | "
                  f"{row['relative_error']:.1e} | {row['compile_s']:.2f} |", flush=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            json.dump(rows, f, indent=1)


if __name__ == "__main__":
    sys.exit(main())
