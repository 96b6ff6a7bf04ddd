# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Perplexity of the shipped model on its held-out text: what quantizing costs."""
import json
import os
import subprocess
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODEL = os.path.join(ROOT, "models", "shakespeare")
MLC = os.path.join(os.environ.get("MLC_BUILD_DIR", os.path.join(ROOT, "build")), "bin", "mlc")
MEASURED = 27.876  # by models/shakespeare/train.py and by transformers, windows of 512


@unittest.skipUnless(os.access(MLC, os.X_OK), f"{MLC} is not built")
class Perplexity(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory(prefix="mlc-perplexity-") as temporary:
            reference = os.path.join(temporary, "none.mlca")
            cls.of = {form: cls.measure(form, os.path.join(temporary, form + ".mlca"), reference)
                      for form in ("none", "int8", "int4")}
        print({form: (round(value["perplexity"], 4), round(value["mean_kl"], 6)) for form, value in cls.of.items()})

    @staticmethod
    def measure(form, artifact, reference):
        subprocess.run([MLC, "compile", MODEL, "-o", artifact, "--quant", form], check=True, timeout=300,
                       stderr=subprocess.PIPE)
        out = subprocess.run([MLC, "perplexity", artifact, "--file", os.path.join(MODEL, "validation.txt"), "--json",
                              "--against", reference],
                             check=True, timeout=600, capture_output=True, text=True).stdout
        return json.loads(out)

    def test_floats_as_measured(self):
        self.assertAlmostEqual(self.of["none"]["perplexity"] / MEASURED, 1, delta=0.05)
        self.assertEqual(self.of["none"]["mean_kl"], 0)

    def test_int8(self):
        self.assertLessEqual(self.of["int8"]["perplexity"] / self.of["none"]["perplexity"], 1.003)
        self.assertLessEqual(self.of["int8"]["mean_kl"], 0.0006)

    def test_int4(self):
        self.assertLessEqual(self.of["int4"]["perplexity"] / self.of["none"]["perplexity"], 1.025)
        self.assertLessEqual(self.of["int4"]["mean_kl"], 0.012)


if __name__ == "__main__":
    unittest.main()
