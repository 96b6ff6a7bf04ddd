//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What ssd's two stages share with the kernel. Plain: the forms include it.
//
#pragma once

#include <stdint.h>

namespace mlc::cpu {

/// Positions of a page: kRecurrentPage.
constexpr int64_t kSsdPage = 16;

/// Stage 1, once for a page of a segment and a group of heads: b and c in the form that products take, and their
/// products.
struct SsdPackArgs {
  const float *b[kSsdPage]; // [state] of each entry of the page below `end`.
  const float *c;           // [state] of entry `begin`; the step's tokens are entries [begin, end).
  int64_t cStride;
  int64_t begin, end;
  int64_t state;
  float *packed;  // See ssdPacked*.
  float *scratch; // ssdPackScratch(state) floats.
};
using SsdPackFn = void(const SsdPackArgs &args);

// A packed page, in units of f32 (bf16 values take half of it): c [16][paddedState] from entry `begin` on, b transposed
// [paddedState][16], and c x b [16][16] in f32, row t of entry begin + t. Rows of c end with zeros.
constexpr int64_t ssdPaddedState(int64_t state) { return (state + 31) & ~int64_t(31); }
constexpr int64_t ssdPackedB(int64_t state) { return kSsdPage * ssdPaddedState(state); }
constexpr int64_t ssdPackedProducts(int64_t state) { return 2 * ssdPackedB(state); }
constexpr int64_t ssdPackedSize(int64_t state) { return ssdPackedProducts(state) + kSsdPage * kSsdPage; }
constexpr int64_t ssdPackScratch(int64_t state) { return kSsdPage * ssdPaddedState(state); }

/// Stage 2: one head of one segment, page after page.
struct SsdHeadArgs {
  int64_t headDim, state;
  bool bf16State;     // The base is stored as bf16.
  int64_t firstEntry; // Of the segment's first token in its page.
  int64_t tokens;
  const float *x; // [headDim] of the segment's first token; y alike.
  float *y;
  int64_t xStride, yStride;
  const float *dt; // Of the first token, after softplus and its limits.
  int64_t dtStride;
  const float *logX, *logDt; // Of entries [0, firstEntry).
  int64_t logStride;
  const float *packed; // Of the first page and this head's group.
  int64_t packedStride;
  float a, d; // The decay's rate is -exp(a) if logA, else a.
  bool logA;
  const uint8_t *base;  // This head's base of the first page; null: zeros.
  uint8_t *bases;       // Of this head in block 0.
  int64_t baseStride;   // Bytes from block to block.
  const uint32_t *kept; // kept[2 i]: the block for the state behind page i, or ~0.
  uint8_t *scratch;     // ssdHeadScratch bytes, at 64.
};
using SsdHeadFn = void(const SsdHeadArgs &args);

/// Bytes: the state in f32 and in the products' form, x and weighted x of a page, the page's coefficients.
constexpr int64_t ssdHeadScratch(int64_t headDim, int64_t state) {
  int64_t columns = (headDim + 15) & ~int64_t(15);
  return (2 * columns * ssdPaddedState(state) + 2 * kSsdPage * columns + kSsdPage * kSsdPage) * int64_t(sizeof(float)) +
         64;
}

/// out = min(max(softplus(dt + bias), low), high), softplus(v) = log(1 + exp(v)).
using SsdStepFn = void(const float *dt, const float *bias, float low, float high, float *out, int64_t n);

} // namespace mlc::cpu
