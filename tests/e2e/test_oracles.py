# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""One test for each recorded oracle case; run_oracles.py does the work."""
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
try:
    import run_oracles
except ImportError as error:  # numpy
    raise unittest.SkipTest(f"{error}; install python3-numpy")

MLC = os.path.join(os.environ.get("MLC_BUILD_DIR", os.path.join(run_oracles.ROOT, "build")), "bin", "mlc")


@unittest.skipUnless(os.access(MLC, os.X_OK), f"{MLC} is not built")
class Oracles(unittest.TestCase):
    """Greedy tokens, logits and ablations of transformers, for every source."""


def add(name, check):
    def test(self):
        with tempfile.TemporaryDirectory(prefix="mlc-oracle-") as temporary:
            failures, summary = check(run_oracles.Mlc(MLC, 120), temporary)
        if failures is None:
            self.skipTest(summary)
        self.assertFalse(failures, "\n".join(failures or ()))
    setattr(Oracles, "test_" + name.replace("-", "_"), test)


for case in run_oracles.recorded_cases():
    add(case, lambda mlc, temporary, case=case: run_oracles.check_case(mlc, case, temporary))
for case, source in run_oracles.STORIES.items():
    add(case, lambda mlc, temporary, source=source: run_oracles.check_stories(mlc, source, temporary))
