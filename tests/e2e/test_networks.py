# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""ONNX networks as artifacts: what `mlc run` and `mlc-run` give is what the interpreter gives; streams; what is refused."""
import json
import os
import subprocess
import tempfile
import unittest

import numpy as np

from onnx_writer import graph, model, node, tensor, value

BUILD = os.environ["MLC_BUILD_DIR"]
MLC, MLC_RUN = os.path.join(BUILD, "bin", "mlc"), os.path.join(BUILD, "bin", "mlc-run")
RUNNERS = [[MLC, "run"]] + ([[MLC_RUN]] if os.access(MLC_RUN, os.X_OK) else [])
INPUTS, WIDTH, HIDDEN = 6, 20, 10


def speech_like(rng):
    """x f32[1,6,20], h and c f32[1,1,10] -> y f32[1,3], and the states of an LSTM behind a convolution."""
    def weights(*shape):
        return (0.3 * rng.standard_normal(shape)).astype(np.float32)
    constants = {"k": weights(12, INPUTS, 3), "kb": weights(12), "w": weights(1, 4 * HIDDEN, 12),
                 "r": weights(1, 4 * HIDDEN, HIDDEN), "b": weights(1, 8 * HIDDEN), "head": weights(HIDDEN, 3),
                 "one": np.array([1, 1, 12]), "flat": np.array([1, HIDDEN])}
    nodes = [node("Conv", ["x", "k", "kb"], ["conv"], pads=[1, 1], strides=[2]), node("Relu", ["conv"], ["relu"]),
             node("ReduceMean", ["relu"], ["mean"], axes=[2], keepdims=0), node("Reshape", ["mean", "one"], ["step"]),
             node("LSTM", ["step", "w", "r", "b", "", "h", "c"], ["all", "h_out", "c_out"], hidden_size=HIDDEN),
             node("Reshape", ["h_out", "flat"], ["last"]), node("MatMul", ["last", "head"], ["scores"]),
             node("Softmax", ["scores"], ["y"], axis=1)]
    return model(graph(nodes, [value("x", "float32", (1, INPUTS, WIDTH)), value("h", "float32", (1, 1, HIDDEN)),
                               value("c", "float32", (1, 1, HIDDEN))],
                       [value("y", "float32", (1, 3)), value("h_out", "float32", (1, 1, HIDDEN)),
                        value("c_out", "float32", (1, 1, HIDDEN))],
                       [tensor(name, array) for name, array in constants.items()]))


