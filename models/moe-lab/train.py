#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Trains one run of moe-lab: a small language model with experts, or without.

    python3 models/moe-lab/train.py TEXTS --run NAME --work DIR [--seed N] [--export DIR]

TEXTS is the folder of chimera-nano's texts. NAME is one of RUNS. What a run
measured goes to OUT/NAME-SEED.csv, a row an evaluation; the checkpoint to
--export. Needs torch and safetensors, and one CPU core with bf16 instructions.
--work keeps tokens, tokenizer and the state of unfinished runs: the same
command goes on from it.
"""
import csv
import os
import shutil
import sys
import time

import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "common"))
import domains  # noqa: E402
import routing  # noqa: E402
import store  # noqa: E402
import training  # noqa: E402
from layers import Llama  # noqa: E402

SHARED = dict(num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=64,
              vocab_size=domains.VOCABULARY, max_position_embeddings=512, rms_norm_eps=1e-5, rope_theta=10000.0)
WIDTH = 128  # tokens of a window
THRESHOLD = 0.3  # of the alarm

# every: steps between evaluations; windows: of each domain that they score; rows: times domains.ROWS; expert: intermediate
# size; width: times that of the two experts that a token takes; balance, z: factors of the routers' losses; alarmed:
# of the z-loss while an alarm stands; router: factor of the routers' learning rate; start: the run whose model it goes on from.
MODEL = dict(steps=1000, every=100, windows=64, rows=1, hidden=256, expert=512, lr=2e-3, decay=0.6)
DENSE = MODEL | dict(width=1)
SPARSE = MODEL | dict(experts=8, balance=1e-2, z=1e-3, alarmed=0, router=1)
SMALL = SPARSE | dict(steps=600, hidden=128, expert=128, rows=0.5)
COLLAPSE = SMALL | dict(steps=800, decay=0, every=10, windows=16, balance=0, z=0, router=20)
RESTART = COLLAPSE | dict(start="base", steps=400, every=20, windows=64, lr=2e-4, router=1000)
RUNS = {"dense": DENSE, "sparse": SPARSE} | {f"dense-{w}": DENSE | dict(width=w) for w in (2, 3)} | {
    f"z-{z:g}": SMALL | dict(steps=500, every=20, windows=32, z=z) for z in (0, 1e-4, 1e-3, 1e-2, 1e-1, 1)} | {
    "base": SMALL, "control": COLLAPSE, "triggered": COLLAPSE | dict(alarmed=1e-1),
    "restart": RESTART, "restart-triggered": RESTART | dict(alarmed=1e-1)}


def config(run):
    c = SHARED | dict(hidden_size=run["hidden"])
    if "experts" in run:
        return c | dict(intermediate_size=run["expert"], num_local_experts=run["experts"], num_experts_per_tok=2)
    return c | dict(intermediate_size=2 * run["expert"] * run["width"])


def routers(model):
    """(logits, chosen) of each layer's last call."""
    return [(layer.mlp.logits, layer.mlp.chosen) for layer in model.layers if hasattr(layer.mlp, "gate")]


class Log:
    """The rows of a run's CSV, and what its routers do meanwhile."""

    def __init__(self, run):
        self.run, self.watch = run, routing.Watch(THRESHOLD)
        self.rows, self.losses, self.pressed = [], [], 0

    def loss(self, model, data, dropout):
        """The next token's loss and the routers'; feeds the watch."""
        told = training.next_token_loss(model, data, dropout)
        self.losses.append(told.item())
        seen = routers(model)
        if not seen:
            return told
        self.watch.add(seen)
        z = self.run["alarmed"] if self.run["alarmed"] and self.watch.standing else self.run["z"]
        self.pressed += z != self.run["z"]
        mean = lambda of: sum(of(*router) for router in seen) / len(seen)
        return told + self.run["balance"] * mean(routing.balance_loss) + z * mean(lambda logits, _: routing.z_loss(logits))

    def add(self, step, losses, specialisation):
        row = dict(step=step, train=sum(self.losses) / len(self.losses), validation=sum(losses.values()) / len(losses))
        row |= {f"validation_{d}": value for d, value in losses.items()}
        if self.watch.parts:
            for i, f in enumerate(self.watch.figures()):
                row |= {f"{name}_{i}": value for name, value in f.items()} | {f"specialisation_{i}": specialisation[i]}
            row |= dict(alarm=self.watch.alarm, pressed=self.pressed)
        self.rows.append(row)
        self.losses, self.pressed = [], 0

    def write(self, path):
        with open(path + ".new", "w", newline="") as f:
            out = csv.DictWriter(f, list(self.rows[0]), lineterminator="\n")
            out.writeheader()
            out.writerows({k: f"{v:.4g}" if isinstance(v, float) and "validation" not in k else f"{v:.4f}" if isinstance(v, float)
                           else v for k, v in row.items()} for row in self.rows)
        os.replace(path + ".new", path)

    def state_dict(self):
        return dict(watch=self.watch.state_dict(), rows=self.rows, losses=self.losses, pressed=self.pressed)

    def load_state_dict(self, state):
        self.watch.load_state_dict(state["watch"])
        self.rows, self.losses, self.pressed = state["rows"], state["losses"], state["pressed"]


