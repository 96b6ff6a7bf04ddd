# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Mixtures of experts beyond the oracles: quantized against the interpreter of the transformed graph, any split of a
prompt bitwise the same, and checkpoints that do not fit their configuration."""
import json
import os
import struct
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
try:
    import numpy as np
    import run_oracles
except ImportError as error:
    raise unittest.SkipTest(f"{error}; install python3-numpy")

MLC = os.path.join(os.environ.get("MLC_BUILD_DIR", os.path.join(run_oracles.ROOT, "build")), "bin", "mlc")
PROMPT = ",".join(str(i * 11 % 61) for i in range(33))


def oracle(name):
    return os.path.join(run_oracles.ORACLES, name)


def rename_tensor(folder, name, other):
    """The same file with a tensor under another name of the same length."""
    path = os.path.join(folder, "model.safetensors")
    with open(path, "r+b") as f:
        size, = struct.unpack("<Q", f.read(8))
        header = f.read(size)
        assert header.count(f'"{name}"'.encode()) == 1 and len(name) == len(other)
        f.seek(8)
        f.write(header.replace(f'"{name}"'.encode(), f'"{other}"'.encode()))


@unittest.skipUnless(os.access(MLC, os.X_OK), f"{MLC} is not built")
class Mixtures(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="mlc-mixtures-")
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def call(self, *arguments):
        done = subprocess.run([MLC, *arguments], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def logits(self, verb, source, *options):
        self.call(verb, source, "--tokens", PROMPT, "--max-tokens", "2", "--logits", self.path("l.npy"), *options)
        return np.load(self.path("l.npy"))

    def test_interpreter_is_the_oracle_of_quantized_ones(self):
        for name in ("qwen2-moe", "granitemoe", "glm4-moe"):
            for options in (["--quant", "int4", "--group", "32"], ["--quant", "int8"],
                            ["--quant", "int4", "--asymmetric", "--math", "exact"], ["--quant", "keep", "--math", "fast"]):
                options = [*options, "--kv", "f32"]
                with self.subTest(case=name, options=options):
                    self.call("compile", oracle(name), "-o", self.path("m.mlca"), *options)
                    want = self.logits("interpret", oracle(name), "--after-transforms", *options)
                    for threads in "1", "2":
                        got = self.logits("run", self.path("m.mlca"), "--threads", threads)
                        self.assertLess(np.abs(got - want).max() / np.abs(want).max(), 2e-4)

    def test_steps_do_not_matter(self):
        """A step of 33 tokens, steps of 4, steps of 1: the same bits."""
        for name, options in (("qwen2-moe", ["--quant", "int4", "--group", "32"]), ("mixtral", ["--quant", "none"]),
                              ("qwen3-moe", ["--quant", "keep", "--math", "fast"])):
            with self.subTest(case=name):
                answers = []
                for batch in "64", "4", "1":
                    self.call("compile", oracle(name), "-o", self.path("m.mlca"), "--batch", batch, *options)
                    answers.append(self.logits("run", self.path("m.mlca"), "--threads", "2"))
                for other in answers[1:]:
                    self.assertTrue(np.array_equal(answers[0], other))

    def refused(self, source, *words):
        done = subprocess.run([MLC, "compile", source, "-o", self.path("m.mlca")], capture_output=True, text=True,
                              timeout=120)
        self.assertEqual(done.returncode, 1, done.stdout)
        lines = [line for line in done.stderr.splitlines() if line.startswith("mlc: error: ")]
        self.assertEqual(len(lines), 1, done.stderr)
        for word in words:
            self.assertIn(word, lines[0])
        self.assertFalse(os.path.exists(self.path("m.mlca")))

    def test_checkpoints_that_do_not_fit(self):
        def changed(name, **fields):
            patch = [dict(op="replace", path="/" + key, value=value) for key, value in fields.items()]
            return run_oracles.variant(oracle(name), self.path("checkpoint"), patch=patch)
        self.refused(changed("mixtral", num_local_experts=8), "block_sparse_moe.gate.weight", "[6, 24]", "[8, 24]")
        self.refused(changed("granitemoe", num_local_experts=4), "router.layer.weight", "[6, 24]", "[4, 24]")
        self.refused(changed("qwen3-moe", moe_intermediate_size=16), "mlp.experts.0.gate_proj.weight", "[12, 24]")
        self.refused(changed("mixtral", num_experts_per_tok=7), "config.json", "7 of 6 experts")
        self.refused(changed("glm4-moe", n_group=5), "config.json", "groups of 12 experts")
        self.refused(changed("qwen2-moe", model_type="deepseek_v3"), "deepseek_v3", "multi-head latent attention")
        source = changed("mixtral")
        name = "model.layers.1.block_sparse_moe.experts.5.w2.weight"
        rename_tensor(source, name, name.replace(".5.", ".6."))
        self.refused(source, name, "is missing")


if __name__ == "__main__":
    unittest.main()
