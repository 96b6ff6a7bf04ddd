//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// embedding, gather_rows, and the elementwise kernels: a block for a row and a stretch of its columns.
//
#pragma once

#include "targets/cuda/device/Cuda.h"

namespace mlc::cuda {

/// e^x / (1 + e^x), without a quotient of infinities.
MLC_DEVICE float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

MLC_DEVICE float activate(Act act, float x) {
  switch (act) {
  case Act::none:
    return x;
  case Act::silu:
    return x * sigmoid(x);
  case Act::geluTanh:
    return 0.5f * x * (1.0f + tanhf(0.797884583f * (x + 0.044715f * x * x * x)));
  case Act::geluErf:
    return 0.5f * x * (1.0f + erff(x * 0.707106769f));
  case Act::relu:
    return x > 0 ? x : 0.0f;
  case Act::relu2:
    return x > 0 ? x * x : 0.0f;
  case Act::tanh:
    return tanhf(x);
  case Act::sigmoid:
    return sigmoid(x);
  }
  return x;
}

} // namespace mlc::cuda

MLC_KERNEL(mlc_embedding, EmbeddingArgs) {
  begin();
  int64_t row = blockIdx.y, column = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (column >= args.columns)
    return;
  int32_t id = args.ids[row];
  // The session validates ids.
  args.out.data[row * args.out.stride + column] =
      id >= 0 && id < args.vocabulary ? stored(args.weight, args.storage, id * args.columns + column) * args.scale
                                      : notANumber();
}

MLC_KERNEL(mlc_gather_rows, GatherArgs) {
  begin();
  int64_t row = blockIdx.y, column = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (column >= args.columns)
    return;
  int32_t from = args.rows[row];
  args.out.data[row * args.out.stride + column] =
      from >= 0 && from < args.available ? args.x.data[from * args.x.stride + column] : notANumber();
}

MLC_KERNEL(mlc_pair, PairArgs) {
  begin();
  int64_t row = blockIdx.y, column = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (column >= args.columns)
    return;
  float a = args.a.data[row * args.a.stride + column], y = a;
  float b = args.b.data ? args.b.data[row * args.b.stride + (args.op == Pair::scale ? 0 : column)] : 0.0f;
  switch (args.op) {
  case Pair::add:
    y = a + b;
    break;
  case Pair::sub:
    y = a - b;
    break;
  case Pair::mul:
    y = a * b;
    break;
  case Pair::div:
    y = a / b;
    break;
  case Pair::max: // b when either is NaN, as on the CPU.
    y = a > b ? a : b;
    break;
  case Pair::min:
    y = a < b ? a : b;
    break;
  case Pair::gate:
    y = activate(args.act, a) * b;
    break;
  case Pair::scale:
    y = a * activate(args.act, b);
    break;
  case Pair::copy:
    break;
  case Pair::unary:
    y = activate(args.act, a * args.scaleIn) * args.scaleOut;
    break;
  }
  args.out.data[row * args.out.stride + column] = y;
}
