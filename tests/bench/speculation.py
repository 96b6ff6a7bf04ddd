#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Speculation beside plain decoding, on whole texts.

    tests/bench/speculation.py TARGET.mlca DRAFT.mlca [--prompts models/draft-pair/prompts.json] [--out F.json]

Every prompt goes on for --tokens tokens, without a draft, with `--draft-tokens
auto` and with each fixed length, in turns; then the next repetition. What is
compared are runs of one repetition, which follow each other; the median of their
ratios counts. What was measured is kept in --out: the same command goes on where a
former one ended (after --seconds, or interrupted), so that it can be run in pieces
on a machine that is quiet only now and then. Standard library only; nothing passes
or fails, but a bar that is missed is marked.

What a speed-up could be (`oracle`): with a(i) the share of i-th drafted tokens
that stayed among those judged, and d, v(n) the measured times of a draft's token
and of a step over n tokens, the best over m of
(1 + a(1) + a(1)a(2) + ...) v(1) / (m d + v(m + 1)), fixed lengths only; each by
the median of a length's repetitions, as the speed-up that it is held against is.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("target")
    p.add_argument("draft")
    p.add_argument("--prompts", default=os.path.join(ROOT, "models", "draft-pair", "prompts.json"),
                   help="JSON: family -> list of texts")
    p.add_argument("--count", type=int, default=4, help="prompts of each family")
    p.add_argument("--tokens", type=int, default=256)
    p.add_argument("--runs", type=int, default=5, help="repetitions; of the fixed lengths --fixed-runs")
    p.add_argument("--fixed-runs", type=int, default=1)
    p.add_argument("--fixed", default="1,2,3,4,6,8,12,16", help="fixed lengths of the draft")
    p.add_argument("--temperatures", default="0,0.8", help="the fixed lengths run at the first one only")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--seconds", type=float, help="stop starting runs after this long")
    p.add_argument("--out", default="speculation.json")
    p.add_argument("--mlc", default=os.path.join(ROOT, "build", "bin", "mlc"))
    return p.parse_args()


def jobs(a, prompts):
    """(repetition, family, prompt, temperature, mode), in the order of running."""
    temperatures, fixed = a.temperatures.split(","), a.fixed.split(",") if a.fixed else []
    for r in range(max(a.runs, a.fixed_runs)):
        for family, texts in prompts.items():
            for i in range(min(a.count, len(texts))):
                for temperature in temperatures:
                    if r < a.runs:
                        # A B, then B A: neither always follows the other.
                        yield from ((r, family, i, temperature, mode) for mode in (("none", "auto"), ("auto", "none"))[r % 2])
                    if r < a.fixed_runs and temperature == temperatures[0]:
                        yield from ((r, family, i, temperature, m) for m in fixed)


def measure(a, prompt, temperature, mode, seed):
    command = [a.mlc, "run", a.target, "--prompt", prompt, "--max-tokens", str(a.tokens), "--ignore-eos", "--json",
               "--threads", str(a.threads), "--temperature", temperature, "--seed", str(seed)]
    if mode != "none":
        command += ["--draft", a.draft, "--draft-tokens", mode]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr.strip())
    answer = json.loads(done.stdout)
    return {"tokens_per_s": answer["timings"]["tokens_per_s"], "tokens": len(answer["tokens"]),
            "speculation": answer.get("speculation")}


def key(job):
    return " ".join(map(str, job))


