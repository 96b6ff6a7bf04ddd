//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// quantize_rows: the bits that the CPU gives (targets/cpu/simd/Quantize.h). A lane has four columns of every 128 of a
// span, which is a group, or several groups of 128 columns together.
//
#pragma once

#include "targets/cuda/linear/LinearTensor.cuh"

namespace mlc::cuda {

MLC_DEVICE int32_t shuffleXor(int32_t value, int lanes) {
  return int32_t(__float_as_uint(shuffleXor(__uint_as_float(uint32_t(value)), lanes)));
}

MLC_DEVICE void storeWord(uint8_t *to, uint32_t word, bool aligned) {
  if (aligned)
    *reinterpret_cast<uint32_t *>(to) = word;
  else
    for (int i = 0; i < 4; ++i)
      to[i] = uint8_t(word >> 8 * i);
}

} // namespace mlc::cuda

/// Grid (spans / 8, rows): a warp for a span.
MLC_KERNEL_OF(mlc_quantize_rows, QuantizeRowsArgs, 256) {
  begin();
  const int span = quantizedSpan(args.group), lane = int(threadIdx.x) % kWarp;
  const int first = (int(blockIdx.x) * 8 + int(threadIdx.x) / kWarp) * span;
  const int end = first + span < args.columns ? first + span : args.columns;
  const float *x = args.x.data + blockIdx.y * args.x.stride;
  uint8_t *out = args.out.data + blockIdx.y * args.out.stride;
  if (first >= args.columns)
    return;
  // The lanes that share a scale, and those that share a sum, which is the group's where 128 columns are not several.
  const int sharers = args.group < span ? args.group / 4 : kWarp;
  const bool sumsWhole = 128 % args.sumColumns != 0;
  // Magnitudes order as integers do, NaN above infinity.
  int32_t largest = 0;
  for (int k = first + 4 * lane; k < end; k += 4 * kWarp) {
    float v[4];
    loadFour(x, k, int(args.k), args.aligned, v);
    for (int i = 0; i < 4; ++i) {
      const auto bits = int32_t(__float_as_uint(v[i]) & 0x7fffffff);
      largest = bits > largest ? bits : largest;
    }
  }
  for (int lanes = sharers / 2; lanes; lanes /= 2) {
    const int32_t other = shuffleXor(largest, lanes);
    largest = other > largest ? other : largest;
  }
  const float amax = __uint_as_float(uint32_t(largest)), inverse = 127.0f / amax;
  const bool finite = largest < 0x7f800000, usable = finite && inverse <= 3.4028234e38f;
  const float scale = usable ? amax / 127.0f : finite ? 0.0f : notANumber();
  if (const int k = first + 4 * lane; k < end && lane % sharers == 0)
    storeWord(out + args.scales + 4 * (k / args.group), __float_as_uint(scale), args.aligned);
  int32_t total = 0;
  for (int begin = first; begin < end; begin += 4 * kWarp) {
    const int k = begin + 4 * lane;
    int32_t sum = 0;
    if (k < end) {
      float v[4];
      loadFour(x, k, int(args.k), args.aligned, v);
      uint32_t word = 0;
      for (int i = 0; usable && i < 4; ++i) {
        // To nearest even: the integer is in the low bits.
        const uint32_t q = __float_as_uint(v[i] * inverse + 12582912.0f) - 0x4b400000;
        sum -= int32_t(q);
        word |= (q & 255) << 8 * i;
      }
      storeWord(out + k, word, args.aligned);
    }
    if (!sumsWhole) {
      const int summers = args.sumColumns / 4;
      for (int lanes = summers / 2; lanes; lanes /= 2)
        sum += shuffleXor(sum, lanes);
      if (k < end && lane % summers == 0)
        storeWord(out + args.sums + 4 * (k / args.sumColumns), uint32_t(sum), args.aligned);
    } else {
      total += sum;
    }
  }
  if (sumsWhole) {
    for (int lanes = kWarp / 2; lanes; lanes /= 2)
      total += shuffleXor(total, lanes);
    if (lane == 0)
      storeWord(out + args.sums + 4 * (first / args.sumColumns), uint32_t(total), args.aligned);
  }
  // Nothing lies between the bytes and the scales.
  if (end == args.columns)
    for (int i = args.columns + 4 * lane; i < args.scales; i += 4 * kWarp)
      storeWord(out + i, 0, args.aligned);
}
