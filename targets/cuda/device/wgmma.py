#!/usr/bin/env python3
# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""Writes Wgmma.inc: one wrapper for each shape of the warpgroup product.

    python3 wgmma.py OUT

`Wgmma<T, N>::scores` multiplies A [64, 16] of shared memory by B [N, 16]^T
(both K-major), `values` A of registers by B [16, N] (MN-major), `rows` A of
registers by B [N, 16]^T; of bytes by B [N, 32]^T, with sums of i32.
"""
import os
import sys

SCORES = [80, 96, 128]
VALUES = [64, 80, 96, 128, 256]
ROWS = [64, 96, 192]
BYTE_ROWS = [32, 96]


def wrapper(name, kind, n, transposed, from_registers):
    count = n // 2
    regs = ", ".join(f"%{i}" for i in range(count))
    outs = ", ".join(f'"+f"(d[{i}])' for i in range(count))
    at = count
    if from_registers:
        a = "{" + ", ".join(f"%{at + i}" for i in range(4)) + "}"
        at += 4
        parameters = "const uint32_t (&a)[4], uint64_t b"
        inputs = ", ".join(f'"r"(a[{i}])' for i in range(4)) + ', "l"(b)'
        flags = f"p, 1, 1, {transposed}"
    else:
        a = f"%{at}"
        at += 1
        parameters = "uint64_t a, uint64_t b"
        inputs = '"l"(a), "l"(b)'
        flags = f"p, 1, 1, 0, {transposed}"
    return f"""  static __device__ __forceinline__ void {name}({parameters}, float (&d)[{count}], int accumulate) {{
    asm volatile("{{\\n.reg .pred p;\\nsetp.ne.b32 p, %{at + 1}, 0;\\n"
                 "wgmma.mma_async.sync.aligned.m64n{n}k16.f32.{kind}.{kind} {{{regs}}}, {a}, %{at}, {flags};\\n}}\\n"
                 : {outs}
                 : {inputs}, "r"(accumulate));
  }}
"""


def byte_rows(n):
    count = n // 2
    regs = ", ".join(f"%{i}" for i in range(count))
    outs = ", ".join(f'"+r"(d[{i}])' for i in range(count))
    a = ", ".join(f"%{count + i}" for i in range(4))
    return f"""template <> struct Wgmma<int8_t, {n}> {{
  static __device__ __forceinline__ void rows(const uint32_t (&a)[4], uint64_t b, int32_t (&d)[{count}], int accumulate) {{
    asm volatile("{{\\n.reg .pred p;\\nsetp.ne.b32 p, %{count + 5}, 0;\\n"
                 "wgmma.mma_async.sync.aligned.m64n{n}k32.s32.s8.s8 {{{regs}}}, {{{a}}}, %{count + 4}, p;\\n}}\\n"
                 : {outs}
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));
  }}
}};
"""


def main():
    os.makedirs(os.path.dirname(os.path.abspath(sys.argv[1])), exist_ok=True)
    with open(sys.argv[1], "w", encoding="utf-8") as f:
        f.write("// Written by wgmma.py.\n")
        for t, kind in (("__nv_bfloat16", "bf16"), ("__half", "f16")):
            for n in sorted(set(SCORES + VALUES + ROWS)):
                f.write(f"template <> struct Wgmma<{t}, {n}> {{\n")
                if n in SCORES:
                    f.write(wrapper("scores", kind, n, 0, False))
                if n in VALUES:
                    f.write(wrapper("values", kind, n, 1, True))
                if n in ROWS:
                    f.write(wrapper("rows", kind, n, 0, True))
                f.write("};\n")
        for n in BYTE_ROWS:
            f.write(byte_rows(n))


main()
