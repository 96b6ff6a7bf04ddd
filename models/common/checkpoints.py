# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Checkpoints without torch: reads the safetensors files of a directory, and
writes safetensors and GGUF files piece by piece. Needs numpy."""
import glob
import json
import math
import os
import struct
import sys

import numpy as np

NUMPY = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}  # bfloat16 as its bits


class Source:
    """The tensors of a directory's safetensors files, mapped: name -> array."""

    def __init__(self, folder):
        self.tensors = {}
        for path in sorted(glob.glob(os.path.join(folder, "*.safetensors"))):
            with open(path, "rb") as f:
                length, = struct.unpack("<Q", f.read(8))
                header = json.loads(f.read(length))
            for name, t in header.items():
                if name != "__metadata__":
                    if t["dtype"] not in NUMPY:
                        sys.exit(f"error: {path}: {name} is stored as {t['dtype']}; this takes F32, F16 and BF16")
                    self.tensors[name] = t["dtype"], np.memmap(path, NUMPY[t["dtype"]], "r", 8 + length + t["data_offsets"][0],
                                                               tuple(t["shape"]))
        if not self.tensors:
            sys.exit(f"error: {folder}: no safetensors files")

    def __getitem__(self, name):
        return self.tensors[name][1]

    def dtype(self, name):
        return self.tensors[name][0]

    def floats(self, name):
        dtype, value = self.tensors[name]
        return (value.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else value.astype(np.float32)


def write_safetensors(path, tensors):
    """tensors: (name, type, shape, function that gives the rows in blocks), in
    the file's order. Returns the bytes of the data."""
    header, at = {}, 0
    for name, dtype, shape, _ in tensors:
        size = math.prod(shape) * np.dtype(NUMPY[dtype]).itemsize
        header[name] = dict(dtype=dtype, shape=list(shape), data_offsets=[at, at + size])
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path + ".new", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for i, (_, _, _, blocks) in enumerate(tensors):
            for block in blocks():
                f.write(block)
            if sys.stderr.isatty():
                print(f"\r{i + 1} of {len(tensors)} tensors", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    os.replace(path + ".new", path)
    return at


# --- GGUF v3 ----------------------------------------------------------------

ALIGNMENT = 32
GGUF_TYPES = {np.dtype(np.float32): 0, np.dtype(np.float16): 1, np.dtype(np.uint16): 30}  # F32, F16, BF16
INT32 = 5


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def key_value(value, inner=False):
    """A value behind its type: bool, int (u32), float, str, or a list of one
    of them (of integers: i32)."""
    if isinstance(value, bool):
        kind, data = 7, struct.pack("<?", value)
    elif isinstance(value, int):
        kind, data = (INT32, struct.pack("<i", value)) if inner else (4, struct.pack("<I", value))
    elif isinstance(value, float):
        kind, data = 6, struct.pack("<f", value)
    elif isinstance(value, str):
        kind, data = 8, text(value)
    else:
        items = [key_value(v, inner=True) for v in value]
        return struct.pack("<II", 9, struct.unpack("<I", items[0][:4])[0]) + struct.pack("<Q", len(items)) + b"".join(
            i[4:] for i in items)
    return struct.pack("<I", kind) + data


def write_gguf(path, keys, tensors):
    """keys: name -> value; tensors: name -> array, slowest dimension first."""
    out = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(keys))]
    out += [text(name) + key_value(value) for name, value in keys.items()]
    at = 0
    for name, value in tensors.items():
        out.append(text(name) + struct.pack(f"<I{value.ndim}QIQ", value.ndim, *value.shape[::-1], GGUF_TYPES[value.dtype], at))
        at += value.nbytes + -value.nbytes % ALIGNMENT
    header = b"".join(out)
    with open(path + ".new", "wb") as f:
        f.write(header + bytes(-len(header) % ALIGNMENT))
        for value in tensors.values():
            f.write(np.ascontiguousarray(value).tobytes() + bytes(-value.nbytes % ALIGNMENT))
    os.replace(path + ".new", path)
