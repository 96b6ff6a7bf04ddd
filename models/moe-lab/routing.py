# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Figures of routers while they learn, as the runtime's router statistics define
them (docs/runtime.md), and the alarm that may switch the z-loss on."""
import math
from collections import deque

import torch

WINDOW = 8  # steps; they leave one by one, as the runtime's eighths of a window do


def measure(logits, chosen):
    """Sums over the tokens of one router: logits [tokens, experts], chosen
    [tokens, few]. Windows add them up."""
    logits = logits.detach()
    p, log_p = logits.softmax(-1), logits.log_softmax(-1)
    return dict(tokens=len(logits), entropy=-(p * log_p).sum().item(), squares=logits.logsumexp(-1).square().sum().item(),
                counts=chosen.flatten().bincount(minlength=logits.shape[1]).tolist(), masses=p.sum(0).tolist())


def entropy(shares):
    return -sum(s * math.log(s) for s in shares if s > 0)


def figures(parts):
    """The figures of one router over what measure() gave for the parts."""
    tokens = sum(p["tokens"] for p in parts)
    counts, masses = ([sum(column) for column in zip(*(p[name] for p in parts))] for name in ("counts", "masses"))
    experts, load = len(counts), [c / sum(counts) for c in counts]
    return dict(
        routing_entropy=sum(p["entropy"] for p in parts) / tokens / math.log(experts),
        load_entropy=entropy(load) / math.log(experts), max_load=max(load) * experts, dead_experts=counts.count(0),
        balance=experts * sum(l * m / tokens for l, m in zip(load, masses)),
        mean_squared_logsumexp=sum(p["squares"] for p in parts) / tokens)


def specialisation(counts):
    """Mutual information of domain and expert over its bound: counts [domains,
    experts] of choices, every domain with the same weight."""
    joint = counts.double() / counts.sum(1, keepdim=True) / len(counts)
    apart = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
    information = torch.where(joint > 0, joint * (joint / apart).log(), 0.0).sum().item()
    return information / math.log(min(counts.shape))


def balance_loss(logits, chosen):
    """Switch Transformer's (arXiv 2101.03961): 1 when load and mass are even."""
    load = chosen.flatten().bincount(minlength=logits.shape[1]) / chosen.numel()
    return logits.shape[1] * (load * logits.softmax(-1).mean(0)).sum()


def z_loss(logits):
    """ST-MoE's (arXiv 2202.08906)."""
    return logits.logsumexp(-1).square().mean()


class Watch:
    """The figures of every router over the last steps, and the alarm: routing
    entropy of a router below `threshold` while its load's is not."""

    def __init__(self, threshold):
        self.threshold, self.parts = threshold, None
        self.step = self.alarm = 0  # alarm: the first step with one
        self.standing = False  # from an alarm until the routing entropy of every router is back

    def add(self, routers):
        """routers: (logits, chosen) of every layer in one step."""
        self.parts = self.parts or [deque(maxlen=WINDOW) for _ in routers]
        for parts, router in zip(self.parts, routers):
            parts.append(measure(*router))
        self.step += 1
        low = [f for f in self.figures() if f["routing_entropy"] < self.threshold]
        alarmed = any(f["load_entropy"] >= self.threshold for f in low)
        if alarmed and not self.alarm:
            self.alarm = self.step
        self.standing = bool(low) and (self.standing or alarmed)

    def figures(self):
        return [figures(parts) for parts in self.parts]

    def state_dict(self):
        return dict(parts=[list(p) for p in self.parts or []], step=self.step, alarm=self.alarm, standing=self.standing)

    def load_state_dict(self, state):
        self.parts = [deque(p, maxlen=WINDOW) for p in state["parts"]] or None
        self.step, self.alarm, self.standing = state["step"], state["alarm"], state["standing"]
