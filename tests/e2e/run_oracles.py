#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Compiles and runs the recorded oracle cases with mlc and compares.

    tests/e2e/run_oracles.py --mlc build/bin/mlc [--case NAME ...] [--jobs N]

For each folder of tests/oracles with an expected.json: every source in it
(config.json, its transformers-4 spelling, GGUF files) must give the same 200
greedy tokens and logits within 1e-4 of the largest; with each feature removed
the logits must differ, so that a case cannot pass without the feature. The
stories260k cases need ../shared/data (or MLC_SHARED_DATA) and are skipped
without it. Python's standard library and numpy only.
"""
import argparse
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
ORACLES = os.path.join(ROOT, "tests", "oracles")
TOLERANCE = 1e-4  # of the largest logit
NOTICED = 10 * TOLERANCE  # an ablation moves the logits at least this far
INTERPRETED = {"llama", "llama-dynamic", "qwen2-window", "gemma2", "smollm3", "phi3-longrope", "gguf-q4_k"}
# Of these every run.
INTERPRETED_WHOLE = {"granite", "mixtral", "qwen2-moe", "qwen3-moe", "granitemoe", "olmoe", "glm4-moe"}
INTERPRETED_TOKENS = 4
STORIES = {"stories260k-hf": "hf", "stories260k-gguf": "stories260K-f32.gguf"}


class Failure(Exception):
    """One line that says what differs."""


class Mlc:
    def __init__(self, binary, timeout):
        self.binary, self.timeout = binary, timeout

    def call(self, *arguments):
        command = [self.binary, *map(str, arguments)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=self.timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"`{' '.join(command[:3])} ...` ran past {self.timeout} s")
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()] or ["(no message)"]
            raise Failure(f"`{' '.join(command[:3])} ...` gave {done.returncode}: {lines[-1]}")
        return done.stdout

    def compile(self, source, artifact, context=None, options=()):
        bound = ["--context", context] if context else []
        self.call("compile", source, "-o", artifact, "--quant", "none", "--kv", "f32", *bound, *options)

    def run(self, verb, source, prompt, count, folder, options=()):
        """(answer, logits [rows, vocab]) of `run` or `interpret`."""
        logits = os.path.join(folder, "logits.npy")
        out = self.call(verb, source, "--tokens", ",".join(map(str, prompt)), "--max-tokens", count,
                        "--json", "--logits", logits, *options)
        try:
            return json.loads(out), np.load(logits)
        except ValueError as error:
            raise Failure(f"`{self.binary} {verb}`: {error}")


# --- Comparing --------------------------------------------------------------

def compare_tokens(got, want):
    for i, (a, b) in enumerate(zip(got, want)):
        if a != b:
            raise Failure(f"token {i} is {a}, the oracle's is {b}")
    if len(got) != len(want):
        raise Failure(f"{len(got)} tokens instead of {len(want)}")


def compare_rows(logits, want, rows, scale, limit=TOLERANCE):
    """The largest difference over `scale` of the rows that both have."""
    have = [i for i, row in enumerate(rows) if row < len(logits)]
    if not have:
        raise Failure(f"only {len(logits)} rows of logits")
    if logits.shape[1:] != want.shape[1:]:
        raise Failure(f"logits of shape {logits.shape}, the oracle's rows have {want.shape[1]} values")
    apart = np.abs(logits[[rows[i] for i in have]] - want[have]).max(-1) / scale
    worst = int(np.nan_to_num(apart, nan=np.inf).argmax())
    if not apart[worst] <= limit:
        raise Failure(f"logits of position {rows[have[worst]]} differ by {apart[worst]:.1e} of the largest "
                      f"(limit {limit:.0e})")
    return float(apart[worst])


def check_run(mlc, case, run, artifact, folder, stops):
    prompt, tokens = run["prompt"], run["tokens"]
    answer, logits = mlc.run("run", artifact, prompt, len(tokens), folder, ["--threads", 1])
    stop = run.get("stop_at") if stops else None
    compare_tokens(answer["tokens"], tokens[:stop])
    if "prompt_text" in run:
        again = json.loads(mlc.call("run", artifact, "--prompt", run["prompt_text"], "--max-tokens", len(tokens),
                                    "--json", "--threads", 1))
        if again["prompt_tokens"] != len(prompt):
            raise Failure(f"the prompt's text is {again['prompt_tokens']} tokens, the oracle's {len(prompt)}")
        compare_tokens(again["tokens"], tokens)
        if again["text"] != run["text"]:
            raise Failure(f"the text is {again['text']!r}, the oracle's {run['text']!r}")
    if (answer["finish_reason"] == "length") != (stop is None):
        raise Failure(f"finish_reason is {answer['finish_reason']}")
    if len(logits) < len(prompt) + len(answer["tokens"]) - 1:
        raise Failure(f"{len(logits)} rows of logits for {len(prompt)} + {len(answer['tokens'])} tokens")
    return compare_rows(logits, np.load(os.path.join(case, run["logits"])), run["rows"], run["largest_logit"])


# --- Sources ----------------------------------------------------------------

def apply_patch(document, patch):
    """The operations add, replace and remove of JSON Patch (RFC 6902)."""
    for operation in patch:
        *parents, last = operation["path"].strip("/").split("/")
        node = document
        for key in parents:
            node = node[int(key) if isinstance(node, list) else key]
        key = int(last) if isinstance(node, list) else last
        if operation["op"] == "remove":
            del node[key]
        else:
            node[key] = operation["value"]
    return document


def zero_tensors(folder, names):
    """Overwrites tensors of the safetensors files in folder with zeros."""
    left = set(names)
    for file in sorted(f for f in os.listdir(folder) if f.endswith(".safetensors")):
        with open(os.path.join(folder, file), "r+b") as f:
            size, = struct.unpack("<Q", f.read(8))
            header = json.loads(f.read(size))
            for name in left & header.keys():
                begin, end = header[name]["data_offsets"]
                f.seek(8 + size + begin)
                f.write(bytes(end - begin))
            left -= header.keys()
    if left:
        raise Failure(f"expected.json names tensors that are not there: {sorted(left)}")


def variant(case, folder, config="config.json", patch=(), zero=()):
    """A copy of the checkpoint in folder with another config or weights."""
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for file in os.listdir(case):
        if file.endswith((".safetensors", ".safetensors.index.json")) or file == "generation_config.json":
            shutil.copyfile(os.path.join(case, file), os.path.join(folder, file))
    with open(os.path.join(case, config)) as f:
        document = apply_patch(json.load(f), patch)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(document, f)
    zero_tensors(folder, zero)
    return folder


# --- Cases ------------------------------------------------------------------

def check_case(mlc, name, temporary):
    """Everything that can be said about one case: (failures, summary)."""
    case = os.path.join(ORACLES, name)
    with open(os.path.join(case, "expected.json")) as f:
        expected = json.load(f)
    checkpoint = os.path.join(ROOT, expected["checkpoint"]) if "checkpoint" in expected else case
    artifact = os.path.join(temporary, "model.mlca")
    context = expected.get("context")
    failures, worst, weakest, interpreted = [], 0.0, float("inf"), 0

    def attempt(what, action):
        try:
            return action()
        except Failure as failure:
            failures.append(f"{what}: {failure}")
        except (OSError, KeyError, TypeError, ValueError) as error:
            failures.append(f"{what}: {type(error).__name__}: {error}")
        return None

    sources = [(c, False) for c in expected["configs"]] + [(g, True) for g in expected["ggufs"]]
    for source, is_gguf in sources:
        path = os.path.join(case, source) if is_gguf else checkpoint
        if source == "config-v4.json":
            path = variant(case, os.path.join(temporary, "v4"), source)

        def run_all():
            mlc.compile(path, artifact, context)
            return max(check_run(mlc, case, run, artifact, temporary, not is_gguf) for run in expected["runs"])
        worst = max(worst, attempt(source, run_all) or 0.0)

    overrides = expected.get("overrides", [])
    for override in overrides:
        def run_override():
            source = variant(case, os.path.join(temporary, "override"), patch=override["patch"])
            mlc.compile(source, artifact, context, override["options"])
            return check_run(mlc, case, expected["runs"][0], artifact, temporary, True)
        worst = max(worst, attempt(" ".join(override["options"]), run_override) or 0.0)

    for ablation in expected["ablations"]:
        def ablate():
            run = expected["runs"][ablation["run"]]
            mlc.compile(variant(case, os.path.join(temporary, "ablated"), patch=ablation["patch"],
                                zero=ablation["zero"]), artifact, context)
            _, logits = mlc.run("run", artifact, run["prompt"], 1, temporary, ["--threads", 1])
            want = np.load(os.path.join(case, run["logits"]))
            rows = [r for r in run["rows"] if r < len(run["prompt"])]
            moved = float(np.abs(logits[rows] - want[:len(rows)]).max() / run["largest_logit"])
            if not moved > NOTICED:
                raise Failure(f"the logits move by only {moved:.1e} of the largest (transformers: "
                              f"{ablation['difference']:.1e})")
            return moved
        weakest = min(weakest, attempt(f"without {ablation['name']}", ablate) or weakest)

    if name in INTERPRETED | INTERPRETED_WHOLE:
        def interpret():
            for run in expected["runs"] if name in INTERPRETED_WHOLE else expected["runs"][:1]:
                source = case if expected["configs"] else os.path.join(case, expected["ggufs"][0])
                answer, logits = mlc.run("interpret", source, run["prompt"], INTERPRETED_TOKENS, temporary)
                compare_tokens(answer["tokens"], run["tokens"][:INTERPRETED_TOKENS])
                compare_rows(logits, np.load(os.path.join(case, run["logits"])), run["rows"], run["largest_logit"])
            return 1
        interpreted = attempt("interpret", interpret) or 0

    parts = [f"{len(sources)} source{'s' * (len(sources) > 1)} within {worst:.1e}"]
    if overrides:
        parts.append(f"{len(overrides)} override{'s' * (len(overrides) > 1)}")
    if expected["ablations"]:
        parts.append(f"{len(expected['ablations'])} ablations noticed from {weakest:.1e}")
    if interpreted:
        parts.append("interpreter agrees")
    return failures, ", ".join(parts)


def recorded_cases():
    return sorted(n for n in os.listdir(ORACLES) if os.path.exists(os.path.join(ORACLES, n, "expected.json")))


def check_stories(mlc, source, temporary):
    """A trained model that nobody on this project made, 200 tokens from BOS."""
    data = os.environ.get("MLC_SHARED_DATA", os.path.join(os.path.dirname(ROOT), "shared", "data"))
    folder = os.path.join(data, "stories260k")
    path = os.path.join(folder, source)
    if not os.path.exists(path):
        return None, f"{path} is not here"
    with open(os.path.join(folder, "greedy200.json")) as f:
        sequence = json.load(f)["tokens"]
    want = np.load(os.path.join(folder, "greedy200_logits.f32.npy"))
    artifact = os.path.join(temporary, "model.mlca")
    try:
        mlc.compile(path, artifact)
        answer, logits = mlc.run("run", artifact, sequence[:1], len(sequence) - 1, temporary)
        compare_tokens(answer["tokens"], sequence[1:])
        rows = list(range(min(len(want), len(sequence) - 1)))
        apart = compare_rows(logits, want[rows], rows, 1.0, 1e-3)
    except Failure as failure:
        return [str(failure)], ""
    return [], f"{len(sequence) - 1} tokens, logits within {apart:.1e}"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--mlc", default=os.path.join(ROOT, "build", "bin", "mlc"))
    p.add_argument("--case", action="append", help="only this case (may be repeated)")
    p.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    p.add_argument("--timeout", type=float, default=120, help="seconds for one command")
    p.add_argument("--list", action="store_true", help="print the names of the cases")
    a = p.parse_args()
    names = [*recorded_cases(), *STORIES]
    if a.list:
        print("\n".join(names))
        return 0
    unknown = set(a.case or ()) - set(names)
    if unknown:
        p.error(f"no such case: {', '.join(sorted(unknown))}")
    if not os.access(a.mlc, os.X_OK):
        p.error(f"{a.mlc} is not an executable; build it or name it with --mlc")
    mlc = Mlc(os.path.abspath(a.mlc), a.timeout)

    def check(name):
        with tempfile.TemporaryDirectory(prefix="mlc-oracle-") as temporary:
            if name in STORIES:
                return name, *check_stories(mlc, STORIES[name], temporary)
            return name, *check_case(mlc, name, temporary)

    counts = dict(passed=0, failed=0, skipped=0)
    with ThreadPoolExecutor(max(1, a.jobs)) as pool:
        for name, failures, summary in pool.map(check, a.case or names):
            if failures is None:
                counts["skipped"] += 1
                print(f"SKIP {name}: {summary}", flush=True)
            elif failures:
                counts["failed"] += 1
                for failure in failures:
                    print(f"FAIL {name}: {failure}", flush=True)
            else:
                counts["passed"] += 1
                print(f"PASS {name}: {summary}", flush=True)
    print(", ".join(f"{n} {word}" for word, n in counts.items()))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
