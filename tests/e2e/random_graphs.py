#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Random ONNX graphs over the supported operators: the interpreter, the artifact and onnxruntime give the same.

    python3 tests/e2e/random_graphs.py --count 2000 --seed 1 [--jobs N] [--json] [--keep DIR] [--only I,J] [--no-oracle]

Graph I of seed S is always the same. What is exact by IEEE or by its integers must be equal to the bit, floats to 1e-5 of
the largest of their tensor (f16: 2e-3). Where an f32 value differs by more, the graph is run on inputs changed by the last
bit: an error below 8 times what that changes is the graph's own, counted as "ill-conditioned". A graph that differs, fails
or is refused is shrunk: nodes are dropped, or replaced by inputs, while it still does. Without onnxruntime (--no-oracle)
the interpreter and the artifact are compared. The exit status is 1 when a graph differs, fails or is refused.
"""
import argparse
import collections
import concurrent.futures
import copy
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

import random_layers  # pylint: disable=unused-import (they fill OPERATORS)
import random_movement  # pylint: disable=unused-import
from random_graph import Graph, Unfit
from random_operators import OPERATORS

HERE = os.path.dirname(os.path.abspath(__file__))
TIMEOUT = 300  # Seconds of one call of mlc.
OPSETS = [13, 14, 16, 17, 18, 19, 20, 21, 23]
Outcome = collections.namedtuple("Outcome", "kind what", defaults=("",))


def make(seed, index):
    """Some chains that meet: an operator takes late values more often than early ones."""
    rng = np.random.default_rng((seed, index))
    graph = Graph(rng, int(rng.choice(OPSETS)))
    graph.input("float32", graph.shape(int(rng.integers(1, 5))))
    if graph.chance(0.3):
        graph.input(graph.choose(["int32", "int64", "float64", "bool", "uint8", "float16"]), graph.shape())
    wanted, weights = int(rng.integers(1, 16)), np.array([w for w, _ in OPERATORS], float)
    weights *= rng.random(len(weights)) < 0.6  # A graph has a style of its own.
    for _ in range(20 * wanted):
        before = len(graph.nodes), len(graph.inputs), len(graph.constants), len(graph.pool)
        try:
            OPERATORS[int(rng.choice(len(weights), p=weights / weights.sum()))][1](graph)
        except (Unfit, OverflowError):
            for kept, length in zip((graph.nodes, graph.inputs, graph.constants, graph.pool), before):
                del kept[length:]
        if len(graph.nodes) >= wanted:
            break
    if not graph.nodes:
        graph.add("Neg", [graph.pool[0]], graph.pool[0].dtype, graph.pool[0].shape, -2, 2, True)
    graph.finish()
    return graph


class Oracle:
    def __init__(self):
        import onnxruntime  # pylint: disable=import-outside-toplevel
        self.ort = onnxruntime
        self.ort.set_default_logger_severity(4)

    def run(self, graph, given, outputs=None):
        options = self.ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.graph_optimization_level = self.ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        session = self.ort.InferenceSession(graph.model(outputs), options, providers=["CPUExecutionProvider"])
        names = [v.name for v in outputs or graph.outputs]
        return dict(zip(names, session.run(names, given)))


class Tool:
    """mlc on one graph, in a folder of its own."""

    def __init__(self, build):
        self.mlc = os.path.join(build, "bin", "mlc")

    def call(self, arguments):
        done = subprocess.run([self.mlc, *arguments], capture_output=True, text=True, timeout=TIMEOUT)
        if done.returncode == 0:
            return None, done.stdout
        if done.returncode == 1 and done.stderr.startswith("mlc: error:") and done.stderr.count("\n") == 1:
            return Outcome("failed", done.stderr.strip()), ""
        return Outcome("crashed", f"exit {done.returncode}: {done.stderr[-400:]}"), ""

    def outputs(self, arguments, folder):
        failure, text = self.call([*arguments, "--json", "--output-dir", os.path.join(folder, "out")])
        if failure:
            return failure, None
        return None, {name: np.load(port["file"]) for name, port in json.loads(text)["outputs"].items()}

    def run(self, graph, folder):
        """What went wrong or None, and the outputs of the interpreter and of the artifact."""
        model = os.path.join(folder, "model.onnx")
        with open(model, "wb") as f:
            f.write(graph.model())
        files = []
        for name, array in graph.given().items():
            np.save(os.path.join(folder, name + ".npy"), array)
            files += ["--input", f"{name}={os.path.join(folder, name + '.npy')}"]
        failure, interpreted = self.outputs(["interpret", model, *files], folder)
        if failure:
            return failure._replace(what="interpret: " + failure.what), None, None
        artifact = os.path.join(folder, "model.mlca")
        failure, _ = self.call(["compile", model, "-o", artifact, "--cpu", "native"])
        if failure:
            kind = "refused" if failure.kind == "failed" else failure.kind
            return Outcome(kind, "compile: " + failure.what), None, None
        failure, ran = self.outputs(["run", artifact, "--threads", "2", *files], folder)
        return (failure._replace(what="run: " + failure.what) if failure else None), interpreted, ran


def difference(value, expected, actual):
    """None, or by what part of the largest element two arrays differ, and how."""
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        return np.inf, f"{actual.dtype}{list(actual.shape)} in place of {expected.dtype}{list(expected.shape)}"
    if expected.dtype.kind != "f" or not expected.size:
        return None if np.array_equal(expected, actual) else (np.inf, f"{np.count_nonzero(expected != actual)} of {expected.size} values")
    a, b = expected.astype(np.float64), actual.astype(np.float64)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return np.inf, "infinities or NaN at other places"
    finite = np.isfinite(a)
    if not finite.any():
        return None
    # onnxruntime's e^x - 1 (Selu, Elu, Celu) is wrong by the last bit of 1: 1e-7 is let pass.
    off = np.abs(a - b)[finite].max() / max(np.abs(a[finite]).max(), 1e-2)
    allowed = 0 if value.exact and expected.dtype == np.float32 else {2: 2e-3, 4: 1e-5, 8: 1e-5}[expected.dtype.itemsize]
    return (off, f"off by {off:.3g} of the largest") if off > allowed else None


def sensitivity(oracle, graph, given, expected):
    """By what part of the largest element each output changes when inputs do by their last bit."""
    rng, changes = np.random.default_rng(1), collections.defaultdict(float)
    for _ in range(4):
        moved = copy.copy(graph)
        moved.arrays = {name: np.asarray(np.nextafter(a, np.where(rng.random(a.shape) < 0.5, np.inf, -np.inf).astype(a.dtype)))
                        if a.dtype == np.float32 and name in given else a for name, a in graph.arrays.items()}
        for name, array in oracle.run(moved, {k: moved.arrays[k] for k in given}).items():
            if array.dtype.kind == "f" and array.size:
                finite = np.isfinite(array) & np.isfinite(expected[name])
                off = np.abs(array.astype(np.float64) - expected[name])[finite]
                scale = np.abs(expected[name][finite])
                changes[name] = max(changes[name], off.max() / max(scale.max(), 1e-2)) if off.size else changes[name]
    return changes


def check(tool, oracle, graph):
    with tempfile.TemporaryDirectory() as folder:
        expected = None
        if oracle:
            try:
                expected = oracle.run(graph, graph.given())
            except Exception as error:  # pylint: disable=broad-except
                return Outcome("no oracle", str(error).replace("\n", " ")[:300])
        try:
            failure, interpreted, ran = tool.run(graph, folder)
        except subprocess.TimeoutExpired:
            return Outcome("crashed", f"took more than {TIMEOUT} s")
        if failure:
            return failure
    pairs = [("artifact", interpreted, ran, "interpreter")]
    if expected:
        pairs.append(("interpreter", expected, interpreted, "onnxruntime"))
        pairs.append(("artifact", expected, ran, "onnxruntime"))
    ill, changes = False, None
    for what, reference, actual, against in pairs:
        for value in graph.outputs:
            found = difference(value, reference[value.name], actual[value.name])
            if not found:
                continue
            if expected and np.isfinite(found[0]) and not value.exact:
                changes = changes or sensitivity(oracle, graph, graph.given(), expected)
                if found[0] <= 8 * changes[value.name]:
                    ill = True
                    continue
            return Outcome("wrong", f"{what} against {against}: {value}: {found[1]}")
    return Outcome("ill-conditioned" if ill else "passed")


# Shrinking.
def without(graph, index, values):
    """The graph where node `index` is gone and what it gave is an input."""
    smaller = copy.copy(graph)
    node = graph.nodes[index]
    smaller.nodes = graph.nodes[:index] + graph.nodes[index + 1:]
    smaller.inputs = graph.inputs + [v for v in node.outputs if v.name in values]
    smaller.arrays = {**graph.arrays, **{v.name: values[v.name] for v in node.outputs if v.name in values}}
    gone = set(node.outputs)
    smaller.outputs = [v for v in graph.outputs if v not in gone]
    smaller.drop_unread()
    return smaller if smaller.outputs and smaller.nodes else None


def live(graph):
    """The graph without nodes that no output needs."""
    needed = {v.name for v in graph.outputs}
    kept = []
    for node in reversed(graph.nodes):
        if any(v.name in needed for v in node.outputs):
            needed |= {v.name for v in node.reads()}
            kept.insert(0, node)
    smaller = copy.copy(graph)
    smaller.nodes = kept
    smaller.drop_unread()
    return smaller


def shrink(tool, oracle, graph, outcome):
    def fails(candidate):
        return candidate is not None and check(tool, oracle, candidate).kind == outcome.kind

    values = {}
    if oracle:
        try:
            values = oracle.run(graph, graph.given(), [v for n in graph.nodes for v in n.outputs])
        except Exception:  # pylint: disable=broad-except
            pass
    for value in list(graph.outputs):
        single = copy.copy(graph)
        single.outputs = [value]
        single = live(single)
        if fails(single):
            graph = single
            break
    again = True
    while again:
        again = False
        for index in range(len(graph.nodes)):
            smaller = without(graph, index, values)
            smaller = live(smaller) if smaller else None
            if fails(smaller):
                graph, again = smaller, True
                break
    return graph


def report(options, index, graph, outcome, whole):
    lines = [f"graph {index} of seed {options.seed}, opset {graph.opset}: {outcome.kind}: {outcome.what}",
             f"  {len(whole.nodes)} nodes, shrunk to {len(graph.nodes)}:"]
    lines += [f"    {node}" for node in graph.nodes]
    if options.keep:
        folder = os.path.join(options.keep, f"{options.seed}-{index}")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "model.onnx"), "wb") as f:
            f.write(graph.model())
        for name, array in graph.given().items():
            np.save(os.path.join(folder, name + ".npy"), array)
        lines.append(f"  kept in {folder}")
    return "\n".join(lines)


GOOD = ("passed", "ill-conditioned", "no oracle")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.environ.get("MLC_BUILD_DIR", os.path.join(HERE, "..", "..", "build")))
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="index of the first graph")
    parser.add_argument("--only", help="indices of graphs, with commas")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--keep", help="a folder for the shrunk graphs")
    parser.add_argument("--json", action="store_true", help="the counts as one JSON object")
    parser.add_argument("--no-oracle", action="store_true")
    parser.add_argument("--no-shrink", action="store_true")
    options = parser.parse_args()
    tool, oracle = Tool(options.build), None if options.no_oracle else Oracle()
    indices = [int(i) for i in options.only.split(",")] if options.only else range(options.first, options.first + options.count)
    kinds, operators, why, begun = collections.Counter(), collections.Counter(), collections.Counter(), time.monotonic()

    def one(index):
        graph = make(options.seed, index)
        outcome = check(tool, oracle, graph)
        text = None
        if outcome.kind not in GOOD:
            smaller = graph if options.no_shrink else shrink(tool, oracle, graph, outcome)
            text = report(options, index, smaller, outcome if smaller is graph else check(tool, oracle, smaller), graph)
        return graph, outcome, text

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for graph, outcome, text in pool.map(one, indices):
            kinds[outcome.kind] += 1
            operators.update(n.op for n in graph.nodes)
            if outcome.kind == "no oracle":
                why[outcome.what] += 1
            if text:
                print(text, file=sys.stderr, flush=True)
            if sum(kinds.values()) % 100 == 0:
                print(", ".join(f"{n} {kind}" for kind, n in kinds.items()), file=sys.stderr, flush=True)
    for what, count in why.most_common(20):
        print(f"no oracle: {count} {what}", file=sys.stderr)
    good = sum(kinds[k] for k in GOOD)
    result = {"seed": options.seed, "graphs": sum(kinds.values()), **dict(kinds), "nodes": sum(operators.values()),
              "operators": dict(operators.most_common()), "seconds": round(time.monotonic() - begun, 1)}
    if options.json:
        print(json.dumps(result))
    else:
        print(", ".join(f"{count} {kind}" for kind, count in kinds.most_common()) +
              f"; {result['nodes']} nodes of {len(operators)} operators, {result['seconds']} s")
    return 0 if good == sum(kinds.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
