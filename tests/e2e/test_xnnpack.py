# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""--kernels: networks and language models by XNNPACK's kernels against own code, and a program that has no library."""
import json
import os
import shutil
import subprocess
import tempfile
import unittest

import numpy as np

import newer_xnnpack
from onnx_writer import graph, model, node, tensor, value

BUILD = os.environ["MLC_BUILD_DIR"]
ROOT = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
MLC, MLC_RUN = os.path.join(BUILD, "bin", "mlc"), os.path.join(BUILD, "bin", "mlc-run")
LIBRARY = "libmlc-xnnpack.so"
DATA = os.environ.get("MLC_SHARED_DATA", "")
NEWER = os.environ.get("MLC_XNNPACK_ROOT")  # A Debian 13 with this tree's runtime (tests/xnnpack-newer.sh).


# Network, options, and shapes of its inputs.
STREAMS = (
    ("silero-vad/silero_vad.onnx", ("--dim", "sr=16000,input.0=1,input.1=576,state.1=1", "--state", "stateN=state"),
     {"input": (6, 1, 576)}),
    ("openwakeword/melspectrogram.onnx", ("--dim", "batch_size=1,samples=1760"), {"input": (1, 1760)}),
    ("openwakeword/embedding_model.onnx", ("--dim", "unk__314=1"), {"input_1": (1, 76, 32, 1)}),
    ("openwakeword/alexa_v0.1.onnx", (), {"onnx::Flatten_0": (1, 16, 96)}))


