#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Measures artifacts in turns by `mlc bench`; the rounds' medians go to a CSV.

    python3 models/moe-lab/throughput.py MLC OUT.csv SIZE NAME=X.mlca ...

SIZE stands in the rows ("as trained", "grown"), beside those of other sizes
that OUT.csv has. Standard library only.
"""
import csv
import json
import os
import subprocess
import sys

ROUNDS, PROMPT, GENERATED = 5, 512, 128


def measure(mlc, artifact):
    done = subprocess.run([mlc, "bench", artifact, "-p", str(PROMPT), "-n", str(GENERATED), "-r", "3", "--threads", "2", "--json"],
                          capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    return said["prompt_tokens_per_s"]["median"], said["tokens_per_s"]["median"]


def main():
    mlc, out, size, *named = sys.argv[1:]
    rows = []
    if os.path.exists(out):
        with open(out, newline="") as f:
            rows = [row for row in csv.DictReader(f) if row["size"] != size]
    for number in range(ROUNDS):
        for name, artifact in (n.split("=", 1) for n in named):
            prompt, generated = measure(mlc, artifact)
            rows.append(dict(size=size, model=name, round=number, prompt=f"{prompt:.0f}", generated=f"{generated:.0f}"))
        print(f"round {number + 1} of {ROUNDS}", file=sys.stderr)
    with open(out, "w", newline="") as f:
        writer = csv.DictWriter(f, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
