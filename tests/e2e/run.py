#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Runs the end-to-end tests (test_*.py beside this file).

    python3 tests/e2e/run.py [--build DIR] [--results FILE.json] [--devices] [--jobs N] [NAME ...]

--devices runs devices.py instead: artifacts under emulation, with what the
presets device-* have built. NAME picks tests whose id holds it. With --jobs, N
files run at a time, each in a process of its own. The tests find the programs in
$MLC_BUILD_DIR/bin and the data of ../shared in $MLC_SHARED_DATA.
"""
import argparse
import concurrent.futures
import glob
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))


class Result(unittest.TextTestResult):
    """Counts sub-tests that fail once each, and says how long a test took."""

    def startTest(self, test):
        self.started = time.monotonic()
        super().startTest(test)

    def stopTest(self, test):
        super().stopTest(test)
        taken = time.monotonic() - self.started
        if self.showAll and taken >= 1:
            self.stream.writeln(f"    ({taken:.1f} s)")


def cases(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from cases(item)
        else:
            yield item


def run_file(path, names):
    """The output of a file's tests in a process of their own, and their counts; one that dies counts as a failure."""
    with tempfile.TemporaryDirectory() as directory:
        results = os.path.join(directory, "counts.json")
        command = [sys.executable, os.path.abspath(__file__), "--file", os.path.basename(path), "--results", results]
        done = subprocess.run(command + names, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        if not os.path.exists(results):
            return done.stdout, {"passed": 0, "failed": 1, "skipped": 0}
        with open(results, encoding="utf-8") as f:
            return done.stdout, json.load(f)


def run_files(jobs, names):
    """All files, `jobs` at a time, those of most tests first; the counts of all. What failed is printed again at the end,
    where a log's last lines show it."""
    counts, failures = {"passed": 0, "failed": 0, "skipped": 0}, []

    def tests_of(path):
        return unittest.defaultTestLoader.discover(HERE, pattern=os.path.basename(path), top_level_dir=HERE).countTestCases()

    files = sorted(glob.glob(os.path.join(HERE, "test_*.py")), key=tests_of, reverse=True)
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for output, own in pool.map(lambda path: run_file(path, names), files):
            print(output, end="", flush=True)
            for state, number in own.items():
                counts[state] += number
            if own["failed"]:
                # From unittest's first report on; all of what a file says that died before one.
                failures.append(output[max(output.find("=" * 70), 0):])
    for failure in failures:
        print("\n".join(failure.splitlines()[-50:]))
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.environ.get("MLC_BUILD_DIR", os.path.join(HERE, "..", "..", "build")))
    parser.add_argument("--results", help="where to write the counts, as JSON")
    parser.add_argument("--devices", action="store_true", help="the tests of devices.py instead")
    parser.add_argument("--jobs", type=int, default=1, help="how many files run at a time (default 1)")
    parser.add_argument("--file", help="the tests of this file alone")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()

    os.environ["MLC_BUILD_DIR"] = os.path.abspath(options.build)
    shared = os.path.join(HERE, "..", "..", "..", "shared", "data")
    if "MLC_SHARED_DATA" not in os.environ and os.path.isdir(shared):
        os.environ["MLC_SHARED_DATA"] = os.path.realpath(shared)

    if options.jobs > 1 and not options.devices and not options.file:
        counts = run_files(options.jobs, options.names)
    else:
        pattern = options.file or ("devices.py" if options.devices else "test_*.py")
        suite = unittest.defaultTestLoader.discover(HERE, pattern=pattern, top_level_dir=HERE)
        if options.names:
            suite = unittest.TestSuite(c for c in cases(suite) if any(n in c.id() for n in options.names))
        result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Result).run(suite)
        failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
        skipped = len(result.skipped)
        counts = {"passed": max(0, result.testsRun - failed - skipped), "failed": failed, "skipped": skipped}
    if options.results:
        with open(options.results, "w", encoding="utf-8") as f:
            json.dump(counts, f)
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
