# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Runs transformers as the outside oracle of the end-to-end tests.

Eager attention in float32; a float64 run beside it says how far rounding
reaches. RoPE forms that depend on length are fixed by the prompt: the
frequencies of one forward over the prompt are held while decoding.
"""
import json
import math
import os
import shutil
import tempfile

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

STEPS = 200
TOLERANCE = 1e-4  # of the largest logit
SMALLEST_GAP = 5e-4  # between the two best tokens, of the largest logit
LAST_PROMPT_ROWS = 8
EVERY = 20  # generated rows that are kept: every 20th


def load(directory, dtype=torch.float32):
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=dtype, attn_implementation="eager",
                                                 experts_implementation="eager")
    return model.eval()


def widen(model):
    """Makes model compute in float64 throughout; transformers rounds the norms
    and the softmax to float32 otherwise. The RoPE tables stay float32."""
    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            gemma = "Gemma" in type(module).__name__
            eps = module.eps if gemma else module.variance_epsilon

            def forward(x, module=module, gemma=gemma, eps=eps):
                y = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
                return y * (1 + module.weight if gemma else module.weight)
            module.forward = forward
    return model.double()


class WideSoftmax:
    """torch's softmax without the rounding to float32 asked by its callers."""

    def __enter__(self):
        self.kept = torch.nn.functional.softmax
        torch.nn.functional.softmax = lambda x, dim, dtype=None: torch.softmax(x, dim)

    def __exit__(self, *_):
        torch.nn.functional.softmax = self.kept


def hold_form(model, length):
    """Fixes the RoPE form to the one of a prompt of `length` tokens."""
    rotary = model.model.rotary_emb
    rotary.rope_type = model.config.rope_parameters["rope_type"]
    weight = model.model.embed_tokens.weight
    rotary(weight[:1][None], torch.arange(length)[None])
    rotary.rope_type = "default"


@torch.no_grad()
def greedy(model, prompt, steps):
    """Greedy tokens, or None as soon as a choice is too close to call."""
    hold_form(model, len(prompt))
    cache = DynamicCache(config=model.config)
    feed, tokens = torch.tensor([prompt]), []
    for _ in range(steps):
        row = model(feed, past_key_values=cache, use_cache=True).logits[0, -1]
        best = row.topk(2)
        if best.values[0] - best.values[1] < SMALLEST_GAP * row.abs().max():
            return None
        tokens.append(best.indices[0].item())
        feed = torch.tensor([[tokens[-1]]])
    return tokens


@torch.no_grad()
def forward(model, prompt, tokens):
    """Logits [P + N - 1, vocab] with the form of the prompt; float64 when the
    model is."""
    hold_form(model, len(prompt))
    return model(torch.tensor([prompt + tokens[:-1]]), use_cache=False).logits[0]


