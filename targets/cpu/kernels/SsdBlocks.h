//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Blocks of rows by panels of ssd, over an Ops (SsdRows.h): outputs, and the state behind a page.
//
#pragma once

#include "targets/cpu/kernels/Ssd.h"
#include "targets/cpu/simd/Bf16.h"
#include "targets/cpu/simd/Math.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

constexpr int64_t kPage = kSsdPage;
/// Values that a decode step fetches ahead in each panel.
constexpr int64_t kAhead = 32 * kLanes;

// Rows and vectors of a block that the form's registers hold.
#if defined(__AVX512F__)
constexpr int kSsdRows = 8, kSsdColumns = 2;
#elif defined(__AVX2__)
constexpr int kSsdRows = 6, kSsdColumns = 1;
#elif defined(__ARM_NEON)
constexpr int kSsdRows = 4, kSsdColumns = 1;
#else
constexpr int kSsdRows = 2, kSsdColumns = 1;
#endif

/// Rows of a page against some panels: their outputs.
template <typename Ops> struct SsdOutput {
  using T = typename Ops::T;
  const T *c; // Of the first row.
  int64_t cStride;
  const T *tile; // The state; null: zeros.
  int64_t panelStride, k;
  const float *decay; // exp(cum) of each row.
  const T *g;         // [row][16]
  const T *x;         // The page's x, [16][columns], from the first panel on.
  int64_t columns;
  int64_t first; // Entry of the first row; more rows than one begin at a multiple of kStep.
  const float *input;
  float *y;
  int64_t inputStride, yStride;
  float d;
  int64_t left; // Columns of head_dim from the first panel on.
};

// Not inlined: heads that round their state and those that do not share it, as do all places that call it.
template <typename Ops, int R, int P> [[gnu::noinline]] static void outputBlock(const SsdOutput<Ops> &a) {
  constexpr int64_t kStep = Ops::kStep;
  VF acc[R][P];
  for (int r = 0; r < R; ++r)
    for (int p = 0; p < P; ++p)
      acc[r][p] = zero();
  auto step = [&](const auto *factors, int64_t stride, const auto *tile, int64_t panel) __attribute__((always_inline)) {
    typename Ops::Vec w[P];
    for (int p = 0; p < P; ++p)
      w[p] = Ops::load(tile + p * panel);
    for (int r = 0; r < R; ++r) {
      typename Ops::Vec v = Ops::broadcast(factors + r * stride);
      for (int p = 0; p < P; ++p)
        acc[r][p] = Ops::mac(v, w[p], acc[r][p]);
    }
  };
  if (a.tile) {
    // One row reads the state from memory: behind these panels' ends the next ones' beginnings.
    const typename Ops::T *w = a.tile, *end = w + a.panelStride;
    for (int64_t i = 0; i < a.k; i += kStep, w += kStep * kLanes) {
      if constexpr (R == 1) {
        const typename Ops::T *ahead = beyondPanel(w + kAhead, end, (P - 1) * a.panelStride);
        for (int p = 0; p < P; ++p)
          fetchLine(ahead + p * a.panelStride);
      }
      step(a.c + i, a.cStride, w, a.panelStride);
    }
    for (int r = 0; r < R; ++r)
      for (int p = 0; p < P; ++p)
        acc[r][p] = acc[r][p] * set1(a.decay[r]);
  }
  // What all rows see, then each row's own end: no row meets a later token, not even by a factor of 0.
  for (int64_t j = 0; j < a.first; j += kStep)
    step(a.g + j, kPage, a.x + j * a.columns, kStep * kLanes);
  const typename Ops::T *ownX = a.x + a.first * a.columns;
  // The second of a pair, alone, has met itself with the first.
  const bool inPairs = R > 1 || kStep == 1 || a.first % kStep == 0;
  // Loops that unroll early keep the sums in registers.
#pragma GCC unroll 8
  for (int j = 0; j < R; j += int(kStep)) {
    if (!inPairs)
      break;
#pragma GCC unroll 8
    for (int r = j; r < R; ++r) {
      typename Ops::Vec v = Ops::broadcast(a.g + r * kPage + a.first + j);
      for (int p = 0; p < P; ++p) {
        typename Ops::Vec w = Ops::load(ownX + j * a.columns + p * kStep * kLanes);
        acc[r][p] = Ops::mac(v, j == r ? Ops::firstOf(w) : w, acc[r][p]);
      }
    }
  }
  if (a.left >= P * kLanes) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) {
        const float *input = a.input + r * a.inputStride + p * kLanes;
        store(a.y + r * a.yStride + p * kLanes, multiplyAdd(set1(a.d), load(input), acc[r][p]));
      }
    return;
  }
  // The copy lies in memory: what the fast way returns need not.
  VF sums[R][P];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p)
      sums[r][p] = acc[r][p];
#pragma GCC unroll 1
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 1
    for (int p = 0; p < P; ++p) {
      int64_t left = a.left - p * kLanes;
      VF y = multiplyAdd(set1(a.d), loadPart(a.input + r * a.inputStride + p * kLanes, left), sums[r][p]);
      storePart(a.y + r * a.yStride + p * kLanes, y, left);
    }
}

/// Rows of state in some panels: the state behind the page.
template <typename Ops> struct SsdFold {
  using T = typename Ops::T;
  const float *source; // null: zeros.
  float *target;       // May be the source.
  int64_t panelStride;
  T *tile; // Of Ops::kTile.
  int64_t tileStride;
  uint8_t *stored; // The rounded state as bf16 pairs, or null.
  int64_t storedStride;
  float decay;
  const T *b;  // [row][16]
  const T *xw; // [16][columns], from the first panel on.
  int64_t columns;
};

