#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Expands a trained Llama, or a Mixtral, to the size of another model without
changing what it says: real behaviour at real cost.

    python3 models/grow.py SOURCE OUT --size qwen2.5-0.5b|qwen2.5-3b
    python3 models/grow.py SOURCE OUT --hidden N --intermediate N --layers N
                           --heads N --kv-heads N --vocabulary N

SOURCE is a Hugging Face directory with tied embeddings. Needs numpy; the result
is written piece by piece, in the storage type of the source.

With W the width of the source and W' the new one:
- Matrices, a router's and experts' too, are padded with zeros, heads and KV
  heads with heads of zeros, whose values o_proj takes times zero. Added layers
  are all zeros: they add nothing.
- RMSNorm over W' columns of which W are not zero: w' = w sqrt(W / W') and
  eps' = eps W / W' give the source's result.
- Padded vocabulary rows would get the logit 0. The last column of the residual
  stream holds a constant k instead of zero, and the norm must not see it: k^2 is
  taken out of eps, eps' = (W eps - k^2) / W'. Only the last norm lets the column
  through, times 2^16 / k, and only the padded rows of the head, now a matrix of
  its own, read it, times -1: their logit is -2^16 sqrt(W'/W) / rms(x).

Matrices keep their values bit by bit; norms are float32. Blocks of 128 columns,
which the compiler quantizes with a scale each, stay together, zeros stay zeros,
and the constant lies in a block without other values: the quantized model too
is the quantized source.
"""
import argparse
import json
import math
import os
import shutil
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "common"))
from checkpoints import NUMPY, Source, write_safetensors  # noqa: E402

SIZES = {
    "qwen2.5-0.5b": dict(hidden=896, intermediate=4864, layers=24, heads=14, kv_heads=2, vocabulary=151936),
    "qwen2.5-3b": dict(hidden=2048, intermediate=11008, layers=36, heads=16, kv_heads=2, vocabulary=151936)}
GROUP = 128
LOUD = 2.0 ** 16


def stored(value, dtype):
    """A number that the type holds exactly, in its storage."""
    if dtype == "BF16":
        return np.uint16(np.float32(value).view(np.uint32) >> 16)
    return NUMPY[dtype](value)


class Growth:
    def __init__(self, source, config, to):
        self.source, self.c, self.to = source, config, to
        self.width, self.new = config["hidden_size"], to["hidden"]
        self.dim = config.get("head_dim") or self.width // config["num_attention_heads"]
        eps = config["rms_norm_eps"]
        self.k = 2.0 ** math.floor(math.log2(self.width * eps / 2) / 2)
        self.eps = (self.width * eps - self.k ** 2) / self.new
        self.check()

    def check(self):
        c, to = self.c, self.to
        if not c.get("tie_word_embeddings") or c["model_type"] not in ("llama", "mixtral"):
            sys.exit("grow: error: the source must be a llama or a mixtral with tied embeddings")
        if self.new < -(-self.width // GROUP) * GROUP + GROUP:
            sys.exit(f"grow: error: --hidden {self.new}: a block of {GROUP} columns beyond the source's {self.width} is needed")
        for name, key in (("intermediate", "intermediate_size"), ("layers", "num_hidden_layers"), ("vocabulary", "vocab_size"),
                          ("kv_heads", "num_key_value_heads")):
            if to[name] < c[key]:
                sys.exit(f"grow: error: --{name.replace('_', '-')} {to[name]} is less than the source's {c[key]}")
        self.shared = c["num_attention_heads"] // c["num_key_value_heads"]
        if to["heads"] % to["kv_heads"] or to["heads"] // to["kv_heads"] < self.shared:
            sys.exit(f"grow: error: --heads {to['heads']}: each of {to['kv_heads']} KV heads needs {self.shared} or more")
        if c["num_key_value_heads"] > 1 and (to["heads"] // to["kv_heads"] - self.shared) * self.dim % GROUP:
            print(f"grow: warning: --heads {to['heads']} parts blocks of {GROUP} columns of o_proj: int4 will round otherwise "
                  "than the source's", file=sys.stderr)

    def query_rows(self):
        """The new rows of the source's query heads, which stay with their KV head."""
        ratio = self.to["heads"] // self.to["kv_heads"]
        heads = [h // self.shared * ratio + h % self.shared for h in range(self.c["num_attention_heads"])]
        return np.concatenate([np.arange(h * self.dim, (h + 1) * self.dim) for h in heads])

    def norm(self, name, constant=0.0):
        """name None: of an added layer."""
        out = np.zeros(self.new, np.float32)
        weight = 1.0 if name is None else self.source.floats(name).astype(np.float64)
        out[:self.width] = weight * math.sqrt(self.width / self.new)
        out[-1] = constant
        return out

    def mlp(self):
        """(name, rows, columns) of the matrices behind a layer's attention."""
        inner = self.to["intermediate"]
        if self.c["model_type"] == "llama":
            return [("mlp.gate_proj", inner, self.new), ("mlp.up_proj", inner, self.new), ("mlp.down_proj", self.new, inner)]
        count = self.c["num_local_experts"]
        return [("block_sparse_moe.gate", count, self.new)] + [
            (f"block_sparse_moe.experts.{e}.{name}", *shape) for e in range(count)
            for name, shape in (("w1", (inner, self.new)), ("w3", (inner, self.new)), ("w2", (self.new, inner)))]

    def tensors(self):
        """(name, type, shape, function giving its rows in pieces), in order."""
        embedding = "model.embed_tokens.weight"
        dtype, to = self.source.dtype(embedding), self.to

        def padded(rows, columns, value, at_rows=None, at_columns=None):
            def pieces():
                step = max(1, (1 << 24) // columns)
                place = np.arange(len(value)) if at_rows is None else at_rows
                across = np.arange(value.shape[1]) if at_columns is None else at_columns
                for begin in range(0, rows, step):
                    block = np.zeros((min(step, rows - begin), columns), NUMPY[dtype])
                    inside = (place >= begin) & (place < begin + len(block))
                    if inside.any():
                        block[np.ix_(place[inside] - begin, across)] = value[inside]
                    yield block
            return pieces

        def vocabulary(is_head):
            def pieces():
                begin, known = 0, self.c["vocab_size"]
                for block in padded(to["vocabulary"], self.new, self.source[embedding])():
                    if is_head:
                        block[max(0, known - begin):, -1] = stored(-1, dtype)
                    else:
                        block[:, -1] = stored(self.k, dtype)
                    begin += len(block)
                    yield block
            return pieces

        table = (to["vocabulary"], self.new)
        yield embedding, dtype, table, vocabulary(False)
        queries = self.query_rows()
        nothing = np.zeros((0, 0), NUMPY[dtype])
        for layer in range(to["layers"]):
            real = layer < self.c["num_hidden_layers"]
            prefix = f"model.layers.{layer}."
            for part, rows, columns, at_rows, at_columns in (
                    ("self_attn.q_proj", to["heads"] * self.dim, self.new, queries, None),
                    ("self_attn.k_proj", to["kv_heads"] * self.dim, self.new, None, None),
                    ("self_attn.v_proj", to["kv_heads"] * self.dim, self.new, None, None),
                    ("self_attn.o_proj", self.new, to["heads"] * self.dim, None, queries),
                    *((*matrix, None, None) for matrix in self.mlp())):
                name = prefix + part + ".weight"
                yield name, dtype, (rows, columns), padded(rows, columns, self.source[name], at_rows, at_columns) \
                    if real else padded(rows, columns, nothing)
            for part in ("input_layernorm", "post_attention_layernorm"):
                name = prefix + part + ".weight"
                value = self.norm(name if real else None)
                yield name, "F32", value.shape, lambda value=value: [value]
        last = self.norm("model.norm.weight", LOUD / self.k)
        yield "model.norm.weight", "F32", last.shape, lambda: [last]
        yield "lm_head.weight", dtype, table, vocabulary(True)

    def config(self):
        to = self.to
        return self.c | dict(
            hidden_size=self.new, intermediate_size=to["intermediate"], num_hidden_layers=to["layers"],
            num_attention_heads=to["heads"], num_key_value_heads=to["kv_heads"], head_dim=self.dim,
            vocab_size=to["vocabulary"], rms_norm_eps=self.eps, tie_word_embeddings=False)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("source")
    p.add_argument("out")
    p.add_argument("--size", choices=SIZES)
    for name in SIZES["qwen2.5-3b"]:
        p.add_argument("--" + name.replace("_", "-"), type=int)
    a = p.parse_args()
    to = dict(SIZES[a.size]) if a.size else {}
    to |= {name: getattr(a, name) for name in SIZES["qwen2.5-3b"] if getattr(a, name) is not None}
    missing = [name for name in SIZES["qwen2.5-3b"] if name not in to]
    if missing:
        p.error("give --size, or also --" + ", --".join(m.replace("_", "-") for m in missing))
    with open(os.path.join(a.source, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    growth = Growth(Source(a.source), config, to)
    os.makedirs(a.out, exist_ok=True)
    size = write_safetensors(os.path.join(a.out, "model.safetensors"), list(growth.tensors()))
    with open(os.path.join(a.out, "config.json"), "w", encoding="utf-8") as f:
        json.dump(growth.config(), f, indent=2)
        f.write("\n")
    for name in ("generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        if os.path.exists(os.path.join(a.source, name)):
            shutil.copyfile(os.path.join(a.source, name), os.path.join(a.out, name))
    print(f"{a.out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
