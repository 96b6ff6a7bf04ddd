#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Trains the shipped model: a 3-million-parameter Llama on Shakespeare.

    python3 models/shakespeare/train.py TEXT [--out DIR] [--work DIR]

TEXT is the public-domain "tiny Shakespeare" file (1,115,394 bytes). Needs
torch, tokenizers and safetensors; one CPU core with bf16 instructions takes
about a quarter of an hour. The last tenth of the text is held out and written
as validation.txt. Everything random comes from --seed and the step number, so
a run resumed from --work continues as if it had never stopped.

The last part of the training sees the weights as `mlc compile --quant int4`
will round them (straight-through estimator: Bengio et al. 2013,
arXiv 1308.3432), so that rounding costs little. The stored weights are the
unrounded ones.
"""
import math
import os
import sys
import time

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "common"))
import store  # noqa: E402
import training  # noqa: E402
from layers import Llama  # noqa: E402

CONFIG = dict(
    hidden_size=256, intermediate_size=640, num_hidden_layers=4,
    num_attention_heads=4, num_key_value_heads=2, head_dim=64,
    vocab_size=1024, max_position_embeddings=512, rms_norm_eps=1e-5,
    rope_theta=10000.0)
BOS = "<|endoftext|>"


# --- Data -------------------------------------------------------------------

def make_tokenizer(text):
    """Byte-level BPE of 1,024 ids; a prompt starts with <|endoftext|>."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator([text], trainers.BpeTrainer(
        vocab_size=CONFIG["vocab_size"], special_tokens=[BOS], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    t.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, 0)])])
    return t


def encode(tokenizer, text):
    return torch.tensor(tokenizer.encode(text, add_special_tokens=False).ids)


class Prompted:
    """The tokenizer as training.sample() takes it."""

    def __init__(self, tokenizer):
        self.encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
        self.decode = tokenizer.decode


def speech_starts(tokenizer, tokens):
    """Positions whose text begins a speech: the one after a blank line."""
    break_ids = {i for i in range(CONFIG["vocab_size"]) if tokenizer.decode([i]).endswith("\n\n")}
    newline = tokenizer.encode("\n", add_special_tokens=False).ids[0]
    ids = tokens.tolist()
    return torch.tensor([0] + [
        i + 1 for i in range(1, len(ids) - 1)
        if ids[i] in break_ids or (ids[i] == newline and ids[i - 1] == newline)])


def main():
    a = training.begin(training.options(__doc__, "text", HERE, seed=1, steps=3000, lr=2e-3, weight_decay=0.1, dropout=0.2,
                                        decay=0.5, rounded=0.25, evaluate_every=100))

    with open(a.text, encoding="utf-8", newline="") as f:
        text = f.read()
    cut = text.index("\n\n", len(text) * 9 // 10) + 2
    tokenizer = make_tokenizer(text[:cut])
    tokens, held_out = encode(tokenizer, text[:cut]), encode(tokenizer, text[cut:])
    with open(os.path.join(a.out, "validation.txt"), "w", encoding="utf-8", newline="") as f:
        f.write(text[cut:])
    model = Llama(CONFIG).to(a.device)
    print(f"{sum(p.numel() for p in model.parameters())} parameters; tokens: {len(tokens)} train, "
          f"{len(held_out)} validation; {len(text[cut:].encode())} validation bytes", flush=True)
    starts, width = speech_starts(tokenizer, tokens), CONFIG["max_position_embeddings"]

    def draw(step, generator):
        # Short windows are cheaper; the long ones teach the far positions.
        rows, length = (4, 511) if step >= a.steps * 0.6 else (8, 255)
        return training.windows(tokens, starts, rows, length, generator)

    began = time.time()
    training.fit(model, draw, lambda m: [training.nll(m, held_out, width, autocast=True, limit=16384)], a,
                 autocast=True, keep_best=True)
    print(f"trained in {time.time() - began:.0f} s")

    training.round_to_bf16(model)
    store.write_directory({f"model.{k}": v for k, v in model.state_dict().items()}, store.llama_config(CONFIG), a.out)
    tokenizer.save(os.path.join(a.out, "tokenizer.json"))
    bytes_per_token = len(text[cut:].encode()) / len(held_out)
    for name, bits, head, data in (
            ("f32", None, None, held_out), ("int8", 8, 8, held_out), ("int4", 4, 8, held_out),
            ("f32 on training text", None, None, tokens[:len(held_out)])):
        model.rounding.weight_bits, model.rounding.head_bits = bits, head
        loss = training.nll(model, data, width)
        print(f"{name}: loss {loss:.4f} nats/token, perplexity {math.exp(loss):.4f} per token, "
              f"{math.exp(loss / bytes_per_token):.4f} per byte")
    model.rounding.set(False)
    print(training.sample(model, Prompted(tokenizer), "ROMEO:\n", 200, a.seed))


if __name__ == "__main__":
    main()
