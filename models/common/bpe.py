# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Byte-level BPE: a trainer, and the tokenizer.json that it makes.

The trainer is the definition itself (Sennrich et al. 2016, arXiv 1508.07909):
again and again the most frequent pair of neighbouring symbols becomes one
symbol; of equally frequent pairs the one with the lower ids. It needs the
standard library only, and gives the merges of Hugging Face's trainer one by one
(tests/oracles/bpe.py).

Text is cut into words first, by the pattern that GGUF calls `deepseek-v3`: it
is the one that both llama.cpp and this project know by name and that keeps the
vowel signs of Devanagari (category M) in their word.
"""
import heapq
import json
import re
import sys
import unicodedata
from collections import Counter, defaultdict

BOS = "<|endoftext|>"
PRE = "deepseek-v3"  # tokenizer.ggml.pre
PATTERNS = (
    r"\p{N}{1,3}",
    r"[一-龥぀-ゟ゠-ヿ]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""")


def byte_alphabet():
    """The character that stands for each byte (GPT-2's table)."""
    kept = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [b for b in range(256) if b not in kept]
    return {b: chr(b) for b in kept} | {b: chr(256 + i) for i, b in enumerate(moved)}


def category(letter):
    """The characters of a general category, as ranges of a class of `re`."""
    out, begin = [], None
    for code in range(sys.maxunicode + 2):
        inside = code <= sys.maxunicode and unicodedata.category(chr(code))[0] == letter
        if inside and begin is None:
            begin = code
        elif not inside and begin is not None:
            out.append(re.escape(chr(begin)) + "-" + re.escape(chr(code - 1)))
            begin = None
    return "".join(out)


class Splitter:
    """Cuts a text into words, each pattern within the pieces of the former."""

    def __init__(self):
        ranges = {letter: category(letter) for letter in "LMNPS"}
        self.patterns = []
        for pattern in PATTERNS:
            inside = re.sub(r"\\p\{(\w)\}", lambda m: ranges[m[1]], pattern.replace(r"\p{N}{1,3}", "[\\p{N}]{1,3}"))
            self.patterns.append(re.compile(inside))

    def words(self, text):
        pieces = [text]
        for pattern in self.patterns:
            cut = []
            for piece in pieces:
                at = 0
                for match in pattern.finditer(piece):
                    cut += [piece[at:match.start()], match[0]]
                    at = match.end()
                cut.append(piece[at:])
            pieces = [p for p in cut if p]
        return pieces


def train(texts, vocabulary):
    """The merges, pairs of token texts, and the vocabulary, text -> id: BOS,
    the bytes in order of their characters, the merges in order."""
    alphabet, splitter = byte_alphabet(), Splitter()
    counts = Counter()
    for text in texts:
        counts.update(splitter.words(text))
    ids = {t: i for i, t in enumerate([BOS, *sorted(alphabet.values())])}
    names = list(ids)
    words = [[ids[alphabet[b]] for b in word.encode()] for word in counts]
    weights = list(counts.values())
    pairs, places = Counter(), defaultdict(set)
    for w, word in enumerate(words):
        for pair in zip(word, word[1:]):
            pairs[pair] += weights[w]
            places[pair].add(w)
    queue = [(-count, pair) for pair, count in pairs.items()]
    heapq.heapify(queue)
    merges = []
    while len(names) < vocabulary and queue:
        count, pair = heapq.heappop(queue)
        if -count != pairs[pair]:  # it has changed since it was queued
            if pairs[pair] > 0:
                heapq.heappush(queue, (-pairs[pair], pair))
            continue
        text = names[pair[0]] + names[pair[1]]
        merges.append((names[pair[0]], names[pair[1]]))
        if text not in ids:
            ids[text] = len(names)
            names.append(text)
        new, grown = ids[text], set()
        for w in places.pop(pair):
            old = words[w]
            merged, at = [], 0
            while at < len(old):
                if at + 1 < len(old) and (old[at], old[at + 1]) == pair:
                    merged.append(new)
                    at += 2
                else:
                    merged.append(old[at])
                    at += 1
            if len(merged) == len(old):
                continue
            words[w] = merged
            for p in zip(old, old[1:]):
                pairs[p] -= weights[w]
            for p in zip(merged, merged[1:]):
                pairs[p] += weights[w]
                places[p].add(w)
                if new in p:
                    grown.add(p)
        pairs.pop(pair, None)
        for p in grown:
            heapq.heappush(queue, (-pairs[p], p))
    return merges, ids


def tokenizer_json(merges, ids):
    """What tokenizer.json holds; a prompt starts with the BOS."""
    special = {"SpecialToken": {"id": BOS, "type_id": 0}}
    first = {"Sequence": {"id": "A", "type_id": 0}}
    byte_level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=False)
    splits = [dict(type="Split", pattern={"Regex": p}, behavior="Isolated", invert=False) for p in PATTERNS]
    return dict(
        version="1.0", truncation=None, padding=None,
        added_tokens=[dict(id=0, content=BOS, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)],
        normalizer=None,
        pre_tokenizer=dict(type="Sequence", pretokenizers=[*splits, byte_level]),
        post_processor=dict(
            type="TemplateProcessing", single=[special, first],
            pair=[special, first, special, {"Sequence": {"id": "B", "type_id": 1}}],
            special_tokens={BOS: dict(id=BOS, ids=[0], tokens=[BOS])}),
        decoder=byte_level,
        model=dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None, end_of_word_suffix=None,
                   fuse_unk=False, byte_fallback=False, ignore_merges=False, vocab=ids, merges=[list(m) for m in merges]))


def save(path, merges, ids):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(tokenizer_json(merges, ids), f, ensure_ascii=False, separators=(",", ":"))
        f.write("\n")


class Tokenizer:
    """Encodes and decodes by a tokenizer.json that save() wrote."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as f:
            model = json.load(f)["model"]
        self.ids = model["vocab"]
        self.names = sorted(self.ids, key=self.ids.get)
        self.ranks = {tuple(m): rank for rank, m in enumerate(model["merges"])}
        self.alphabet, self.splitter, self.cache = byte_alphabet(), Splitter(), {}
        self.bytes = {c: b for b, c in self.alphabet.items()}

    def word(self, word):
        if word not in self.cache:
            parts = [self.alphabet[b] for b in word.encode()]
            while len(parts) > 1:
                rank, at = min((self.ranks.get(p, len(self.ranks)), i) for i, p in enumerate(zip(parts, parts[1:])))
                if rank == len(self.ranks):
                    break
                parts[at:at + 2] = [parts[at] + parts[at + 1]]
            self.cache[word] = [self.ids[p] for p in parts]
        return self.cache[word]

    def encode(self, text):
        """The ids of a text, without the BOS."""
        return [i for word in self.splitter.words(text) for i in self.word(word)]

    def decode(self, ids):
        kept = "".join(self.names[i] for i in ids if i)
        return bytes(self.bytes[c] for c in kept).decode(errors="replace")
