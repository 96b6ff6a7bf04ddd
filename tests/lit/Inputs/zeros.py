# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Writes a safetensors file of zeros for the weights that a graph's text names.

    python3 zeros.py GRAPH.mlir FILE.safetensors
"""
import json
import math
import re
import struct
import sys

SIZES = {"f32": ("F32", 4), "f16": ("F16", 2), "bf16": ("BF16", 2)}
header, end = {}, 0
for name, shape, stored in re.findall(r"graph\.weight @([\w.]+) : tensor<([\dx]+)x\w+> stored (\w+)",
                                      open(sys.argv[1], encoding="utf-8").read()):
    dims = [int(dim) for dim in shape.split("x")]
    dtype, size = SIZES[stored]
    header[name] = {"dtype": dtype, "shape": dims, "data_offsets": [end, end + size * math.prod(dims)]}
    end += size * math.prod(dims)
text = json.dumps(header).encode()
with open(sys.argv[2], "wb") as out:
    out.write(struct.pack("<Q", len(text)) + text + bytes(end))
