#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Trains chimera-nano: a hybrid Mamba-2 / attention model of Hindi and English.

    python3 models/chimera-nano/train.py TEXTS [--out DIR] [--work DIR]

TEXTS is the folder of the four texts (README.md says where they are from).
Needs torch and safetensors; one CPU core. `--work` keeps the state of an
unfinished run: the same command goes on from it. The tokenizer is trained
first, on the training part alone. The last part of the training sees the
weights as `mlc compile --quant int4` will round them.
"""
import argparse
import math
import os
import sys
import time

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "common"))
import bpe  # noqa: E402
import corpus  # noqa: E402
import store  # noqa: E402
import training  # noqa: E402
from hybrid import Hybrid  # noqa: E402

LINEAR, FULL = "linear_attention", "full_attention"
CONFIG = dict(
    vocab_size=2048, hidden_size=256, layer_types=[LINEAR, LINEAR, FULL, LINEAR], shared_intermediate_size=512,
    num_attention_heads=4, num_key_value_heads=2, mamba_n_heads=8, mamba_d_head=64, mamba_d_state=64, mamba_d_conv=4,
    max_position_embeddings=2048, rms_norm_eps=1e-5)
HINDI = 0.35  # part of the rows
WIDTH = 512  # of the windows of the evaluation


def stream(tokenizer, documents):
    """The tokens of documents, the BOS before each, and the positions where a
    line (of plays: a speech) begins."""
    out, starts = [], []
    for document in documents:
        out.append(0)
        plays = "\n\n" in document
        pieces = document.split("\n\n") if plays else document.split("\n")
        for i, piece in enumerate(pieces):
            if piece:
                starts.append(len(out))
            out += tokenizer.encode(piece)
            if i + 1 < len(pieces):
                out += tokenizer.encode("\n\n" if plays else "\n")
    return torch.tensor(out), torch.tensor(starts)


def held_out(tokenizer, documents):
    text = "".join(documents)
    return torch.tensor(tokenizer.encode(text)), len(text.encode())


def config_json():
    c = dict(architectures=["GraniteMoeHybridForCausalLM"], model_type="granitemoehybrid", **CONFIG)
    c["num_hidden_layers"] = len(c["layer_types"])
    return c | dict(
        intermediate_size=c["shared_intermediate_size"], num_local_experts=0, num_experts_per_tok=0, mamba_expand=2,
        mamba_n_groups=1, mamba_chunk_size=64, mamba_conv_bias=True, mamba_proj_bias=False, hidden_act="silu",
        position_embedding_type=None, attention_bias=False, attention_dropout=0.0, embedding_multiplier=1.0,
        residual_multiplier=1.0, logits_scaling=1.0, tie_word_embeddings=True, initializer_range=0.02,
        attention_multiplier=(c["hidden_size"] // c["num_attention_heads"]) ** -0.5)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("texts")
    p.add_argument("--out", default=HERE)
    p.add_argument("--export", action="store_true", help="write the state in --work as it is, without training on")
    training.add_options(p, seed=1, steps=3200, lr=2e-3, weight_decay=0.1, dropout=0.15, decay=0.6, rounded=0.15,
                         evaluate_every=100)
    a = p.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.manual_seed(a.seed)
    for folder in filter(None, (a.out, a.work)):
        os.makedirs(folder, exist_ok=True)

    texts = corpus.load(a.texts)
    path = os.path.join(a.out, "tokenizer.json")
    bpe.save(path, *bpe.train([d for train, _ in texts.values() for d in train], CONFIG["vocab_size"]))
    tokenizer = bpe.Tokenizer(path)
    data, validation = {}, {}
    for language, (train, kept) in texts.items():
        data[language] = stream(tokenizer, train)
        validation[language] = held_out(tokenizer, kept)
        with open(os.path.join(a.out, f"validation-{language}.txt"), "w", encoding="utf-8", newline="") as f:
            f.write("".join(kept))
        print(f"{language}: {len(data[language][0])} tokens to train on; held out {len(validation[language][0])} tokens, "
              f"{validation[language][1]} bytes", flush=True)

    model = Hybrid(CONFIG)
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)

    def draw(step, generator):
        # Short windows are cheaper; the long ones teach the states to last.
        rows, length = (4, 511) if step >= a.steps * 0.75 else (8, 255)
        language = lambda: "hi" if torch.rand(1, generator=generator).item() < HINDI else "en"
        return torch.cat([training.windows(*data[language()], 2, length, generator) for _ in range(rows // 2)])

    def bits_per_byte(limit=None):
        for tokens, size in validation.values():
            yield training.nll(model, tokens, WIDTH, limit=limit) * len(tokens) / size / math.log(2)

    began = time.time()
    if a.export:
        model.load_state_dict(torch.load(os.path.join(a.work, "state.pt"), weights_only=True)["model"])
    else:
        training.fit(model, draw, lambda _: list(bits_per_byte(8192)), a)
        print(f"trained in {time.time() - began:.0f} s")
    training.round_to_bf16(model)
    store.write_directory({f"model.{k}": v for k, v in model.state_dict().items()}, config_json(), a.out)
    for name, rounded in (("f32", False), ("int4", True)):
        model.rounding.set(rounded)
        print(f"{name}: bits per byte held out, " + ", ".join(f"{l} {b:.4f}" for l, b in zip(validation, bits_per_byte())))
    model.rounding.set(False)
    for prompt in ("ROMEO:\n", "The city of ", "भारत में "):
        print("---\n" + training.sample(model, tokenizer, prompt, 120, a.seed))


if __name__ == "__main__":
    main()
