# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Operators for random graphs: elementwise, types and reductions. Each function adds a node to a graph."""
import math

import numpy as np

from random_graph import FLOATS, UNSIGNED, Unfit
from onnx_writer import TYPES

OPERATORS = []  # (weight, function)


def operator(weight):
    def register(function):
        OPERATORS.append((weight, function))
        return function
    return register


# Elementwise ops of one operand: where it must lie, a bound of the result, and whether all implementations agree.
def rising(f):
    return lambda lo, hi: (f(lo), f(hi))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


UNARY = {
    "Abs": (-1e5, 1e5, lambda lo, hi: (0, max(abs(lo), abs(hi))), True), "Neg": (-1e5, 1e5, lambda lo, hi: (-hi, -lo), True),
    "Relu": (-1e5, 1e5, lambda lo, hi: (max(lo, 0), max(hi, 0)), True), "Identity": (-1e5, 1e5, lambda lo, hi: (lo, hi), True),
    "Sigmoid": (-1e3, 1e3, lambda lo, hi: (0, 1), False), "Tanh": (-1e3, 1e3, lambda lo, hi: (-1, 1), False),
    "Exp": (-20, 6, rising(math.exp), False), "Log": (0.05, 1e5, rising(math.log), False),
    "Sqrt": (0, 1e5, rising(math.sqrt), False), "Erf": (-1e3, 1e3, lambda lo, hi: (-1, 1), False),
    "Sin": (-30, 30, lambda lo, hi: (-1, 1), False), "Cos": (-30, 30, lambda lo, hi: (-1, 1), False),
    "Softplus": (-1e3, 1e3, lambda lo, hi: (0, max(hi, 0) + 1), False), "Softsign": (-1e3, 1e3, lambda lo, hi: (-1, 1), False),
    "HardSigmoid": (-1e3, 1e3, lambda lo, hi: (0, 1), False), "HardSwish": (-1e3, 1e3, lambda lo, hi: (-1, max(hi, 0)), False),
    "Elu": (-1e3, 1e3, lambda lo, hi: (-1, max(hi, 0)), False), "Selu": (-1e3, 1e3, lambda lo, hi: (-2, 2 * max(hi, 0)), False),
    "Mish": (-1e3, 1e3, lambda lo, hi: (-1, max(hi, 0)), False), "Gelu": (-1e3, 1e3, lambda lo, hi: (-1, max(hi, 0)), False),
    "Atan": (-1e3, 1e3, lambda lo, hi: (-2, 2), False), "Asinh": (-50, 50, rising(math.asinh), False),
    "Sinh": (-6, 6, rising(math.sinh), False), "Cosh": (-6, 6, lambda lo, hi: (0, math.cosh(max(abs(lo), abs(hi)))), False),
    "Reciprocal": (0.05, 1e5, lambda lo, hi: (1 / hi, 1 / lo), True), "LeakyRelu": (-1e5, 1e5, lambda lo, hi: (min(lo, 0), max(hi, 0)), True),
    "ThresholdedRelu": (-1e5, 1e5, lambda lo, hi: (0, max(hi, 0)), True),
}
ROUNDING = ("Floor", "Ceil", "Round", "Sign")
SINCE = {"HardSwish": 14, "Mish": 18, "Gelu": 20}


@operator(16)
def unary(g):
    op = g.choose([name for name in UNARY if SINCE.get(name, 0) <= g.opset])
    least, most, bound, exact = UNARY[op]
    x = g.float32(least=least, most=most)
    more = {}
    if op in ("LeakyRelu", "Elu", "ThresholdedRelu") and g.chance(0.5):
        more["alpha"] = float(g.choose([0.25, 0.5, 0.75]))
        exact = exact and (op != "ThresholdedRelu" or x.exact)
    if op == "ThresholdedRelu" and not x.exact:
        raise Unfit()
    if op == "Gelu" and g.chance(0.5):
        more["approximate"] = "tanh"
    g.add(op, [x], x.dtype, x.shape, *bound(x.lo, x.hi), exact, **more)


@operator(2)
def rounding(g):
    x = g.float32(exact=True)
    g.add(g.choose(ROUNDING), [x], x.dtype, x.shape, min(x.lo, -1) - 1, max(x.hi, 1) + 1, True)


