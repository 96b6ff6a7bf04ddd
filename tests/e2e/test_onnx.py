# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""ONNX networks through the reference interpreter, against formulas in NumPy; and what is refused."""
import json
import os
import subprocess
import tempfile
import unittest

import numpy as np

from onnx_writer import field, graph, model, node, tensor, value

MLC = os.path.join(os.environ["MLC_BUILD_DIR"], "bin", "mlc")


class Onnx(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.rng = np.random.default_rng(6)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def interpret(self, body, inputs, arguments=(), **options):
        """The outputs by name, or the error line."""
        with open(self.path("model.onnx"), "wb") as f:
            f.write(body if options.get("raw") else model(body, **options))
        command = [MLC, "interpret", self.path("model.onnx"), "--json", "--output-dir", self.path("out"), *arguments]
        for name, array in inputs.items():
            np.save(self.path(name + ".npy"), array)
            command += ["--input", f"{name}={self.path(name + '.npy')}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("mlc: error:")]
            self.assertEqual(len(lines), 1, done.stderr)
            return lines[0]
        return {k: np.load(v["file"]) for k, v in json.loads(done.stdout)["outputs"].items()}

    def floats(self, *shape):
        return self.rng.standard_normal(shape).astype(np.float32)

    def test_broadcast(self):
        a, b = self.floats(2, 1, 4), self.floats(3, 1)
        body = graph([node("Add", ["a", "b"], ["s"]), node("Mul", ["s", "b"], ["y"])],
                     [value("a", "float32", a.shape), value("b", "float32", b.shape)], [value("y", "float32", (2, 3, 4))])
        np.testing.assert_array_equal(self.interpret(body, {"a": a, "b": b})["y"], (a + b) * b)

    def test_conv(self):
        x, w, c = self.floats(2, 4, 9), self.floats(6, 2, 3), self.floats(6)
        body = graph([node("Conv", ["x", "w", "c"], ["y"], strides=[2], pads=[1, 1], group=2)],
                     [value("x", "float32", x.shape)], [value("y", "float32", (2, 6, 5))],
                     [tensor("w", w), tensor("c", c)])
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1)))
        y = np.zeros((2, 6, 5))
        for m in range(6):
            for o in range(5):
                part = padded[:, m // 3 * 2:m // 3 * 2 + 2, 2 * o:2 * o + 3]
                y[:, m, o] = (part * w[m]).sum((1, 2)) + c[m]
        np.testing.assert_allclose(self.interpret(body, {"x": x})["y"], y, rtol=1e-5, atol=1e-5)

    def test_integers(self):
        a, b = np.array([-7, 7, 200 - 256], np.int8), np.array([3, -3, 7], np.int8)
        u = np.array([200, 255, 1], np.uint8)
        body = graph([node("Mod", ["a", "b"], ["m"]), node("Cast", ["u"], ["f"], to=1), node("Greater", ["u", "v"], ["g"]),
                      node("BitwiseNot", ["u"], ["n"])],
                     [value("a", "int8", (3,)), value("b", "int8", (3,)), value("u", "uint8", (3,)), value("v", "uint8", (3,))],
                     [value("m", "int8", (3,)), value("f", "float32", (3,)), value("g", "bool", (3,)), value("n", "uint8", (3,))])
        out = self.interpret(body, {"a": a, "b": b, "u": u, "v": np.array([100, 100, 100], np.uint8)}, opset=18)
        np.testing.assert_array_equal(out["m"], np.mod(a, b))
        np.testing.assert_array_equal(out["f"], u.astype(np.float32))
        np.testing.assert_array_equal(out["g"], [True, True, False])
        np.testing.assert_array_equal(out["n"], ~u)

    def test_bounded_dimension(self):
        body = graph([node("Shape", ["x"], ["s"]), node("Gather", ["s", "zero"], ["n"]),
                      node("Unsqueeze", ["n", "axis"], ["n1"]), node("Concat", ["n1", "rest"], ["shape"], axis=0),
                      node("Reshape", ["x", "shape"], ["y"])],
                     [value("x", "float32", ("batch", 6))], [value("y", "float32", ("batch", 3, 2))],
                     [tensor("zero", np.int64(0)), tensor("axis", np.array([0])), tensor("rest", np.array([3, 2]))])
        for rows in (1, 5):
            x = self.floats(rows, 6)
            out = self.interpret(body, {"x": x}, ["--dim", "batch<=5"])
            np.testing.assert_array_equal(out["y"], x.reshape(rows, 3, 2))
        self.assertIn("'batch' is 1 to 5", self.interpret(body, {"x": self.floats(6, 6)}, ["--dim", "batch<=5"]))
        self.assertIn("--dim 'NAME<=MAX'", self.interpret(body, {"x": self.floats(6, 6)}))
        self.assertIn("no input has such a dimension", self.interpret(body, {"x": x}, ["--dim", "batch=5,seq=2"]))

    def test_if(self):
        def branch(op):
            return graph([node(op, ["x"], ["r"])], outputs=[value("r", "float32", (3,))])
        x = self.floats(3)
        chosen = graph([node("If", ["c"], ["y"], then_branch=branch("Neg"), else_branch=branch("Abs"))],
                       [value("x", "float32", (3,))], [value("y", "float32", (3,))], [tensor("c", np.bool_(True))])
        np.testing.assert_array_equal(self.interpret(chosen, {"x": x})["y"], -x)
        asked = graph([node("If", ["c"], ["y"], then_branch=branch("Neg"), else_branch=branch("Abs"))],
                      [value("c", "bool", ()), value("x", "float32", (3,))], [value("y", "float32", (3,))])
        np.testing.assert_array_equal(self.interpret(asked, {"x": x, "c": np.bool_(False)})["y"], np.abs(x))

    def test_fixed_scalar(self):
        """A scalar that --dim fixes is a constant: the branch that does not fit its shapes is never imported."""
        right = graph([node("Neg", ["x"], ["r"])], outputs=[value("r", "float32", (3,))])
        wrong = graph([node("Reshape", ["x", "shape"], ["r"])], outputs=[value("r", "float32", (3,))])
        body = graph([node("Equal", ["rate", "sixteen"], ["c"]), node("If", ["c"], ["y"], then_branch=right, else_branch=wrong)],
                     [value("x", "float32", (3,)), value("rate", "int64", ())], [value("y", "float32", (3,))],
                     [tensor("sixteen", np.int64(16)), tensor("shape", np.array([7]))])
        x = self.floats(3)
        np.testing.assert_array_equal(self.interpret(body, {"x": x}, ["--dim", "rate=16"])["y"], -x)
        self.assertIn("cannot make 3 elements into 7", self.interpret(body, {"x": x}, ["--dim", "rate=8"]))

    def test_fixed_list(self):
        """What --dim fixes is a constant: shapes, axes, scales."""
        body = graph([node("Reshape", ["x", "shape"], ["r"]), node("Slice", ["r", "from", "to", "axes"], ["s"]),
                      node("Resize", ["s", "", "scales"], ["y"], mode="nearest")],
                     [value("x", "float32", (6,)), value("shape", "int64", (2,)), value("from", "int64", (1,)),
                      value("to", "int64", (1,)), value("axes", "int64", (1,)), value("scales", "float32", (2,))],
                     [value("y", "float32", ("a", "b"))])
        x = self.floats(6)
        dims = "shape=[3,-1],from=[0],to=[-1],axes=[-2],scales=[1,1.5]"
        np.testing.assert_array_equal(self.interpret(body, {"x": x}, ["--dim", dims])["y"],
                                      x.reshape(3, 2)[:2][:, [0, 0, 1]])
        for given, expected in {
                dims.replace("[3,-1]", "[3]"): "'shape' has 2 values, --dim gives 1",
                dims.replace("[3,-1]", "[3,0.5]"): "a value does not fit the input's type",
                dims.replace("[3,-1]", "[3,"): "write NAME=VALUE",
                dims.replace("shape=[3,-1],", ""): "'shape', to be known at compile time; an input of the network is fixed by --dim",
                dims.replace("[3,-1]", "3"): "none of this name is a scalar"}.items():
            self.assertIn(expected, self.interpret(body, {"x": x}, ["--dim", given]))

    def test_loops(self):
        """Counted, ended by a condition, backwards; what is collected step by step."""
        def loop(condition):
            inner = graph([node("Add", ["a", "x"], ["b"]), node("Less", ["i", "four"], ["more"]), node("Identity", ["c"], ["same"]),
                           node("Identity", ["b"], ["kept"])],
                          [value("i", "int64", ()), value("c", "bool", ()), value("a", "float32", (3,))],
                          [value(condition, "bool", ()), value("b", "float32", (3,)), value("kept", "float32", (3,))],
                          [tensor("four", np.int64(3))])
            return graph([node("Loop", ["n", "", "x"], ["y", "all"], body=inner)],
                         [value("x", "float32", (3,)), value("n", "int64", ())],
                         [value("y", "float32", (3,)), value("all", "float32", ("n", 3))])
        x = np.float32([1, -2, 0.5])
        for body, steps, fixed in ((loop("same"), 6, True), (loop("same"), 6, False), (loop("more"), 4, False), (loop("same"), 0, False)):
            given = {"x": x} if fixed else {"x": x, "n": np.int64(6 if steps else 0)}
            out = self.interpret(body, given, ["--dim", "n=6"] if fixed else [])
            np.testing.assert_array_equal(out["y"], (steps + 1) * x)
            np.testing.assert_array_equal(out["all"], np.arange(2, steps + 2)[:, None] * x)
        inner = graph([node("Add", ["s", "v"], ["t"]), node("Identity", ["t"], ["o"])],
                      [value("s", "float32", (2,)), value("v", "float32", (2,))],
                      [value("t", "float32", (2,)), value("o", "float32", (2,))])
        scan = graph([node("Scan", ["s", "x"], ["last", "sums"], body=inner, num_scan_inputs=1, scan_input_axes=[1],
                           scan_input_directions=[1], scan_output_axes=[1])],
                     [value("s", "float32", (2,)), value("x", "float32", (2, 5))],
                     [value("last", "float32", (2,)), value("sums", "float32", (2, 5))])
        s, x = self.floats(2), self.floats(2, 5)
        out = self.interpret(scan, {"s": s, "x": x})
        sums = s[:, None] + np.cumsum(x[:, ::-1], 1)
        np.testing.assert_allclose(out["sums"], sums, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(out["last"], sums[:, -1], rtol=1e-5, atol=1e-6)

    def test_values_that_say_where(self):
        """How many there are is found when the model runs."""
        x = np.int32([[3, 0, 3], [5, 3, 0]])
        body = graph([node("NonZero", ["x"], ["where"]), node("Unique", ["x"], ["u", "first", "back", "count"], sorted=0),
                      node("TopK", ["x", "two"], ["top", "place"], axis=1), node("Compress", ["x", "flags"], ["c"], axis=1),
                      node("ScatterND", ["x", "at", "new"], ["s"], reduction="add")],
                     [value("x", "int32", (2, 3)), value("flags", "bool", (3,))],
                     [value("where", "int64", (2, "n")), value("u", "int32", ("n",)), value("first", "int64", ("n",)),
                      value("back", "int64", (6,)), value("count", "int64", ("n",)), value("top", "int32", (2, 2)),
                      value("place", "int64", (2, 2)), value("c", "int32", (2, "n")), value("s", "int32", (2, 3))],
                     [tensor("two", np.array([2])), tensor("at", np.array([[0, -1], [1, 0], [0, 2]])),
                      tensor("new", np.int32([10, 20, 30]))])
        out = self.interpret(body, {"x": x, "flags": np.array([True, False, True])}, opset=18)
        np.testing.assert_array_equal(out["where"], np.nonzero(x))
        np.testing.assert_array_equal(out["u"], [3, 0, 5])
        np.testing.assert_array_equal(out["first"], [0, 1, 3])
        np.testing.assert_array_equal(out["back"], [0, 1, 0, 2, 0, 1])
        np.testing.assert_array_equal(out["count"], [3, 2, 1])
        np.testing.assert_array_equal(out["top"], [[3, 3], [5, 3]])
        np.testing.assert_array_equal(out["place"], [[0, 2], [0, 1]])
        np.testing.assert_array_equal(out["c"], x[:, [0, 2]])
        np.testing.assert_array_equal(out["s"], x + [[0, 0, 40], [20, 0, 0]])

    def test_non_max_suppression(self):
        """The second box lies on the first, the fourth scores too little; of equal scores the first box stands."""
        boxes = np.float32([[[0, 0, 2, 2], [2, 2, 0, 0.1], [5, 5, 6, 6], [8, 8, 9, 9]]])
        scores = np.float32([[[0.9, 0.95, 0.9, 0.1], [0.5, 0.5, 0.4, 0.3]]])
        body = graph([node("NonMaxSuppression", ["b", "s", "most", "overlap", "least"], ["y"])],
                     [value("b", "float32", boxes.shape), value("s", "float32", scores.shape)], [value("y", "int64", ("n", 3))],
                     [tensor("most", np.int64([2])), tensor("overlap", np.float32([0.5])), tensor("least", np.float32([0.2]))])
        np.testing.assert_array_equal(self.interpret(body, {"b": boxes, "s": scores})["y"],
                                      [[0, 0, 1], [0, 0, 2], [0, 1, 0], [0, 1, 2]])

    def test_grouped_attention(self):
        q, k, v = self.floats(2, 4, 3, 8), self.floats(2, 2, 5, 8), self.floats(2, 2, 5, 6)
        lengths = np.int64([2, 5])
        body = graph([node("Attention", ["q", "k", "v", "", "", "", "n"], ["y"], is_causal=1)],
                     [value("q", "float32", q.shape), value("k", "float32", k.shape), value("v", "float32", v.shape),
                      value("n", "int64", (2,))], [value("y", "float32", (2, 4, 3, 6))])
        out = self.interpret(body, {"q": q, "k": k, "v": v, "n": lengths}, opset=24)["y"]
        for b in range(2):
            for h in range(4):
                for i in range(3):
                    seen = lengths[b] - 3 + i + 1
                    if seen <= 0:
                        np.testing.assert_array_equal(out[b, h, i], np.zeros(6))
                        continue
                    scores = q[b, h, i] @ k[b, h // 2, :seen].T / np.sqrt(8)
                    weights = np.exp(scores - scores.max())
                    np.testing.assert_allclose(out[b, h, i], weights / weights.sum() @ v[b, h // 2, :seen], rtol=1e-4, atol=1e-5)

    def test_signal_and_image(self):
        x, window = self.floats(1, 40), np.hanning(16).astype(np.float32)
        body = graph([node("STFT", ["x", "step", "window"], ["f"])],
                     [value("x", "float32", x.shape), value("step", "int64", ()), value("window", "float32", (16,))],
                     [value("f", "float32", (1, 4, 9, 2))])
        out = self.interpret(body, {"x": x, "window": window}, ["--dim", "step=8"])["f"]
        frames = np.stack([np.fft.rfft(x[0, i * 8:i * 8 + 16] * window) for i in range(4)])
        np.testing.assert_allclose(out[0, ..., 0] + 1j * out[0, ..., 1], frames, rtol=1e-4, atol=1e-4)
        image = self.floats(1, 2, 3, 4)
        body = graph([node("Resize", ["x", "", "scales"], ["y"], mode="linear")], [value("x", "float32", image.shape)],
                     [value("y", "float32", (1, 2, 3, 8))], [tensor("scales", np.float32([1, 1, 1, 2]))])
        places = np.clip((np.arange(8) + 0.5) / 2 - 0.5, 0, 3)
        left = np.minimum(places.astype(int), 2)
        expected = image[..., left] * (left + 1 - places) + image[..., left + 1] * (places - left)
        np.testing.assert_allclose(self.interpret(body, {"x": image})["y"], expected, rtol=1e-5, atol=1e-5)

    def test_matmul_of_few_bits(self):
        codes = self.rng.integers(0, 16, (3, 40), dtype=np.uint8)
        zeros, scales = self.rng.integers(0, 16, (3, 2), dtype=np.uint8), np.abs(self.floats(3, 2))
        a = self.floats(5, 40)
        padded = np.pad(codes, ((0, 0), (0, 24)))
        packed = (padded[:, ::2] | padded[:, 1::2] << 4).reshape(3, 2, 16)
        body = graph([node("MatMulNBits", ["a", "q", "s", "z"], ["y"], domain="com.microsoft", K=40, N=3, bits=4, block_size=32)],
                     [value("a", "float32", a.shape)], [value("y", "float32", (5, 3))],
                     [tensor("q", packed), tensor("s", scales), tensor("z", zeros[:, :1] | zeros[:, 1:] << 4)])
        block = np.arange(40) // 32
        w = (codes.astype(np.float32) - zeros[:, block]) * scales[:, block]
        np.testing.assert_allclose(self.interpret(body, {"a": a}, domain="com.microsoft")["y"], a @ w.T, rtol=1e-4, atol=1e-4)

    def test_external_data(self):
        w = self.floats(5, 100)
        with open(self.path("w.bin"), "wb") as f:
            f.write(b"head" + w.tobytes())

        def body(**where):
            return graph([node("MatMul", ["x", "w"], ["y"])], [value("x", "float32", (2, 5))],
                         [value("y", "float32", (2, 100))], [tensor("w", w, {"location": "w.bin", "offset": 4, **where})])
        x = self.floats(2, 5)
        np.testing.assert_allclose(self.interpret(body(), {"x": x})["y"], x @ w, rtol=1e-5, atol=1e-5)
        for location in ("../w.bin", "/etc/passwd", "a/../../w.bin"):
            self.assertIn("outside the model's folder", self.interpret(body(location=location), {"x": x}))
        os.symlink("/etc/passwd", self.path("link"))
        self.assertIn("outside the model's folder", self.interpret(body(location="link"), {"x": x}))
        self.assertIn("cannot be found", self.interpret(body(location="absent"), {"x": x}))
        self.assertIn("which has", self.interpret(body(offset=400), {"x": x}))

    def test_refused(self):
        x = {"x": self.floats(3)}
        ports = [value("x", "float32", (3,))], [value("y", "float32", (3,))]
        cases = {
            "Frob (node 'a', 'b'); my.Op (node 'c')": graph(
                [node("Frob", ["x"], ["p"], "a"), node("Frob", ["p"], ["q"], "b"), node("Op", ["q"], ["y"], "c", "my")], *ports),
            "a cycle, or nodes out of order": graph([node("Neg", ["z"], ["y"]), node("Neg", ["y"], ["z"])], *ports),
            "'y', which another node": graph([node("Neg", ["x"], ["y"]), node("Abs", ["x"], ["y"])], *ports),
            "attribute 'alpha'": graph([node("Neg", ["x"], ["y"], alpha=2.0)], *ports),
            "do not broadcast": graph([node("Add", ["x", "w"], ["y"])], *ports, [tensor("w", self.floats(2))]),
            "impossible shape": graph([node("Add", ["x", "w"], ["y"])], *ports,
                                      [field(1, 1 << 40) + field(1, 1 << 40) + field(2, 1) + field(8, "w")]),
            "needs 12": graph([node("Add", ["x", "w"], ["y"])], *ports, [field(1, 3) + field(2, 1) + field(8, "w") + field(9, b"abcd")]),
            "of string": graph([node("Add", ["x", "w"], ["y"])], *ports, [field(2, 8) + field(8, "w")]),
            "does not have the type or shape": graph([node("Shape", ["x"], ["y"])], *ports),
        }
        for expected, body in cases.items():
            with self.subTest(expected):
                self.assertIn(expected, self.interpret(body, x))
        good = graph([node("Neg", ["x"], ["y"])], *ports)
        self.assertIn("opset 99", self.interpret(good, x, opset=99))
        self.assertIn("ir_version 99", self.interpret(good, x, ir=99))
        self.assertIn("'x' is float32", self.interpret(good, {"x": np.zeros(3)}))
        self.assertIn("has 4 elements", self.interpret(good, {"x": self.floats(4)}))
        self.assertIn("no input 'z'", self.interpret(good, {"z": self.floats(3)}))
        self.assertIn("give the inputs x", self.interpret(good, {}))
        self.assertIn("goes with", self.interpret(good, x, ["--rope", "none"]))
        whole = model(good)
        for size in range(1, len(whole) - 8, 23):
            self.assertIsInstance(self.interpret(whole[:size], x, raw=True), str)
        deep = b""
        for _ in range(100):
            deep = graph([node("If", ["c"], ["y"], then_branch=deep)])
        self.assertIn("deeper than a model can", self.interpret(deep, x))


if __name__ == "__main__":
    unittest.main()
