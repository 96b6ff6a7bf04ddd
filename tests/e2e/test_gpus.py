# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""One model on several GPUs (--tensor-parallel), emulated ones, or with MLC_GPUS=N those of this machine: the CPU's
logits with f32 products, one GPU's with tensor cores, and any split of a prompt bitwise the same."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
try:
    import numpy as np
    import run_oracles
    from serving import Server
except ImportError as error:
    raise unittest.SkipTest(f"{error}; install python3-numpy")

BUILD = os.environ.get("MLC_BUILD_DIR", os.path.join(run_oracles.ROOT, "build"))
MLC = os.path.join(BUILD, "bin", "mlc")
REAL = int(os.environ.get("MLC_GPUS", "0"))
DRIVER = os.path.join(BUILD, "tests", "cuda")
EMULATED = {} if REAL else {"LD_LIBRARY_PATH": DRIVER, "MLC_FAKE_GPUS": "4"}
IMAGES = os.path.join(BUILD, "cuda", "mlc_cuda_images")
NANO = os.path.join(run_oracles.ROOT, "models", "chimera-nano")
SHAKESPEARE = os.path.join(run_oracles.ROOT, "models", "shakespeare")
PROMPT = ",".join(str(i * 11 % 61) for i in range(37))
EXACT = "--quant", "none", "--math", "exact", "--kv", "f32"


