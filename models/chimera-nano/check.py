#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Holds chimera-nano to other implementations, as far as they are installed:
logits of the recipe's own module against transformers and llama.cpp (by the
GGUF of to_gguf.py), tokens of bpe.py against tokenizers and llama.cpp, and the
merges against the trainer of tokenizers.

    python3 models/chimera-nano/check.py [DIR] [--texts TEXTS]

Needs torch and safetensors. Exits 1 if something differs.
"""
import argparse
import json
import os
import sys
import tempfile

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "common"))
import bpe  # noqa: E402
import corpus  # noqa: E402
import to_gguf  # noqa: E402
from checkpoints import Source  # noqa: E402
from hybrid import Hybrid  # noqa: E402

TOLERANCE = 1e-4  # of the largest logit
WINDOW = 400
failed = False


def say(what, value, good):
    global failed
    failed |= not good
    print(f"{what}: {value}{'' if good else '  DIFFERS'}", flush=True)


def close(what, ours, theirs):
    error = ((ours - theirs).abs().max() / theirs.abs().max()).item()
    say(what, f"largest difference {error:.1e} of the largest logit", error < TOLERANCE)


def load(folder):
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        model = Hybrid(json.load(f))
    source = Source(folder)
    model.load_state_dict({n.removeprefix("model."): torch.from_numpy(source.floats(n)) for n in source.tensors})
    return model.eval()


def check_transformers(folder, texts, tokens, logits):
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        return print(f"transformers: skipped, {error}")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    say("tokens of transformers", len(texts), all(tokenizer(t).input_ids == ids for t, ids in zip(texts, tokens)))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    for ids, ours in zip(tokens, logits):
        close("transformers", ours, model(torch.tensor([ids[:WINDOW]])).logits[0])


def check_llama(folder, texts, tokens, logits):
    try:
        import llama_cpp
    except (ImportError, RuntimeError, FileNotFoundError) as error:
        return print(f"llama.cpp: skipped, {error}")
    with tempfile.TemporaryDirectory() as temporary:
        path = os.path.join(temporary, "chimera-nano.gguf")
        to_gguf.convert(folder, path, f32=True)
        # Its KV cache is f16 unless told otherwise (0: f32).
        model = llama_cpp.Llama(path, n_ctx=512, n_batch=512, logits_all=True, verbose=False, type_k=0, type_v=0)
        same = all(model.tokenize(t.encode(), add_bos=True, special=True) == ids for t, ids in zip(texts, tokens))
        say("tokens of llama.cpp", len(texts), same)
        for ids, ours in zip(tokens, logits):
            model.reset()
            model.eval(ids[:WINDOW])
            close("llama.cpp", ours, torch.tensor(model.scores[:len(ours)]))


def check_merges(folder, texts):
    try:
        import tokenizers
        from tokenizers import models, pre_tokenizers, trainers
    except ImportError as error:
        return print(f"tokenizers: skipped, {error}")
    kept = bpe.Tokenizer(os.path.join(folder, "tokenizer.json"))
    other = tokenizers.Tokenizer(models.BPE())
    splits = [pre_tokenizers.Split(tokenizers.Regex(p), "isolated") for p in bpe.PATTERNS]
    other.pre_tokenizer = pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    other.train_from_iterator([d for train, _ in corpus.load(texts).values() for d in train], trainers.BpeTrainer(
        vocab_size=len(kept.ids), special_tokens=[bpe.BOS], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    theirs = json.loads(other.to_str())["model"]
    ours = [list(m) for m in kept.ranks]
    say("merges of tokenizers' trainer", len(ours), ours == theirs["merges"] and kept.ids == theirs["vocab"])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folder", nargs="?", default=HERE)
    p.add_argument("--texts", help="the folder of the training texts: trains the tokenizer again")
    a = p.parse_args()
    tokenizer = bpe.Tokenizer(os.path.join(a.folder, "tokenizer.json"))
    texts = []
    for language in corpus.SOURCES:
        with open(os.path.join(a.folder, f"validation-{language}.txt"), encoding="utf-8") as f:
            texts.append(f.read())
        words = len(texts[-1].split())
        print(f"{language}: {len(tokenizer.encode(texts[-1])) / words:.3f} tokens per word of {words} held out")
    tokens = [[0, *tokenizer.encode(t)] for t in texts]
    model = load(a.folder)
    with torch.no_grad():
        logits = [model(torch.tensor([ids[:WINDOW]]))[0] for ids in tokens]
        check_transformers(a.folder, texts, tokens, logits)
        check_llama(a.folder, texts, tokens, logits)
    if a.texts:
        check_merges(a.folder, a.texts)
    sys.exit(failed)


if __name__ == "__main__":
    main()
