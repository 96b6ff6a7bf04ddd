#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Draws the logs of moe-lab's runs as one SVG.

    python3 models/moe-lab/plot.py [LOGS] [OUT.svg]

Needs matplotlib.
"""
import os
import sys

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams |= {"svg.hashsalt": "moe-lab", "font.size": 8, "axes.spines.top": False, "axes.spines.right": False}
import matplotlib.pyplot as plt  # noqa: E402
import report  # noqa: E402

COLOURS = {"control": "tab:red", "triggered": "tab:blue"}


def column(rows, name):
    return [row[name] for row in rows]


def least_entropy(rows):
    return [report.of_layers(row, "routing_entropy") for row in rows]


def collapse(runs, seeds, axes):
    """A column of two panels for each seed: entropy above validation loss."""
    for seed, (above, below) in zip(seeds, axes):
        for run, colour in COLOURS.items():
            rows = runs[run, seed]
            steps = column(rows, "step")
            above.plot(steps, least_entropy(rows), color=colour, label=run)
            below.plot(steps, column(rows, "validation"), color=colour)
        control = runs["control", seed]
        for at, style in ((control[-1]["alarm"], "--"), (report.rise(control), ":")):
            for panel in (above, below) if at else ():
                panel.axvline(at, color="black", linestyle=style, linewidth=0.8)
        above.set_title(f"seed {seed}: alarm (dashed), rise (dotted)", fontsize=8)
        below.set_xlabel("step")
    axes[0][0].set_ylabel("routing entropy, least layer")
    axes[0][1].set_ylabel("validation loss")
    axes[0][0].legend(frameon=False)


def sweep(runs, panels):
    """Entropy against steps; specialisation against steps; both against the factor."""
    names = sorted((n for n in runs if n[0].startswith("z-")), key=lambda n: float(n[0][2:]))
    last = []
    for i, name in enumerate(names):
        rows, colour = runs[name], plt.cm.viridis(i / max(1, len(names) - 1))
        means = [[report.of_layers(row, what, lambda values: sum(values) / report.layers(row)) for row in rows]
                 for what in ("routing_entropy", "specialisation")]
        for panel, values in zip(panels, means):
            panel.plot(column(rows, "step"), values, color=colour, label=name[0][2:])
        last.append((name[0][2:], means[0][-1], means[1][-1], rows[-1]["validation"]))
    for panel, title in zip(panels, ("routing entropy by z-loss factor", "specialisation by z-loss factor")):
        panel.set_title(title, fontsize=8)
        panel.set_xlabel("step")
    panels[0].legend(frameon=False, ncol=2, fontsize=6)
    names, entropies, specialisations, losses = zip(*last)
    panels[2].plot(names, specialisations, "o-", color="tab:green")
    panels[2].set_ylabel("specialisation at the end", color="tab:green")
    other = panels[2].twinx()
    other.plot(names, losses, "s--", color="tab:gray")
    other.set_ylabel("validation loss", color="tab:gray")
    panels[2].set_xlabel("z-loss factor")


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(report.HERE, "logs")
    out = sys.argv[2] if len(sys.argv) > 2 else os.path.join(report.HERE, "curves.svg")
    runs = report.load(folder)
    seeds = sorted(seed for run, seed in runs if run == "triggered")
    figure, axes = plt.subplots(3, max(3, len(seeds)), figsize=(11, 8), squeeze=False, layout="constrained")
    if seeds:
        collapse(runs, seeds, list(zip(axes[0], axes[1])))
    if any(run.startswith("z-") for run, _ in runs):
        sweep(runs, axes[2])
    figure.savefig(out, metadata=dict(Date=None))


if __name__ == "__main__":
    main()
