#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""What ops cost by own code and by XNNPACK on this machine: the lines of its ISA level in targets/xnnpack/Costs.def.

    kernel_costs.py compile DIR [--build build]     two artifacts for every form, --cpu native
    kernel_costs.py measure DIR [--build build]     in turns, 1 thread, on a quiet machine: DIR/costs.json
    kernel_costs.py write DIR                       replaces the level's lines of the table, and prints them

A form is one op of one class of sizes (compiler/Transforms/Network/KernelCall.cpp names it); it is measured as a network
of that op alone, with the reorderings of its input and output. Figures are medians of three rounds, in microseconds.
Other levels are measured on machines that have no better one: XNNPACK chooses its kernels by the CPU.
--newer ROOT, of all three steps: the forms that XNNPACK has since 2024, of the Debian 13 that tests/xnnpack-newer.sh made.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "e2e"))
import newer_xnnpack
from onnx_writer import graph, model, node, tensor, value

TABLE = os.path.join(HERE, "..", "..", "targets", "xnnpack", "Costs.def")
ROUNDS = 3


def newer_networks():
    """ONNX files of the forms that XNNPACK has since 2024."""
    rng = np.random.default_rng(1)
    for rows in (1, 8, 64, 512):
        for side in (32, 96, 384, 1024):
            if rows * side * side <= 1 << 28:
                given = {"w": rng.integers(-127, 128, (side, side)).astype(np.int8), "z": np.uint8(131)}
                yield model(graph([node("MatMulInteger", ["x", "w", "z"], ["p"]), node("Cast", ["p"], ["y"], to=1)],
                                  [value("x", "uint8", (rows, side))], [value("y", "float32", (rows, side))],
                                  [tensor(name, array) for name, array in given.items()]))
                given = {"q": rng.integers(0, 256, (side, side // 32, 16)).astype(np.uint8),
                         "s": rng.uniform(0.01, 0.02, (side, side // 32)).astype(np.float32)}
                yield model(graph([node("MatMulNBits", ["x", *given], ["y"], domain="com.microsoft", K=side, N=side, bits=4,
                                        block_size=32, accuracy_level=4)],
                                  [value("x", "float32", (rows, side))], [value("y", "float32", (rows, side))],
                                  [tensor(name, array) for name, array in given.items()]), domain="com.microsoft")


def networks():
    """ONNX files of every form."""
    rng = np.random.default_rng(1)

    def weights(*shape):
        return (0.1 * rng.standard_normal(shape)).astype(np.float32)

    def network(op, x, y, constants, both=False, kind="float32", **attributes):
        inputs = [value("x", kind, x)] + ([value("z", kind, x)] if both else [])
        names = ["x"] + (["z"] if both else []) + list(constants)
        return model(graph([node(op, names, ["y"], **attributes)], inputs, [value("y", kind, y)],
                           [tensor(name, array) for name, array in constants.items()]))

    def quantized(op, x, y, k, **attributes):
        filters = rng.integers(-127, 128, k).astype(np.int8)
        given = {"sx": np.float32(0.1), "zx": np.int8(3), "k": filters, "sk": np.float32(0.01), "zk": np.int8(0),
                 "sy": np.float32(0.5), "zy": np.int8(-4)}
        if op == "QLinearConv":
            given["b"] = np.arange(k[0], dtype=np.int32)
        return network(op, x, y, given, kind="int8", **attributes)
    for c in (4, 16, 64, 128):
        for side in (4, 16, 64):
            x = (1, c, side, side)
            if c * side <= 64 * 64:
                yield network("Conv", x, x, {"k": weights(c, c, 3, 3), "b": weights(c)}, pads=[1, 1, 1, 1])
            yield network("Conv", x, x, {"k": weights(c, c, 1, 1), "b": weights(c)})
            yield network("Conv", x, x, {"k": weights(c, 1, 3, 3), "b": weights(c)}, pads=[1, 1, 1, 1], group=c)
            if c * side <= 64 * 64:
                yield quantized("QLinearConv", x, x, (c, c, 3, 3), pads=[1, 1, 1, 1])
            yield quantized("QLinearConv", x, x, (c, c, 1, 1))
            yield quantized("QLinearConv", x, x, (c, 1, 3, 3), pads=[1, 1, 1, 1], group=c)
            double = (1, c, 2 * side, 2 * side)
            yield network("Resize", x, double, {"roi": np.zeros(0, np.float32), "scales": np.array([1, 1, 2, 2], np.float32)},
                          mode="linear")
            half = (1, c, side // 2, side // 2)
            yield network("MaxPool", x, half, {}, kernel_shape=[2, 2], strides=[2, 2])
            yield network("AveragePool", x, half, {}, kernel_shape=[2, 2], strides=[2, 2])
            if c * side <= 64 * 16:
                yield network("ConvTranspose", x, (1, c, 2 * side, 2 * side), {"k": weights(c, c, 4, 4), "b": weights(c)},
                              strides=[2, 2], pads=[1, 1, 1, 1])
        for length in (2, 32, 512):
            x = (1, c, length)
            yield network("Conv", x, x, {"k": weights(c, c, 3), "b": weights(c)}, pads=[1, 1])
            yield quantized("QLinearConv", x, x, (c, c, 3), pads=[1, 1])
    for rows in (1, 8, 64, 512):
        for side in (32, 96, 384, 1024):
            if rows * side * side <= 1 << 26:
                yield network("MatMul", (rows, side), (rows, side), {"w": weights(side, side)})
                yield quantized("QLinearMatMul", (rows, side), (rows, side), (side, side))
    for channels in (8, 64, 512):
        for rows in (1, 32, 512):
            yield network("Softmax", (rows, channels), (rows, channels), {}, axis=1)
    for count in (256, 4096, 65536):
        for op in ("Abs", "Ceil", "Floor", "Neg", "Round", "Sigmoid", "Sqrt"):
            yield network(op, (count,), (count,), {})
        for op in ("Add", "Sub", "Mul", "Div"):
            yield network(op, (count,), (count,), {}, both=True)


def compile_all(folder, build, newer):
    os.makedirs(folder, exist_ok=True)
    forms = {}
    for body in newer_networks() if newer else networks():
        source = os.path.join(folder, "network.onnx")
        with open(source, "wb") as f:
            f.write(body)
        made = {}
        for kernels in ("own", "xnnpack"):
            made[kernels] = os.path.join(folder, f"{len(forms)}.{kernels}.mlca")
            subprocess.run([os.path.join(build, "bin", "mlc"), "compile", source, "-o", made[kernels], "--kernels", kernels,
                            "--xnnpack", "2024" if newer else "2022", "--cpu", "native", "--report", os.path.join(folder, "report.json")], check=True)
        with open(os.path.join(folder, "report.json"), encoding="utf-8") as f:
            taken = [choice["form"] for choice in json.load(f)["choices"] if choice["kernel"] != "own"]
        if len(taken) == 1:
            forms.setdefault(taken[0], made)  # The first of a class of sizes stands for it.
    inspected = subprocess.run([os.path.join(build, "bin", "mlc"), "inspect", made["own"], "--json"], check=True,
                               capture_output=True, text=True)
    cpus = re.findall(r"x86-64-v\d|armv8-a|armv7-a|vfpv4", inspected.stdout)
    best = max(cpus)  # The names rise with what they need.
    with open(os.path.join(folder, "forms.json"), "w", encoding="utf-8") as f:
        json.dump({"isa": best, "forms": forms}, f, indent=1)
    print(f"{len(forms)} forms for {best}")


def measure(folder, build, newer):
    with open(os.path.join(folder, "forms.json"), encoding="utf-8") as f:
        listed = json.load(f)
    times = {form: {"own": [], "xnnpack": []} for form in listed["forms"]}
    command = newer_xnnpack.runner(newer) if newer else [os.path.join(build, "bin", "mlc-run")]
    for _ in range(ROUNDS):
        for form, made in listed["forms"].items():
            for kernels, artifact in made.items():
                done = subprocess.run([*command, "--bench", artifact, "--threads", "1", "-r", "60",
                                       "--json"], check=True, capture_output=True, text=True)
                times[form][kernels].append(json.loads(done.stdout)["latency_us"]["median"])
    costs = {form: {k: statistics.median(v) for k, v in each.items()} for form, each in times.items()}
    with open(os.path.join(folder, "costs.json"), "w", encoding="utf-8") as f:
        json.dump({"isa": listed["isa"], "costs": costs}, f, indent=1)


def is_newer(form):
    return form.startswith(("qd8 ", "qb4 "))


def write(folder, newer):
    with open(os.path.join(folder, "costs.json"), encoding="utf-8") as f:
        found = json.load(f)
    with open(TABLE, encoding="utf-8") as f:
        kept = [line for line in f.read().splitlines() if not line.startswith(f'MLC_KERNEL_COST("{found["isa"]}"')
                or is_newer(line.split('"')[3]) != bool(newer)]
    lines = [f'MLC_KERNEL_COST("{found["isa"]}", "{form}", {cost["own"]:.3g}, {cost["xnnpack"]:.3g})'
             for form, cost in sorted(found["costs"].items())]
    with open(TABLE, "w", encoding="utf-8") as f:
        f.write("\n".join(kept + lines) + "\n")
    print("\n".join(lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("compile", "measure", "write"))
    parser.add_argument("folder")
    parser.add_argument("--build", default="build")
    parser.add_argument("--newer", metavar="ROOT")
    options = parser.parse_args()
    if options.step == "write":
        write(options.folder, options.newer)
    else:
        (compile_all if options.step == "compile" else measure)(options.folder, options.build, options.newer)


if __name__ == "__main__":
    main()
