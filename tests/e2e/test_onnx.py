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