def every_operator(rng):
    """A network of what XNNPACK has kernels for, and its inputs: x f32[2,8,20,18], s f32[1,6,40], q i8[1,6,9,7]."""
    def weights(*shape):
        return (0.3 * rng.standard_normal(shape)).astype(np.float32)
    constants = {"k1": weights(16, 8, 3, 3), "b1": weights(16), "kd": weights(16, 1, 3, 3), "kg": weights(12, 4, 1, 1),
                 "kt": weights(12, 5, 4, 4), "bt": weights(5), "k5": weights(10, 6, 5), "kn": weights(10, 7, 3),
                 "m": weights(28, 9), "m3": weights(1, 9, 11)}
    nodes = [node("Conv", ["x", "k1", "b1"], ["c1"], pads=[1, 1, 1, 1], strides=[2, 1]), node("Relu", ["c1"], ["r1"]),
             node("Conv", ["r1", "kd"], ["c2"], pads=[0, 1, 1, 0], group=16),
             node("Conv", ["c2", "kg"], ["c3"], group=4),
             node("ConvTranspose", ["c3", "kt", "bt"], ["t"], strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 0]),
             node("MaxPool", ["t"], ["p1"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
             node("MaxPool", ["c1"], ["w"], kernel_shape=[2, 3], pads=[1, 2, 1, 2], strides=[1, 2], dilations=[2, 1]),
             node("AveragePool", ["p1"], ["p2"], kernel_shape=[2, 3], strides=[1, 2], ceil_mode=1),
             node("Sigmoid", ["p2"], ["g"]), node("Mul", ["p2", "g"], ["y"]),
             node("Conv", ["s", "k5"], ["d1"], pads=[2, 2]), node("Neg", ["d1"], ["d2"]), node("Abs", ["d2"], ["d3"]),
             node("ConvTranspose", ["d3", "kn"], ["d4"], strides=[3], pads=[1, 0]),
             node("AveragePool", ["d4"], ["d5"], kernel_shape=[4], strides=[4]),
             node("Slice", ["d5", "from", "to", "axes"], ["d6"]), node("MatMul", ["d6", "m"], ["d7"]),
             node("MatMul", ["d7", "m3"], ["d8"]), node("Softmax", ["d8"], ["z"], axis=2),
             node("Resize", ["p1", "", "scales"], ["r"], mode="linear"),
             node("Resize", ["p1", "", "", "sizes"], ["u"], mode="linear", coordinate_transformation_mode="align_corners"),
             node("QLinearConv", ["q", "sq", "zq", "k8", "sk", "none", "sy", "zy", "b8"], ["q1"], pads=[1, 0, 0, 1], group=2),
             node("Reshape", ["q1", "rows"], ["q2"]),
             node("QLinearMatMul", ["q2", "sy", "zy", "m8", "sm", "z8", "sz", "zz"], ["v"])]
    constants.update({"scales": np.array([1, 1, 2, 2], np.float32), "sizes": np.array([2, 5, 7, 16]),
                      "k8": rng.integers(-127, 128, (8, 3, 3, 2)).astype(np.int8), "b8": np.zeros(8, np.int32),
                      "m8": rng.integers(-127, 128, (8, 13)).astype(np.int8), "rows": np.array([8 * 7, 8]),
                      "sq": np.float32(0.04), "zq": np.int8(-3), "none": np.int8(0), "sy": np.float32(0.9),
                      "zy": np.int8(11), "sk": rng.uniform(0.01, 0.02, 8).astype(np.float32),
                      "sm": np.float32(0.003), "z8": np.int8(0), "sz": np.float32(0.2), "zz": np.int8(0)})
    constants.update({"from": np.array([1]), "to": np.array([29]), "axes": np.array([2])})
    body = model(graph(nodes, [value("x", "float32", (2, 8, 20, 18)), value("s", "float32", (1, 6, 40)),
                               value("q", "int8", (1, 6, 9, 7))],
                       [value("y", "float32", (2, 5, 9, 8)), value("z", "float32", (1, 7, 11)), value("r", "float32", (2, 5, 20, 34)),
                        value("u", "float32", (2, 5, 7, 16)), value("w", "float32", (2, 16, 10, 10)), value("v", "int8", (56, 13))],
                       [tensor(name, array) for name, array in constants.items()]))
    inputs = {"x": rng.standard_normal((2, 8, 20, 18)).astype(np.float32),
              "s": rng.standard_normal((1, 6, 40)).astype(np.float32),
              "q": rng.integers(-128, 128, (1, 6, 9, 7)).astype(np.int8)}
    return body, inputs


def dynamic_products(rng, rows):
    """Products that XNNPACK has operators for since 2024: by DynamicQuantizeLinear, of i8 and of u8 around 128, and of 4
    bits that may be rounded; and two that it has none for. Its inputs, and what y4 may differ by."""
    x = rng.standard_normal((rows, 2, 64)).astype(np.float32)
    codes, scales = rng.integers(0, 16, (40, 64), dtype=np.uint8), rng.uniform(0.01, 0.02, (40, 2)).astype(np.float32)
    constants = {"wi": rng.integers(-128, 128, (64, 40)).astype(np.int8), "zi": np.int8(0),
                 "wu": rng.integers(0, 256, (1, 64, 23)).astype(np.uint8), "zu": np.uint8(128), "z3": np.uint8(3),
                 "q4": (codes[:, ::2] | codes[:, 1::2] << 4).reshape(40, 2, 16), "s4": scales, "sn": -scales}
    bits = {"domain": "com.microsoft", "K": 64, "N": 40, "bits": 4, "block_size": 32, "accuracy_level": 4}
    nodes = [node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"])]
    for i, operands in enumerate((["q", "wi", "z", "zi"], ["q", "wu", "z", "zu"], ["p", "wi"], ["q", "wu", "z", "z3"])):
        nodes += [node("MatMulInteger", operands, [f"sum{i}"]), node("Cast", [f"sum{i}"], [f"y{i}"], to=1)]
    nodes += [node("MatMulNBits", ["x", "q4", "s4"], ["y4"], **bits), node("MatMulNBits", ["x", "q4", "sn"], ["y5"], **bits)]
    shapes = [(rows, 2, n) for n in (40, 23, 40, 23, 40, 40)]
    body = model(graph(nodes, [value("x", "float32", x.shape), value("p", "int8", x.shape)],
                       [value(f"y{i}", "float32", shape) for i, shape in enumerate(shapes)],
                       [tensor(name, array) for name, array in constants.items()]), domain="com.microsoft")
    w = np.abs((codes.astype(np.float32) - 8) * np.repeat(scales, 32, axis=1))
    steps = (np.maximum(x.max(-1, keepdims=True), 0) - np.minimum(x.min(-1, keepdims=True), 0)) / 255
    return body, {"x": x, "p": rng.integers(-128, 128, x.shape).astype(np.int8)}, steps * w.sum(1) + np.abs(x) @ w.T / 256


@unittest.skipUnless(os.path.exists(os.path.join(BUILD, "lib", LIBRARY)), f"{LIBRARY} is not built; libxnnpack-dev is missing")
class Xnnpack(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def compile(self, source, kernels, *options):
        artifact = self.path(f"{os.path.basename(source)}.{kernels}.mlca")
        subprocess.run([MLC, "compile", source, "-o", artifact, "--kernels", kernels, "--report", artifact + ".json",
                        *options], check=True, timeout=120, stderr=subprocess.PIPE)
        with open(artifact + ".json", encoding="utf-8") as f:
            return artifact, json.load(f)

    def outputs(self, command, inputs, *options):
        command = [*command, "--json", "--output-dir", self.path("out"), *options]
        for name, array in inputs.items():
            np.save(self.path(name + ".npy"), array)
            command += ["--input", f"{name}={self.path(name + '.npy')}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return {k: np.load(v["file"]) for k, v in json.loads(done.stdout)["outputs"].items()}

    def network(self):
        body, inputs = every_operator(np.random.default_rng(4))
        with open(self.path("net.onnx"), "wb") as f:
            f.write(body)
        return self.path("net.onnx"), inputs

    def test_every_operator(self):
        source, inputs = self.network()
        expected = self.outputs([MLC, "interpret", source], inputs)
        artifact, report = self.compile(source, "xnnpack")
        kernels = {op["kernel"] for op in report["ops"] if "kernel" in op}
        self.assertEqual(kernels, {"xnnpack." + name for name in (
            "conv", "conv_qs8", "conv_transpose", "max_pool", "average_pool", "linear", "resize", "softmax", "unary", "binary")})
        self.assertEqual({c["why"] for c in report["choices"] if c["kernel"] != "own"}, {"--kernels xnnpack"})
        first = None
        for runner, threads in (([MLC, "run"], "1"), ([MLC_RUN], "3")):
            got = self.outputs([*runner, artifact], inputs, "--threads", threads)
            for name, array in expected.items():
                np.testing.assert_allclose(got[name], array, rtol=1e-4, atol=2e-5, err_msg=name)
                if first:
                    np.testing.assert_array_equal(got[name], first[name])
            first = got
        # Own code has none of them; auto says of each op why.
        artifact, report = self.compile(source, "own")
        self.assertEqual([op for op in report["ops"] if "kernel" in op], [])
        artifact, report = self.compile(source, "auto")
        self.assertGreaterEqual(len(report["choices"]), 14)
        self.assertTrue(all(choice["why"] for choice in report["choices"]))
        for name, array in self.outputs([MLC, "run", artifact], inputs).items():
            np.testing.assert_allclose(array, expected[name], rtol=1e-4, atol=2e-5, err_msg=name)

    def test_dynamic_products(self):
        """Own code, and why it is taken for those that XNNPACK of 2022 has no operator for."""
        for rows in (1, 9):
            body, inputs, within = dynamic_products(np.random.default_rng(rows), rows)
            with open(self.path("net.onnx"), "wb") as f:
                f.write(body)
            expected = self.outputs([MLC, "interpret", self.path("net.onnx")], inputs)
            own = self.outputs([MLC_RUN, self.compile(self.path("net.onnx"), "own")[0]], inputs)
            older, report = self.compile(self.path("net.onnx"), "xnnpack", "--xnnpack", "2022")
            self.assertEqual([c["why"] for c in report["choices"] if c["op"] == "sitofp"],
                             ["XNNPACK's products of i8 that give f32 need one of 2024 (--xnnpack 2024)"] * 4)
            older = self.outputs([MLC_RUN, older], inputs)
            newer, report = self.compile(self.path("net.onnx"), "xnnpack", "--xnnpack", "2024")
            self.assertEqual([c["kernel"] for c in report["choices"] if c["op"] in ("sitofp", "matmul")],
                             ["xnnpack.linear_qd8"] * 3 + ["own"] * 2 + ["xnnpack.linear_qb4", "xnnpack.linear"])
            for name, array in expected.items():
                if name in ("y4", "y5"):
                    np.testing.assert_allclose(own[name], array, rtol=1e-4, atol=1e-4)
                else:
                    np.testing.assert_array_equal(own[name], array)
                np.testing.assert_allclose(older[name], own[name], rtol=1e-5, atol=1e-5)
            if not NEWER:
                # This one is of 2022 unless CMake was told of another.
                continue
            for threads in ("1", "2"):
                got = self.outputs([*newer_xnnpack.runner(NEWER), newer], inputs, "--threads", threads)
                for name in ("y0", "y1", "y2", "y3"):
                    np.testing.assert_array_equal(got[name], own[name])
                self.assertTrue((np.abs(got["y4"] - own["y4"]) <= within).all())
                self.assertFalse((got["y4"] == own["y4"]).all())
                np.testing.assert_allclose(got["y5"], own["y5"], rtol=1e-4, atol=1e-4)

    @unittest.skipIf(NEWER, "the library has them")
    def test_an_older_library_says_so(self):
        with open(self.path("net.onnx"), "wb") as f:
            f.write(dynamic_products(np.random.default_rng(1), 2)[0])
        artifact, _ = self.compile(self.path("net.onnx"), "xnnpack", "--xnnpack", "2024")
        done = subprocess.run([MLC_RUN, artifact], capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr.count("\n")), (1, 1), done.stderr)
        for part in ("mlc: error: ", artifact, "xnnpack.linear_q", f"the XNNPACK of this {LIBRARY} is too old for it",
                     "compile with --kernels own"):
            self.assertIn(part, done.stderr)

    def tokens(self, source, kernels, *options):
        artifact, report = self.compile(source, kernels, *options)
        done = subprocess.run([MLC, "run", artifact, "--tokens", "1,403,407,261", "--max-tokens", "200", "--ignore-eos", "--json"],
                              check=True, capture_output=True, text=True, timeout=300)
        return json.loads(done.stdout)["tokens"], {op["kernel"] for op in report["ops"] if "kernel" in op}

    def same_tokens(self, source, *options):
        own, without = self.tokens(source, "own", *options)
        got, kernels = self.tokens(source, "xnnpack", *options)
        self.assertIn("xnnpack.linear", kernels)
        self.assertNotIn("xnnpack.linear", without)
        self.assertNotIn("linear", kernels)
        self.assertEqual(got, own)
        # Results may depend on the rows of a step: never by default.
        self.assertFalse(any(kernel.startswith("xnnpack") for kernel in self.tokens(source, "auto", *options)[1]))

    def test_the_shipped_model_says_the_same(self):
        self.same_tokens(os.path.join(ROOT, "models", "chimera-nano"), "--quant", "none", "--math", "exact")

    def test_stories_says_the_same(self):
        source = os.path.join(DATA, "stories260k", "stories260K-f32.gguf")
        if not os.path.exists(source):
            self.skipTest("../shared/data/stories260k is missing")
        self.same_tokens(source)

    def test_streams(self):
        """silero-vad, and the networks of openWakeWord."""
        if not os.path.isdir(os.path.join(DATA, "silero-vad")):
            self.skipTest("../shared/data/silero-vad is missing")
        rng = np.random.default_rng(2)
        for file, options, shapes in STREAMS:
            with self.subTest(file):
                source = os.path.join(DATA, file)
                inputs = {name: (0.3 * rng.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}
                expected = self.outputs([MLC, "run", self.compile(source, "own", *options)[0]], inputs)
                artifact, report = self.compile(source, "xnnpack", *options)
                self.assertTrue(any(op.get("kernel", "").startswith("xnnpack.") for op in report["ops"]))
                for name, array in self.outputs([MLC, "run", artifact], inputs).items():
                    np.testing.assert_allclose(array, expected[name], rtol=0, atol=1e-4 * np.abs(expected[name]).max())

    def test_without_the_library(self):
        artifact, _ = self.compile(self.network()[0], "xnnpack")
        alone = shutil.copy(MLC_RUN, self.path("mlc-run"))
        done = subprocess.run([alone, artifact], capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr.count("\n"), done.stdout), (1, 1, ""), done.stderr)
        for part in ("mlc: error: ", artifact, LIBRARY, "put it beside the program, or compile with --kernels own"):
            self.assertIn(part, done.stderr)
        # To look at the file needs no library.
        for command in ("--verify", "--inspect"):
            subprocess.run([alone, command, artifact], check=True, capture_output=True, timeout=60)
        shutil.copy(os.path.join(BUILD, "lib", LIBRARY), self.path(LIBRARY))
        done = subprocess.run([alone, artifact], capture_output=True, text=True, timeout=60)
        self.assertIn("give the inputs", done.stderr)


if __name__ == "__main__":
    unittest.main()