@operator(2)
def clip(g):
    x = g.pick(lambda v: v.dtype in ("float32", "int32", "int64", "uint8", "int8", "float64"))
    low, high = np.asarray(0, x.dtype), np.asarray(1 if x.hi < 2 else x.hi / 2).astype(x.dtype)
    given = [x, g.constant(low) if g.chance(0.7) else None, g.constant(high) if g.chance(0.7) else None]
    g.add("Clip", given, x.dtype, x.shape, min(x.lo, 0), max(x.hi, 1), True)


def partner(g, x, lo=-2.0, hi=2.0, wanted=lambda v: True):
    """A value that broadcasts with x: of the pool, or new."""
    def fits(v):
        return v.dtype == x.dtype and wanted(v) and all(a == b or 1 in (a, b) for a, b in zip(v.shape[::-1], x.shape[::-1]))
    found = g.pick(fits, required=False)
    if found and g.chance(0.6):
        return found
    shape = tuple(1 if g.chance(0.3) else d for d in x.shape)
    shape = shape[int(g.rng.integers(len(shape) + 1)):] if g.chance(0.5) else shape
    shape = tuple(g.extent(9) if d == 1 and g.chance(0.2) else d for d in shape)
    return g.fresh(x.dtype, shape, lo, hi)


def joined(*values):
    try:
        return np.broadcast_shapes(*(v.shape for v in values))
    except ValueError:
        raise Unfit() from None


def products(a, b):
    corners = [x * y for x in (a.lo, a.hi) for y in (b.lo, b.hi)]
    return min(corners), max(corners)


@operator(14)
def binary(g):
    op = g.choose(["Add", "Sub", "Mul", "Mul", "Add", "Div", "Pow", "Min", "Max", "Sum", "Mean", "PRelu"])
    x = g.float32() if g.chance(0.8) else g.pick(lambda v: v.dtype in ("float64", "float16"))
    if op == "Div":
        y = partner(g, x, 0.5, 3.0, lambda v: v.lo > 0.05 or v.hi < -0.05)
        most = x.most / min(abs(y.lo), abs(y.hi))
        bound = (-most, most)
    elif op == "Pow":
        x = g.float32(least=0.1, most=10)
        y = g.constant(np.asarray(g.choose([0.5, 2.0, 3.0, -1.0, 1.5]), np.float32))
        bound = (0, max(x.lo ** y.lo, x.hi ** y.lo))
    elif op == "PRelu":
        y = g.fresh(x.dtype, x.shape[-1:] if g.chance(0.5) else (1,), 0, 1)
        bound = (-x.most, x.most)
    else:
        y = partner(g, x)
        bound = {"Add": (x.lo + y.lo, x.hi + y.hi), "Sum": (x.lo + y.lo, x.hi + y.hi), "Sub": (x.lo - y.hi, x.hi - y.lo),
                 "Mul": products(x, y)}.get(op, (min(x.lo, y.lo), max(x.hi, y.hi)))
    if g.chance(0.5) and op in ("Add", "Mul", "Min", "Max", "Sum", "Mean"):
        x, y = y, x
    g.add(op, [x, y], x.dtype, joined(x, y), *bound, x.dtype != "float16" and op != "Pow")


