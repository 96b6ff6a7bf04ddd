# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Fails unless two data-only artifacts hold the same bytes behind their metadata.

    python3 same_weights.py A.mlca B.mlca
"""
import struct
import sys


def weights(path):
    with open(path, "rb") as f:
        data = f.read()
    offset, size = struct.unpack_from("<QQ", data, 16)
    return data[(offset + size + 63) // 64 * 64:]


a, b = map(weights, sys.argv[1:])
if not a or a != b:
    sys.exit(f"the weights of {sys.argv[1]} ({len(a)} bytes) are not those of {sys.argv[2]} ({len(b)} bytes)")
