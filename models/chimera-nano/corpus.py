# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""The texts that chimera-nano learns: Hindi and English, each cut into what is
trained on and what is held out (about a tenth, whole documents).

    python3 models/chimera-nano/corpus.py TEXTS     prints the split
"""
import math
import os
import re
import sys
from collections import Counter

HELD_OUT = 0.1


def read(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8", newline="") as f:
        return f.read()


def last_tenth(documents):
    """Whole documents: those that begin in the last tenth are held out."""
    total, seen, at = sum(map(len, documents)), 0, 0
    while seen < total * (1 - HELD_OUT):
        seen += len(documents[at])
        at += 1
    return documents[:at], documents[at:]


def pud(text):
    """1,000 sentences of news and encyclopedia: 20 to a document."""
    lines = text.splitlines()
    return last_tenth(["\n".join(lines[i:i + 20]) + "\n" for i in range(0, len(lines), 20)])


def xquad(text):
    """Paragraphs, then questions about them in no order: every question goes
    to the paragraph that shares most of its rare words, and stays beside it."""
    lines = list(dict.fromkeys(line.strip() for line in text.splitlines()))
    first = next(i for i, line in enumerate(lines) if line.endswith("?") and len(line) < 250)
    words = lambda line: set(re.findall(r"[^\s?,।()'\"]+", line))
    paragraphs = [words(line) for line in lines[:first]]
    known = Counter(w for p in paragraphs for w in p)
    documents = [[line] for line in lines[:first]]
    for line in lines[first:]:
        shared = [sum(math.log(len(paragraphs) / known[w]) for w in sorted(words(line) & p)) for p in paragraphs]
        documents[max(range(first), key=shared.__getitem__)].append(line)
    return last_tenth(["\n".join(d) + "\n" for d in documents])


def shakespeare(text):
    """Plays: cut where a speech begins, as models/shakespeare cuts them."""
    cut = text.index("\n\n", int(len(text) * (1 - HELD_OUT))) + 2
    return [text[:cut]], [text[cut:]]


def wikitext(text):
    """Articles. The corpus stands as tokens, rare words as <unk>: those go, and
    words and signs are joined again."""
    for pattern, to in ((r" <unk>", ""), (r" @(.)@ ", r"\1"), (r" ([,.;:!?%)\]])", r"\1"), (r"([(\[$£]) ", r"\1"), (r" ('s|'t|'re|'ve|'ll|'d|'m)\b", r"\1"),
                        (r'" ([^"\n]*) "', r'"\1"'), (r"(?m)^ +| +$", "")):
        text = re.sub(pattern, to, text)
    text = re.sub(r"\n{2,}", "\n", text)
    starts = [m.start() for m in re.finditer(r"(?m)^= [^=].* =$", text)]
    return last_tenth([text[a:b] for a, b in zip(starts, [*starts[1:], len(text)])])


SOURCES = {"hi": (("hi-pud.txt", pud), ("hi-xquad.txt", xquad)),
           "en": (("tinyshakespeare.txt", shakespeare), ("wikitext-2.valid.txt", wikitext))}


def load(folder):
    """language -> (documents to train on, documents held out)."""
    out = {}
    for language, sources in SOURCES.items():
        train, held_out = [], []
        for name, split in sources:
            a, b = split(read(folder, name))
            train += a
            held_out += b
        out[language] = train, held_out
    return out


def develop(documents):
    """(to train on, to choose by): every 25th document of the training part."""
    chosen = documents[24::25]
    return [d for i, d in enumerate(documents) if i % 25 != 24], chosen


if __name__ == "__main__":
    for language, parts in load(sys.argv[1]).items():
        for part, documents in zip(("train", "held out"), parts):
            print(f"{language} {part}: {len(documents)} documents, {sum(len(d.encode()) for d in documents)} bytes")
