#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Runs the ONNX backend suite through the reference interpreter (--compiled: through artifacts) and compares what happens
with the record.

    python3 tests/e2e/onnx_suite.py [--build DIR] [--data DIR] [--table] [--show refused,wrong] [NAME ...]

Needs the onnx package. Without --data: the package's node cases, made by its own loader. With --data: a folder of
folders (node, simple, pytorch-*) as libonnx-testdata installs them. NAME picks cases whose name holds it. The last
line counts: passed, inexact (INEXACT below), refused (when the graph is imported), failed (when it runs), wrong (numbers,
shapes or types), crashed, and out of scope: strings, sequences, optionals, maps, training, preview and random operators,
and types that .npy lacks.

The record is onnx_suite.md beside this file, written by --table: a table by operator, and every case in scope that does
not pass, with the reason. The exit status is 1 when a case is wrong, crashes or fails when it runs, or is refused and
not in the record.

Inputs that say what is computed rather than on what (SHAPING below: shapes, axes, pads, counts) are given as a user of an
ahead-of-time compiler gives them, by --dim INPUT=[...]; everything else is given when the model runs.
"""
import argparse
import collections
import concurrent.futures
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
RECORD = os.path.join(HERE, "onnx_suite.md")
KINDS = ("passed", "inexact", "refused", "failed", "wrong", "crashed", "out of scope")
# NumPy's own types; .npy has no others.
PLAIN = {TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT8, TensorProto.UINT16, TensorProto.INT16, TensorProto.INT32,
         TensorProto.INT64, TensorProto.BOOL, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT32, TensorProto.UINT64}
RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
# The inputs of an operator that its result's shape, or the axes it works on, follow from.
SHAPING = {
    "AffineGrid": [1], "BlackmanWindow": [0], "CenterCropPad": [1], "Col2Im": [1, 2], "ConstantOfShape": [0], "CumProd": [1],
    "CumSum": [1], "DFT": [1, 2], "Expand": [1], "HammingWindow": [0], "HannWindow": [0], "MaxUnpool": [2],
    "MelWeightMatrix": [0, 1, 2, 3, 4], "OneHot": [1], "Pad": [1, 3], "Range": [0, 1, 2], "ReduceL1": [1], "ReduceL2": [1],
    "ReduceLogSum": [1], "ReduceLogSumExp": [1], "ReduceMax": [1], "ReduceMean": [1], "ReduceMin": [1], "ReduceProd": [1],
    "ReduceSum": [1], "ReduceSumSquare": [1], "Reshape": [1], "Resize": [1, 2, 3], "STFT": [1, 3], "Slice": [1, 2, 3, 4],
    "Split": [1], "Squeeze": [1], "Tile": [1], "TopK": [1], "Trilu": [1], "Unsqueeze": [1], "Upsample": [1],
}
# Why a case may be refused, by operator.
REASONS = {
    "ArrayFeatureExtractor": "classical machine learning (ai.onnx.ml): no voice network has it",
    "Binarizer": "classical machine learning (ai.onnx.ml): no voice network has it",
    "ImageDecoder": "decodes JPEG, PNG, WebP, ... inside the graph: files are decoded before they reach a network",
    "TfIdfVectorizer": "counts n-grams of texts: no voice network has it",
    "TreeEnsemble": "classical machine learning (ai.onnx.ml): no voice network has it",
}
# Cases whose expected values lie further from the exact result than their tolerance: the absolute error that is taken for
# "inexact", which counts as not passed, and why.
INEXACT = {name: (1e-5, "expected values are those of an FFT in complex64, with its roundings: the exact transform of the same "
                        "inputs (float64) is off by 1.5e-6 where 1e-7 is asked")
           for name in ("test_dft_inverse", "test_dft_inverse_opset19")}

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
    for path in sorted(glob.glob(os.path.join(folder, "test_*", "model.onnx"))):
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
        if node.op_type.startswith("Sequence") or node.op_type in ("ConcatFromSequence", "SplitToSequence"):
            return "sequence"
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


def shaping_inputs(model):
    return {node.input[i] for node in model.graph.node for i in SHAPING.get(node.op_type, []) if i < len(node.input)}


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


def dim_text(array):
    numbers = [repr(float(x)) if array.dtype.kind == "f" else str(int(x)) for x in array.reshape(-1)]
    return numbers[0] if array.ndim == 0 else f"[{','.join(numbers)}]"


def run_case(mlc, case, shaping, compiled):
    with tempfile.TemporaryDirectory() as folder:
        return run_in(folder, mlc, case, shaping, compiled)


def run_in(folder, mlc, case, shaping, compiled):
    model = os.path.join(folder, "model.onnx")
    with open(model, "wb") as f:
        f.write(case.model.SerializeToString())
    graph = case.model.graph
    initialized = {i.name for i in graph.initializer}
    inputs = [i for i in graph.input if i.name not in initialized]
    for given, expected in case.sets:
        dims, arguments = [], []
        for i, (value, array) in enumerate(zip(inputs, given)):
            path = os.path.join(folder, f"in{i}.npy")
            array = np.asarray(array)
            if value.name in shaping and array.ndim <= 1:
                dims.append(f"{value.name}={dim_text(array)}")
                continue
            np.save(path, np.ascontiguousarray(array).reshape(array.shape))
            arguments += ["--input", f"{value.name}={path}"]
            for axis, dim in enumerate(value.type.tensor_type.shape.dim):
                if not dim.HasField("dim_value") and axis < array.ndim:
                    dims.append(f"{value.name}.{axis}={array.shape[axis]}")
        fixed = ["--dim", ",".join(dims)] if dims else []
        out = os.path.join(folder, "out")
        try:
            if compiled:
                artifact = os.path.join(folder, "model.mlca")
                done = subprocess.run([mlc, "compile", model, "-o", artifact, "--cpu", "native"] + fixed,
                                      capture_output=True, text=True, timeout=120)
                if done.returncode == 1:
                    return "refused", last_line(done.stderr)
                if done.returncode == 0:
                    done = subprocess.run([mlc, "run", artifact, "--json", "--output-dir", out] + arguments,
                                          capture_output=True, text=True, timeout=120)
                if done.returncode == 1:
                    return "failed", last_line(done.stderr)
            else:
                done = subprocess.run([mlc, "interpret", model, "--json", "--output-dir", out] + arguments + fixed,
                                      capture_output=True, text=True, timeout=120)
        except subprocess.TimeoutExpired:
            return "crashed", "took more than 120 s"
        if done.returncode not in (0, 1):
            return "crashed", f"exit {done.returncode}: {done.stderr[-300:]}"
        if done.returncode == 1:
            command = [mlc, "compile", model, "--emit", "graph", "-o", os.path.join(folder, "graph.mlir")]
            imports = subprocess.run(command + fixed, capture_output=True, text=True).returncode
            return ("failed" if imports == 0 else "refused"), last_line(done.stderr)
        files = json.loads(done.stdout)["outputs"]
        for value, array in zip(graph.output, expected):
            actual = np.load(files[value.name]["file"])
            difference = same(array, actual, case.rtol, case.atol)
            if difference and case.name in INEXACT and not same(array, actual, case.rtol, INEXACT[case.name][0]):
                return "inexact", f"{value.name}: {difference}"
            if difference:
                return "wrong", f"{value.name}: {difference}"
    return "passed", ""


Outcome = collections.namedtuple("Outcome", "case operator outcome why fixed", defaults=(False,))


def run_part(mlc, cases, options):
    cases = list(cases)
    shaping = {case.name: shaping_inputs(case.model) for case in cases}
    wanted = [c for c in cases if not options.names or any(n in c.name for n in options.names)]

    def one(case):
        scope = out_of_scope(case.model)
        if scope:
            return Outcome(case.name, operator_of(case), "out of scope", scope)
        # An operator written out as others has the inputs that it had.
        original = shaping.get(case.name.split("_expanded")[0], set())
        outcome = Outcome(case.name, operator_of(case), *run_case(mlc, case, shaping[case.name] | original, options.compiled))
        if outcome.outcome in options.show:
            print(f"{outcome.outcome}: {case.name}: {outcome.why}", flush=True)
        given = {i.name for i in case.model.graph.input} - {i.name for i in case.model.graph.initializer}
        return outcome._replace(fixed=bool(given & (shaping[case.name] | original)))

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        return list(pool.map(one, wanted))


def counted(outcomes):
    total = collections.Counter(o.outcome for o in outcomes)
    in_scope = sum(total[k] for k in KINDS[:-1])
    share = 100 * total["passed"] / max(1, in_scope)
    return ", ".join(f"{total[k]} {k}" for k in KINDS) + f"; {share:.1f}% of the {in_scope} in scope passed"


def reason_of(outcome):
    """Of what is expected not to pass; None where there is none."""
    if "known at run time only" in outcome.why:
        return "a run finds the extent of its result; artifacts have fixed shapes, the interpreter runs it"
    return INEXACT[outcome.case][1] if outcome.outcome == "inexact" else REASONS.get(outcome.operator.split(" ")[0])


def table_of(title, outcomes):
    """A part's section of the record."""
    by_operator = collections.defaultdict(collections.Counter)
    for outcome in outcomes:
        by_operator[outcome.operator][outcome.outcome] += 1
    fixed = f"Inputs that shapes or axes follow from are fixed by --dim in {sum(o.fixed for o in outcomes)} cases."
    lines = [f"## {title}", "", counted(outcomes) + ".", fixed, "", "| operator | " + " | ".join(KINDS) + " |",
             "|---|" + "---|" * len(KINDS)]
    for name in sorted(by_operator):
        lines.append(f"| {name} | " + " | ".join(str(by_operator[name][k] or "") for k in KINDS) + " |")
    short = [o for o in outcomes if o.outcome in ("refused", "inexact")]
    if short:
        lines += ["", "| does not pass | | why |", "|---|---|---|"]
        lines += [f"| {o.case} | {o.outcome} | {reason_of(o)} |" for o in sorted(short)]
    return "\n".join(lines) + "\n"


