# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""The shipped model, quantized, in every ISA form that this machine runs: the forms give one answer."""
import os
import subprocess
import sys
import tempfile
import unittest

try:
    import numpy as np
except ImportError as error:
    raise unittest.SkipTest(f"{error}; install python3-numpy")

from devices import KL_BOUND, mean_kl

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODEL = os.path.join(ROOT, "models", "shakespeare")
MLC = os.path.join(os.environ.get("MLC_BUILD_DIR", os.path.join(ROOT, "build")), "bin", "mlc")
FORMS = {"x86_64": ("portable", "avx2", "avxvnni", "avx512vnni", "avx512bf16", "amx"),
         "aarch64": ("portable", "dotprod", "i8mm", "bf16")}.get(os.uname().machine, ("portable",))


@unittest.skipUnless(os.access(MLC, os.X_OK), f"{MLC} is not built")
class Forms(unittest.TestCase):
    def run_form(self, artifact, form, logits):
        return subprocess.run([MLC, "run", artifact, "--prompt-file", self.text, "--max-tokens", "1", "--logits", logits],
                              env={**os.environ, "MLC_ISA": form}, capture_output=True, text=True, timeout=300)

    def test_forms_agree(self):
        with tempfile.TemporaryDirectory(prefix="mlc-forms-") as temporary:
            self.text = os.path.join(temporary, "text.txt")
            with open(os.path.join(MODEL, "validation.txt"), encoding="utf-8") as source, \
                    open(self.text, "w", encoding="utf-8") as text:
                text.write(source.read(600))
            for kv in ("f16", "bf16", "int8"):
                artifact, logits = os.path.join(temporary, kv + ".mlca"), os.path.join(temporary, "logits.npy")
                subprocess.run([MLC, "compile", MODEL, "-o", artifact, "--quant", "int8", "--kv", kv], check=True,
                               timeout=300, capture_output=True)
                reference = None
                for form in FORMS:
                    done = self.run_form(artifact, form, logits)
                    if done.returncode and "does not run the form" in done.stderr:
                        print(f"{form}: not on this machine", file=sys.stderr)
                        continue
                    self.assertEqual(done.returncode, 0, done.stderr)
                    got = np.load(logits)
                    reference = got if reference is None else reference
                    kl = mean_kl(reference, got)
                    print(f"--kv {kv} {form}: KL {kl:.1e}, equal: {np.array_equal(reference, got)}", file=sys.stderr)
                    with self.subTest(kv=kv, form=form):
                        self.assertLessEqual(kl, KL_BOUND)

    def test_an_unknown_form_is_refused(self):
        with tempfile.TemporaryDirectory(prefix="mlc-forms-") as temporary:
            artifact = self.text = os.path.join(temporary, "none.mlca")
            done = self.run_form(artifact, "sse9", os.path.join(temporary, "logits.npy"))
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, r"^mlc: error: MLC_ISA: ISA form 'sse9': choose portable.*\n$")


if __name__ == "__main__":
    unittest.main()
