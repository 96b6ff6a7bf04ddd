# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""The training loop of the recipes. Everything random comes from the seed and
the step number, so a run resumed from its folder continues as if it had never
stopped (on a GPU up to the order of sums)."""
import argparse
import os
import time

import torch
import torch.nn.functional as F
from torch import nn


def options(doc, text, out, **defaults):
    """The parser of a recipe that reads `text`, with its defaults for fit()."""
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument(text)
    p.add_argument("--out", default=out)
    p.add_argument("--work", help="folder for the state of an unfinished run")
    p.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    for name, kind, help in (
            ("seed", int, None), ("steps", int, None), ("lr", float, None), ("weight_decay", float, None),
            ("dropout", float, None), ("decay", float, "last part of the steps that lowers the rate"),
            ("rounded", float, "last part of the steps with rounded weights"), ("evaluate_every", int, None)):
        p.add_argument("--" + name.replace("_", "-"), type=kind, default=defaults[name], help=help)
    return p


def begin(p):
    """The arguments; seeds the weights and makes the folders."""
    a = p.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.set_float32_matmul_precision("high")  # on a GPU TF32; a CPU multiplies in float32
    torch.manual_seed(a.seed)
    for folder in filter(None, (a.out, a.work)):
        os.makedirs(folder, exist_ok=True)
    return a


def learning_rate(step, a):
    """Warm-up, constant, linear decay to a fiftieth."""
    if step < 100:
        return a.lr * (step + 1) / 100
    start = int(a.steps * (1 - a.decay))
    if step < start:
        return a.lr
    return a.lr * max(0.02, (a.steps - step) / (a.steps - start))


def stream(tokenizer, documents, separator=lambda document: "\n\n"):
    """The tokens of documents, the BOS (id 0) before each, and the positions
    where windows may begin: at documents and behind a document's separators.
    Documents are encoded whole, as prompts are: a token may hold a sign and the
    newline behind it."""
    out, starts = [], []
    text = [tokenizer.decode([i]) for i in range(len(tokenizer.ids))]
    for document in documents:
        out.append(0)
        mark, tail = separator(document), None
        for i in tokenizer.encode(document):
            if tail is None or tail.endswith(mark):
                starts.append(len(out))
            out.append(i)
            tail = ((tail or "") + text[i])[-8:]
    return torch.tensor(out), torch.tensor(starts)


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


def device_of(model):
    return next(model.parameters()).device


@torch.no_grad()
def nll(model, tokens, width, autocast=False, limit=None):
    """Mean negative log-likelihood in nats of tokens cut into windows of `width`
    that start with the BOS; every token is scored once."""
    model.eval()
    device, tokens = device_of(model), tokens[:limit]
    whole = len(tokens) // width * width
    parts = [*tokens[:whole].view(-1, width).split(1 if device.type == "cpu" else 32), tokens[None, whole:]]
    total = torch.zeros((), dtype=torch.float64, device=device)
    for part in filter(torch.Tensor.numel, parts):
        part = part.to(device)
        fed = F.pad(part[:, :-1], (1, 0))
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            logits = model(fed)
        total += F.cross_entropy(logits.float().flatten(0, 1), part.flatten(), reduction="sum")
    return total.item() / len(tokens)


def next_token_loss(model, data, dropout):
    logits = model(data[:, :-1], dropout)
    return F.cross_entropy(logits.float().flatten(0, 1), data[:, 1:].flatten())


class Step:
    """One step of the optimizer. On a GPU the kernels of a step are recorded,
    once for each shape and rounding, and replayed: to launch those of so small
    a model one by one takes longer than they do."""
    EAGER = 3  # steps before the record: what is allocated once is there

    def __init__(self, model, optimizer, loss, dropout, autocast):
        self.model, self.optimizer, self.loss, self.dropout, self.autocast = model, optimizer, loss, dropout, autocast
        self.device = device_of(model)
        self.records, self.eager = {}, {}
        if self.device.type == "cuda":
            self.side = torch.cuda.Stream()

    def run(self, data):
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            value = self.loss(self.model, data, self.dropout)
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return value.detach()

    def record(self, data):
        graph = torch.cuda.CUDAGraph()
        self.optimizer.zero_grad(set_to_none=True)
        with torch.cuda.graph(graph):
            value = self.run(data)
        return graph, data, value

    def __call__(self, data):
        """data [rows, length + 1] on the CPU -> its loss, a scalar on the device."""
        if self.device.type == "cpu":
            return self.run(data)
        rounding = self.model.rounding
        key = data.shape, rounding.weight_bits, rounding.clip
        if self.eager.setdefault(key, 0) < self.EAGER:
            self.eager[key] += 1
            self.side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.side):
                value = self.run(data.to(self.device))
            torch.cuda.current_stream().wait_stream(self.side)
            return value
        if key not in self.records:
            self.records[key] = self.record(data.to(self.device))
        graph, place, value = self.records[key]
        place.copy_(data.pin_memory(), non_blocking=True)
        graph.replay()
        return value.clone()


def fit(model, draw, evaluate, a, autocast=False, keep_best=False, loss=next_token_loss, name="state", apart=(), kept=None,
        save_every=1):
    """Trains by AdamW. draw(step, generator) gives tokens [rows, length + 1];
    evaluate(model) the figures to show, the first one counts for keep_best.
    apart: (end of the names of weights, their rate at a step), which do not
    decay; kept: what belongs to the state beside the model, by state_dict() and
    load_state_dict(); the state is saved at every so many steps' evaluation."""
    decay, keep, others = [], [], [[] for _ in apart]
    for n, p in model.named_parameters():
        own = next((o for o, (end, _) in zip(others, apart) if n.endswith(end)), None)
        (own if own is not None else decay if p.dim() == 2 else keep).append(p)
    device = device_of(model)
    rate_of = [lambda step: learning_rate(step, a)] * 2 + [rate for _, rate in apart]
    rates = [torch.zeros((), device=device) for _ in rate_of]  # a recorded step reads them
    optimizer = torch.optim.AdamW(
        [dict(params=params, lr=rate, weight_decay=a.weight_decay if params is decay else 0.0)
         for params, rate in zip((decay, keep, *others), rates)],
        betas=(0.9, 0.98), fused=True, capturable=device.type == "cuda")
    first, best, best_state, running = 0, float("inf"), None, []
    state_path = a.work and os.path.join(a.work, name + ".pt")
    if state_path and os.path.exists(state_path):
        s = torch.load(state_path, weights_only=True, map_location=device)
        model.load_state_dict(s["model"])
        optimizer.load_state_dict(s["optimizer"])
        for group, rate in zip(optimizer.param_groups, rates):
            group["lr"] = rate
        if kept:
            kept.load_state_dict(s["kept"])
        first, best, best_state = s["step"], s["best"], s["best_state"]
        print(f"{name}: resumed at step {first}", flush=True)
    rounded_from = int(a.steps * (1 - a.rounded))
    step_of = Step(model, optimizer, loss, a.dropout, autocast)
    began, seen = time.time(), 0
    for step in range(first, a.steps):
        rounded = step >= rounded_from
        generator = torch.Generator().manual_seed(a.seed * 1_000_003 + step)
        torch.manual_seed(a.seed * 1_000_003 + step)  # dropout
        data = draw(step, generator)
        for rate, of in zip(rates, rate_of):
            rate.fill_(of(step))
        model.train()
        # Compilers differ in how tight a scale they take: train with several.
        model.rounding.set(rounded, (1.0, 0.9, 1.0, 0.95)[step % 4] if rounded else 1.0)
        running.append(step_of(data))
        seen += data[:, 1:].numel()
        if (step + 1) % a.evaluate_every and step + 1 != a.steps:
            continue
        mean = torch.stack(running).mean().item()
        running = []
        spent = time.time() - began
        model.rounding.set(rounded)
        scores = evaluate(model)
        model.rounding.set(False)
        print(f"{name}: step {step + 1} of {a.steps}, train {mean:.4f}, held out "
              f"{' '.join(f'{s:.4f}' for s in scores)}{', rounded' if rounded else ''}, {seen / spent:.0f} tokens/s, "
              f"{spent * (a.steps - step - 1) / (step + 1 - first) / 60:.1f} min to go", flush=True)
        if keep_best and rounded and scores[0] < best:
            best = scores[0]
            best_state = {k: v.clone() for k, v in model.state_dict().items()}
        if state_path and ((step + 1) % save_every == 0 or step + 1 == a.steps):
            torch.save(dict(model=model.state_dict(), optimizer=optimizer.state_dict(), step=step + 1,
                            best=best, best_state=best_state, kept=kept and kept.state_dict()), state_path + ".new")
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
        logits = model(torch.tensor([ids[-width:]], device=device_of(model)))[0, -1].cpu() / temperature
        ids.append(torch.multinomial(logits.softmax(-1), 1, generator=generator).item())
    return tokenizer.decode(ids)