def recorded():
    """The sections of the record, by title."""
    if not os.path.exists(RECORD):
        return {}
    with open(RECORD, encoding="utf-8") as f:
        parts = f.read().split("\n## ")
    return {part.split("\n", 1)[0]: "## " + part for part in parts[1:]}


def problems(title, outcomes):
    """What differs from the record for the worse."""
    expected = {line.split("|")[1].strip() for line in recorded().get(title, "").splitlines() if line.startswith("| test_")}
    for o in outcomes:
        if o.outcome in ("failed", "wrong", "crashed"):
            yield f"{o.outcome}: {o.case}: {o.why}"
        elif o.outcome == "refused" and o.case not in expected:
            yield f"refused, and not in the record: {o.case}: {o.why}"
        elif o.outcome == "refused" and not reason_of(o):
            yield f"refused without a reason in REASONS: {o.case}: {o.why}"


def parts_of(options):
    if not options.data:
        yield f"onnx {onnx.__version__}: node", package_cases()
        return
    for folder in sorted(glob.glob(os.path.join(options.data, "*"))):
        if glob.glob(os.path.join(folder, "test_*", "model.onnx")):
            yield f"libonnx-testdata: {os.path.basename(folder)}", folder_cases(folder)


HEADER = """# The ONNX backend suite through the reference interpreter, and compiled

Written by `onnx_suite.py --table`, which says what is counted how. A case in scope that is not listed below passes.

"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(HERE, "..", "..", "build"))
    parser.add_argument("--data")
    parser.add_argument("--compiled", action="store_true", help="run artifacts, compiled for this machine")
    parser.add_argument("--table", action="store_true", help="write these parts of the record anew")
    parser.add_argument("--show", default="wrong,crashed,failed", help="outcomes to list case by case")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    mlc = os.path.join(options.build, "bin", "mlc")
    sections, bad = recorded(), []
    for title, cases in parts_of(options):
        if options.compiled:
            title += ", compiled"
        outcomes = run_part(mlc, cases, options)
        if options.table and not options.names:
            sections[title] = table_of(title, outcomes)
            with open(RECORD, "w", encoding="utf-8") as f:
                f.write(HEADER + "\n".join(sections[title] for title in sorted(sections)))
        bad += problems(title, outcomes)
        if "refused" in options.show:
            reasons = collections.Counter(o.why.split("(", 1)[-1] for o in outcomes if o.outcome == "refused")
            for why, count in reasons.most_common(60):
                print(f"{count:5} {why}")
        print(f"{title}: {counted(outcomes)}")
    for line in bad:
        print(line)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
