#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Prints the figures of moe-lab's README from the logs of its runs.

    python3 models/moe-lab/report.py [LOGS]

Standard library only.
"""
import csv
import math
import os
import re
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# What counts as a collapse, and where it begins; fixed before the runs that are reported.
RISE, BACK, COLLAPSED, LAST = 1.02, 1.01, 1.05, 5


def load(folder):
    """(run, seed) -> its rows, numbers by column."""
    out = {}
    for file in sorted(os.listdir(folder)):
        name = re.fullmatch(r"(.+)-(\d+)\.csv", file)
        if name:
            with open(os.path.join(folder, file), newline="") as f:
                out[name[1], int(name[2])] = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(f)]
    return out


def layers(row):
    return sum(name.startswith("routing_entropy_") for name in row)


def of_layers(row, name, how=min):
    return how(row[f"{name}_{i}"] for i in range(layers(row)))


def rise(rows):
    """The first evaluation that is 2% above the least loss before it and behind
    which no loss comes within 1% of that least again; None without one."""
    least = math.inf
    for i, row in enumerate(rows):
        if row["validation"] >= RISE * least and all(r["validation"] > BACK * least for r in rows[i:]):
            return row["step"]
        least = min(least, row["validation"])
    return None


def collapsed(rows):
    """Mean of the last five evaluations at least 5% above the least one."""
    return statistics.mean(r["validation"] for r in rows[-LAST:]) >= COLLAPSED * min(r["validation"] for r in rows)


def equal_width(loss, dense):
    """The width at which a dense model has this loss, by a line through the
    neighbours in ln width; dense: (width, loss), from narrow to wide."""
    for (narrow, above), (wide, below) in zip(dense, dense[1:]):
        if above >= loss >= below:
            return narrow * (wide / narrow) ** ((above - loss) / (above - below))
    return None


def table(title, columns, rows):
    print(f"\n{title}\n\n| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row) + " |")


def speeds(folder, size):
    """model -> (prompt, generated) tokens/s, medians of throughput.csv's rounds."""
    rounds = {}
    with open(os.path.join(folder, "throughput.csv"), newline="") as f:
        for row in csv.DictReader(f):
            if row["size"] == size:
                rounds.setdefault(row["model"], []).append((float(row["prompt"]), float(row["generated"])))
    return {model: [statistics.median(column) for column in zip(*values)] for model, values in rounds.items()}


def at_width(width, times):
    """Seconds a token at a width, by a line through the neighbours; times: width -> seconds."""
    for narrow, wide in zip(sorted(times), sorted(times)[1:]):
        if narrow <= width <= wide:
            return times[narrow] + (times[wide] - times[narrow]) * (width - narrow) / (wide - narrow)
    return None


def pair(runs, folder):
    dense = sorted((int(run[6:] or 1), rows[-1]["validation"]) for (run, seed), rows in runs.items()
                   if run.startswith("dense") and seed == 1)
    sparse = runs["sparse", 1][-1]["validation"]
    width = equal_width(sparse, dense)
    table("Loss over the held-out tokens", ("model", "steps", "loss"),
          [(f"dense, {w} x", int(runs["dense" if w == 1 else f"dense-{w}", 1][-1]["step"]), loss) for w, loss in dense] +
          [("sparse", int(runs["sparse", 1][-1]["step"]), sparse)])
    print("\nno dense model has the sparse one's loss" if width is None else f"\nthe sparse model's loss is that of a dense one of width {width:.2f} x")
    for size in ("as trained", "grown") if os.path.exists(os.path.join(folder, "throughput.csv")) else ():
        of = speeds(folder, size)
        names = {"dense" if w == 1 else f"dense-{w}": w for w, _ in dense}
        table(f"Tokens/s, {size}", ("model", "prompt", "sparse over it", "generated", "sparse over it"),
              [(m, round(p), of["sparse"][0] / p, round(g), of["sparse"][1] / g) for m, (p, g) in of.items()])
        for i, what in enumerate(("prompt", "generated")):
            time = width and at_width(width, {names[m]: 1 / s[i] for m, s in of.items() if m in names})
            if time:
                print(f"{what}: {of['sparse'][i] * time:.2f} times the dense model of equal loss")


def sweep(runs):
    rows = []
    for (run, seed), log in sorted(runs.items(), key=lambda item: item[1][-1]["validation"]):
        if run.startswith("z-"):
            last = log[-1]
            rows.append((float(run[2:]), last["validation"], *(of_layers(last, n, h) for n, h in (
                ("routing_entropy", min), ("routing_entropy", max), ("load_entropy", min), ("mean_squared_logsumexp", max),
                ("specialisation", min), ("specialisation", max)))))
    table("z-loss sweep", ("factor", "loss", "routing entropy, least", "greatest layer", "load entropy, least", "mean squared logsumexp",
                           "specialisation, least", "greatest layer"), [(f"{r[0]:g}", *r[1:]) for r in sorted(rows)])


def collapse(runs):
    rows = []
    for (run, seed), log in sorted(runs.items()):
        if run in ("control", "triggered"):
            alarm, began = int(log[-1]["alarm"]), rise(log)
            least = min(log, key=lambda r: r["validation"])
            rows.append((run, seed, alarm or "none", int(least["step"]), least["validation"], int(began) if began else "none",
                         int(began - alarm) if began and alarm else "", int(least["step"] - alarm) if began and alarm else "",
                         statistics.mean(r["validation"] for r in log[-LAST:]), "yes" if collapsed(log) else "no",
                         sum(r["pressed"] for r in log) / log[-1]["step"]))
    table("Collapse", ("run", "seed", "alarm", "least loss at", "least loss", "rises at", "lead", "lead of the least loss",
                       "loss at the end", "collapsed", "share of steps with z-loss"), rows)


def restarts(runs):
    """Against the loss of the model that they went on from, over the same tokens."""
    rows = []
    for (run, seed), log in sorted(runs.items()):
        if run.startswith("restart") and ("base", seed) in runs:
            before = runs["base", seed][-1]["validation"]
            most = max(log, key=lambda r: r["validation"])
            above = [r["step"] for r in log if r["validation"] >= RISE * before]
            rows.append((run, seed, before, most["validation"], int(most["step"]), int(above[0]) if above else "none",
                         int(above[-1]) if above else "none", int(log[-1]["alarm"]) or "none", log[-1]["validation"],
                         of_layers(log[-1], "routing_entropy")))
    table("Restarts", ("run", "seed", "loss before", "most", "at", "first 2% above", "last", "alarm", "loss at the end",
                       "routing entropy at the end, least layer"), rows)


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "logs")
    runs = load(folder)
    if ("sparse", 1) in runs:
        pair(runs, folder)
    sweep(runs)
    collapse(runs)
    restarts(runs)


if __name__ == "__main__":
    main()
