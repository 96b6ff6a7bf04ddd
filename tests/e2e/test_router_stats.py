# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""mlc run --router-stats: figures that are known in closed form, the window, the alarm, and what is refused."""
import json
import math
import os
import struct
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
try:
    import run_oracles
except ImportError as error:  # numpy
    raise unittest.SkipTest(f"{error}; install python3-numpy")

MLC = os.path.join(os.environ.get("MLC_BUILD_DIR", os.path.join(run_oracles.ROOT, "build")), "bin", "mlc")
MIXTRAL = os.path.join(run_oracles.ORACLES, "mixtral")
ROUTERS = [f"model.layers.{i}.block_sparse_moe.gate.weight" for i in range(2)]


def fill(folder, names, value):
    """Overwrites bf16 tensors with value(index)."""
    path = os.path.join(folder, "model.safetensors")
    with open(path, "r+b") as f:
        size, = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(size))
        for name in names:
            begin, end = header[name]["data_offsets"]
            f.seek(8 + size + begin)
            f.write(b"".join(struct.pack("<f", value(i))[2:] for i in range((end - begin) // 2)))


@unittest.skipUnless(os.access(MLC, os.X_OK), f"{MLC} is not built")
class RouterStats(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="mlc-router-")
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def compiled(self, value=None):
        source = run_oracles.variant(MIXTRAL, self.path("checkpoint"))
        if value:
            fill(source, ROUTERS, value)
        run_oracles.Mlc(MLC, 120).compile(source, self.path("model.mlca"))
        return self.path("model.mlca")

    def run_stats(self, artifact, *options, tokens=40, expect=0):
        prompt = ",".join(str(i * 7 % 61) for i in range(tokens))
        done = subprocess.run([MLC, "run", artifact, "--tokens", prompt, "--max-tokens", "1", "--threads", "1",
                               "--router-stats", self.path("stats.json"), *options],
                              capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, expect, done.stderr)
        if expect:
            self.assertFalse(os.path.exists(self.path("stats.json")))
            return done.stderr
        with open(self.path("stats.json")) as f:
            return json.load(f), done.stderr

    def test_undecided_router(self):
        """All logits 0: every token takes experts 0 and 1 of 6 with p = 1/6."""
        stats, _ = self.run_stats(self.compiled(lambda i: 0.0))
        first = stats["layers"][0]
        expected = dict(experts=6, top_k=2, tokens=40, routing_entropy=1, load_entropy=math.log(2) / math.log(6),
                        load_cv=math.sqrt(2), max_load=3, min_load=0, dead_experts=4, balance=1,
                        mass_load_distance=2 / 3, mean_squared_logsumexp=math.log(6) ** 2, routing_margin=0)
        for name, value in expected.items():
            self.assertAlmostEqual(first[name], value, places=5, msg=name)
        self.assertEqual(first["layer"], "blocks.0.mlp.hook_router_logits")
        self.assertEqual(first["load"], [0.5, 0.5, 0, 0, 0, 0])
        # Of the last layer only the row whose logits are wanted is computed.
        self.assertEqual(stats["layers"][1]["tokens"], 1)

    def test_window_and_alarm(self):
        """Routers that decide at once, by the token: their entropy is near 0 while the load has some."""
        artifact = self.compiled(lambda i: 40.0 * math.sin(1 + i * 12.9898))
        stats, errors = self.run_stats(artifact, "--router-window", "16", "--router-alarm", "0.3")
        first = stats["layers"][0]
        # Blocks of two tokens: seven full ones and the one that is being filled.
        self.assertEqual((stats["window"], first["tokens"]), (16, 16))
        self.assertLess(first["routing_entropy"], 0.1)
        self.assertGreater(first["load_entropy"], 0.3)
        self.assertGreater(first["routing_margin"], -1e-6)
        self.assertAlmostEqual(sum(first["load"]), 1, places=6)
        self.assertAlmostEqual(sum(first["gate_mass"]), 1, places=5)
        self.assertLess(first["alarm"]["routing_entropy"], 0.3)
        self.assertIn("mlc: warning: blocks.0.mlp.hook_router_logits: routing entropy", errors)
        stats, errors = self.run_stats(artifact)
        self.assertEqual((stats["layers"][0]["tokens"], stats["layers"][0]["alarm"], errors), (40, None, ""))

    def test_off_changes_nothing(self):
        artifact = self.compiled()
        self.run_stats(artifact)
        prompt = ",".join(str(i * 7 % 61) for i in range(9))
        answers = [run_oracles.Mlc(MLC, 120).call("run", artifact, "--tokens", prompt, "--max-tokens", "12", *more)
                   for more in ([], ["--router-stats", self.path("stats.json")])]
        self.assertEqual(answers[0], answers[1])

    def test_refused(self):
        artifact = self.compiled()
        self.assertIn("0 (none) to 1 is expected", self.run_stats(artifact, "--router-alarm", "1.5", expect=1))
        run_oracles.Mlc(MLC, 120).compile(os.path.join(run_oracles.ORACLES, "llama"), self.path("dense.mlca"))
        self.assertIn("no mixture of experts", self.run_stats(self.path("dense.mlca"), expect=1))


if __name__ == "__main__":
    unittest.main()
