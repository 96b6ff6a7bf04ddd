# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Writes small ONNX files without the onnx package (fields of onnx.proto by number)."""
import numpy as np

TYPES = {"float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9, "float16": 10,
         "float64": 11, "uint32": 12, "uint64": 13}


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def field(number, value):
    """An integer, or bytes or text with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(name, array, external=None):
    array = np.asarray(array)
    out = b"".join(field(1, int(d)) for d in array.shape) + field(2, TYPES[str(array.dtype)]) + field(8, name)
    if external is None:
        return out + field(9, np.ascontiguousarray(array).tobytes())
    for key, value in external.items():
        out += field(13, field(1, key) + field(2, str(value)))
    return out + field(14, 1)


def attribute(name, value):
    out = field(1, name)
    if isinstance(value, float):
        return out + varint(2 << 3 | 5) + np.float32(value).tobytes() + field(20, 1)
    if isinstance(value, int):
        return out + field(3, value) + field(20, 2)
    if isinstance(value, str):
        return out + field(4, value) + field(20, 3)
    if isinstance(value, np.ndarray):
        return out + field(5, tensor("", value)) + field(20, 4)
    if isinstance(value, bytes):  # A graph.
        return out + field(6, value) + field(20, 5)
    return out + b"".join(field(8, v) for v in value) + field(20, 7)


def node(op, inputs, outputs, name="", domain="", **attributes):
    out = b"".join(field(1, i) for i in inputs) + b"".join(field(2, o) for o in outputs) + field(3, name) + field(4, op)
    out += b"".join(field(5, attribute(k, v)) for k, v in attributes.items())
    return out + (field(7, domain) if domain else b"")


def value(name, dtype, shape):
    dims = b"".join(field(1, field(2, d) if isinstance(d, str) else field(1, d)) for d in shape)
    return field(1, name) + field(2, field(1, field(1, TYPES[dtype]) + field(2, dims)))


def graph(nodes, inputs=(), outputs=(), tensors=(), name="g"):
    return (b"".join(field(1, n) for n in nodes) + field(2, name) + b"".join(field(5, t) for t in tensors) +
            b"".join(field(11, i) for i in inputs) + b"".join(field(12, o) for o in outputs))


def model(body, opset=17, ir=8, domain=None):
    out = field(1, ir) + field(7, body) + field(8, field(1, "") + field(2, opset))
    return out + field(8, field(1, domain) + field(2, 1)) if domain else out
