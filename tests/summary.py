#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Sums up what tests/run.sh left in a directory, as 'N passed, N failed, N skipped'.

    python3 tests/summary.py DIR

DIR holds per suite: NAME.ctest.xml with the GoogleTest reports in NAME.gtest/,
NAME.lit.json, NAME.counts.json, and steps.tsv (name, passed|failed|skipped).
Each GoogleTest case counts; a program that crashed, timed out or was not built
counts as one failure.
"""
import glob
import json
import os
import sys
import xml.etree.ElementTree as ElementTree


def load(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return json.load(f)


def gtest_cases(path):
    for suite in load(path)["testsuites"]:
        for case in suite["testsuite"]:
            name = f'{suite["name"]}.{case["name"]}'
            if case.get("failures"):
                yield name, "failed"
            elif case.get("result") == "SKIPPED" or case.get("status") == "NOTRUN":
                yield name, "skipped"
            else:
                yield name, "passed"


def ctest_cases(xml):
    reports = xml[: -len(".ctest.xml")] + ".gtest"
    for case in ElementTree.parse(xml).getroot().iter("testcase"):
        program = case.get("name")
        status = {"run": "passed", "disabled": "skipped"}.get(case.get("status"), "failed")
        if case.find("skipped") is not None and case.get("status") != "fail":
            status = "skipped" if case.get("status") != "notrun" else "failed"
        report = os.path.join(reports, program + ".json")
        if not os.path.exists(report):
            yield program, status
            continue
        found = [(f"{program} {name}", state) for name, state in gtest_cases(report)]
        yield from found
        if status == "failed" and all(state != "failed" for _, state in found):
            yield program, "failed"


def lit_cases(path):
    states = {"PASS": "passed", "FLAKYPASS": "passed", "XFAIL": "passed", "UNSUPPORTED": "skipped",
              "SKIPPED": "skipped", "EXCLUDED": "skipped"}
    for test in load(path)["tests"]:
        yield test["name"], states.get(test["code"], "failed")


def main():
    directory = sys.argv[1]
    total = {"passed": 0, "failed": 0, "skipped": 0}

    def count(suite, cases):
        own = dict.fromkeys(total, 0)
        for name, state in cases:
            own[state] += 1
            if state == "failed":
                print(f"FAILED {suite}: {name}")
        add(suite, own)

    def add(suite, own):
        for state, number in own.items():
            total[state] += number
        print(f"{suite:24}" + "".join(f" {number:6} {state}" for state, number in own.items()))

    for path in sorted(glob.glob(os.path.join(directory, "*.ctest.xml"))):
        count(os.path.basename(path).split(".")[0], ctest_cases(path))
    for path in sorted(glob.glob(os.path.join(directory, "*.lit.json"))):
        count(os.path.basename(path).split(".")[0], lit_cases(path))
    for path in sorted(glob.glob(os.path.join(directory, "*.counts.json"))):
        add(os.path.basename(path).split(".")[0], load(path))
    steps = os.path.join(directory, "steps.tsv")
    if os.path.exists(steps):
        with open(steps, encoding="utf-8") as f:
            count("steps", [tuple(line.rstrip("\n").split("\t")) for line in f])
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**total))
    return 1 if total["failed"] or not total["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