class Table:
    def __init__(self, a, prompts, kept):
        self.a, self.prompts, self.kept = a, prompts, kept
        self.temperatures = a.temperatures.split(",")
        self.fixed = a.fixed.split(",") if a.fixed else []

    def runs(self, family, prompt, temperature, mode):
        every = range(max(self.a.runs, self.a.fixed_runs))
        return [self.kept[k] for k in (key((r, family, prompt, temperature, mode)) for r in every) if k in self.kept]

    def speed(self, *where):
        runs = self.runs(*where)
        return statistics.median(r["tokens_per_s"] for r in runs) if runs else None

    def ratio(self, family, prompt, temperature, mode="auto", against="none"):
        ratios = []
        for r in range(max(self.a.runs, self.a.fixed_runs)):
            one, other = (self.kept.get(key((r, family, prompt, temperature, m))) for m in (mode, against))
            if one and other:
                ratios.append(one["tokens_per_s"] / other["tokens_per_s"])
        return statistics.median(ratios) if ratios else None

    def each(self, function, family, *rest):
        values = [function(family, i, *rest) for i in range(min(self.a.count, len(self.prompts[family])))]
        return [v for v in values if v is not None]

    def acceptance(self, family, temperature):
        """Of the drafted tokens that were judged, those that stayed."""
        stayed = fell = 0
        for i in range(self.a.count):
            for mode in ("auto", *self.fixed):
                for run in self.runs(family, i, temperature, mode):
                    stayed += run["speculation"]["accepted"]
                    fell += run["speculation"]["rollbacks"]
        return stayed / (stayed + fell) if stayed + fell else None

    def oracle(self, family, temperature):
        """Mean over the prompts of the speed-up that the best fixed length
        allows by the measured costs and acceptances, and of auto's share of it."""
        out = []
        for i in range(self.a.count):
            plain = self.speed(family, i, temperature, "none")
            actual = self.ratio(family, i, temperature)
            best = 1.0
            for m in map(int, self.fixed):
                runs = [run["speculation"] for run in self.runs(family, i, temperature, str(m))]
                runs = [s for s in runs if s["rounds"] and s["drafted"]]
                if not runs or not plain:
                    continue
                cost = (m * statistics.median(s["draft_ms"] / s["drafted"] for s in runs) +
                        statistics.median(s["verify_ms"] / s["rounds"] for s in runs))
                best = max(best, statistics.median(expected(s, m) for s in runs) * 1000 / plain / cost)
            if actual:
                out.append((best, actual / best))
        return out

    def show(self):
        first = self.temperatures[0]
        print("| prompts | temperature | acceptance | speed-up | least of a prompt | oracle length | share of it | best fixed | auto / best fixed |")
        print("|---|---|---|---|---|---|---|---|---|")
        means, least, overall = [], [], {m: [] for m in self.fixed}
        for family in self.prompts:
            for temperature in self.temperatures:
                ratios = self.each(self.ratio, family, temperature)
                if not ratios:
                    continue
                acceptance, mean = self.acceptance(family, temperature), statistics.mean(ratios)
                least += ratios
                cells = [family, temperature, f"{acceptance:.3f}" if acceptance is not None else "", f"{mean:.2f}x",
                         f"{min(ratios):.3f}x" + mark(min(ratios) < 0.98)]
                if acceptance is not None and temperature == first:
                    bar = 2.4 if acceptance >= 0.93 else 2.0 if acceptance >= 0.87 else 0
                    cells[3] += mark(mean < bar)
                if temperature == first:
                    means += ratios
                    oracle = self.oracle(family, temperature)
                    best, share = (statistics.mean(x) for x in zip(*oracle))
                    cells += [f"{best:.2f}x", f"{share:.3f}" + mark(share < 0.95)]
                    by_length = {m: self.each(self.ratio, family, temperature, m) for m in self.fixed}
                    by_length = {m: v for m, v in by_length.items() if len(v) == len(ratios)}
                    for m, v in by_length.items():
                        overall[m] += v
                    if by_length:
                        top = max(by_length, key=lambda m: statistics.mean(by_length[m]))
                        share = statistics.mean(self.each(self.ratio, family, temperature, "auto", top))
                        cells += [f"{top}: {statistics.mean(by_length[top]):.2f}x", f"{share:.3f}" + mark(share < 0.97)]
                print("| " + " | ".join(cells + [""] * (9 - len(cells))) + " |")
        if means:
            print(f"\nmean speed-up at temperature {first}: {statistics.mean(means):.2f}x; least of all prompts and temperatures: "
                  f"{min(least):.3f}x" + mark(min(least) < 0.98))
        overall = {m: statistics.mean(v) for m, v in overall.items() if v and len(v) == len(means)}
        if overall:
            top = max(overall, key=overall.get)
            share = statistics.mean(means) / overall[top]
            print(f"best single fixed length: {top}, {overall[top]:.2f}x; auto / that: {share:.3f}" + mark(share < 1.07))


def expected(speculation, length):
    """Tokens of a round of `length` drafted ones, by the shares that stayed at each place."""
    chain, tokens = 1.0, 1.0
    for share in speculation["acceptance_by_position"][:length]:
        chain *= share
        tokens += chain
    return tokens


def mark(missed):
    return " *missed*" if missed else ""


def main():
    a = arguments()
    with open(a.prompts, encoding="utf-8") as f:
        prompts = json.load(f)
    kept, began, left = {}, time.monotonic(), 0
    setting = {name: getattr(a, name) for name in ("target", "draft", "tokens", "threads")}
    if os.path.exists(a.out):
        with open(a.out, encoding="utf-8") as f:
            stored = json.load(f)
        if stored["setting"] != setting:
            sys.exit(f"{a.out} holds runs of {stored['setting']}; give another --out")
        kept = stored["runs"]
    for job in jobs(a, prompts):
        if key(job) in kept:
            continue
        if a.seconds is not None and time.monotonic() - began > a.seconds:
            left += 1
            continue
        r, family, i, temperature, mode = job
        kept[key(job)] = measure(a, prompts[family][i], temperature, mode, r + 1)
        print(f"{key(job)}: {kept[key(job)]['tokens_per_s']:.2f} tokens/s", file=sys.stderr, flush=True)
        with open(a.out + ".new", "w", encoding="utf-8") as f:
            json.dump({"setting": setting, "runs": kept}, f)
        os.replace(a.out + ".new", a.out)
    Table(a, prompts, kept).show()
    if left:
        print(f"\n{left} runs are left; the same command goes on")


if __name__ == "__main__":
    main()