@torch.no_grad()
def attention_entropy(model, prompt):
    """Mean entropy of the attention rows of the late half of the prompt over
    that of uniform rows (1 = uniform)."""
    hold_form(model, len(prompt))
    maps = model(torch.tensor([prompt]), output_attentions=True, use_cache=False).attentions
    values = []
    for layer in maps:
        p = layer[0].double()
        for row in range(len(prompt) // 2, len(prompt)):
            seen = p[:, row]
            reach = (seen > 0).sum(-1).clamp_min(2).double()
            values.append((-(seen * seen.clamp_min(1e-30).log()).sum(-1) / reach.log()).mean().item())
    return sum(values) / len(values)


def measure(directory, prompt, steps=STEPS):
    """One run of the oracle: a dict for expected.json and the kept logits, or
    the reason (a string) why this seed is no good test."""
    model = load(directory)
    tokens = greedy(model, prompt, steps)
    if tokens is None:
        return "close choice"
    if len(set(tokens)) < min(16, steps // 3):
        return "repeats itself"
    logits = forward(model, prompt, tokens)
    entropy = attention_entropy(model, prompt)
    if entropy > 0.8:
        return f"attention too uniform: {entropy:.2f}"
    with WideSoftmax():
        wide = forward(widen(load(directory)), prompt, tokens)
    largest = logits.abs().max().item()
    difference = (wide - logits).abs().max().item() / largest
    if difference > TOLERANCE / 10:
        return f"rounding reaches {difference:.1e}"
    picked = logits[len(prompt) - 1:]
    best = picked.topk(2).values
    gap = ((best[:, 0] - best[:, 1]) / picked.abs().amax(-1)).min().item()
    if picked.argmax(-1).tolist() != tokens or wide[len(prompt) - 1:].argmax(-1).tolist() != tokens:
        return "tokens depend on rounding"
    rows = list(range(max(0, len(prompt) - LAST_PROMPT_ROWS), len(prompt)))
    rows += range(len(prompt) - 1 + EVERY, len(prompt) + steps - 1, EVERY)
    rows += [len(prompt) + steps - 2]
    rows = sorted(set(rows))
    record = dict(prompt=prompt, tokens=tokens, rows=rows, largest_logit=largest,
                  smallest_gap=gap, float64_difference=difference, attention_entropy=round(entropy, 3))
    return record, logits[rows].float().numpy()


# --- Ablations --------------------------------------------------------------

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


def zero_stored(directory, names):
    """Overwrites tensors with zeros, by their names in the files."""
    names = set(names)
    for file in sorted(f for f in os.listdir(directory) if f.endswith(".safetensors")) if names else ():
        path = os.path.join(directory, file)
        tensors = load_file(path)
        for name in names & tensors.keys():
            tensors[name].zero_()
        names -= tensors.keys()
        save_file(tensors, path, metadata=dict(format="pt"))
    assert not names, f"no such tensors: {names}"


@torch.no_grad()
def ablated_difference(directory, ablation, run, logits, config_name="config.json"):
    """How far the kept rows of the prompt move without the feature, of the
    largest logit."""
    with tempfile.TemporaryDirectory() as temporary:
        shutil.copytree(directory, temporary, dirs_exist_ok=True)
        with open(os.path.join(directory, config_name)) as f:
            config = apply_patch(json.load(f), ablation.get("patch", []))
        with open(os.path.join(temporary, "config.json"), "w") as f:
            json.dump(config, f)
        zero_stored(temporary, ablation.get("zero", []))
        model = load(temporary)
    prompt = run["prompt"]
    rows = [r for r in run["rows"] if r < len(prompt)]
    other = forward(model, prompt, [0])[rows].numpy()
    return float(np.abs(other - logits[:len(rows)]).max() / run["largest_logit"])


# --- Random weights ---------------------------------------------------------

@torch.no_grad()
def randomize(model, seed, sharpness=1.6, logit_std=3.0):
    """Random weights under which attention is far from uniform and the logits
    spread: scores of standard deviation sharpness^2, logits of logit_std."""
    g = torch.Generator().manual_seed(seed)
    config = model.config
    tied = config.tie_word_embeddings
    # Small where tied: a token's own logit must not win every time.
    embed_std = (0.05 if config.model_type == "gemma2" else 0.15) if tied else 1.0
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=g)
        fan_in = p.shape[-1]
        if name.endswith("embed_tokens.weight"):
            value = noise * embed_std
        elif name.endswith("lm_head.weight"):
            value = noise * (logit_std / math.sqrt(fan_in))
        elif "norm" in name:
            mean = 1.0
            if name == "model.norm.weight" and tied:
                mean = logit_std / (embed_std * math.sqrt(config.hidden_size))
            if name.endswith(("q_norm.weight", "k_norm.weight")):
                mean = sharpness
            value = mean * (1 + 0.3 * noise)
            if config.model_type == "gemma2":
                value = value - 1  # stored as the distance from one
        elif name.endswith(".bias"):
            value = noise * (1.0 if ".q_proj." in name or ".k_proj." in name else 0.4)
        else:
            gain = 1.0
            if name.endswith(("q_proj.weight", "k_proj.weight")):
                gain = sharpness
            if name.endswith("qkv_proj.weight"):
                gain = sharpness
            if name.endswith((".gate.weight", ".router.weight")):
                gain = 2.0  # a router that decides
            if config.model_type == "gemma2" and name.endswith(("q_proj.weight", "k_proj.weight")):
                gain = sharpness * (config.query_pre_attn_scalar / config.head_dim) ** 0.25
            value = noise * (gain / math.sqrt(fan_in))
        p.copy_(value)
    for name, b in model.named_buffers():
        if name.endswith("e_score_correction_bias"):
            b.copy_(0.3 * torch.randn(b.shape, generator=g))


def config_of(model_type, **fields):
    fields = dict(bos_token_id=None, eos_token_id=None, pad_token_id=None) | fields
    return AutoConfig.for_model(model_type, **fields)
