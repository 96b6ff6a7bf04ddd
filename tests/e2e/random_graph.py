# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""A graph under construction: values with what is known of them, and how it becomes an ONNX file.

Of every value the type, the shape and an interval are known, so that no operator overflows or loses all digits, and
whether every implementation computes the same bits (`exact`): only such a value may be rounded, compared, sorted or cast.
"""
import dataclasses

import numpy as np

import onnx_writer as onnx

SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 33]
FLOATS = ("float32", "float64", "float16")
SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
MOST_ELEMENTS = 6000


@dataclasses.dataclass(eq=False)
class Value:
    name: str
    dtype: str
    shape: tuple
    lo: float = -1.0
    hi: float = 1.0
    exact: bool = True

    @property
    def rank(self):
        return len(self.shape)

    @property
    def size(self):
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def most(self):
        return max(abs(self.lo), abs(self.hi))

    def __str__(self):
        return f"{self.name}:{self.dtype}{list(self.shape)}"


@dataclasses.dataclass(eq=False)
class Node:
    op: str
    inputs: list  # Values; None: left out.
    outputs: list
    attributes: dict
    domain: str = ""
    captured: tuple = ()  # Values that its subgraphs read.

    def reads(self):
        return [v for v in self.inputs if v] + list(self.captured)

    def __str__(self):
        given = ", ".join(str(v) if v else "-" for v in self.inputs)
        shown = {k: "(graph)" if isinstance(v, bytes) else v for k, v in self.attributes.items()}
        return f"{', '.join(map(str, self.outputs))} = {self.op}({given}) {shown or ''}"


class Graph:
    def __init__(self, rng, opset):
        self.rng, self.opset = rng, opset
        self.inputs, self.constants, self.nodes, self.outputs = [], [], [], []
        self.arrays = {}  # Of inputs and constants, by name.
        self.pool = []  # What operators may read.

    # Choices.
    def chance(self, probability):
        return self.rng.random() < probability

    def choose(self, items):
        return items[int(self.rng.integers(len(items)))]

    def extent(self, most=33):
        return self.choose([s for s in SIZES if s <= max(most, 1)])

    def shape(self, rank=None, most=600):
        rank = int(self.rng.integers(0, 5)) if rank is None else rank
        shape = []
        for _ in range(rank):
            shape.append(self.extent(most // max(1, int(np.prod(shape)))))
        self.rng.shuffle(shape)
        return tuple(int(d) for d in shape)

    def random(self, dtype, shape, lo, hi):
        """Values with few bits: sums and products of them are often exact, ties and zeros occur."""
        if dtype == "bool":
            return np.asarray(self.rng.random(shape) < 0.5)
        if dtype in FLOATS:
            drawn = np.asarray(self.rng.uniform(lo, hi, shape))
            return np.asarray(np.clip(np.round(drawn * 64) / 64, lo, hi) if self.chance(0.3) else drawn, dtype)
        return np.asarray(self.rng.integers(int(lo), int(hi), shape, endpoint=True)).astype(dtype)

    # Values.
    def name(self, kind):
        return f"{kind}{len(self.inputs) + len(self.constants) + sum(len(n.outputs) for n in self.nodes)}"

    def input(self, dtype, shape, lo=-2.0, hi=2.0):
        value = Value(self.name("x"), dtype, tuple(shape), *((0, 1) if dtype == "bool" else (lo, hi)))
        self.inputs.append(value)
        self.arrays[value.name] = self.random(dtype, shape, lo, hi)
        self.pool.append(value)
        return value

    def constant(self, array, lo=None, hi=None):
        array = np.asarray(array)
        if array.dtype == bool or not array.size:
            low, high = 0, 1
        else:
            low, high = float(array.min()), float(array.max())
        value = Value(self.name("c"), str(array.dtype), array.shape, low if lo is None else lo, high if hi is None else hi)
        self.constants.append(value)
        self.arrays[value.name] = array
        return value

    def fresh(self, dtype, shape, lo=-2.0, hi=2.0):
        """An input or a constant."""
        if self.chance(0.5):
            return self.input(dtype, shape, lo, hi)
        return self.constant(self.random(dtype, shape, lo, hi), lo, hi)

    def weight(self, *shape, scale=1.0):
        if self.chance(0.15):
            return self.input("float32", shape, -scale, scale)
        return self.constant(self.random("float32", shape, -scale, scale), -scale, scale)

    def pick(self, wanted=lambda v: True, required=True):
        """A value of the pool, the late ones more often."""
        fits = [v for v in self.pool if wanted(v)]
        if not fits:
            if required:
                raise Unfit()
            return None
        return fits[max(int(self.rng.integers(len(fits))), int(self.rng.integers(len(fits))))]

    def float32(self, rank=None, least=None, most=None, exact=False):
        """An f32 value of the pool, or a new one."""
        def wanted(v):
            return (v.dtype == "float32" and (rank is None or v.rank == rank) and (v.exact or not exact) and
                    (least is None or v.lo >= least) and (most is None or v.hi <= most))
        found = self.pick(wanted, required=False)
        if found and self.chance(0.85):
            return found
        lo = -2.0 if least is None else max(-2.0, least)
        return self.fresh("float32", self.shape(rank), lo, max(lo, min(2.0, 2.0 if most is None else most)))

    def add(self, op, inputs, dtype, shape, lo=-1.0, hi=1.0, exact=False, domain="", **attributes):
        """A node of one result; exact: given that its inputs are."""
        return self.add_all(op, inputs, [(dtype, shape, lo, hi, exact)], domain, **attributes)[0]

    def add_all(self, op, inputs, results, domain="", **attributes):
        given = all(v.exact for v in inputs if v)
        made = []
        for dtype, shape, lo, hi, exact in results:
            if dtype in FLOATS and not (max(abs(lo), abs(hi)) < (1e3 if dtype == "float16" else 1e5)):
                raise Unfit()
            if dtype not in FLOATS and dtype != "bool" and not (np.iinfo(dtype).min <= lo and hi <= np.iinfo(dtype).max):
                raise Unfit()
            if np.prod(shape, dtype=np.int64) > MOST_ELEMENTS:
                raise Unfit()
            made.append(Value(f"{self.name('v')}{'abcdefgh'[len(made)] if made else ''}", dtype, tuple(int(d) for d in shape),
                              float(lo), float(hi), exact and given))
        self.nodes.append(Node(op, list(inputs), made, attributes, domain))
        self.pool += made
        return made

    # The whole.
    def finish(self):
        """Outputs: what nobody reads, some of what is read, and at times not all of the first."""
        read = {v.name for n in self.nodes for v in n.reads()}
        made = [v for n in self.nodes for v in n.outputs]
        leaves = [v for v in made if v.name not in read]
        if len(leaves) > 1 and self.chance(0.3):
            leaves.pop(int(self.rng.integers(len(leaves))))  # A dead value.
        self.outputs = leaves + [v for v in made if v.name in read and self.chance(0.15)]
        self.drop_unread()

    def drop_unread(self):
        """Inputs and constants that nobody reads."""
        read = {v.name for n in self.nodes for v in n.reads()} | {v.name for v in self.outputs}
        self.inputs = [v for v in self.inputs if v.name in read]
        self.constants = [v for v in self.constants if v.name in read]

    def model(self, outputs=None):
        ports = [onnx.value(v.name, v.dtype, v.shape) for v in self.inputs]
        results = [onnx.value(v.name, v.dtype, v.shape) for v in (outputs or self.outputs)]
        nodes = [onnx.node(n.op, [v.name if v else "" for v in n.inputs], [v.name for v in n.outputs], domain=n.domain,
                           **n.attributes) for n in self.nodes]
        tensors = [onnx.tensor(v.name, self.arrays[v.name]) for v in self.constants]
        return onnx.model(onnx.graph(nodes, ports, results, tensors), opset=self.opset)

    def given(self):
        return {v.name: self.arrays[v.name] for v in self.inputs}


class Unfit(Exception):
    """An operator finds no operands that fit it here."""