/// Rows n and n + 1 of panel p behind the page.
template <typename Ops, bool Round>
MLC_SIMD void storeFolded(const SsdFold<Ops> &a, int64_t n, int64_t p, VF even, VF odd, bool both = true) {
  if constexpr (Round)
    even = roundBf16(even), odd = roundBf16(odd);
  float *target = a.target + p * a.panelStride + n * kLanes;
  store(target, even);
  if (both)
    store(target + kLanes, odd);
  if constexpr (Ops::kTile)
    Ops::storeTile(a.tile + p * a.tileStride + n * kLanes, kLanes, 0, 0, even, odd);
  if (Round && a.stored) {
    VI pair = (VI)(((VI)even >> 16) & set1(0xffff)) | ((VI)odd & set1(int32_t(0xffff0000)));
    __builtin_memcpy(a.stored + p * a.storedStride + n * 2 * kLanes, &pair, sizeof pair);
  }
}

/// Rows [n, n + R) of the state. A function of its own: in a loop, compilers keep what they load in memory.
template <typename Ops, bool Round, int R, int P>
[[gnu::noinline]] static void foldBlock(const SsdFold<Ops> &a, int64_t n) {
  constexpr int64_t kStep = Ops::kStep;
  const typename Ops::T *b = a.b + n * kPage;
  VF acc[R][P];
  for (int r = 0; r < R; ++r)
    for (int p = 0; p < P; ++p)
      acc[r][p] = a.source ? load(a.source + p * a.panelStride + (n + r) * kLanes) * set1(a.decay) : zero();
#pragma GCC unroll 16
  for (int64_t j = 0; j < kPage; j += kStep) {
    typename Ops::Vec w[P];
    for (int p = 0; p < P; ++p)
      w[p] = Ops::load(a.xw + j * a.columns + p * kStep * kLanes);
    for (int r = 0; r < R; ++r) {
      typename Ops::Vec v = Ops::broadcast(b + r * kPage + j);
      for (int p = 0; p < P; ++p)
        acc[r][p] = Ops::mac(v, w[p], acc[r][p]);
    }
  }
#pragma GCC unroll 4
  for (int p = 0; p < P; ++p)
#pragma GCC unroll 8
    for (int r = 0; r < R; r += 2)
      storeFolded<Ops, Round>(a, n + r, p, acc[r][p], R > 1 ? acc[R > 1 ? r + 1 : 0][p] : zero(), R > 1);
}

/// Rows of a block, two of which the registers hold the sums of; 0: too few.
#if defined(__AVX512F__)
constexpr int foldsTogether(int panels) { return panels == kSsdColumns ? kSsdRows / panels : 0; }
#else
constexpr int foldsTogether(int) { return 0; }
#endif

/// Rows [0, rows) of the state, R at a time; `ahead(n)` comes before the block at row n. What a block sends to memory
/// it sends among the products of the next: a store takes longer than a product.
template <typename Ops, bool Round, int R, int P, typename Ahead>
[[gnu::noinline]] static void foldBlocks(const SsdFold<Ops> &fold, int64_t rows, const Ahead &ahead) {
  constexpr int64_t kStep = Ops::kStep, kSteps = kPage / kStep;
  if (!rows)
    return;
  const SsdFold<Ops> a = fold; // What is stored might be a part of it.
  VF late[R][P];
  for (int r = 0; r < R; ++r)
    for (int p = 0; p < P; ++p)
      late[r][p] = zero();
  // Item i of P * R / 2, of the block at row n.
  auto send = [&](int i, int64_t n) __attribute__((always_inline)) {
    const int p = i % P, r = i / P * 2;
    storeFolded<Ops, Round>(a, n + r, p, late[r][p], late[r + 1][p]);
  };
  for (int64_t n = 0; n < rows; n += R) {
    // The first block, which has nothing to send, sends zeros to its own place: it has been read.
    const int64_t before = n ? n - R : 0;
    ahead(n);
    const typename Ops::T *b = a.b + n * kPage;
    VF acc[R][P];
    for (int r = 0; r < R; ++r)
      for (int p = 0; p < P; ++p)
        acc[r][p] = a.source ? load(a.source + p * a.panelStride + (n + r) * kLanes) * set1(a.decay) : zero();
#pragma GCC unroll 16
    for (int step = 0; step < kSteps; ++step) {
      typename Ops::Vec w[P];
      for (int p = 0; p < P; ++p)
        w[p] = Ops::load(a.xw + step * kStep * a.columns + p * kStep * kLanes);
      for (int r = 0; r < R; ++r) {
        typename Ops::Vec v = Ops::broadcast(b + r * kPage + step * kStep);
        for (int p = 0; p < P; ++p)
          acc[r][p] = Ops::mac(v, w[p], acc[r][p]);
      }
#if defined(__AVX512F__)
      // Compilers would gather the products behind the stores.
      for (int r = 0; r < R; ++r)
        for (int p = 0; p < P; ++p)
          asm volatile("" : "+v"(acc[r][p]));
#endif
#pragma GCC unroll 8
      for (int i = int(step * (P * R / 2) / kSteps); i < (step + 1) * (P * R / 2) / kSteps; ++i)
        send(i, before);
    }
    for (int r = 0; r < R; ++r)
      for (int p = 0; p < P; ++p)
        late[r][p] = acc[r][p];
  }
#pragma GCC unroll 8
  for (int i = 0; i < P * R / 2; ++i)
    send(i, rows - R);
}

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
