# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Every family on an emulated GPU, or with MLC_GPU=1 on this machine's: the CPU's logits with f32 products, the interpreter's of the transformed graph with
tensor cores, and any split of a prompt bitwise the same."""
import concurrent.futures
import json
import os
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
REAL = os.environ.get("MLC_GPU") == "1"
DRIVER = os.path.join(BUILD, "tests", "cuda")
ENVIRONMENT = dict(os.environ) if REAL else dict(os.environ, LD_LIBRARY_PATH=DRIVER)
IMAGES = os.path.join(BUILD, "cuda", "mlc_cuda_images")
# Its MLP is wide enough for linear with a gate.
NANO = os.path.join(run_oracles.ROOT, "models", "chimera-nano")
# Pages of recurrent states end, and an expert's rows fill more than one step's.
PROMPT = ",".join(str(i * 11 % 61) for i in range(37))
FAMILIES = ("llama", "qwen3", "gemma2", "phi3", "mamba2", "mamba2-odd", "granitemoehybrid", "granitemoehybrid-experts",
            "bamba", "falcon-h1", "nemotron-h", "nemotron-h-experts", "mixtral", "qwen2-moe", "qwen3-moe", "granitemoe",
            "granitemoeshared", "olmoe", "glm4-moe")


@unittest.skipUnless(os.access(MLC, os.X_OK), f"{MLC} is not built")
@unittest.skipUnless(REAL or os.path.exists(os.path.join(DRIVER, "libcuda.so.1")), f"{DRIVER} is not built")
@unittest.skipUnless(os.path.isdir(IMAGES), "built without nvcc")
class EmulatedGpu(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="mlc-gpu-")
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def call(self, *arguments):
        done = subprocess.run([MLC, *arguments], capture_output=True, text=True, timeout=300,
                              env=ENVIRONMENT)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

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

    def test_compiled_regions_give_the_cpus_logits(self):
        # An emulated GPU runs PTX, and a real one compiles it.
        options = "--quant", "none", "--math", "exact", "--kv", "f32", "--code", "all"
        for name in ("llama", "gemma2", "falcon-h1", "qwen2-moe"):
            with self.subTest(name):
                want = self.artifact(name, *options)
                got = self.artifact(name, "--target", "cuda", "--ptxas", "none", *options)
                self.close(got, want)
                self.assertEqual(got.argmax(1).tolist(), want.argmax(1).tolist())
        text = self.call("inspect", self.path("m.mlca"), "--json").stdout
        self.assertIn("regions", [image["module"] for image in json.loads(text)["images"]])

    def test_exact_logits_are_the_cpus(self):
        for name in FAMILIES:
            options = "--quant", "none", "--math", "exact", "--kv", "f32"
            with self.subTest(case=name):
                self.close(self.artifact(name, "--target", "cuda", *options), self.artifact(name, *options))

    def test_texts_drawn_are_the_cpus(self):
        """The device draws what the host's sampler draws of the same logits, with the same seed."""
        options = "--quant", "none", "--math", "exact", "--kv", "f32"
        for name in (NANO, "llama", "qwen2-moe"):
            source = os.path.join(run_oracles.ORACLES, name)
            self.call("compile", source, "-o", self.path("cpu.mlca"), *options)
            self.call("compile", source, "-o", self.path("gpu.mlca"), "--target", "cuda", *options)
            for sampling in (["--temperature", "0"], ["--temperature", "0.9", "--top-p", "0.9"],
                             ["--temperature", "1.2", "--top-k", "20", "--min-p", "0.02"],
                             ["--temperature", "1", "--repeat-penalty", "1.3"]):
                with self.subTest(case=name, sampling=sampling):
                    texts = [self.call("run", self.path(artifact), "--tokens", PROMPT, "--max-tokens", "20", "--ignore-eos",
                                       "--seed", "5", *sampling).stdout for artifact in ("cpu.mlca", "gpu.mlca")]
                    self.assertEqual(*texts)

    def test_router_figures_are_the_cpus(self):
        options = "--quant", "none", "--math", "exact", "--kv", "f32"
        figures = []
        for target in ("cpu", "cuda"):
            self.call("compile", os.path.join(run_oracles.ORACLES, "mixtral"), "-o", self.path("m.mlca"), "--target", target,
                      *options)
            # Steps of one token come often enough to be a graph.
            self.call("run", self.path("m.mlca"), "--tokens", PROMPT, "--max-tokens", "12", "--ignore-eos",
                      "--router-stats", self.path("stats.json"))
            with open(self.path("stats.json"), encoding="utf-8") as f:
                figures.append(json.load(f)["layers"])
        for cpu, gpu in zip(*figures, strict=True):
            self.assertEqual(cpu.keys(), gpu.keys())
            for name, value in cpu.items():
                if name in ("layer", "experts", "top_k", "tokens", "dead_experts", "load", "alarm"):
                    self.assertEqual(gpu[name], value, name)
                elif not isinstance(value, dict):
                    np.testing.assert_allclose(gpu[name], value, rtol=1e-4, atol=1e-5, err_msg=name)

    def test_server_answers_as_on_the_cpu(self):
        """Sampled together, with logprobs and under a grammar (whose logits come to the host), and embeddings."""
        answers = []
        for target in ("cpu", "cuda"):
            self.call("compile", NANO, "-o", self.path("m.mlca"), "--target", target, "--quant", "none", "--math", "exact",
                      "--kv", "f32", "--context", "256")
            with Server(self.path("m.mlca"), env={"LD_LIBRARY_PATH": DRIVER}) as server:
                asked = [dict(temperature=0), dict(temperature=0.9, top_p=0.9), dict(temperature=1, frequency_penalty=1),
                         dict(temperature=0.8, logprobs=2), dict(temperature=1, n=3),
                         dict(temperature=1, response_format={"type": "json_object"})]
                with concurrent.futures.ThreadPoolExecutor(len(asked)) as pool:
                    done = [pool.submit(server.post, "/v1/completions", model="m", prompt="The city", max_tokens=5, seed=3,
                                        **each)
                            for each in asked]
                answers.append([])
                for each in done:
                    status, _, body = each.result()
                    self.assertEqual(status, 200, body)
                    answers[-1].append([choice["text"] for choice in body["choices"]])
                status, _, body = server.post("/v1/embeddings", model="m", input=["The city", "a"])
                self.assertEqual(status, 200, body)
                answers[-1].append(np.array([each["embedding"] for each in body["data"]]))
        self.assertEqual(answers[0][:-1], answers[1][:-1])
        np.testing.assert_allclose(answers[0][-1], answers[1][-1], atol=1e-4)

    def test_interpreter_is_the_oracle_of_tensor_cores(self):
        for name in (NANO, "mamba2-odd", "granitemoehybrid-experts", "nemotron-h", "qwen2-moe", "mixtral"):
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

    def test_rows_of_bytes(self):
        """An integer that rounds the other way moves its row, and by its keys and values those behind it: none does in
        the narrow models, some in the others. The CPU has such rows too."""
        for name, most in (("llama", 1e-3), ("qwen2-moe", 1e-3), ("gemma2", 2e-2), ("mixtral", 5e-2), ("nemotron-h", 5e-2),
                           (NANO, 0.15)):
            for options in (["--quant", "int8"], ["--quant", "int4", "--group", "32"]):
                options = [*options, "--kv", "f32", "--activations", "int8"]
                with self.subTest(case=name, options=options):
                    got = self.artifact(name, "--target", "cuda", *options)
                    want = self.logits("interpret", os.path.join(run_oracles.ORACLES, name), "--after-transforms", "--target",
                                       "cuda", *options)
                    self.assertLess(np.abs(got - want).max() / np.abs(want).max(), most)
                    if name == "llama":
                        self.assertLess(np.abs(got - self.artifact(name, *options)).max() / np.abs(want).max(), 2e-2)

    def test_steps_do_not_matter(self):
        for name in (NANO, "granitemoehybrid-experts", "mamba2-odd", "qwen3-moe"):
            for options in (["--quant", "none", "--math", "exact"], ["--quant", "int4", "--group", "32"],
                            ["--quant", "int8", "--activations", "int8"]):
                with self.subTest(case=name, options=options):
                    answers = [self.artifact(name, "--target", "cuda", "--batch", batch, *options)
                               for batch in ("64", "12", "5", "1")]
                    for other in answers[1:]:
                        self.assertTrue(np.array_equal(answers[0], other))

    def test_long_steps_do_not_matter(self):
        """More than 64 tokens a step: what the scan's heads share is made before."""
        texts = []
        for batch in ("128", "32"):
            self.call("compile", os.path.join(run_oracles.ORACLES, "mamba2-odd"), "-o", self.path("m.mlca"), "--target",
                      "cuda", "--batch", batch, "--quant", "none", "--math", "fast")
            texts.append(self.call("run", self.path("m.mlca"), "--tokens", ",".join([PROMPT] * 3), "--max-tokens", "30",
                                   "--ignore-eos", "--temperature", "2", "--seed", "5").stdout)
        self.assertEqual(*texts)


if __name__ == "__main__":
    unittest.main()