@operator(5)
def whole_numbers(g):
    x = g.pick(lambda v: v.dtype in ("int32", "int64", "uint8", "int8"), required=False)
    if x is None or g.chance(0.2):
        x = g.fresh(g.choose(["int32", "int64", "uint8", "int8"]), g.shape(), 0 if g.chance(0.5) else 1, 6)
    op = g.choose(["Add", "Sub", "Mul", "Div", "Mod", "Min", "Max", "Abs", "Neg", "Sign", "BitwiseAnd", "BitwiseOr", "BitwiseXor"])
    if op in ("Min", "Max") and x.dtype in ("uint8", "int8") and g.opset < 12 or op.startswith("Bitwise") and g.opset < 18:
        raise Unfit()
    if op in ("Abs", "Neg", "Sign"):
        if x.dtype in UNSIGNED:
            raise Unfit()
        g.add(op, [x], x.dtype, x.shape, -max(x.most, 1), max(x.most, 1), True)
        return
    y = partner(g, x, 1, 5, (lambda v: v.lo > 0 or v.hi < 0) if op in ("Div", "Mod") else lambda v: True)
    if x.lo < 0 and op == "Mod" and g.chance(0.5):
        g.add("Mod", [x, y], x.dtype, joined(x, y), -y.most, y.most, True, fmod=1)
        return
    bound = {"Add": (x.lo + y.lo, x.hi + y.hi), "Sub": (x.lo - y.hi, x.hi - y.lo), "Mul": products(x, y),
             "Mod": (-y.most, y.most) if y.lo < 0 else (0, y.most), "Min": (min(x.lo, y.lo), max(x.hi, y.hi)),
             "Max": (min(x.lo, y.lo), max(x.hi, y.hi)), "Div": (-x.most, x.most)}.get(op)
    if op == "Div" and x.lo >= 0 and y.lo > 0:
        bound = (0, x.hi)
    if bound is None:
        most = 2.0 ** max(1, math.ceil(math.log2(max(x.most, y.most, 1) + 1))) - 1
        bound = (0 if x.lo >= 0 and y.lo >= 0 else -most - 1, most)
    g.add(op, [x, y], x.dtype, joined(x, y), *bound, True)


@operator(1)
def shift(g):
    x = g.fresh(g.choose(["uint8", "uint32", "uint64"]), g.shape(), 0, 200)
    y = partner(g, x, 0, 7)
    if y.most > 7:
        raise Unfit()
    g.add("BitShift", [x, y], x.dtype, joined(x, y), 0, np.iinfo(x.dtype).max, True, direction=g.choose(["LEFT", "RIGHT"]))


@operator(4)
def comparison(g):
    x = g.pick(lambda v: v.exact and v.dtype in ("float32", "int32", "int64", "float64"))
    y = partner(g, x, -2, 2, lambda v: v.exact)
    op = g.choose(["Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"])
    g.add(op, [x, y], "bool", joined(x, y), 0, 1, True)


@operator(3)
def logic(g):
    x = g.pick(lambda v: v.dtype == "bool")
    if g.chance(0.3):
        g.add("Not", [x], "bool", x.shape, 0, 1, True)
        return
    y = partner(g, x, 0, 1)
    g.add(g.choose(["And", "Or", "Xor"]), [x, y], "bool", joined(x, y), 0, 1, True)


@operator(5)
def where(g):
    x = g.pick(lambda v: v.dtype not in ("float16", "bool"))
    y = partner(g, x)
    shape = joined(x, y)
    condition = g.pick(lambda v: v.dtype == "bool" and all(a == b or 1 in (a, b) for a, b in zip(v.shape[::-1], shape[::-1])),
                       required=False)
    if condition is None:
        condition = g.fresh("bool", tuple(1 if g.chance(0.2) else d for d in shape))
    g.add("Where", [condition, x, y], x.dtype, joined(condition, x, y), min(x.lo, y.lo), max(x.hi, y.hi), True)


@operator(7)
def cast(g):
    x = g.pick(lambda v: v.exact and v.dtype != "float16")
    to = g.choose([t for t in TYPES if t != x.dtype and t not in ("float16",)] + ["float32"] * 4 + ["int32", "int64"] * 2 + ["float16"])
    if to == x.dtype or to not in FLOATS + ("bool",) and not (np.iinfo(to).min <= x.lo - 1 and x.hi + 1 <= np.iinfo(to).max):
        raise Unfit()
    bound = (0, 1) if to == "bool" else (x.lo, x.hi) if to in FLOATS else (math.floor(x.lo), math.ceil(x.hi))
    g.add("Cast", [x], to, x.shape, *bound, not (x.dtype == "float64" and to == "float32"), to=TYPES[to])


@operator(2)
def widen(g):
    # A last bit of f16 is far more than the tolerance of f32. Beside f64 the interpreter computes f32 in f64.
    x = g.pick(lambda v: v.dtype == "float64" or v.dtype == "float16" and v.exact)
    g.add("Cast", [x], "float32", x.shape, x.lo, x.hi, x.dtype == "float16", to=1)


