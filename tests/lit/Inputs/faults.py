# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Compiles checkpoints with one fault each; every one must be refused.

    python3 faults.py hf|gguf TEST DIRECTORY

TEST holds lines 'FAULT NAME [NAME...]' (of tiny_model.py), each followed by a
line with what mlc must say. The line may hold %, the checkpoint's path, and
<N> for any number. The sound checkpoint must compile to graph text first.
"""
import os
import re
import shutil
import subprocess
import sys

import tiny_model


def compile(source, output, *options):
    return subprocess.run(["mlc", "compile", source, "-o", output, *options], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)


def check(source, output, wanted):
    done = compile(source, output)
    said = done.stderr.decode("utf-8", "backslashreplace")
    pattern = "mlc: error: " + re.escape(wanted).replace("%", re.escape(source)).replace("<N>", "[0-9]+") + "\n"
    problems = []
    if done.returncode != 1:
        problems.append(f"exit status {done.returncode}, not 1")
    if done.stdout:
        problems.append(f"stdout holds {done.stdout[:200]!r}")
    if not re.fullmatch(pattern, said):
        problems.append(f"says: {said}       not: mlc: error: {wanted}")
    left = [name for name in os.listdir(os.path.dirname(output)) if "refused" in name]
    if left:
        problems.append(f"left behind: {left}")
    return problems


def main():
    kind, test, directory = sys.argv[1:]
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory)
    with open(test, encoding="utf-8") as f:
        lines = f.read().split("\n")
    faults = [(line.split()[1:], lines[i + 1]) for i, line in enumerate(lines) if line.startswith("FAULT ")]
    source = os.path.join(directory, "model" if kind == "hf" else "model.gguf")
    output = os.path.join(directory, "refused.mlca")
    failed = not faults
    for names, wanted in [([], "")] + faults:
        tiny_model.write(kind, source, names)
        if names:
            problems = check(source, output, wanted)
        else:
            done = compile(source, os.path.join(directory, "sound.mlir"), "--emit", "graph")
            problems = [done.stderr.decode()] if done.returncode else []
        for problem in problems:
            print(f"{' '.join(names) or 'the sound model'}: {problem}")
        failed |= bool(problems)
    print(f"{len(faults)} faults")
    sys.exit(1 if failed else 0)


main()
