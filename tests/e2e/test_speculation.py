# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Speculative decoding from checkpoints: the same text with every draft, for dense models, hybrids and mixtures;
what --json tells; sampled texts that repeat; drafts with other tokens."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
try:
    import run_oracles
except ImportError as error:
    raise unittest.SkipTest(f"{error}; install python3-numpy")

BIN = os.path.join(os.environ.get("MLC_BUILD_DIR", os.path.join(run_oracles.ROOT, "build")), "bin")
MLC, RUN = os.path.join(BIN, "mlc"), os.path.join(BIN, "mlc-run")


@unittest.skipUnless(os.access(MLC, os.X_OK) and os.access(RUN, os.X_OK), f"{MLC} is not built")
class Speculation(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="mlc-speculation-")
        cls.addClassCleanup(cls.folder.cleanup)

    def compiled(self, source, *options):
        """The oracle `source` (or a path) compiled with these options."""
        path = os.path.join(self.folder.name, "-".join([os.path.basename(source), *options]) + ".mlca")
        if not os.path.exists(path):
            done = subprocess.run([MLC, "compile", os.path.join(run_oracles.ORACLES, source), "-o", path, *options],
                                  capture_output=True, text=True, timeout=120)
            self.assertEqual(done.returncode, 0, done.stderr)
        return path

    def run_model(self, model, *options):
        done = subprocess.run([RUN, model, *options, "--threads", "2"], capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_greedy_texts_do_not_change(self):
        for source in ("llama", "gemma2", "mistral-window", "llama-dynamic", "granitemoehybrid", "mamba2", "qwen2-moe"):
            target, draft = self.compiled(source, "--quant", "none"), self.compiled(source, "--quant", "int8")
            prompts = [",".join(str((i * 7 + j * 5) % 50 + 3) for j in range(3 + 4 * i)) for i in range(4)]
            for prompt in prompts:
                words = ["--tokens", prompt, "--max-tokens", "40", "--ignore-eos", "--json"]
                plain = json.loads(self.run_model(target, *words))
                for options in ([draft], [draft, "--draft-tokens", "7"], ["ngram"], [draft + ",ngram"]):
                    with self.subTest(source=source, prompt=prompt, options=options[1:]):
                        fast = json.loads(self.run_model(target, *words, "--draft", *options))
                        self.assertEqual(fast["tokens"], plain["tokens"])
                        self.assertEqual(fast["finish_reason"], plain["finish_reason"])

    def test_figures_fit_each_other(self):
        target, draft = self.compiled("llama", "--quant", "none"), self.compiled("llama", "--quant", "int4", "--group", "32")
        answer = json.loads(self.run_model(target, "--tokens", "5,6,7", "--max-tokens", "100", "--ignore-eos", "--json",
                                           "--draft", draft, "--draft-tokens", "4"))
        figures = answer["speculation"]
        histogram = figures["gamma_histogram"]
        self.assertEqual(sum(histogram[1:]), figures["rounds"])
        self.assertEqual(sum(i * n for i, n in enumerate(histogram)), figures["drafted"])
        # The first token comes from the prompt; every step gives one more than stayed.
        self.assertEqual(1 + sum(histogram) + figures["accepted"], len(answer["tokens"]))
        self.assertAlmostEqual(figures["mean_accepted"], figures["accepted"] / figures["rounds"], places=6)
        self.assertLessEqual(figures["rollbacks"], figures["rounds"])
        self.assertTrue(all(0 <= share <= 1 for share in figures["acceptance_by_position"]))
        self.assertGreater(figures["accepted"], 0)

    def test_bench(self):
        target, draft = self.compiled("llama", "--quant", "none"), self.compiled("llama", "--quant", "int8")
        words = ["--bench", "--draft", draft, "--tokens", "5,6,7", "-n", "30", "-r", "3"]
        answer = json.loads(self.run_model(target, *words, "--draft-tokens", "4", "--json"))
        for name in ("tokens_per_s", "drafted_tokens_per_s"):
            self.assertLessEqual(answer[name]["min"], answer[name]["median"])
            self.assertLessEqual(answer[name]["median"], answer[name]["max"])
        self.assertAlmostEqual(answer["speed_up"], answer["drafted_tokens_per_s"]["median"] / answer["tokens_per_s"]["median"],
                               places=5)
        figures = answer["speculation"]
        # Four times 30 tokens, of which the prompt gives one.
        self.assertEqual(sum(figures["gamma_histogram"]) + figures["accepted"], 4 * 29)
        self.assertIn("speed_up", self.run_model(target, *words))
        for options, status, complaint in ((["--draft", "ngram"], 2, "--draft needs a text"), (["--tokens", "5"], 2, "--tokens goes with --draft"),
                                           (["--draft", "ngram", "--tokens", "5", "-p", "9"], 2, "-p and --draft"),
                                           (["--draft", "ngram", "--tokens", "5", "-n", "1"], 1, "2 tokens or more"),
                                           (["--draft", "ngram", "--tokens", "5", "-n", "100000"], 1, "-n 100000")):
            with self.subTest(options):
                done = subprocess.run([RUN, target, "--bench", *options], capture_output=True, text=True, timeout=60)
                self.assertEqual(done.returncode, status)
                self.assertIn(complaint, done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1)

    def test_sampled_texts_repeat(self):
        target, draft = self.compiled("llama", "--quant", "none"), self.compiled("llama", "--quant", "int8")
        words = ["--tokens", "5,6,7", "--max-tokens", "40", "--ignore-eos", "--temperature", "1.2", "--top-p", "0.95",
                 "--draft", draft, "--draft-tokens", "3", "--seed"]
        self.assertEqual(self.run_model(target, *words, "4"), self.run_model(target, *words, "4"))
        self.assertNotEqual(self.run_model(target, *words, "4"), self.run_model(target, *words, "5"))

    def test_other_tokens_are_refused(self):
        data = os.environ.get("MLC_SHARED_DATA", os.path.join(os.path.dirname(run_oracles.ROOT), "shared", "data"))
        stories = os.path.join(data, "stories260k", "stories260K-f32.gguf")
        if not os.path.exists(stories):
            self.skipTest(f"{stories} is missing")
        shakespeare = os.path.join(run_oracles.ROOT, "models", "shakespeare")
        draft, target = self.compiled(stories), self.compiled(shakespeare, "--context", "512")
        done = subprocess.run([RUN, target, "--prompt", "x", "--draft", draft], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertTrue(done.stderr.startswith(f"mlc: error: {draft}: token "), done.stderr)
        self.assertIn(f"in {target} '", done.stderr)
        self.assertIn("a draft needs the target's vocabulary", done.stderr)


if __name__ == "__main__":
    unittest.main()
