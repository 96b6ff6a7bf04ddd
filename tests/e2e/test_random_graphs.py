# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""A sample of random graphs: what the artifact gives is what the interpreter gives. random_graphs.py runs thousands, against
onnxruntime too."""
import os
import unittest

import numpy as np

from random_graphs import GOOD, Tool, check, difference, make
from random_graph import Value

COUNT = 24
# A limit of the compiler that is refused by name: graph 5 keeps too many tensors in one region.
LIMITS = {5: "tensors, at most 31"}


class RandomGraphs(unittest.TestCase):
    def test_sample(self):
        tool = Tool(os.environ["MLC_BUILD_DIR"])
        for index in range(COUNT):
            with self.subTest(index):
                graph = make(1, index)
                outcome = check(tool, None, graph)
                if outcome.kind == "refused" and index in LIMITS:
                    self.assertIn(LIMITS[index], outcome.what)
                    continue
                self.assertIn(outcome.kind, GOOD, "\n".join([outcome.what, *map(str, graph.nodes)]))

    def test_differences_are_seen(self):
        rounded, exact = Value("r", "float32", (3,), exact=False), Value("e", "float32", (3,), exact=True)
        x = np.float32([1, 2, 3])
        self.assertIsNone(difference(rounded, x, x * np.float32(1 + 1e-6)))
        self.assertIsNotNone(difference(rounded, x, x * np.float32(1 + 2e-5)))
        self.assertIsNotNone(difference(exact, x, np.nextafter(x, np.float32(9))))
        self.assertIsNotNone(difference(exact, x, x[None]))
        self.assertIsNotNone(difference(exact, x, np.float32([1, 2, np.nan])))
        self.assertIsNotNone(difference(Value("i", "int64", (1,)), np.int64([1]), np.int64([2])))


if __name__ == "__main__":
    unittest.main()
