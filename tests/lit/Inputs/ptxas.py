# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""What ptxas said of every kernel: one line each, sorted; fails where a kernel
spills or has local memory.

    python3 ptxas.py IMAGES_DIR
"""
import pathlib
import re
import sys

lines, bad = [], []
for log in sorted(pathlib.Path(sys.argv[1]).rglob("*.txt")):
    arch = log.name.split(".")[-2]
    kernel = None
    for text in log.read_text().splitlines():
        if match := re.search(r"Compiling entry function '(\w+)' for '(\w+)'", text):
            kernel = match[1]
        elif match := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", text):
            if any(int(count) for count in match.groups()):
                bad.append(f"{arch} {kernel}: {text.strip()}")
        elif match := re.search(r"Used (\d+) registers", text):
            lines.append(f"{arch} {kernel}: {match[1]} registers")
print("\n".join(sorted(lines)))
if bad or not lines:
    sys.exit("\n".join(["spills or local memory:", *bad]) if bad else "no image was compiled")
