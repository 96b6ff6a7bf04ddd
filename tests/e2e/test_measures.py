# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""mlc eval and mlc perplexity --against beside what transformers measured (tests/oracles/make_measures.py)."""
import json
import os
import shutil
import subprocess
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODEL = os.path.join(ROOT, "models", "shakespeare")
MEASURES = os.path.join(ROOT, "tests", "oracles", "measures")
MLC = os.path.join(os.environ.get("MLC_BUILD_DIR", os.path.join(ROOT, "build")), "bin", "mlc")


def mlc(*arguments):
    return subprocess.run([MLC, *map(str, arguments)], check=True, timeout=120, capture_output=True, text=True).stdout


@unittest.skipUnless(os.access(MLC, os.X_OK), f"{MLC} is not built")
class Measures(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="mlc-measures-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        with open(os.path.join(MEASURES, "measures.json"), encoding="utf-8") as f:
            cls.expected = json.load(f)
        cls.shipped = os.path.join(cls.folder, "shipped.mlca")
        mlc("compile", MODEL, "-o", cls.shipped, "--quant", "none")

    def close(self, got, want, relative, what):
        self.assertLessEqual(abs(got - want), relative * abs(want), f"{what}: {got}, transformers {want}")

    def test_eval(self):
        want = self.expected["eval"]
        questions = os.path.join(MEASURES, "questions.jsonl")
        few = os.path.join(self.folder, "few.mlca")
        mlc("compile", MODEL, "-o", few, "--quant", "none", "--sequences", 2, "--batch", 24)
        for artifact in self.shipped, few:
            got = json.loads(mlc("eval", artifact, "--choices", questions, "--json"))
            self.assertEqual(len(got["lines"]), len(want["lines"]))
            for i, (g, w) in enumerate(zip(got["lines"], want["lines"])):
                self.assertEqual((g["choice"], g["choice_normalised"]), (w["choice"], w["choice_normalised"]))
                self.assertEqual(len(g["log_likelihoods"]), len(w["log_likelihoods"]))
                for a, b in zip(g["log_likelihoods"], w["log_likelihoods"]):
                    self.close(a, b, 2e-5, f"line {i + 1}")
            for key in "questions", "accuracy", "accuracy_normalised":
                self.close(got[key], want[key], 1e-8, key)

    def test_perplexity_against_another_model(self):
        want = self.expected["perplexity"]
        source = os.path.join(self.folder, "moved")
        shutil.copytree(MODEL, source)
        with open(os.path.join(MODEL, "config.json"), encoding="utf-8") as f:
            config = json.load(f)
        config["rope_parameters"]["rope_theta"] = want["rope_theta"]
        with open(os.path.join(source, "config.json"), "w", encoding="utf-8") as f:
            json.dump(config, f)
        with open(os.path.join(MODEL, "validation.txt"), encoding="utf-8") as f:
            part = f.read()[:want["text_bytes"]]
        text, moved = os.path.join(self.folder, "text"), os.path.join(self.folder, "moved.mlca")
        with open(text, "w", encoding="utf-8") as f:
            f.write(part)
        mlc("compile", source, "-o", moved, "--quant", "none")
        got = json.loads(mlc("perplexity", moved, "--file", text, "--against", self.shipped, "--json",
                             "--context", want["context"], "--stride", want["stride"]))
        for key, relative in (("tokens", 0), ("nll", 1e-6), ("perplexity", 1e-5), ("mean_kl", 1e-4), ("p99_kl", 1e-3),
                              ("top1_agreement", 5e-4)):
            self.close(got[key], want[key], relative, key)


if __name__ == "__main__":
    unittest.main()
