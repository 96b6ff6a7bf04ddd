# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""--calibrate on the shipped model: the importances against numpy, and no harm done."""
import json
import os
import re
import struct
import subprocess
import tempfile
import unittest

try:
    import numpy as np
except ImportError as error:
    raise unittest.SkipTest(f"{error}; install python3-numpy")

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODEL = os.path.join(ROOT, "models", "shakespeare")
MLC = os.path.join(os.environ.get("MLC_BUILD_DIR", os.path.join(ROOT, "build")), "bin", "mlc")
WINDOW = 512


def mlc(*arguments):
    return subprocess.run([MLC, *arguments], check=True, timeout=300, capture_output=True, text=True).stdout


def tensors():
    """The checkpoint's bfloat16 tensors as float32, by name."""
    result = {}
    for name in sorted(f for f in os.listdir(MODEL) if f.endswith(".safetensors")):
        with open(os.path.join(MODEL, name), "rb") as f:
            data = f.read()
        size, = struct.unpack_from("<Q", data)
        for tensor, info in json.loads(data[8:8 + size]).items():
            if tensor != "__metadata__":
                begin, end = (8 + size + at for at in info["data_offsets"])
                values = np.frombuffer(data[begin:end], "<u2").astype(np.uint32) << 16
                result[tensor] = values.view(np.float32).reshape(info["shape"])
    return result


@unittest.skipUnless(os.access(MLC, os.X_OK), f"{MLC} is not built")
class Calibrate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="mlc-calibrate-")
        cls.addClassCleanup(cls.folder.cleanup)
        with open(os.path.join(MODEL, "validation.txt"), encoding="utf-8") as f:
            text = f.read()
        # One half shows what matters, the other is measured.
        middle = text.index("\n\n", len(text) // 2)
        cls.shown, cls.held = cls.path("shown.txt"), cls.path("held.txt")
        for path, part in ((cls.shown, text[:middle]), (cls.held, text[middle:])):
            with open(path, "w", encoding="utf-8") as f:
                f.write(part)

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder.name, name)

    def test_importance_is_the_mean_square_of_the_inputs(self):
        graph = self.path("graph.mlir")
        mlc("compile", MODEL, "--emit", "graph", "--quant", "int4", "--calibrate", self.shown, "-o", graph)
        with open(graph) as f:
            found = dict(re.findall(r"graph.weight @(\S+) .*importance = array<f32: ([^>]*)>", f.read()))
        self.assertEqual(len(found), 4 * 7 + 1)
        ids = json.loads(mlc("tokenize", MODEL, "--file", self.shown, "--no-special", "--json"))["tokens"]
        fed = []
        for begin in range(0, len(ids), WINDOW - 1):
            fed += [0, *ids[begin:begin + WINDOW - 1]]
        weights = tensors()
        # What the first layer's products read follows from the ids alone.
        x = weights["model.embed_tokens.weight"][fed].astype(np.float64)
        x *= weights["model.layers.0.input_layernorm.weight"] / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)
        for name in "q_proj", "k_proj", "v_proj":
            got = np.array(found[f"model.layers.0.self_attn.{name}.weight"].split(","), np.float64)
            np.testing.assert_allclose(got, (x * x).mean(0), rtol=1e-4)

    def test_it_does_no_harm_on_other_text(self):
        reference = self.path("f32.mlca")
        mlc("compile", MODEL, "-o", reference, "--quant", "none")
        divergence = {}
        for name, options in ("plain", []), ("calibrated", ["--calibrate", self.shown]):
            artifact = self.path(name + ".mlca")
            mlc("compile", MODEL, "-o", artifact, "--quant", "int4", *options)
            result = json.loads(mlc("perplexity", artifact, "--file", self.held, "--against", reference, "--json"))
            divergence[name] = result["mean_kl"]
        print({name: round(value, 5) for name, value in divergence.items()})
        # At this size equally good roundings scatter by as much as calibration gains (docs/experiments).
        self.assertLess(divergence["calibrated"], 1.03 * divergence["plain"])


if __name__ == "__main__":
    unittest.main()
