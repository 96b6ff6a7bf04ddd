# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Operators for random graphs: what moves values."""
import numpy as np

from random_graph import Unfit
from random_operators import operator


@operator(6)
def transpose(g):
    x = g.pick(lambda v: v.rank >= 2)
    perm = [int(p) for p in g.rng.permutation(x.rank)]
    more = {} if perm == list(range(x.rank))[::-1] and g.chance(0.5) else {"perm": perm}
    g.add("Transpose", [x], x.dtype, tuple(x.shape[p] for p in perm), x.lo, x.hi, True, **more)


def factors(g, size):
    """A random shape of so many elements."""
    shape = []
    while size > 1 and len(shape) < 4:
        divisors = [d for d in range(2, min(size, 64) + 1) if size % d == 0]
        if not divisors or g.chance(0.3):
            break
        shape.append(g.choose(divisors))
        size //= shape[-1]
    shape += [size] if size != 1 or not shape else []
    if g.chance(0.3):
        shape.insert(int(g.rng.integers(len(shape) + 1)), 1)
    return shape


@operator(7)
def reshape(g):
    x = g.pick(lambda v: v.size > 0)
    shape = factors(g, x.size)
    g.rng.shuffle(shape)
    asked = list(shape)
    if g.chance(0.4):
        asked[int(g.rng.integers(len(asked)))] = -1
    for i in range(min(len(asked), x.rank)):
        if asked[i] == x.shape[i] and g.chance(0.5):
            asked[i] = 0
    g.add("Reshape", [x, g.constant(np.array(asked, np.int64))], x.dtype, shape, x.lo, x.hi, True)


@operator(2)
def flatten(g):
    x = g.pick(lambda v: v.rank)
    axis = int(g.rng.integers(0, x.rank + 1))
    shape = (int(np.prod(x.shape[:axis], dtype=np.int64)), int(np.prod(x.shape[axis:], dtype=np.int64)))
    g.add("Flatten", [x], x.dtype, shape, x.lo, x.hi, True, axis=axis)


@operator(3)
def squeeze(g):
    if g.chance(0.5):
        x = g.pick(lambda v: 1 in v.shape)
        axes = [i for i, d in enumerate(x.shape) if d == 1 and g.chance(0.7)] or [x.shape.index(1)]
        shape = [d for i, d in enumerate(x.shape) if i not in axes]
        g.add("Squeeze", [x, g.constant(np.array(axes))], x.dtype, shape, x.lo, x.hi, True)
        return
    x = g.pick(lambda v: v.rank < 4)
    axis = int(g.rng.integers(x.rank + 1))
    shape = x.shape[:axis] + (1,) + x.shape[axis:]
    g.add("Unsqueeze", [x, g.constant(np.array([axis if g.chance(0.5) else axis - x.rank - 1]))], x.dtype, shape, x.lo, x.hi, True)


@operator(6)
def slices(g):
    x = g.pick(lambda v: v.rank and v.size)
    axes = sorted(int(a) for a in g.rng.choice(x.rank, int(g.rng.integers(1, x.rank + 1)), replace=False))
    starts, ends, steps, shape = [], [], [], list(x.shape)
    for axis in axes:
        extent = x.shape[axis]
        step = g.choose([1, 1, 1, 2, 3, -1, -2])
        a, b = sorted(int(v) for v in g.rng.integers(0, extent + 1, 2))
        if a == b and not g.chance(0.05):
            a, b = 0, extent
        picked = range(extent)[a:b:step] if step > 0 else range(extent)[b:(a or None):step]
        starts.append(a if step > 0 else b)
        ends.append(b if step > 0 else (a if a else -(1 << 40)))
        if step > 0 and b == extent and g.chance(0.5):
            ends[-1] = (1 << 62) if g.chance(0.5) else extent + 7
        steps.append(step)
        shape[axis] = len(picked)
    lists = [starts, ends, [a - x.rank if g.chance(0.3) else a for a in axes], steps]
    g.add("Slice", [x] + [g.constant(np.array(l, np.int64)) for l in lists], x.dtype, shape, x.lo, x.hi, True)


