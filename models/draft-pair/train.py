#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Trains a verifier and its draft on the same text: JSON, Python and plays.

    python3 models/draft-pair/train.py SHAKESPEARE [--out DIR] [--work DIR]

SHAKESPEARE is the public-domain "tiny Shakespeare" file; JSON and Python come
from the generators of texts.py. Needs torch and safetensors; one CPU core, or a
GPU (`--device cuda`). `--work` keeps the state of an unfinished run: the same
command goes on from it.

The verifier learns the text, the draft what the verifier says about the text
(Hinton et al. 2015, arXiv 1503.02531) and above all which token it finds
likeliest: that is what greedy speculation accepts. The last part of both sees
the weights as `mlc compile --quant int4` will round them.
"""
import json
import os
import sys
import time

import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "common"))
import bpe  # noqa: E402
import store  # noqa: E402
import texts  # noqa: E402
import training  # noqa: E402
from layers import Llama  # noqa: E402

SHARED = dict(vocab_size=1024, max_position_embeddings=512, rms_norm_eps=1e-5, rope_theta=10000.0)
# Widths are multiples of 128 and heads as wide as those of the models that grow.py makes of them.
CONFIGS = {
    "verifier": SHARED | dict(hidden_size=256, intermediate_size=640, num_hidden_layers=5, num_attention_heads=2,
                              num_key_value_heads=1, head_dim=128),
    "draft": SHARED | dict(hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=2,
                           num_key_value_heads=1, head_dim=64)}
SIZE = 1_300_000  # characters of JSON, and of Python
FAMILIES = ("code", "json", "prose")
PROMPTS, PROMPT_TOKENS = 16, 64


def families(shakespeare):
    """family -> (documents to train on, documents held out)."""
    with open(shakespeare, encoding="utf-8", newline="") as f:
        text = f.read()
    cut = text.index("\n\n", len(text) * 9 // 10) + 2
    out = {kind: texts.documents(kind, SIZE) for kind in ("code", "json")}
    return out | {"prose": ([text[:cut]], [text[cut:]])}


def prompts(tokenizer, held_out):
    """family -> texts of about 64 tokens from held-out documents, the BOS not
    counted: the beginnings of code and JSON, plays from a speech's start."""
    out = {}
    for family, documents in held_out.items():
        if family == "prose":
            speeches = documents[0].split("\n\n")
            step = len(speeches) // PROMPTS
            pieces = ["\n\n".join(speeches[i * step:]) for i in range(PROMPTS)]
        else:
            pieces = documents[:PROMPTS]
        out[family] = [tokenizer.decode(tokenizer.encode(p)[:PROMPT_TOKENS]) for p in pieces]
    return out


@torch.no_grad()
def agreement(verifier, draft, tokens, limit):
    """The part of held-out positions at which both find one token likeliest."""
    verifier.eval(), draft.eval()
    windows = tokens[:len(tokens) // 512 * 512][:limit].view(-1, 512).to(training.device_of(draft))
    return (verifier(windows).argmax(-1) == draft(windows).argmax(-1)).float().mean().item()


@torch.no_grad()
def acceptance(verifier, draft, tokenizer, prompts, count):
    """Of the tokens that the verifier says greedily after the prompts, the part
    that the draft would have said in their place."""
    verifier.eval(), draft.eval()
    rows = [[0, *tokenizer.encode(p)] for p in prompts]
    length = min(map(len, rows))
    ids = torch.tensor([row[:length] for row in rows], device=training.device_of(draft))
    for _ in range(count):
        ids = torch.cat([ids, verifier(ids)[:, -1:].argmax(-1)], 1)
    return (draft(ids[:, :-1])[:, length - 1:].argmax(-1) == ids[:, length:]).float().mean().item()


def main():
    p = training.options(__doc__, "text", HERE, seed=1, steps=3000, lr=2e-3, weight_decay=0.1, dropout=0.1, decay=0.6,
                         rounded=0.2, evaluate_every=100)
    p.add_argument("--draft-steps", type=int, default=5000)
    a = training.begin(p)

    documents = families(a.text)
    path = os.path.join(a.out, "tokenizer.json")
    bpe.save(path, *bpe.train([d for f in FAMILIES for d in documents[f][0]], SHARED["vocab_size"]))
    tokenizer = bpe.Tokenizer(path)
    data = {f: training.stream(tokenizer, documents[f][0]) for f in FAMILIES}
    held_out = {f: training.stream(tokenizer, documents[f][1])[0] for f in FAMILIES}
    asked = prompts(tokenizer, {f: documents[f][1] for f in FAMILIES})
    with open(os.path.join(a.out, "prompts.json"), "w", encoding="utf-8") as f:
        json.dump(asked, f, indent=1)
        f.write("\n")
    models = {name: Llama(config).to(a.device) for name, config in CONFIGS.items()}
    verifier, draft = models["verifier"], models["draft"]
    for name, model in models.items():
        print(f"{name}: {sum(p.numel() for p in model.parameters())} parameters", flush=True)
    for f in FAMILIES:
        print(f"{f}: {len(data[f][0])} tokens to train on, {len(held_out[f])} held out", flush=True)

    def draw(step, generator):
        # Short windows are cheaper; the long ones teach the far positions.
        rows, length = (6, 511) if step % 3 == 2 else (12, 255)
        return torch.cat([training.windows(*data[f], rows // 3, length, generator) for f in FAMILIES])

    def losses(model):
        return [training.nll(model, held_out[f], 512, limit=8192) for f in FAMILIES]

    def distilled(model, tokens, dropout):
        verifier.eval()
        verifier.rounding.set(model.rounding.weight_bits is not None)
        with torch.no_grad():
            target = verifier(tokens[:, :-1]).flatten(0, 1)
        verifier.rounding.set(False)
        logits = model(tokens[:, :-1]).flatten(0, 1)
        told = F.kl_div(logits.log_softmax(-1), target.log_softmax(-1), reduction="batchmean", log_target=True)
        return told + F.cross_entropy(logits, target.argmax(-1))

    def agreements(model):
        verifier.rounding.set(model.rounding.weight_bits is not None)
        out = [agreement(verifier, model, held_out[f], 8192) for f in FAMILIES]
        verifier.rounding.set(False)
        return out

    began = time.time()
    training.fit(verifier, draw, losses, a, name="verifier")
    training.round_to_bf16(verifier)
    # The draft is too small to learn its text by heart.
    a.steps, a.dropout = a.draft_steps, 0.0
    training.fit(draft, draw, agreements, a, loss=distilled, name="draft")
    training.round_to_bf16(draft)
    print(f"trained in {time.time() - began:.0f} s")
    for name, model in models.items():
        folder = os.path.join(a.out, name)
        store.write_directory({f"model.{k}": v for k, v in model.state_dict().items()}, store.llama_config(CONFIGS[name]), folder)
        with open(path, "rb") as source, open(os.path.join(folder, "tokenizer.json"), "wb") as target:
            target.write(source.read())
    for form, rounded in (("f32", False), ("int4", True)):
        for model in models.values():
            model.rounding.set(rounded)
        print(f"{form}: greedy acceptance of 128 tokens, " +
              ", ".join(f"{f} {acceptance(verifier, draft, tokenizer, asked[f], 128):.4f}" for f in FAMILIES))


if __name__ == "__main__":
    main()
