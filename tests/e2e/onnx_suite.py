#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Runs the ONNX backend suite through the reference interpreter and prints a table by operator.

    python3 tests/e2e/onnx_suite.py [--build DIR] [--data DIR] [--table F] [--show refused|wrong] [NAME ...]

Needs the onnx package. Without --data: the package's node cases, made by its own loader. With --data: a folder of
folders (node, simple, pytorch-*) as libonnx-testdata installs them. NAME picks cases whose name holds it. The last
line counts: passed, refused (when the graph is imported), failed (when it runs), wrong (numbers, shapes or types), and
out of scope: strings, sequences, optionals, maps, training, preview and random operators, and types that .npy lacks.
The exit status is 1 when anything is wrong or crashed.
"""
import argparse
import collections
import glob
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

HERE = os.path.dirname(os.path.abspath(__file__))
# NumPy's own types; .npy has no others.
PLAIN = {TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT8, TensorProto.UINT16, TensorProto.INT16, TensorProto.INT32,
         TensorProto.INT64, TensorProto.BOOL, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT32, TensorProto.UINT64}
RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}

Case = collections.namedtuple("Case", "name model sets rtol atol")


def plain(array):
    return numpy_helper.to_array(array) if isinstance(array, TensorProto) else array


def package_cases():
    from onnx.backend.test.loader import load_model_tests
    for case in load_model_tests(kind="node"):
        sets = [([plain(a) for a in given], [plain(a) for a in expected]) for given, expected in case.data_sets]
        yield Case(case.name, case.model, sets, case.rtol, case.atol)


def read_pb(path, type_proto):
    with open(path, "rb") as f:
        data = f.read()
    if not type_proto.HasField("tensor_type"):
        return None
    tensor = TensorProto()
    tensor.ParseFromString(data)
    return numpy_helper.to_array(tensor)


def folder_cases(folder):
    for path in sorted(glob.glob(os.path.join(folder, "*", "test_*", "model.onnx"))):
        here = os.path.dirname(path)
        model = onnx.load(path)
        sets = []
        for data in sorted(glob.glob(os.path.join(here, "test_data_set_*"))):
            def load(kind, values):
                return [read_pb(os.path.join(data, f"{kind}_{i}.pb"), v.type) for i, v in enumerate(values)
                        if os.path.exists(os.path.join(data, f"{kind}_{i}.pb"))]
            sets.append((load("input", model.graph.input), load("output", model.graph.output)))
        yield Case(os.path.basename(here), model, sets, 1e-3, 1e-7)


def nodes_of(graph):
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from nodes_of(attribute.g)


def out_of_scope(model):
    for value in list(model.graph.input) + list(model.graph.output):
        kind = value.type.WhichOneof("value")
        if kind != "tensor_type":
            return kind.replace("_type", "")
        if value.type.tensor_type.elem_type not in PLAIN:
            return TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()
    for node in nodes_of(model.graph):
        if "preview" in node.domain or "training" in node.domain or node.op_type in ("Adagrad", "Adam", "Momentum", "Gradient"):
            return "training"
        if node.op_type in RANDOM:
            return "random"
        if any(a.name == "training_mode" and a.i for a in node.attribute):
            return "training"
        if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
            return "training"
    return None


def operator_of(case):
    nodes = list(case.model.graph.node)
    if len(nodes) == 1:
        return nodes[0].op_type
    return case.name.split("_")[1] + (" (expanded)" if "expanded" in case.name else " (graph)")


def same(expected, actual, rtol, atol):
    expected = np.asarray(expected)
    if expected.shape != actual.shape or expected.dtype != actual.dtype:
        return f"{actual.dtype}{list(actual.shape)} in place of {expected.dtype}{list(expected.shape)}"
    if expected.dtype.kind == "f":
        if not np.allclose(actual.astype(np.float64), expected.astype(np.float64), rtol=rtol, atol=atol, equal_nan=True):
            return f"off by {np.nanmax(np.abs(actual.astype(np.float64) - expected.astype(np.float64)))}"
    elif not np.array_equal(expected, actual):
        return f"{np.count_nonzero(expected != actual)} of {expected.size} values"
    return None


def last_line(text):
    lines = [line for line in text.splitlines() if line.startswith("mlc: error:")]
    return lines[-1] if lines else text[-300:]


def run_case(mlc, case, folder):
    model = os.path.join(folder, "model.onnx")
    with open(model, "wb") as f:
        f.write(case.model.SerializeToString())
    initialized = {i.name for i in case.model.graph.initializer}
    inputs = [i for i in case.model.graph.input if i.name not in initialized]
    for given, expected in case.sets:
        dims, arguments = [], []
        for i, (value, array) in enumerate(zip(inputs, given)):
            path = os.path.join(folder, f"in{i}.npy")
            array = np.asarray(array)
            np.save(path, np.ascontiguousarray(array).reshape(array.shape))
            arguments += ["--input", f"{value.name}={path}"]
            for axis, dim in enumerate(value.type.tensor_type.shape.dim):
                if not dim.HasField("dim_value") and axis < array.ndim:
                    dims.append(f"{value.name}.{axis}={array.shape[axis]}")
        if dims:
            arguments += ["--dim", ",".join(dims)]
        out = os.path.join(folder, "out")
        try:
            done = subprocess.run([mlc, "interpret", model, "--json", "--output-dir", out] + arguments, capture_output=True,
                                  text=True, timeout=120)
        except subprocess.TimeoutExpired:
            return "crashed", "took more than 120 s"
        if done.returncode not in (0, 1):
            return "crashed", f"exit {done.returncode}: {done.stderr[-300:]}"
        if done.returncode == 1:
            command = [mlc, "compile", model, "--emit", "graph", "-o", os.path.join(folder, "graph.mlir")]
            imports = subprocess.run(command + arguments[-2:] if dims else command, capture_output=True, text=True).returncode
            return ("failed" if imports == 0 else "refused"), last_line(done.stderr)
        files = json.loads(done.stdout)["outputs"]
        for value, array in zip(case.model.graph.output, expected):
            difference = same(array, np.load(files[value.name]["file"]), case.rtol, case.atol)
            if difference:
                return "wrong", f"{value.name}: {difference}"
    return "passed", ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(HERE, "..", "..", "build"))
    parser.add_argument("--data")
    parser.add_argument("--table", help="also write the table there")
    parser.add_argument("--show", default="wrong,crashed,failed", help="outcomes to list case by case")
    parser.add_argument("--part", default="0/1", help="I/N: every Nth case from the Ith")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    mlc = os.path.join(options.build, "bin", "mlc")
    part, parts = (int(x) for x in options.part.split("/"))

    kinds = ("passed", "refused", "failed", "wrong", "crashed", "out of scope")
    table = collections.defaultdict(collections.Counter)
    reasons = collections.Counter()
    cases = folder_cases(options.data) if options.data else package_cases()
    with tempfile.TemporaryDirectory() as folder:
        for index, case in enumerate(c for c in cases if not options.names or any(n in c.name for n in options.names)):
            if index % parts != part:
                continue
            scope = out_of_scope(case.model)
            outcome, why = ("out of scope", scope) if scope else run_case(mlc, case, folder)
            table[operator_of(case)][outcome] += 1
            if outcome == "refused":
                reasons[why.split("(", 1)[-1]] += 1
            if outcome in options.show:
                print(f"{outcome}: {case.name}: {why}", flush=True)
    lines = ["| operator | " + " | ".join(kinds) + " |", "|---|" + "---|" * len(kinds)]
    total = collections.Counter()
    for name in sorted(table):
        total.update(table[name])
        lines.append(f"| {name} | " + " | ".join(str(table[name][k] or "") for k in kinds) + " |")
    print("\n".join(lines))
    for why, count in reasons.most_common(60) if "refused" in options.show else []:
        print(f"{count:5} {why}")
    counts = ", ".join(f"{total[k]} {k}" for k in kinds)
    in_scope = sum(total[k] for k in kinds[:-1])
    print(f"{counts}; {100 * total['passed'] / max(1, in_scope):.1f}% of those in scope passed")
    if options.table:
        with open(options.table, "w", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n\n" + counts + "\n")
    return 1 if total["wrong"] or total["crashed"] else 0


if __name__ == "__main__":
    sys.exit(main())
