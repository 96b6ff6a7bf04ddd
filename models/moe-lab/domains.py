# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""The texts of moe-lab, five domains that experts can share among themselves:
Hindi and English (chimera-nano's), JSON and data classes (draft-pair's
generators), Python (the standard library's sources)."""
import glob
import os
import sys
import sysconfig

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(MODELS, folder) for folder in ("common", "chimera-nano", "draft-pair")]
import bpe  # noqa: E402
import corpus  # noqa: E402
import texts  # noqa: E402
import training  # noqa: E402

VOCABULARY = 1024
ROWS = {"hi": 4, "en": 4, "python": 4, "json": 2, "classes": 2}  # windows of a step
GENERATED = 1_000_000  # characters of each generator
PYTHON = 4_000_000  # characters at most
FITTED = 400_000  # characters of a domain that the tokenizer is trained on


def python_sources():
    """(to train on, held out): whole modules, every tenth is held out; no tests
    and no packages that were installed."""
    library, documents, size = sysconfig.get_path("stdlib"), [], 0
    # By the name's reverse, so that what is cut off is no one package.
    for path in sorted(glob.glob(os.path.join(library, "**", "*.py"), recursive=True), key=lambda p: p[::-1]):
        inside = os.path.relpath(path, library)
        if any(part in inside for part in ("site-packages", "dist-packages", "test", "pydoc_data", "encodings")):
            continue
        with open(path, encoding="utf-8", errors="ignore") as f:
            documents.append(f.read())
        size += len(documents[-1])
        if size >= PYTHON:
            break
    return [d for i, d in enumerate(documents) if i % 10 != 9], documents[9::10]


def load(folder):
    """domain -> (documents to train on, documents held out)."""
    return corpus.load(folder) | {
        "python": python_sources(), "json": texts.documents("json", GENERATED), "classes": texts.documents("code", GENERATED)}


def first(documents, size):
    """Documents of about `size` characters, spread over all."""
    step = max(1, sum(map(len, documents)) // size)
    return [d[i:i + 20_000] for d in documents for i in range(0, len(d), 20_000 * step)]


def prepare(folder, work):
    """(tokenizer, domain -> (tokens, starts), domain -> tokens held out); kept
    in `work`, since every run reads the same."""
    tokens, tokenizer = os.path.join(work, "tokens.pt"), os.path.join(work, "tokenizer.json")
    if not os.path.exists(tokens):
        documents = load(folder)
        bpe.save(tokenizer, *bpe.train([d for train, _ in documents.values() for d in first(train, FITTED)], VOCABULARY))
        own = bpe.Tokenizer(tokenizer)
        separator = lambda document: "\n\n" if "\n\n" in document else "\n"
        data = {d: training.stream(own, documents[d][0], separator) for d in ROWS}
        torch.save(dict(data=data, held_out={d: training.stream(own, documents[d][1], separator)[0] for d in ROWS}), tokens + ".new")
        os.replace(tokens + ".new", tokens)
    kept = torch.load(tokens, weights_only=True)
    return bpe.Tokenizer(tokenizer), kept["data"], kept["held_out"]
