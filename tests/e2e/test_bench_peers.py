# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""The harness of tests/bench/peers on our side: the C API through ctypes, and what the table says of its figures."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PEERS = os.path.join(ROOT, "tests", "bench", "peers")
MODEL = os.path.join(ROOT, "models", "shakespeare")
BUILD = os.environ.get("MLC_BUILD_DIR", os.path.join(ROOT, "build"))
MLC, LIBRARY = os.path.join(BUILD, "bin", "mlc"), os.path.join(BUILD, "lib", "libmlc.so")

sys.path.insert(0, PEERS)
import compare  # noqa: E402


class Worker(unittest.TestCase):
    @unittest.skipUnless(os.access(MLC, os.X_OK) and os.path.exists(LIBRARY), f"{MLC} or {LIBRARY} is not built")
    def test_answers(self):
        with tempfile.TemporaryDirectory(prefix="mlc-bench-") as temporary:
            artifact = os.path.join(temporary, "m.mlca")
            subprocess.run([MLC, "compile", MODEL, "-o", artifact, "--quant", "int4"], check=True, timeout=300,
                           stderr=subprocess.PIPE)
            command = [sys.executable, os.path.join(PEERS, "worker.py"), "mlc", artifact, "--threads", "2",
                       "--positions", "128"]
            done = subprocess.run([*command, f"library={LIBRARY}"], input="100 9\n64 2\n", check=True,
                                  capture_output=True, text=True, timeout=120)
            lines = [json.loads(line) for line in done.stdout.splitlines()]
            self.assertEqual(len(lines), 3)
            self.assertIn("ready", lines[0])
            for line in lines[1:]:
                self.assertGreater(line["prompt_s"], 0)
                self.assertGreater(line["new_s"], 0)
            # The session's context is 128: the option reached it.
            late = subprocess.run([*command, f"library={LIBRARY}"], input="200 9\n", check=False,
                                  capture_output=True, text=True, timeout=120)
            self.assertIn("does not fit the context of 128", late.stderr)
            unknown = subprocess.run([*command, f"library={LIBRARY}", "kv=f16"], input="", check=False,
                                     capture_output=True, text=True, timeout=120)
            self.assertEqual((unknown.returncode, unknown.stderr.strip()), (1, "mlc takes no kv"))


class Table(unittest.TestCase):
    @staticmethod
    def run_of(seconds, others):
        return dict(prompt_s=seconds, prompt_others=others)

    def test_busy_repetitions_do_not_count(self):
        runs = [self.run_of(1, 0.0), self.run_of(2, 0.1), self.run_of(50, 0.9)]
        self.assertEqual(compare.spread(runs, "prompt", 100), dict(median=75, min=50, max=100, quiet=2, runs=3))
        self.assertNotIn("busy", compare.cell(compare.spread(runs, "prompt", 100)))

    def test_a_busy_machine_is_said(self):
        runs = [self.run_of(1, 0.0), self.run_of(50, 0.9)]
        values = compare.spread(runs, "prompt", 100)
        self.assertEqual((values["min"], values["quiet"]), (2, 1))
        self.assertIn("busy", compare.cell(values))

    def test_losses_stand_in_it(self):
        fast, slow = ({"median": v, "min": v, "max": v, "quiet": 2, "runs": 2} for v in (200.0, 100.0))
        limits = dict(peak=1000, operations_per_prompt_token=1e9, read_bandwidth_gb_s=50, weight_bytes_per_token=2e8)
        row = dict(row="r", what="w", prompt=512, ceilings=limits, phases={
            "prefill": dict(mlc=slow, peer=fast, ratio=0.5, bar=1.15), "decode": dict(mlc=fast, peer=slow, ratio=2.0,
                                                                                    bar=1.4)})
        text = compare.markdown([row, dict(row="s", what="w", error="no answer")], dict(cpu="c", threads=2))
        self.assertIn("| 0.50 | 1.15 **missed** | 0.10 of 1000 GOP/s |", text)
        self.assertIn("| 2.00 | 1.40 met | 0.80 of 50.0 GB/s |", text)
        self.assertIn("failed: no answer", text)


if __name__ == "__main__":
    unittest.main()
