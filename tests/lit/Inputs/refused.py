# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Runs a command that must be refused, and prints its one line for FileCheck.

    python3 refused.py [--status N] [--absent PATH ...] -- COMMAND...

The exit status must be N (default 1), stdout empty, stderr exactly one line
that starts with 'mlc: error: '; no PATH, and nothing whose name starts with
that of PATH, may be left behind.
"""
import os
import subprocess
import sys


def main():
    split = sys.argv.index("--")
    options, command = sys.argv[1:split], sys.argv[split + 1:]
    status, absent = 1, []
    while options:
        name, value = options.pop(0), options.pop(0)
        if name == "--status":
            status = int(value)
        elif name == "--absent":
            absent.append(value)
        else:
            sys.exit(f"refused.py: {name}?")
    for path in absent:
        if os.path.lexists(path):
            os.remove(path)
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=120)
    message = done.stderr.decode("utf-8", "backslashreplace")
    print(message, end="")
    problems = []
    if done.returncode != status:
        problems.append(f"exit status {done.returncode}, not {status}")
    if done.stdout:
        problems.append(f"stdout holds {done.stdout[:200]!r}")
    errors = [line for line in message.splitlines() if not line.startswith("mlc: warning: ")]
    if len(errors) != 1 or not errors[0].startswith("mlc: error: ") or not message.endswith("\n"):
        problems.append("stderr is not one 'mlc: error: ' line")
    for path in absent:
        directory, name = os.path.split(path)
        for left in os.listdir(directory or "."):
            if left.startswith(name) or left.startswith("." + name):
                problems.append(f"{left} was left behind")
    for problem in problems:
        print(f"refused.py: {problem}")
    sys.exit(1 if problems else 0)


main()