# Reductions.
def reduced(shape, axes, keep):
    axes = {a % len(shape) for a in axes}
    return tuple(1 if i in axes else d for i, d in enumerate(shape) if keep or i not in axes)


@operator(8)
def reduction(g):
    op = g.choose(["Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp"])
    if g.chance(0.2) and op in ("Sum", "Max", "Min"):
        x = g.pick(lambda v: v.dtype in ("int32", "int64"))
    else:
        x = g.float32(least=0.01 if op == "LogSum" else None)
    axes = [a for a in range(x.rank) if g.chance(0.5)]
    signed = [a - x.rank if g.chance(0.5) else a for a in axes]
    keep, given, more = g.chance(0.5), [x], {}
    if not g.chance(0.5):
        more["keepdims"] = int(keep)
    else:
        keep = True
    none = not axes
    if axes:
        if g.opset >= (13 if op == "Sum" else 18):
            given.append(g.constant(np.array(signed, np.int64)))
        else:
            more["axes"] = signed
    if none and g.chance(0.3) and g.opset >= (13 if op == "Sum" else 18):
        more["noop_with_empty_axes"] = 1
        if op not in ("Sum", "Mean", "Max", "Min", "Prod"):  # Others apply their function all the same; not everybody agrees.
            raise Unfit()
        shape, count = x.shape, 1
    else:
        axes = axes or list(range(x.rank))
        shape = reduced(x.shape, axes, keep)
        count = int(np.prod([x.shape[a] for a in axes], dtype=np.int64))
    if count == 0 and op in ("Max", "Min", "Mean", "LogSum", "LogSumExp"):
        raise Unfit()
    if op == "Prod" and (count > 40 or x.most ** count > 1e4) or op == "LogSumExp" and x.most > 20:
        raise Unfit()
    bound = {"Sum": (x.lo * count, x.hi * count) if count else (0, 0), "Prod": (-max(1, x.most) ** count, max(1, x.most) ** count),
             "L1": (0, x.most * count), "L2": (0, x.most * math.sqrt(count)), "SumSquare": (0, x.most ** 2 * count),
             "LogSum": (math.log(max(x.lo, 0.01)), math.log(max(x.hi, 0.01) * max(count, 1))),
             "LogSumExp": (-x.most, x.most + math.log(max(count, 1)))}.get(op, (x.lo, x.hi))
    g.add("Reduce" + op, given, x.dtype, shape, *bound, op in ("Max", "Min") or x.dtype not in FLOATS, **more)


@operator(3)
def arg_extreme(g):
    x = g.pick(lambda v: v.exact and v.dtype in ("float32", "int32") and v.rank and v.size)
    axis, keep = int(g.rng.integers(x.rank)), g.chance(0.5)
    more = {"select_last_index": 1} if g.chance(0.3) else {}
    g.add(g.choose(["ArgMax", "ArgMin"]), [x], "int64", reduced(x.shape, [axis], keep), 0, max(x.shape[axis] - 1, 0), True,
          axis=axis - x.rank if g.chance(0.5) else axis, keepdims=int(keep), **more)


@operator(3)
def running_sum(g):
    x = g.pick(lambda v: v.dtype in ("float32", "int32", "int64") and v.rank)
    axis = int(g.rng.integers(x.rank))
    more = {k: 1 for k in ("exclusive", "reverse") if g.chance(0.4)}
    most = x.most * x.shape[axis]
    g.add("CumSum", [x, g.constant(np.asarray(axis - x.rank if g.chance(0.5) else axis))], x.dtype, x.shape, -most, most,
          x.dtype != "float32", **more)


@operator(2)
def top_k(g):
    x = g.pick(lambda v: v.exact and v.dtype == "float32" and v.rank and v.size)
    axis = int(g.rng.integers(x.rank))
    k = int(g.rng.integers(1, x.shape[axis] + 1))
    shape = x.shape[:axis] + (k,) + x.shape[axis + 1:]
    more = {"largest": 0} if g.chance(0.4) else {}
    g.add_all("TopK", [x, g.constant(np.array([k]))], [("float32", shape, x.lo, x.hi, True), ("int64", shape, 0, x.shape[axis] - 1, True)],
              axis=axis, sorted=1, **more)