@torch.no_grad()
def examine(model, held_out, windows):
    """domain -> loss over its first windows, and each router's specialisation."""
    model.eval()
    losses, counts = {}, []
    for domain, tokens in held_out.items():
        told = tokens[:windows * WIDTH].view(-1, WIDTH)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(F.pad(told[:, :-1], (1, 0)))
        losses[domain] = F.cross_entropy(logits.float().flatten(0, 1), told.flatten()).item()
        counts.append([chosen.flatten().bincount(minlength=logits.shape[1]) for logits, chosen in routers(model)])
    return losses, [routing.specialisation(torch.stack(layer)) for layer in zip(*counts)]


def main():
    p = training.options(__doc__, "texts", os.path.join(HERE, "logs"), seed=1, steps=None, lr=None, weight_decay=0.1, dropout=0.0,
                         decay=None, rounded=0.0, evaluate_every=None)
    p.add_argument("--run", required=True, choices=RUNS)
    p.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="in place of the run's")
    p.add_argument("--export", help="folder for the checkpoint")
    a = training.begin(p)
    if not a.work:
        p.error("--work is needed")
    run = dict(RUNS[a.run])
    for name, value in (s.split("=") for s in a.set):
        run[name] = type(run[name])(float(value)) if isinstance(run[name], int) and float(value).is_integer() else float(value)
    for option, value in (("steps", "steps"), ("evaluate_every", "every"), ("lr", "lr"), ("decay", "decay")):
        setattr(a, option, run[value] if getattr(a, option) is None else getattr(a, option))
    name = f"{a.run}-{a.seed}"

    tokenizer, data, held_out = domains.prepare(a.texts, a.work)
    model, log = Llama(config(run)), Log(run)
    if "start" in run:
        model.load_state_dict(torch.load(os.path.join(a.work, f"{run['start']}-{a.seed}.pt"), weights_only=True)["model"])
    print(f"{name}: {sum(p.numel() for p in model.parameters())} parameters; tokens to train on " +
          ", ".join(f"{d} {len(t)}" for d, (t, _) in data.items()), flush=True)

    def draw(step, generator):
        return torch.cat([training.windows(*data[d], int(rows * run["rows"]), WIDTH - 1, generator) for d, rows in domains.ROWS.items()])

    def evaluate(model):
        log.add(log_step(), *examine(model, held_out, run["windows"]))
        log.write(os.path.join(a.out, name + ".csv"))
        last = log.rows[-1]
        return [last["validation"], *(last[k] for k in last if k.startswith(("routing_entropy", "load_entropy", "specialisation")))]

    def rate(step):
        return run["router"] * training.learning_rate(step, a)

    log_step = lambda: (log.rows[-1]["step"] if log.rows else 0) + len(log.losses)
    began = time.time()
    training.fit(model, draw, evaluate, a, autocast=True, loss=log.loss, name=name, kept=log, save_every=100,
                 apart=[("gate.weight", rate)] if "experts" in run else [])
    print(f"{name}: trained in {time.time() - began:.0f} s", flush=True)
    if a.export:
        training.round_to_bf16(model)
        describe, rename = (store.mixtral_config, store.mixtral_name) if "experts" in run else (store.llama_config, str)
        store.write_directory({"model." + rename(k): v for k, v in model.state_dict().items()}, describe(config(run)), a.export)
        shutil.copy(os.path.join(a.work, "tokenizer.json"), a.export)
    losses, _ = examine(model, held_out, 128)
    print(f"{name}: held out, 16384 tokens of each domain: mean {sum(losses.values()) / len(losses):.4f}; " +
          ", ".join(f"{d} {value:.4f}" for d, value in losses.items()))


if __name__ == "__main__":
    main()