@unittest.skipUnless(os.access(MLC, os.X_OK), f"{MLC} is not built")
@unittest.skipUnless(REAL or os.path.exists(os.path.join(DRIVER, "libnccl.so.2")), f"{DRIVER} is not built")
@unittest.skipUnless(os.path.isdir(IMAGES), "built without nvcc")
class SeveralGpus(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="mlc-gpus-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def run_mlc(self, *arguments, **environment):
        return subprocess.run([MLC, *arguments], capture_output=True, text=True, timeout=300,
                              env={**os.environ, **EMULATED, **environment})

    def call(self, *arguments):
        done = self.run_mlc(*arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def refused(self, *arguments, **environment):
        done = self.run_mlc(*arguments, **environment)
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        return done.stderr

    def compiled(self, name, *options):
        self.call("compile", os.path.join(run_oracles.ORACLES, name), "-o", self.path("m.mlca"), *options)

    def logits(self, name, *options):
        self.compiled(name, *options)
        self.call("run", self.path("m.mlca"), "--tokens", PROMPT, "--max-tokens", "3", "--ignore-eos", "--logits",
                  self.path("l.npy"))
        return np.load(self.path("l.npy"))

    def test_exact_logits_are_the_cpus(self):
        # Heads and MLPs of the first two are spread, of most others MLPs alone: their one key-value head stays whole.
        for name, ranks in ((SHAKESPEARE, 2), (NANO, 2), (SHAKESPEARE, 4), ("llama", 2), ("llama", 4), ("qwen3", 2),
                            ("gemma2", 2), ("phi3", 2), ("falcon-h1", 2), ("mixtral", 2), ("mixtral", 4), ("qwen2-moe", 2),
                            ("granitemoehybrid-experts", 2), ("olmoe", 3)):
            with self.subTest(case=name, ranks=ranks):
                if 0 < REAL < ranks:
                    self.skipTest(f"{REAL} GPUs")
                got = self.logits(name, "--target", "cuda", "--tensor-parallel", str(ranks), *EXACT)
                want = self.logits(name, *EXACT)
                self.assertLess(np.abs(got - want).max() / np.abs(want).max(), 2e-4)
                self.assertEqual(got.argmax(1).tolist(), want.argmax(1).tolist())

    def test_tensor_cores_are_those_of_one(self):
        for name in (SHAKESPEARE, NANO, "mixtral"):
            for options in (["--quant", "int4", "--group", "32"], ["--quant", "int8", "--activations", "int8"],
                            ["--quant", "none", "--math", "fast"]):
                with self.subTest(case=name, options=options):
                    want = self.logits(name, "--target", "cuda", *options)
                    got = self.logits(name, "--target", "cuda", "--tensor-parallel", "2", *options)
                    # Groups of columns that end with a rank are others, and sums are cut elsewhere.
                    errors = np.abs(got - want).max(axis=1) / np.abs(want).max()
                    self.assertLess(np.median(errors), 0.1)

    def test_steps_do_not_matter(self):
        for name in (NANO, "mixtral"):
            for options in (EXACT, ["--quant", "int4", "--group", "32"]):
                with self.subTest(case=name, options=options):
                    answers = [self.logits(name, "--target", "cuda", "--tensor-parallel", "2", "--batch", batch, *options)
                               for batch in ("64", "12", "1")]
                    for other in answers[1:]:
                        self.assertTrue(np.array_equal(answers[0], other))

    def test_texts_drafts_and_a_server(self):
        texts = []
        for options in ([], ["--target", "cuda", "--tensor-parallel", "2"]):
            self.compiled(NANO, *EXACT, *options)
            asked = ["run", self.path("m.mlca"), "--prompt", "The city", "--max-tokens", "24", "--seed", "5"]
            texts.append([self.call(*asked, *sampling)
                          for sampling in (["--temperature", "0"], ["--temperature", "0.9", "--top-p", "0.9"],
                                           ["--temperature", "0", "--draft", "ngram"])])
            with Server(self.path("m.mlca"), env=EMULATED) as server:
                status, _, body = server.post("/v1/completions", model="m", prompt="The city", max_tokens=8, n=2, seed=3,
                                              temperature=0.8)
                self.assertEqual(status, 200, body)
                texts[-1].append([choice["text"] for choice in body["choices"]])
        self.assertEqual(*texts)

    def test_which_gpus(self):
        self.compiled(SHAKESPEARE, "--target", "cuda", "--tensor-parallel", "2", "--quant", "int4")
        asked = ["run", self.path("m.mlca"), "--prompt", "A", "--max-tokens", "4"]
        self.assertEqual(self.call(*asked), self.call(*asked, "--device", "1+0"))
        self.assertIn("is compiled for 2 GPUs; name as many, not 1", self.refused(*asked, "--device", "1"))
        self.assertIn("GPU 1 is named twice", self.refused(*asked, "--device", "1+1"))
        self.assertIn("3 GPUs for", self.refused(*asked, "--device", "0+1+2"))
        self.assertIn("give the number of a GPU", self.refused(*asked, "--device", "0,1"))
        self.assertIn("--calibrate", self.refused("compile", SHAKESPEARE, "-o", self.path("x"), "--target", "cuda",
                                                  "--tensor-parallel", "2", "--quant", "int4", "--calibrate", __file__))
        self.assertIn("goes with --target cuda", self.refused("compile", SHAKESPEARE, "-o", self.path("x"),
                                                              "--tensor-parallel", "2"))
        self.assertIn("no product of this model can be spread over 7 ranks",
                      self.refused("compile", SHAKESPEARE, "-o", self.path("x"), "--target", "cuda", "--tensor-parallel", "7"))
        self.assertFalse(os.path.exists(self.path("x")))

    @unittest.skipIf(REAL, "of emulated GPUs")
    def test_what_is_missing(self):
        self.compiled(SHAKESPEARE, "--target", "cuda", "--tensor-parallel", "2", "--quant", "int4")
        asked = ["run", self.path("m.mlca"), "--prompt", "A", "--max-tokens", "4"]
        self.assertIn("GPU 1: this machine has 1", self.refused(*asked, MLC_FAKE_GPUS="1"))
        alone = self.path("driver")
        os.mkdir(alone)
        shutil.copy(os.path.join(DRIVER, "libcuda.so.1"), alone)
        # Where NCCL is installed it finds no GPU behind this driver.
        self.assertRegex(self.refused(*asked, LD_LIBRARY_PATH=alone), "several GPUs need NCCL: .*; install libnccl2|joining the GPUs: NCCL")


if __name__ == "__main__":
    unittest.main()