@operator(6)
def concat(g):
    x = g.pick(lambda v: v.rank)
    axis = int(g.rng.integers(x.rank))
    parts = [x]
    for _ in range(int(g.rng.integers(1, 3))):
        other = g.pick(lambda v: v.dtype == x.dtype and v.rank == x.rank and v.shape[:axis] == x.shape[:axis] and
                       v.shape[axis + 1:] == x.shape[axis + 1:])
        if g.chance(0.3):
            other = g.fresh(x.dtype, x.shape[:axis] + (g.extent(5),) + x.shape[axis + 1:], 0, 2)
        parts.insert(int(g.rng.integers(len(parts) + 1)), other)
    shape = x.shape[:axis] + (sum(p.shape[axis] for p in parts),) + x.shape[axis + 1:]
    g.add("Concat", parts, x.dtype, shape, min(p.lo for p in parts), max(p.hi for p in parts), True,
          axis=axis - x.rank if g.chance(0.3) else axis)


@operator(3)
def split(g):
    x = g.pick(lambda v: v.rank and max(v.shape) > 1)
    axis = g.choose([i for i, d in enumerate(x.shape) if d > 1])
    parts = int(g.rng.integers(2, min(x.shape[axis], 4) + 1))
    extent, given, more = x.shape[axis], [x], {}
    if g.opset >= 18 and g.chance(0.5):
        size = -(-extent // parts)
        sizes = [size] * (parts - 1) + [extent - size * (parts - 1)]
        more["num_outputs"] = parts
    else:
        cuts = sorted(int(c) for c in g.rng.choice(np.arange(1, extent), parts - 1, replace=False))
        sizes = [int(d) for d in np.diff([0] + cuts + [extent])]
        given.append(g.constant(np.array(sizes)))
    if min(sizes) < 1:
        raise Unfit()
    results = [(x.dtype, x.shape[:axis] + (s,) + x.shape[axis + 1:], x.lo, x.hi, True) for s in sizes]
    g.add_all("Split", given, results, axis=axis, **more)


@operator(5)
def pad(g):
    x = g.pick(lambda v: v.rank and v.dtype in ("float32", "int32", "int64", "float64"))
    modes = ["constant"] * 3 + (["edge", "reflect"] if 0 not in x.shape else []) + (["wrap"] if g.opset >= 19 and 0 not in x.shape else [])
    mode = g.choose(modes)
    pads = [[0, 0] for _ in x.shape]
    for axis, extent in enumerate(x.shape):
        if g.chance(0.6):
            most = 4 if mode in ("constant", "edge") else min(extent - 1, 4)
            pads[axis] = [int(p) for p in g.rng.integers(0, max(most, 0) + 1, 2)]
        if mode == "constant" and g.chance(0.1) and extent > 2:
            pads[axis][0] = -1
    shape = [d + a + b for d, (a, b) in zip(x.shape, pads)]
    given = [x, g.constant(np.array([p[0] for p in pads] + [p[1] for p in pads]))]
    fill = 0
    if mode == "constant" and g.chance(0.5):
        fill = g.choose([0, 1, 3])
        given.append(g.constant(np.asarray(fill, x.dtype)))
    more = {} if mode == "constant" and g.chance(0.5) else {"mode": mode}
    g.add("Pad", given, x.dtype, shape, min(x.lo, fill), max(x.hi, fill), True, **more)


def indices(g, shape, extent, negative=True):
    lo = -extent if negative and g.chance(0.5) else 0
    found = g.pick(lambda v: v.dtype == "int64" and v.shape == tuple(shape) and v.lo >= -extent and v.hi < extent, required=False)
    return found or g.fresh(g.choose(["int64", "int64", "int32"]), shape, lo, extent - 1)


@operator(6)
def gather(g):
    x = g.pick(lambda v: v.rank and v.size)
    axis = int(g.rng.integers(x.rank))
    if g.chance(0.7):
        known = g.pick(lambda v: v.dtype == "int64" and v.lo >= 0 and v.hi < x.shape[axis] and v.rank < 3, required=False)
        index = known if known and g.chance(0.5) else indices(g, g.shape(int(g.rng.integers(0, 3)), 40), x.shape[axis])
        g.add("Gather", [x, index], x.dtype, x.shape[:axis] + index.shape + x.shape[axis + 1:], x.lo, x.hi, True, axis=axis)
    else:
        shape = tuple(g.extent(d) for d in x.shape)
        shape = shape[:axis] + (g.extent(9),) + shape[axis + 1:]
        index = indices(g, shape, x.shape[axis])
        g.add("GatherElements", [x, index], x.dtype, shape, x.lo, x.hi, True, axis=axis)


@operator(2)
def gather_nd(g):
    x = g.pick(lambda v: v.rank and v.size)
    depth = int(g.rng.integers(1, x.rank + 1))
    shape = g.shape(int(g.rng.integers(1, 3)), 20)
    index = np.stack([g.rng.integers(-d if g.chance(0.3) else 0, d, shape) for d in x.shape[:depth]], -1).astype(np.int64)
    g.add("GatherND", [x, g.constant(index)], x.dtype, shape + x.shape[depth:], x.lo, x.hi, True)


@operator(2)
def scatter(g):
    x = g.pick(lambda v: v.rank and v.size and v.dtype in ("float32", "int32", "int64"))
    axis = int(g.rng.integers(x.rank))
    if g.chance(0.5):  # No index twice.
        shape = list(x.shape)
        shape[axis] = int(g.rng.integers(1, x.shape[axis] + 1))
        index = np.argsort(g.rng.random(x.shape), axis=axis).take(range(shape[axis]), axis=axis).astype(np.int64)
        updates = g.fresh(x.dtype, shape, 0, 2)
        g.add("ScatterElements", [x, g.constant(index), updates], x.dtype, x.shape, min(x.lo, 0), max(x.hi, 2), True, axis=axis)
    else:
        rows = int(g.rng.integers(1, x.shape[0] + 1))
        index = g.rng.permutation(x.shape[0])[:rows].reshape(rows, 1).astype(np.int64)
        updates = g.fresh(x.dtype, (rows,) + x.shape[1:], 0, 2)
        g.add("ScatterND", [x, g.constant(index), updates], x.dtype, x.shape, min(x.lo, 0), max(x.hi, 2), True)


@operator(3)
def expand(g):
    x = g.pick(lambda v: v.size < 200)
    if g.chance(0.5):
        shape = tuple(g.extent(9) if d == 1 and g.chance(0.7) else d for d in x.shape)
        shape = (g.extent(4),) + shape if g.chance(0.4) and x.rank < 4 else shape
        g.add("Expand", [x, g.constant(np.array(shape, np.int64))], x.dtype, shape, x.lo, x.hi, True)
        return
    if not x.rank:
        raise Unfit()
    repeats = [g.choose([1, 1, 2, 3]) for _ in x.shape]
    g.add("Tile", [x, g.constant(np.array(repeats, np.int64))], x.dtype, [d * r for d, r in zip(x.shape, repeats)], x.lo, x.hi, True)


@operator(1)
def triangle(g):
    x = g.pick(lambda v: v.rank >= 2 and v.dtype in ("float32", "int64", "float64"))
    if g.opset < 14:
        raise Unfit()
    g.add("Trilu", [x, g.constant(np.asarray(int(g.rng.integers(-2, 3))))], x.dtype, x.shape, min(x.lo, 0), max(x.hi, 0), True,
          upper=int(g.chance(0.5)))


@operator(1)
def one_hot(g):
    index = g.fresh("int64", g.shape(int(g.rng.integers(1, 3)), 30), -7, 6)
    values = g.constant(np.float32([0.5, 2]))
    g.add("OneHot", [index, g.constant(np.asarray(7)), values], "float32", index.shape + (7,), 0.5, 2, True, axis=-1)


@operator(1)
def reverse(g):
    x = g.pick(lambda v: v.rank >= 2 and v.size and v.dtype in ("float32", "int64"))
    lengths = g.constant(g.rng.integers(1, x.shape[0] + 1, x.shape[1]).astype(np.int64))
    g.add("ReverseSequence", [x, lengths], x.dtype, x.shape, x.lo, x.hi, True, time_axis=0, batch_axis=1)


@operator(2)
def shape_of(g):
    x = g.pick(lambda v: v.rank)
    g.add("Shape", [x], "int64", (x.rank,), 0, max(x.shape), True)


@operator(2)
def blocks(g):
    if g.chance(0.5):
        n, c, h, w = g.extent(2), g.choose([1, 2, 3]), g.extent(5), g.extent(5)
        x = g.pick(lambda v: v.rank == 4 and v.dtype == "float32" and v.shape[1] % 4 == 0, required=False)
        x = x or g.fresh("float32", (n, 4 * c, h, w))
        shape = (x.shape[0], x.shape[1] // 4, 2 * x.shape[2], 2 * x.shape[3])
        g.add("DepthToSpace", [x], x.dtype, shape, x.lo, x.hi, True, blocksize=2, mode=g.choose(["DCR", "CRD"]))
    else:
        x = g.pick(lambda v: v.rank == 4 and v.dtype == "float32" and v.shape[2] % 2 == 0 and v.shape[3] % 2 == 0 and v.size)
        g.add("SpaceToDepth", [x], x.dtype, (x.shape[0], 4 * x.shape[1], x.shape[2] // 2, x.shape[3] // 2), x.lo, x.hi, True,
              blocksize=2)