class Networks(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.rng = np.random.default_rng(9)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def floats(self, *shape):
        return self.rng.standard_normal(shape).astype(np.float32)

    def call(self, command, inputs=None, arguments=()):
        """The outputs by name, or the error line."""
        command = [*command, "--json", "--output-dir", self.path("out"), *arguments]
        for name, array in (inputs or {}).items():
            np.save(self.path(name + ".npy"), array)
            command += ["--input", f"{name}={self.path(name + '.npy')}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode:
            self.assertEqual((done.returncode, done.stderr.count("\n"), done.stdout), (1, 1, ""), done.stderr)
            return done.stderr
        return {k: np.load(v["file"]) for k, v in json.loads(done.stdout)["outputs"].items()}

    def compile(self, body, *options, name="net"):
        with open(self.path(name + ".onnx"), "wb") as f:
            f.write(body)
        subprocess.run([MLC, "compile", self.path(name + ".onnx"), "-o", self.path(name + ".mlca"), *options], check=True,
                       timeout=120, stderr=subprocess.PIPE)
        return self.path(name + ".mlca")

    def agree(self, body, inputs, tolerance=1e-5):
        """Interpreter and artifact, in both programs and with any number of threads."""
        artifact = self.compile(body)
        expected = self.call([MLC, "interpret", self.path("net.onnx")], inputs)
        self.assertIsInstance(expected, dict, expected)
        first = None
        for runner in RUNNERS:
            for threads in ("1", "3"):
                got = self.call([*runner, artifact, "--threads", threads], inputs)
                self.assertIsInstance(got, dict, got)
                self.assertEqual(sorted(got), sorted(expected))
                for name, array in got.items():
                    self.assertEqual((array.dtype, array.shape), (expected[name].dtype, expected[name].shape), name)
                    np.testing.assert_allclose(array, expected[name], rtol=tolerance, atol=tolerance, err_msg=name)
                    if first:
                        np.testing.assert_array_equal(array, first[name])
                first = first or got
        return first

    def test_convolution_and_lstm(self):
        self.agree(speech_like(self.rng), {"x": self.floats(1, INPUTS, WIDTH), "h": self.floats(1, 1, HIDDEN),
                                           "c": self.floats(1, 1, HIDDEN)})

    def test_attention_by_blocks_of_rows(self):
        # Rows that no block divides, heads, a mask, keys that fill no panel, what another layer computes from the result;
        # then a head alone.
        for heads, rows, keys, width in ((3, 131, 173, 20), (1, 211, 209, 32)):
            bias = np.where(self.rng.random((rows, keys)) < 0.2, np.float32(-1e9), np.float32(0))
            nodes = []
            for layer, (q, y) in enumerate((("q", "y0"), ("y0", "y"))):
                at = lambda name: f"{name}{layer}"
                nodes += [node("Transpose", [q], [at("qt")], perm=[0, 2, 1, 3]), node("Transpose", ["k"], [at("kt")], perm=[0, 2, 3, 1]),
                          node("Transpose", ["v"], [at("vt")], perm=[0, 2, 1, 3]), node("MatMul", [at("qt"), at("kt")], [at("scores")]),
                          node("Mul", [at("scores"), "scale"], [at("scaled")]), node("Add", [at("scaled"), "bias"], [at("masked")]),
                          node("Softmax", [at("masked")], [at("weights")], axis=-1), node("MatMul", [at("weights"), at("vt")], [at("mixed")]),
                          node("Transpose", [at("mixed")], [at("back")], perm=[0, 2, 1, 3]), node("Relu", [at("back")], [y])]
            shapes = {"q": (1, rows, heads, width), "k": (1, keys, heads, width), "v": (1, keys, heads, width)}
            body = model(graph(nodes, [value(n, "float32", s) for n, s in shapes.items()],
                               [value("y", "float32", (1, rows, heads, width))],
                               [tensor("bias", bias), tensor("scale", np.float32(width ** -0.5))]))
            self.agree(body, {n: self.floats(*s) for n, s in shapes.items()})
            plan = subprocess.run([MLC, "compile", self.path("net.onnx"), "--emit", "exec", "-o", "-"], check=True,
                                  capture_output=True, text=True, timeout=120).stdout
            # No buffer holds all scores of several heads; those of one are of a product without leading axes.
            self.assertEqual(f"memref<1x{heads}x{rows}x{keys}xf32>" in plan, heads == 1)

    def test_types(self):
        a, i, f, h = self.floats(3, 5), np.arange(-7, 8).reshape(3, 5), self.rng.random((3, 5)) > 0.5, self.floats(5)
        nodes = [node("Where", ["f", "a", "d"], ["chosen"]), node("Not", ["f"], ["opposite"]),
                 node("Mul", ["i", "i"], ["squares"]), node("Cast", ["i"], ["narrow"], to=3),
                 node("Cast", ["h"], ["half"], to=10), node("Cast", ["a"], ["double"], to=11),
                 node("Transpose", ["a"], ["turned"], perm=[1, 0]), node("Concat", ["i", "squares"], ["both"], axis=0)]
        outputs = [("chosen", "float32", (3, 5)), ("opposite", "bool", (3, 5)), ("squares", "int64", (3, 5)),
                   ("narrow", "int8", (3, 5)), ("half", "float16", (5,)), ("double", "float64", (3, 5)),
                   ("turned", "float32", (5, 3)), ("both", "int64", (6, 5))]
        body = model(graph(nodes, [value("a", "float32", (3, 5)), value("d", "float32", ()), value("i", "int64", (3, 5)),
                                   value("f", "bool", (3, 5)), value("h", "float32", (5,))],
                           [value(*output) for output in outputs]))
        got = self.agree(body, {"a": a, "d": np.float32(2), "i": i, "f": f, "h": h}, 1e-6)
        np.testing.assert_array_equal(got["chosen"], np.where(f, a, np.float32(2)))
        np.testing.assert_array_equal(got["half"], h.astype(np.float16))

    def test_functions(self):
        """Powers with their special cases, and functions of f64, against NumPy."""
        x = np.array([-2.5, -2, -0.5, -0.0, 0.0, 1e-7, 0.5, 1, 3, -np.inf, np.inf, np.nan])
        a, b = (grid.reshape(-1) for grid in np.meshgrid(x, np.append(x, [2, 7, 0.25])))
        small = np.concatenate([np.linspace(-0.99, 0.99, 301), [1e-9, -1e-9]])
        functions = {"Sin": np.sin, "Cos": np.cos, "Tan": np.tan, "Atan": np.arctan, "Asin": np.arcsin, "Acos": np.arccos,
                     "Sinh": np.sinh, "Cosh": np.cosh, "Tanh": np.tanh, "Asinh": np.arcsinh, "Atanh": np.arctanh}
        for name, relative in (("float32", 4e-7), ("float64", 2e-15)):
            nodes = [node("Pow", ["a", "b"], ["pow"])] + [node(op, ["s"], [op]) for op in functions]
            shapes = {"a": a.shape, "b": b.shape, "s": small.shape}
            body = model(graph(nodes, [value(port, name, shape) for port, shape in shapes.items()],
                               [value("pow", name, a.shape)] + [value(op, name, small.shape) for op in functions]))
            given = {"a": a.astype(name), "b": b.astype(name), "s": small.astype(name)}
            got = self.call([MLC, "run", self.compile(body)], given)
            self.assertIsInstance(got, dict, got)
            with np.errstate(all="ignore"):
                # The error of a power grows with |y ln x|, here 56 at most.
                np.testing.assert_allclose(got["pow"], np.power(given["a"], given["b"]), rtol=10 * relative)
                for op, function in functions.items():
                    expected = function(given["s"].astype(np.float64)).astype(name)
                    np.testing.assert_allclose(got[op], expected, rtol=relative, err_msg=op)

    def test_products_of_short_integers(self):
        """Exact whatever the types and zero points are, at every depth around those that f32 sums exactly."""
        kinds = {"uint8": (0, 255), "int8": (-128, 127)}

        def numbers(kind, shape, extreme):
            low, high = kinds[kind]
            return (self.rng.choice([low, high], shape) if extreme else self.rng.integers(low, high + 1, shape)).astype(kind)

        def filled(kind, shape, highest):
            return np.full(shape, kinds[kind][highest], kind)
        nodes, constants, inputs, outputs, expected = [], {}, {}, [], {}

        def product(op, a, b, a_zero, b_zero, weights, result, **attributes):
            i = len(nodes)
            inputs[f"a{i}"] = a
            (constants if weights else inputs)[f"b{i}"] = b
            constants[f"az{i}"], constants[f"bz{i}"] = a_zero, b_zero
            nodes.append(node(op, [f"{n}{i}" for n in ("a", "b", "az", "bz")], [f"y{i}"], **attributes))
            outputs.append(value(f"y{i}", "int32", result.shape))
            expected[f"y{i}"] = result.astype(np.int32)

        for depth in (5, 257, 258, 259, 514, 516, 1024, 1030, 1301):
            for a_kind, b_kind, weights in (("uint8", "int8", True), ("uint8", "uint8", True), ("int8", "int8", depth % 2),
                                            ("int8", "uint8", False)):
                rows, columns, extreme = 1 + depth % 7, 8 + depth % 13, depth % 3 > 0
                a = filled(a_kind, (2, rows, depth), depth % 2) if extreme else numbers(a_kind, (2, rows, depth), False)
                b = filled(b_kind, (depth, columns), extreme) if extreme else numbers(b_kind, (depth, columns), True)
                a_zero = np.array(self.rng.choice(kinds[a_kind]), a_kind) if depth % 5 else np.array(0, a_kind)
                b_zero = numbers(b_kind, (columns,), True) if depth % 4 == 1 else np.array(0, b_kind)
                product("MatMulInteger", a, b, a_zero, b_zero, weights,
                        (a.astype(np.int64) - a_zero) @ (b.astype(np.int64) - b_zero))
        for channels, groups in ((20, 1), (60, 2), (70, 1), (130, 1)):
            x, w = numbers("uint8", (1, channels, 4, 6), False), numbers("int8", (18, channels // groups, 3, 3), True)
            zero = np.array(200, np.uint8)
            # Places outside are zero points.
            wide = np.pad(x.astype(np.int64) - zero, ((0, 0), (0, 0), (1, 1), (1, 1)))
            windows = np.lib.stride_tricks.sliding_window_view(wide, (3, 3), (2, 3))
            windows = windows.reshape(1, groups, channels // groups, 4, 6, 3, 3)
            result = np.einsum("bgchwkl,gmckl->bgmhw", windows, w.astype(np.int64).reshape(groups, 18 // groups, -1, 3, 3))
            product("ConvInteger", x, w, zero, np.array(0, np.int8), True, result.reshape(1, 18, 4, 6), pads=[1, 1, 1, 1],
                    group=groups)
        body = model(graph(nodes, [value(n, str(v.dtype), v.shape) for n, v in inputs.items()], outputs,
                           [tensor(n, v) for n, v in constants.items()]))
        got = self.agree(body, inputs)
        for name, array in expected.items():
            np.testing.assert_array_equal(got[name], array, err_msg=name)

    def test_more_inputs_than_a_region_has_buffers(self):
        given = {f"x{i}": self.floats(3, 5) for i in range(40)}
        body = model(graph([node("Sum", list(given), ["y"])], [value(name, "float32", (3, 5)) for name in given],
                           [value("y", "float32", (3, 5))]))
        self.agree(body, given)

    def test_one_of_several_unit_axes(self):
        """A step along an axis of 1 takes away that axis, not another one of extent 1."""
        x = self.floats(1, 3, 7, 1)
        nodes = [node("CumSum", ["x", f"axis{i}"], [f"y{i}"]) for i in range(4)]
        body = model(graph(nodes, [value("x", "float32", x.shape)], [value(f"y{i}", "float32", x.shape) for i in range(4)],
                           [tensor(f"axis{i}", np.int64(i)) for i in range(4)]))
        for name, got in self.agree(body, {"x": x}).items():
            np.testing.assert_allclose(got, np.cumsum(x, int(name[1:])), rtol=1e-5, atol=1e-6, err_msg=name)

    def test_a_loop_without_end_over_constants(self):
        """Is compiled at once: nothing of it is computed while compiling."""
        step = graph([node("Identity", ["c"], ["co"]), node("Add", ["v", "v"], ["vo"])],
                     [value("i", "int64", ()), value("c", "bool", ()), value("v", "float32", (3,))],
                     [value("co", "bool", ()), value("vo", "float32", (3,))])
        self.compile(model(graph([node("Loop", ["count", "go", "k"], ["z"], body=step), node("Add", ["x", "z"], ["y"])],
                                 [value("x", "float32", (3,))], [value("y", "float32", (3,))],
                                 [tensor("count", np.int64(1 << 62)), tensor("go", np.array(True)),
                                  tensor("k", np.zeros(3, np.float32))])))

    def test_a_stream_is_its_runs(self):
        body, frames = speech_like(self.rng), self.floats(7, 1, INPUTS, WIDTH)
        plain = self.compile(body, name="plain")
        state = {"h": np.zeros((1, 1, HIDDEN), np.float32), "c": np.zeros((1, 1, HIDDEN), np.float32)}
        expected = []
        for frame in frames:
            got = self.call([MLC, "run", plain, "--threads", "1"], {"x": frame, **state})
            self.assertIsInstance(got, dict, got)
            state = {"h": got["h_out"], "c": got["c_out"]}
            expected.append(got["y"])
        stream = self.compile(body, "--state", "h_out=h", "--state", "c_out=c", name="stream")
        for runner in RUNNERS:
            got = self.call([*runner, stream, "--threads", "1"], {"x": frames})
            self.assertIsInstance(got, dict, got)
            self.assertEqual(sorted(got), ["y"])
            np.testing.assert_array_equal(got["y"], np.stack(expected))
        # One run of a stream is as the first.
        np.testing.assert_array_equal(self.call([MLC, "run", stream], {"x": frames[0]})["y"], expected[0])
        self.assertIn("there is no input 'h'", self.call([MLC, "run", stream], {"x": frames, "h": state["h"]}))

    def test_refused_states_and_dimensions(self):
        self.compile(speech_like(self.rng))
        command = [MLC, "compile", self.path("net.onnx"), "-o", self.path("none.mlca")]
        for options, expected in ((["--state", "h_out=h", "--state", "h_out=h"], "--state h_out=h: a port is named twice"),
                                  (["--state", "h_out=h,c_out=h"], "--state c_out=h: a port is named twice"),
                                  (["--state", "h_out=h", "--state", "h_out=c"], "--state h_out=c: a port is named twice"),
                                  (["--state", "z=h"], "the network has no output 'z'"),
                                  (["--state", "h_out=z"], "the network has no input 'z'"),
                                  (["--state", "y=h"], "the output and the input are of different types"),
                                  (["--state", "h_out"], "write OUTPUT=INPUT"),
                                  (["--dim", "x.2=20", "--dim", "x.2=21"], "--dim: names x.2 twice")):
            done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=60)
            self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
            self.assertIn(expected, done.stderr)
            self.assertFalse(os.path.exists(self.path("none.mlca")))

    def test_refused(self):
        artifact = self.compile(speech_like(self.rng))
        good = {"x": self.floats(1, INPUTS, WIDTH), "h": self.floats(1, 1, HIDDEN), "c": self.floats(1, 1, HIDDEN)}
        for change, expected in (({"x": good["x"].astype(np.float64)}, "holds float64, input 'x' is float32"),
                                 ({"x": good["x"][0]}, "has 2 axes, input 'x' has 3"),
                                 ({"x": self.floats(1, INPUTS, 21)}, "axis 2 has 21 elements, input 'x' has 20"),
                                 ({"x": good["x"][None]}, "has 4 axes, input 'x' has 3"),
                                 ({"z": good["x"]}, "there is no input 'z'; there are: x, h, c")):
            for runner in RUNNERS:
                self.assertIn(expected, self.call([*runner, artifact], {**good, **change}))
        self.assertIn("give the inputs h, c with", self.call([MLC, "run", artifact], {"x": good["x"]}))
        self.assertIn("--prompt goes with language models", self.call([MLC, "run", artifact], good, ["--prompt", "a"]))
        self.assertIn("a language model is wanted", self.call([MLC, "run", artifact], {}, ["--chat"]))

    def agree_within(self, body, bounds, runs):
        """One artifact at the extents of several runs; the same bits with any number of threads."""
        artifact = self.compile(body, "--dim", bounds)
        for inputs in runs:
            expected = self.call([MLC, "interpret", self.path("net.onnx"), "--dim", bounds], inputs)
            got = [self.call([*runner, artifact, "--threads", threads], inputs) for runner in RUNNERS for threads in "13"]
            for each in got:
                self.assertIsInstance(each, dict, each)
                self.assertEqual(sorted(each), sorted(expected))
                for name, array in each.items():
                    self.assertEqual((array.dtype, array.shape), (expected[name].dtype, expected[name].shape), name)
                    np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-5, err_msg=name)
                    np.testing.assert_array_equal(array, got[0][name])
        return artifact

    def test_bounded_windows(self):
        """Batch and time that every run chooses, through convolutions, pooling, products and an LSTM."""
        constants = {"k": self.floats(16, INPUTS, 3), "kb": self.floats(16), "k2": self.floats(16, 5, 4), "m": self.floats(16, 20),
                     "w": self.floats(1, 4 * HIDDEN, 20) / 4, "r": self.floats(1, 4 * HIDDEN, HIDDEN) / 4}
        nodes = [node("Conv", ["x", "k", "kb"], ["conv"], pads=[1, 1], strides=[2]), node("Relu", ["conv"], ["relu"]),
                 node("AveragePool", ["relu"], ["mean"], kernel_shape=[3], strides=[2], pads=[1, 1]),
                 node("MaxPool", ["relu"], ["most"], kernel_shape=[2], strides=[1]),
                 node("ConvTranspose", ["relu", "k2"], ["up"], strides=[3], pads=[1, 0], output_padding=[2]),
                 node("Transpose", ["relu"], ["turned"], perm=[2, 0, 1]), node("MatMul", ["turned", "m"], ["rows"]),
                 node("Softmax", ["rows"], ["soft"], axis=0), node("LSTM", ["soft", "w", "r"], ["all", "h"], hidden_size=HIDDEN)]
        body = model(graph(nodes, [value("x", "float32", ("n", INPUTS, "t"))],
                           [value("mean", "float32", ("n", 16, "t1")), value("most", "float32", ("n", 16, "t2")),
                            value("up", "float32", ("n", 5, "t3")), value("soft", "float32", ("t4", "n", 20)),
                            value("all", "float32", ("t4", 1, "n", HIDDEN)), value("h", "float32", (1, "n", HIDDEN))],
                           [tensor(name, np.float32(array)) for name, array in constants.items()]))
        artifact = self.agree_within(body, "n<=3,t<=60", [{"x": self.floats(n, INPUTS, t)} for n, t in ((1, 3), (2, 17), (3, 60))])
        run = [MLC, "run", artifact]
        self.assertIn("axis 2 has 61 elements; 't' is 1 to 60", self.call(run, {"x": self.floats(1, INPUTS, 61)}))
        self.assertEqual(self.call(run, {"x": self.floats(1, INPUTS, 1)})["most"].shape, (1, 16, 0))
        body = model(graph([node("Conv", ["x", "w"], ["y"])], [value("x", "float32", (1, 2, "t"))],
                           [value("y", "float32", (1, 4, "u"))], [tensor("w", self.floats(4, 2, 5))]))
        artifact = self.agree_within(body, "t<=12", [{"x": self.floats(1, 2, t)} for t in (12, 5)])
        self.assertIn("give larger inputs", self.call([MLC, "run", artifact], {"x": self.floats(1, 2, 3)}))

    def test_bounded_attention(self):
        """Products whose depth and columns a run chooses, reshapes, broadcasts, what is computed from a shape."""
        constants = {"wq": self.floats(32, 32) / 6, "wk": self.floats(32, 32) / 6, "heads": np.array([0, 0, 4, 8]), "last": np.array([0, 0, 32]),
                     "table": self.floats(40, 32), "zero": np.array([0]), "g": self.floats(32)}
        nodes = [node("Shape", ["x"], ["t"], start=1, end=2), node("Slice", ["table", "zero", "t", "zero"], ["places"]),
                 node("Add", ["x", "places"], ["a"]), node("LayerNormalization", ["a", "g"], ["l"]),
                 node("MatMul", ["l", "wq"], ["q0"]), node("MatMul", ["l", "wk"], ["k0"]), node("Reshape", ["q0", "heads"], ["q1"]),
                 node("Reshape", ["k0", "heads"], ["k1"]), node("Transpose", ["q1"], ["q"], perm=[0, 2, 1, 3]),
                 node("Transpose", ["k1"], ["k"], perm=[0, 2, 3, 1]), node("Transpose", ["k1"], ["v"], perm=[0, 2, 1, 3]),
                 node("MatMul", ["q", "k"], ["s"]), node("Where", ["mask", "s", "low"], ["masked"]),
                 node("Softmax", ["masked"], ["p"], axis=-1), node("MatMul", ["p", "v"], ["o"]),
                 node("Transpose", ["o"], ["o1"], perm=[0, 2, 1, 3]), node("Reshape", ["o1", "last"], ["y"]),
                 node("Cast", ["t"], ["tf"], to=1), node("ReduceSum", ["y", "one"], ["sum"], keepdims=0), node("Div", ["sum", "tf"], ["mean"])]
        constants.update(low=np.float32(-1e4), one=np.array([1]))
        body = model(graph(nodes, [value("x", "float32", ("n", "t", 32)), value("mask", "bool", ("n", 1, 1, "t"))],
                           [value("y", "float32", ("n", "t", 32)), value("mean", "float32", ("n", 32))],
                           [tensor(name, array) for name, array in constants.items()]))
        self.agree_within(body, "n<=2,t<=40", [{"x": self.floats(n, t, 32), "mask": np.arange(t)[None, None, None] <= np.arange(t // 2, t // 2 + n)[:, None, None, None]}
                                              for n, t in ((1, 1), (2, 40), (1, 17))])

    def test_values_that_say_how_many_are_refused(self):
        with open(self.path("no.onnx"), "wb") as f:
            f.write(model(graph([node("NonZero", ["x"], ["y"])], [value("x", "float32", ("t", 3))], [value("y", "int64", (2, "k"))])))
        done = subprocess.run([MLC, "compile", self.path("no.onnx"), "-o", self.path("no.mlca"), "--dim", "t<=9"],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
        self.assertIn("'graph.nonzero' op has no compiled form where an extent is known at run time only", done.stderr)

    def test_bench_and_inspect(self):
        artifact = self.compile(speech_like(self.rng), "--state", "h_out=h,c_out=c")
        np.save(self.path("x.npy"), self.floats(1, INPUTS, WIDTH))
        done = subprocess.run([MLC, "bench", artifact, "--input", f"x={self.path('x.npy')}", "-r", "30", "--threads", "1",
                               "--json", "--profile"], check=True, capture_output=True, text=True, timeout=60)
        result = json.loads(done.stdout)
        latency = result["latency_us"]
        self.assertTrue(0 < latency["min"] <= latency["median"] <= latency["p95"])
        self.assertEqual(result["runs"], 30)
        with open(self.path("profile.json"), "w") as f:
            f.write(done.stdout)
        subprocess.run([MLC, "inspect", artifact, "--html", self.path("page.html"), "--profile", self.path("profile.json")],
                       check=True, timeout=60)
        with open(self.path("page.html")) as f:
            page = f.read()
        self.assertEqual(page.count("<circle"), len(result["ops"]))
        self.assertIn("Memory over time", page)
        inspected = json.loads(subprocess.run([MLC, "inspect", artifact, "--json"], check=True, capture_output=True,
                                              text=True, timeout=60).stdout)
        self.assertEqual([state["name"] for state in inspected["states"]], ["h", "c"])
        self.assertEqual({port["port"] for port in inspected["functions"][0]["inputs"]}, {"x", "h", "c"})

    def test_an_index_outside(self):
        """One line that names the op and the index; a constant one is refused when it is compiled."""
        x, new = self.floats(5, 3), self.floats(2, 3)
        cases = (("Gather", np.array([1, 4]), (7, -7), {}), ("GatherElements", np.array([[0, 4, 2]]), (5, -6), {"axis": 0}),
                 ("GatherND", np.array([[0, 1], [4, 2]]), (9, -9), {}), ("ScatterND", np.array([[0], [4]]), (5, 6), {}))
        for op, indices, outside, attributes in cases:
            shape = {"Gather": (2, 3), "GatherElements": (1, 3), "GatherND": (2,), "ScatterND": (5, 3)}[op]
            given = ["x", "i"] + (["new"] if op == "ScatterND" else [])
            def body(constant):
                ports = [value("x", "float32", (5, 3)), value("new", "float32", (2, 3))]
                return model(graph([node(op, given, ["picked"], name="the_" + op, **attributes), node("Neg", ["picked"], ["y"])],
                                   ports[:len(given) - 1] + ([] if constant is not None else [value("i", "int64", indices.shape)]),
                                   [value("y", "float32", shape)], [tensor("i", constant)] if constant is not None else []))
            inputs = {"x": x, "i": indices} | ({"new": new} if op == "ScatterND" else {})
            with self.subTest(op):
                self.agree(body(None), inputs)
                for index in outside:
                    bad = indices.copy()
                    bad.flat[0] = index
                    for runner in RUNNERS:
                        error = self.call([*runner, self.path("net.mlca")], inputs | {"i": bad})
                        self.assertIn(f"the_{op}: index {index} lies outside of its axis", error)
                with open(self.path("bad.onnx"), "wb") as f:
                    f.write(body(bad))
                done = subprocess.run([MLC, "compile", self.path("bad.onnx"), "-o", self.path("bad.mlca")], capture_output=True, text=True)
                self.assertEqual(done.returncode, 1)
                self.assertIn(f"index {outside[1]}, which lies outside of an axis of", done.stderr)


if __name__ == "__main__":
    unittest.main()
