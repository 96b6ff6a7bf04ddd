# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Every family on an emulated GPU: the CPU's logits with f32 products, the interpreter's of the transformed graph with
tensor cores, and any split of a prompt bitwise the same."""
import os
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

BUILD = os.environ.get("MLC_BUILD_DIR", os.path.join(run_oracles.ROOT, "build"))
MLC = os.path.join(BUILD, "bin", "mlc")
DRIVER = os.path.join(BUILD, "tests", "cuda")
IMAGES = os.path.join(BUILD, "cuda", "mlc_cuda_images")
# Its MLP is wide enough for linear with a gate.
NANO = os.path.join(run_oracles.ROOT, "models", "chimera-nano")
# Pages of recurrent states end, and an expert's rows fill more than one step's.
PROMPT = ",".join(str(i * 11 % 61) for i in range(37))
FAMILIES = ("llama", "qwen3", "gemma2", "phi3", "mamba2", "mamba2-odd", "granitemoehybrid", "granitemoehybrid-experts",
            "bamba", "falcon-h1", "nemotron-h", "nemotron-h-experts", "mixtral", "qwen2-moe", "qwen3-moe", "granitemoe",
            "granitemoeshared", "olmoe", "glm4-moe")


@unittest.skipUnless(os.access(MLC, os.X_OK), f"{MLC} is not built")
@unittest.skipUnless(os.path.exists(os.path.join(DRIVER, "libcuda.so.1")), f"{DRIVER} is not built")
@unittest.skipUnless(os.path.isdir(IMAGES), "built without nvcc")
class EmulatedGpu(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="mlc-gpu-")
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def call(self, *arguments):
        done = subprocess.run([MLC, *arguments], capture_output=True, text=True, timeout=300,
                              env=dict(os.environ, LD_LIBRARY_PATH=DRIVER))
        self.assertEqual(done.returncode, 0, done.stderr)

    def logits(self, verb, source, *options):
        self.call(verb, source, "--tokens", PROMPT, "--max-tokens", "3", "--ignore-eos", "--logits", self.path("l.npy"),
                  *options)
        return np.load(self.path("l.npy"))

    def artifact(self, name, *options):
        self.call("compile", os.path.join(run_oracles.ORACLES, name), "-o", self.path("m.mlca"), *options)
        return self.logits("run", self.path("m.mlca"))

    def close(self, got, want):
        self.assertEqual(got.shape, want.shape)
        self.assertLess(np.abs(got - want).max() / np.abs(want).max(), 2e-4)

    def test_exact_logits_are_the_cpus(self):
        for name in FAMILIES:
            options = "--quant", "none", "--math", "exact", "--kv", "f32"
            with self.subTest(case=name):
                self.close(self.artifact(name, "--target", "cuda", *options), self.artifact(name, *options))

    def test_interpreter_is_the_oracle_of_tensor_cores(self):
        for name in (NANO, "granitemoehybrid-experts", "nemotron-h", "qwen2-moe", "mixtral"):
            for options in (["--quant", "int4", "--group", "32"], ["--quant", "int8"],
                            ["--quant", "none", "--math", "fast", "--ssm", "bf16"]):
                options = ["--target", "cuda", "--kv", "f32", *options]
                with self.subTest(case=name, options=options):
                    source = os.path.join(run_oracles.ORACLES, name), "--after-transforms", *options
                    want, exact = self.logits("interpret", *source), self.logits("interpret", *source, "--f64")
                    got = self.artifact(name, *options)
                    # A number between two of bf16 that rounds the other way moves what comes behind it, in the
                    # interpreter's f32 as here: seldom in a narrow model, somewhere in nearly every row of a wide one.
                    own, errors = (np.abs(x - exact).max(axis=1) / np.abs(exact).max() for x in (want, got))
                    self.assertLess(np.median(errors), 2 * np.median(own) + 1e-6)
                    self.assertLess(errors.max(), 1e-2)

    def test_steps_do_not_matter(self):
        for name in (NANO, "granitemoehybrid-experts", "mamba2-odd", "qwen3-moe"):
            for options in (["--quant", "none", "--math", "exact"], ["--quant", "int4", "--group", "32"]):
                with self.subTest(case=name, options=options):
                    answers = [self.artifact(name, "--target", "cuda", "--batch", batch, *options)
                               for batch in ("64", "5", "1")]
                    for other in answers[1:]:
                        self.assertTrue(np.array_equal(answers[0], other))


if __name__ == "__main__":
    unittest.main()
