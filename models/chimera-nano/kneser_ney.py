#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""The bar of chimera-nano: an interpolated modified Kneser-Ney model (Chen and
Goodman 1998, TR-10-98, section 4.1.6) over the same tokens and the same split.

    python3 models/chimera-nano/kneser_ney.py TEXTS [--order 5]

Prints bits per byte of the held-out texts, from a model of each language alone
and from one of both. Needs numpy.
"""
import argparse
import math
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "common"))
import bpe  # noqa: E402
import corpus  # noqa: E402

BOS = 0


def ngrams(tokens, n, vocabulary):
    """The n-grams that end at tokens[n-1:], each as one number, and which of
    them lie in one document: the BOS can only come first."""
    keys = np.zeros(len(tokens) - n + 1, np.int64)
    inside = np.ones(len(keys), bool)
    for i in range(n):
        part = tokens[i:len(tokens) - n + 1 + i]
        keys = keys * vocabulary + part
        if i:
            inside &= part != BOS
    return keys, inside


class Table:
    """number -> value; absent numbers have 0."""

    def __init__(self, keys, values):
        self.keys, self.values = keys, values

    def __getitem__(self, keys):
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[at] == keys, self.values[at], 0)


class KneserNey:
    def __init__(self, tokens, order, vocabulary):
        """tokens: one stream, the BOS before each document."""
        assert vocabulary ** order < 1 << 62
        self.order, self.vocabulary = order, vocabulary
        self.levels = []
        above = None
        for n in range(order, 0, -1):
            keys, inside = ngrams(tokens, n, vocabulary)
            if n == 1:
                inside = tokens != BOS
            keys, counts = np.unique(keys[inside], return_counts=True)
            if above is not None:
                # Below the highest order: the number of tokens it has followed,
                # except at a document's start, which follows nothing.
                ends, kinds = np.unique(above % vocabulary ** n, return_counts=True)
                follows = Table(ends, kinds)[keys]
                counts = np.where(keys // vocabulary ** (n - 1) == BOS if n > 1 else False, counts, follows)
                keys, counts = keys[counts > 0], counts[counts > 0]
            self.levels.append(self.level(keys, counts))
            above = keys
        self.levels.reverse()

    def level(self, keys, counts):
        """What one order needs: counts, and of each context the sum and the
        mass that its discounts free."""
        n1, n2, n3, n4 = (max(1, int((counts == c).sum())) for c in (1, 2, 3, 4))
        y = n1 / (n1 + 2 * n2)
        discount = np.array([0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
        taken = discount[np.minimum(counts, 3)]
        contexts, first = np.unique(keys // self.vocabulary, return_index=True)
        return Table(keys, counts - taken), Table(contexts, np.add.reduceat(counts, first)), \
            Table(contexts, np.add.reduceat(taken, first))

    def nll(self, tokens):
        """Nats a token of tokens[1:]; tokens[0] is the BOS."""
        p = np.full(len(tokens) - 1, 1 / (self.vocabulary - 1))
        for n, (counts, sums, freed) in enumerate(self.levels[:len(tokens)], 1):
            keys, _ = ngrams(tokens, n, self.vocabulary)
            keys = keys[1:] if n == 1 else keys
            context = keys // self.vocabulary
            total = sums[context]
            with np.errstate(divide="ignore", invalid="ignore"):
                better = (counts[keys] + freed[context] * p[-len(keys):]) / total
            p[-len(keys):] = np.where(total > 0, better, p[-len(keys):])
        return -np.log(p).mean()


def stream(tokenizer, documents):
    return np.array([t for d in documents for t in (BOS, *tokenizer.encode(d))], np.int64)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("texts")
    p.add_argument("--order", type=int, default=5)
    p.add_argument("--tokenizer", default=os.path.join(HERE, "tokenizer.json"))
    a = p.parse_args()
    tokenizer = bpe.Tokenizer(a.tokenizer)
    texts = corpus.load(a.texts)
    train = {language: stream(tokenizer, parts[0]) for language, parts in texts.items()}
    both = KneserNey(np.concatenate(list(train.values())), a.order, len(tokenizer.ids))
    for language, (_, held_out) in texts.items():
        text = "".join(held_out)
        tokens = stream(tokenizer, [text])
        alone = KneserNey(train[language], a.order, len(tokenizer.ids))
        bits = [model.nll(tokens) * (len(tokens) - 1) / len(text.encode()) / math.log(2) for model in (alone, both)]
        print(f"{language}: {a.order}-gram Kneser-Ney {bits[0]:.4f} bits per byte alone, {bits[1]:.4f} with both languages")


if __name__ == "__main__":
    main()
