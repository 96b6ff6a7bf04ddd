#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Trains chimera-nano: a hybrid Mamba-2 / attention model of Hindi and English.

    python3 models/chimera-nano/train.py TEXTS [--out DIR] [--work DIR]

TEXTS is the folder of the four texts (README.md says where they are from).
Needs torch and safetensors; one CPU core, or a GPU (`--device cuda`). `--work`
keeps the state of an unfinished run: the same command goes on from it. The
tokenizer is trained first, on the training part alone. The last part of the
training sees the weights as `mlc compile --quant int4` will round them; of that
part's evaluations the best on the development documents, a share of the
training part that is not trained on, is what is written.
"""
import math
import os
import sys
import time

import torch
import torch.nn.functional as F

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
SHOWN = 16384  # tokens of the held-out texts that are scored during the training


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


def noisy_loss(part):
    """Next-token loss; `part` of the tokens that are read are others of the
    batch: the unigram noise of Xie et al. 2017 (arXiv 1703.02573)."""
    def loss(model, data, dropout):
        read, told = data[:, :-1], data[:, 1:]
        others = read.flatten()[torch.randint(read.numel(), read.shape, device=read.device)]
        read = torch.where(torch.rand(read.shape, device=read.device) < part, others, read)
        return F.cross_entropy(model(read, dropout).float().flatten(0, 1), told.flatten())
    return loss


def main():
    p = training.options(__doc__, "texts", HERE, seed=1, steps=4000, lr=2e-3, weight_decay=1.0, dropout=0.3, decay=0.6,
                         rounded=0.15, evaluate_every=100)
    p.add_argument("--rows", type=int, default=8, help="windows of a step")
    p.add_argument("--noise", type=float, default=0.1, help="part of the tokens that are read as others")
    p.add_argument("--export", action="store_true", help="write the state in --work as it is, without training on")
    a = training.begin(p)

    texts = corpus.load(a.texts)
    path = os.path.join(a.out, "tokenizer.json")
    bpe.save(path, *bpe.train([d for train, _ in texts.values() for d in train], CONFIG["vocab_size"]))
    tokenizer = bpe.Tokenizer(path)
    # Plays have windows begin at speeches, other documents at lines.
    separator = lambda document: "\n\n" if "\n\n" in document else "\n"
    data, development, validation = {}, {}, {}
    for language, (train, kept) in texts.items():
        train, developed = corpus.develop(train)
        data[language] = training.stream(tokenizer, train, separator)
        development[language], validation[language] = held_out(tokenizer, developed), held_out(tokenizer, kept)
        with open(os.path.join(a.out, f"validation-{language}.txt"), "w", encoding="utf-8", newline="") as f:
            f.write("".join(kept))
        print(f"{language}: {len(data[language][0])} tokens to train on, {len(development[language][0])} for development; "
              f"held out {len(validation[language][0])} tokens, {validation[language][1]} bytes", flush=True)

    model = Hybrid(CONFIG).to(a.device)
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)

    def draw(step, generator):
        language = lambda: "hi" if torch.rand(1, generator=generator).item() < HINDI else "en"
        return torch.cat([training.windows(*data[language()], 2, WIDTH - 1, generator) for _ in range(a.rows // 2)])

    def bits_per_byte(texts, limit=None):
        return [training.nll(model, tokens, WIDTH, limit=limit) * len(tokens) / size / math.log(2)
                for tokens, size in texts.values()]

    def evaluate(_):
        """The sum over both languages on the development documents, then each of
        these, then the held-out texts."""
        developed = bits_per_byte(development)
        return [sum(developed), *developed, *bits_per_byte(validation, SHOWN)]

    began = time.time()
    if a.export:
        state = torch.load(os.path.join(a.work, "state.pt"), weights_only=True, map_location=a.device)
        model.load_state_dict(state["best_state"] or state["model"])
    else:
        training.fit(model, draw, evaluate, a, keep_best=True, loss=noisy_loss(a.noise))
        print(f"trained in {time.time() - began:.0f} s")
    training.round_to_bf16(model)
    store.write_directory({f"model.{k}": v for k, v in model.state_dict().items()}, config_json(), a.out)
    for name, rounded in (("f32", False), ("int4", True)):
        model.rounding.set(rounded)
        for part, of in (("development", development), ("held out", validation)):
            print(f"{name}: bits per byte, {part}: " + ", ".join(f"{l} {b:.4f}" for l, b in zip(of, bits_per_byte(of))), flush=True)
    model.rounding.set(False)
    for prompt in ("ROMEO:\n", "The city of", "भारत में"):
        print("---\n" + training.sample(model, tokenizer, prompt, 120, a.seed))


if __name__ == "__main__":
    main()
