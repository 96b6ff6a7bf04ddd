# ===----------------------------------------------------------------------===#
# Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# ===----------------------------------------------------------------------===#
"""A few small calls of every kernel, for compute-sanitizer."""
import torch

from mlc_attention import flash_attention, flash_attention_cached

torch.manual_seed(0)


def inputs(rows, columns, dim, dtype):
    return [torch.randn(1, n, 2, dim, device="cuda").to(dtype) for n in (rows, columns, columns)]


for dtype in (torch.float32, torch.bfloat16, torch.float16):
    for dim in (64, 80, 96, 128, 256):
        q, k, v = inputs(130, 200, dim, dtype)
        flash_attention(q, k, v, causal=True, window=(90, -1), softcap=2.0, return_lse=True)
        if dtype == torch.float32:
            flash_attention(q, k, v, compensated=True)
        elif dim in (64, 128):
            q, k, v = (x.requires_grad_() for x in (q, k, v))
            flash_attention(q, k, v, causal=True).sum().backward()
for dim in (64, 128):
    q, k, v = inputs(1, 300, dim, torch.bfloat16)
    lengths = torch.tensor([200], dtype=torch.int32, device="cuda")
    flash_attention_cached(q, k, v, lengths, splits=3)
    flash_attention_cached(q, k.to(torch.float8_e4m3fn), v.to(torch.float8_e4m3fn), lengths)
torch.cuda.synchronize()
print("done")
