# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""The training loop of the recipes. Everything random comes from the seed and
the step number, so a run resumed from its folder continues as if it had never
stopped."""
import os
import time

import torch
import torch.nn.functional as F
from torch import nn


def add_options(p, **defaults):
    """The options of fit(), with a recipe's defaults."""
    p.add_argument("--work", help="folder for the state of an unfinished run")
    for name, kind, help in (
            ("seed", int, None), ("steps", int, None), ("lr", float, None), ("weight_decay", float, None),
            ("dropout", float, None), ("decay", float, "last part of the steps that lowers the rate"),
            ("rounded", float, "last part of the steps with rounded weights"), ("evaluate_every", int, None)):
        p.add_argument("--" + name.replace("_", "-"), type=kind, default=defaults[name], help=help)


def learning_rate(step, a):
    """Warm-up, constant, linear decay to a fiftieth."""
    if step < 100:
        return a.lr * (step + 1) / 100
    start = int(a.steps * (1 - a.decay))
    if step < start:
        return a.lr
    return a.lr * max(0.02, (a.steps - step) / (a.steps - start))


def windows(tokens, starts, rows, length, generator):
    """[rows, length + 1]: half of the rows begin at one of `starts` behind the
    BOS (id 0), half anywhere."""
    out = torch.empty(rows, length + 1, dtype=torch.long)
    for r in range(rows):
        if r % 2 == 0:
            at = starts[torch.randint(len(starts), (1,), generator=generator)].item()
            at = min(at, len(tokens) - length)
            out[r, 0] = 0
            out[r, 1:] = tokens[at:at + length]
        else:
            at = torch.randint(len(tokens) - length, (1,), generator=generator).item()
            out[r] = tokens[at:at + length + 1]
    return out


@torch.no_grad()
def nll(model, tokens, width, autocast=False, limit=None):
    """Mean negative log-likelihood in nats of tokens cut into windows of `width`
    that start with the BOS; every token is scored once."""
    model.eval()
    total = count = 0
    for at in range(0, len(tokens) if limit is None else min(limit, len(tokens)), width):
        window = tokens[at:at + width]
        fed = torch.cat([torch.zeros(1, dtype=torch.long), window[:-1]])
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            logits = model(fed[None])[0]
        total += F.cross_entropy(logits.float(), window, reduction="sum").item()
        count += len(window)
    return total / count


def next_token_loss(model, data, dropout):
    logits = model(data[:, :-1], dropout)
    return F.cross_entropy(logits.float().flatten(0, 1), data[:, 1:].flatten())


def fit(model, draw, evaluate, a, autocast=False, keep_best=False, loss=next_token_loss, name="state"):
    """Trains by AdamW. draw(step, generator) gives tokens [rows, length + 1];
    evaluate(model) the figures to show, the first one counts for keep_best."""
    decay = [p for p in model.parameters() if p.dim() == 2]
    keep = [p for p in model.parameters() if p.dim() != 2]
    optimizer = torch.optim.AdamW(
        [dict(params=decay, weight_decay=a.weight_decay), dict(params=keep, weight_decay=0.0)],
        lr=a.lr, betas=(0.9, 0.98), fused=True)
    first, best, best_state, running = 0, float("inf"), None, []
    state_path = a.work and os.path.join(a.work, name + ".pt")
    if state_path and os.path.exists(state_path):
        s = torch.load(state_path, weights_only=True)
        model.load_state_dict(s["model"])
        optimizer.load_state_dict(s["optimizer"])
        first, best, best_state = s["step"], s["best"], s["best_state"]
        print(f"{name}: resumed at step {first}", flush=True)
    rounded_from = int(a.steps * (1 - a.rounded))
    began, seen = time.time(), 0
    for step in range(first, a.steps):
        rounded = step >= rounded_from
        generator = torch.Generator().manual_seed(a.seed * 1_000_003 + step)
        torch.manual_seed(a.seed * 1_000_003 + step)  # dropout
        data = draw(step, generator)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, a)
        model.train()
        # Compilers differ in how tight a scale they take: train with several.
        model.rounding.set(rounded, (1.0, 0.9, 1.0, 0.95)[step % 4])
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            value = loss(model, data, a.dropout)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        running.append(value.item())
        seen += data[:, 1:].numel()
        if (step + 1) % a.evaluate_every and step + 1 != a.steps:
            continue
        spent = time.time() - began
        model.rounding.set(rounded)
        scores = evaluate(model)
        model.rounding.set(False)
        mean = sum(running) / len(running)
        running = []
        print(f"{name}: step {step + 1} of {a.steps}, train {mean:.4f}, held out "
              f"{' '.join(f'{s:.4f}' for s in scores)}{', rounded' if rounded else ''}, {seen / spent:.0f} tokens/s, "
              f"{spent * (a.steps - step - 1) / (step + 1 - first) / 60:.1f} min to go", flush=True)
        if keep_best and rounded and scores[0] < best:
            best = scores[0]
            best_state = {k: v.clone() for k, v in model.state_dict().items()}
        if state_path:
            torch.save(dict(model=model.state_dict(), optimizer=optimizer.state_dict(), step=step + 1,
                            best=best, best_state=best_state), state_path + ".new")
            os.replace(state_path + ".new", state_path)
    if best_state:
        model.load_state_dict(best_state)


@torch.no_grad()
def round_to_bf16(model):
    """So that what is measured is what is stored."""
    for p in model.parameters():
        p.copy_(p.to(torch.bfloat16).float())


@torch.no_grad()
def sample(model, tokenizer, prompt, count, seed, temperature=0.8, width=512):
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    ids = [0, *tokenizer.encode(prompt)]
    for _ in range(count):
        logits = model(torch.tensor([ids[-width:]]))[0, -1] / temperature
        ids.append(torch.multinomial(logits.softmax(-1), 1, generator=generator).item())
    return tokenizer.decode(ids)
