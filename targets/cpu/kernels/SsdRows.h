//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// The arithmetic of ssd, over an Ops that says how values meet in products: F32 (SsdF32.cpp) or rounded to bf16
// (SsdBf16.cpp). The state of a head lies in panels of 16 columns of head_dim, [state][16], so that everything is a
// product of broadcast factors with vectors:
//   y_t = exp(cum_t) * sum over n of c_t[n] S[n]  +  sum over j <= t of g[t][j] x_j  +  d x_t
//   S'[n] = exp(cum_15) * S[n] + sum over j of b_j[n] (w_j x_j)
//   g[t][j] = (c_t . b_j) exp(cum_t - cum_j) dt_j,  w_j = exp(cum_15 - cum_j) dt_j
// each sum in the order of its index, in one accumulator, for every blocking.
//
// An Ops has: T, how a factor is stored; Vec, 16 (with kStep 2: 16 pairs of) factors; kStep, factors that one mac
// takes; kTile, whether the state is copied to be multiplied, and kTileRows, what the rows of that copy are a multiple
// of. Pairs are summed the second one first, as vdpbf16ps does. SsdAmx.cpp has outputs and folds of its own.
//
#pragma once

#include "targets/cpu/kernels/SsdBlocks.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

/// Calls body.operator()<R>() with the rows of the next block of `left`, kSsdRows, 4, 2 or 1, and returns them.
template <int R = kSsdRows, typename Body> MLC_SIMD int64_t withRows(int64_t left, const Body &body) {
  if constexpr (R > 1)
    if (left < R)
      return withRows<(R > 4 ? 4 : R / 2)>(left, body);
  body.template operator()<R>();
  return R;
}

/// One head of a segment.
template <typename Ops> struct SsdHead {
  using T = typename Ops::T;
  const SsdHeadArgs &a;
  const bool round;                          // The bases are bf16.
  bool asItLies = false;                     // The base is read from memory: nothing is loaded.
  int64_t panels, columns, rows32, tileRows; // Rows of a panel in f32, and in the tile.
  int64_t ahead;                             // Tokens of the next page that are fetched beside a block of the state.
  float *work;
  T *tileScratch, *x, *xw, *g;
  const float *state = nullptr; // Of the page at hand, in f32; null: zeros, or not needed.
  const T *tile = nullptr;      // The same as factors; null: zeros.
  alignas(64) float dt[kPage] = {}, cum[kPage] = {}, decay[kPage] = {}, weight[kPage] = {};

  explicit SsdHead(const SsdHeadArgs &args) : a(args), round(args.bf16State) {
    columns = (a.headDim + kLanes - 1) & ~int64_t(kLanes - 1);
    panels = columns / kLanes;
    int64_t even = (a.state + 1) & ~int64_t(1);
    rows32 = round ? even : a.state;
    tileRows = Ops::kTile ? (a.state + Ops::kTileRows - 1) / Ops::kTileRows * Ops::kTileRows : rows32;
    ahead = (kPage * kSsdRows + a.state - 1) / a.state;
    work = reinterpret_cast<float *>(a.scratch);
    int64_t most = ssdPaddedState(a.state) * columns;
    tileScratch = reinterpret_cast<T *>(work + most);
    x = reinterpret_cast<T *>(work + 2 * most);
    xw = reinterpret_cast<T *>(reinterpret_cast<float *>(x) + kPage * columns);
    g = reinterpret_cast<T *>(reinterpret_cast<float *>(xw) + kPage * columns);
  }

  void run() {
    forPages([&](int64_t begin, int64_t end, int64_t done, int64_t page) {
      inputs(begin, end, done, end);
      advance(begin, end, done, page);
    });
  }

  /// Calls body(begin, end, done, page) for entries [begin, end) of every page, behind its coefficients.
  template <typename Body> [[gnu::always_inline]] void forPages(const Body &body) {
    float rate = a.logA ? -exp(set1(a.a))[0] : a.a;
    loadBase();
    int64_t begin = a.firstEntry;
    for (int64_t done = 0, page = 0; done < a.tokens; ++page) {
      int64_t end = a.tokens - done < kPage - begin ? begin + a.tokens - done : kPage;
      coefficients(rate, begin, end, done, page);
      body(begin, end, done, page);
      done += end - begin;
      begin = 0;
    }
  }

  /// Some columns of tokens [t, end), which the next page reads and writes: each lies far from the one before.
  void prefetch(int64_t t, int64_t end, int64_t column, int64_t columnEnd) const {
    for (; t < end && t < a.tokens; ++t)
      for (int64_t c = column; c < columnEnd; c += kLanes) {
        __builtin_prefetch(a.x + t * a.xStride + c);
        __builtin_prefetch(a.y + t * a.yStride + c, 1);
      }
  }

  /// The first page's state, in the forms that are read. One token's time is that of reading it.
  void loadBase() {
    constexpr int64_t kFetched = kFetchAhead / int64_t(sizeof(float));
    if (!a.base || asItLies)
      return;
    if (round) {
      const bool direct = sizeof(T) == 2 && tileRows == rows32; // Stored as the tile is.
      if (direct)
        tile = reinterpret_cast<const T *>(a.base);
      if (direct && a.firstEntry + a.tokens < kPage)
        return;
      for (int64_t i = 0; i < panels * rows32 * kLanes; i += 2 * kLanes) {
        const VI pairs = (VI)load(a.base + i * 2);
        store(work + i, firstOfPairs(pairs));
        store(work + i + kLanes, secondOfPairs(pairs));
      }
      state = work;
      if (direct)
        return;
    } else {
      state = reinterpret_cast<const float *>(a.base);
    }
    if constexpr (!Ops::kTile) {
      tile = reinterpret_cast<const T *>(state);
      return;
    }
    const int64_t size = a.state;
    for (int64_t p = 0; p < panels; ++p) {
      const float *row = state + p * rows32 * kLanes;
      T *to = tileScratch + p * tileRows * kLanes;
      for (int64_t n = 0; n < size; n += 2, row += 2 * kLanes) {
        fetchLine(row + kFetched);
        fetchLine(row + kFetched + kLanes);
        Ops::storeTile(to, kLanes, n, 0, load(row), n + 1 < size ? load(row + kLanes) : zero());
      }
    }
    tile = tileScratch;
  }

  const float *products(int64_t page) const { return a.packed + page * a.packedStride + ssdPackedProducts(a.state); }
  int64_t rowOf(int64_t done, int64_t entry, int64_t begin) const { return done + entry - begin; }

  /// dt, cum, exp(cum), and g of the step's rows.
  void coefficients(float rate, int64_t begin, int64_t end, int64_t done, int64_t page) {
    float sum = 0;
    for (int64_t j = 0; j < kPage; ++j) {
      dt[j] = j >= end ? 0 : j < begin ? a.logDt[j * a.logStride] : a.dt[rowOf(done, j, begin) * a.dtStride];
      sum = j < end ? sum + dt[j] * rate : sum;
      cum[j] = sum;
    }
    VF sums = load(cum), steps = load(dt);
    store(decay, exp(sums));
    store(weight, exp(set1(cum[kPage - 1]) - sums) * steps);
    for (int64_t t = begin; t < end; ++t) {
      VF value = load(products(page) + (t - begin) * kPage) * exp(set1(cum[t]) - sums) * steps;
      Ops::storeRow(g + (t - begin) * kPage, select(laneMask(0, t + 1), value, zero()));
    }
  }

  /// x of the page as factors, zeros from `end` to `last`, and, where the page fills, weighted.
  void inputs(int64_t begin, int64_t end, int64_t done, int64_t last) {
    auto row = [&](int64_t j, int64_t column) __attribute__((always_inline)) {
      if (j >= end)
        return zero();
      const float *from = j < begin ? a.logX + j * a.logStride : a.x + rowOf(done, j, begin) * a.xStride;
      return loadPart(from + column, a.headDim - column);
    };
    for (int64_t j = 0; j < last; j += 2)
      for (int64_t column = 0; column < columns; column += kLanes) {
        VF even = row(j, column), odd = row(j + 1, column);
        Ops::storeTile(x, columns, j, column, even, odd);
        if (end == kPage)
          Ops::storeTile(xw, columns, j, column, even * set1(weight[j]), odd * set1(weight[j + 1]));
      }
  }

  /// Where the state behind a page that fills goes: in f32, and rounded where that is kept.
  struct Behind {
    float *target;
    uint8_t *stored;
  };
  Behind behind(int64_t page) const {
    uint32_t block = a.kept[2 * page];
    uint8_t *kept = block != ~0u ? a.bases + int64_t(block) * a.baseStride : nullptr;
    return {!round && kept ? reinterpret_cast<float *>(kept) : work, round ? kept : nullptr};
  }

  /// Panel by panel, while it lies in L1: the rows' outputs, then the state behind the page.
  void advance(int64_t begin, int64_t end, int64_t done, int64_t page) {
    const bool fills = end == kPage;
    const auto [target, stored] = behind(page);
    constexpr int kWide = 4;
    for (int64_t p = 0; p < panels;) {
      int64_t count = panels - p;
      if (end - begin == 1 && count >= kWide) {
        outputs<kWide>(begin, end, done, page, p);
        count = kWide;
      } else if (count >= kSsdColumns) {
        outputs<kSsdColumns>(begin, end, done, page, p);
        count = kSsdColumns;
      } else {
        outputs<1>(begin, end, done, page, p);
        count = 1;
      }
      for (int64_t q = p; fills && q < p + count;) {
        if (p + count - q >= kSsdColumns) {
          fold<kSsdColumns>(target, stored, page, q, done + end - begin);
          q += kSsdColumns;
        } else {
          fold<1>(target, stored, page, q++, done + end - begin);
        }
      }
      p += count;
    }
    if (!fills)
      return;
    state = target;
    tile = Ops::kTile ? tileScratch : reinterpret_cast<const T *>(target);
  }

  template <int P> void outputs(int64_t begin, int64_t end, int64_t done, int64_t page, int64_t p) {
    const T *c = reinterpret_cast<const T *>(a.packed + page * a.packedStride);
    int64_t padded = ssdPaddedState(a.state);
    SsdOutput<Ops> out;
    out.cStride = padded;
    out.tile = tile ? tile + p * tileRows * kLanes : nullptr;
    out.panelStride = tileRows * kLanes;
    out.k = Ops::kStep == 2 ? tileRows : a.state;
    out.x = x + p * Ops::kStep * kLanes;
    out.columns = columns;
    out.inputStride = a.xStride;
    out.yStride = a.yStride;
    out.d = a.d;
    out.left = a.headDim - p * kLanes;
    for (int64_t t = begin; t < end;) {
      out.c = c + (t - begin) * padded;
      out.g = g + (t - begin) * kPage;
      out.decay = decay + t;
      out.first = t;
      out.input = a.x + rowOf(done, t, begin) * a.xStride + p * kLanes;
      out.y = a.y + rowOf(done, t, begin) * a.yStride + p * kLanes;
      if constexpr (P > kSsdColumns) {
        outputBlock<Ops, 1, P>(out);
        ++t;
      } else {
        // More rows than one begin at a whole pair.
        t += withRows(t % Ops::kStep ? 1 : end - t,
                      [&]<int R>() __attribute__((always_inline)) { outputBlock<Ops, R, P>(out); });
      }
    }
  }

  /// Panels from p on, behind `page`.
  SsdFold<Ops> foldOf(float *target, uint8_t *stored, int64_t page, int64_t p) const {
    const T *b = reinterpret_cast<const T *>(a.packed + page * a.packedStride + ssdPackedB(a.state));
    SsdFold<Ops> f;
    f.source = state ? state + p * rows32 * kLanes : nullptr;
    f.target = target + p * rows32 * kLanes;
    f.panelStride = rows32 * kLanes;
    f.tile = tileScratch + p * tileRows * kLanes;
    f.tileStride = tileRows * kLanes;
    f.stored = stored ? stored + p * rows32 * kLanes * 2 : nullptr;
    f.storedStride = rows32 * kLanes * 2;
    f.decay = decay[kPage - 1];
    f.b = b;
    f.xw = xw + p * Ops::kStep * kLanes;
    f.columns = columns;
    return f;
  }

  template <int P> void fold(float *target, uint8_t *stored, int64_t page, int64_t p, int64_t next) {
    const SsdFold<Ops> f = foldOf(target, stored, page, p);
    round ? foldRows<true, P>(f, p, next) : foldRows<false, P>(f, p, next);
  }

  template <bool Round, int P> void foldRows(const SsdFold<Ops> &f, int64_t p, int64_t next) {
    int64_t n = 0, token = next;
    auto fetch = [&] {
      // A few at a time: a processor drops those that it has no place for.
      int64_t left = next + kPage - token;
      prefetch(token, token + (left < ahead ? left : ahead), p * kLanes, (p + P) * kLanes);
      token += ahead;
    };
    constexpr int kRows = Ops::kTile ? foldsTogether(P) : 0; // Without a tile there is too little to send.
    if constexpr (kRows != 0) {
      n = a.state / kRows * kRows;
      foldBlocks<Ops, Round, kRows, P>(f, n, [&](int64_t row) __attribute__((always_inline)) {
        if (row % kSsdRows == 0)
          fetch();
      });
    } else {
      for (; a.state - n >= kSsdRows; n += kSsdRows) {
        fetch();
        foldBlock<Ops, Round, kSsdRows, P>(f, n);
      }
    }
    for (; a.state - n >= 2; n += 2)
      foldBlock<Ops, Round, 2, P>(f, n);
    if (n < a.state)
      foldBlock<Ops, Round, 1, P>(f, n);
  }
};

template <typename Ops> MLC_SIMD void ssdHeadOf(const SsdHeadArgs &args) { SsdHead<Ops>(args).run(); }

/// R rows of c against the b of a page: out is [R][16].
template <typename Ops, int R>
MLC_SIMD void productBlock(const typename Ops::T *c, int64_t stride, const typename Ops::T *b, int64_t k, float *out) {
  VF acc[R];
  for (int r = 0; r < R; ++r)
    acc[r] = zero();
  for (int64_t n = 0; n < k; n += Ops::kStep) {
    typename Ops::Vec w = Ops::load(b + n * kPage);
    for (int r = 0; r < R; ++r)
      acc[r] = Ops::mac(Ops::broadcast(c + r * stride + n), w, acc[r]);
  }
  for (int r = 0; r < R; ++r)
    store(out + r * kPage, acc[r]);
}

template <typename Ops> MLC_SIMD void ssdPackOf(const SsdPackArgs &a) {
  using T = typename Ops::T;
  int64_t padded = ssdPaddedState(a.state), even = (a.state + 1) & ~int64_t(1);
  T *c = reinterpret_cast<T *>(a.packed), *b = reinterpret_cast<T *>(a.packed + ssdPackedB(a.state));
  // b with the state along the rows, as the state itself lies. Where factors go in pairs, a second copy pairs entries.
  T *tile = Ops::kStep == 2 ? reinterpret_cast<T *>(a.scratch) : b;
  for (int64_t n = 0; n < even; n += 2) {
    VF column[2] = {};
    for (int64_t i = 0; i < 2 && n + i < a.state; ++i)
      for (int64_t j = 0; j < a.end; ++j)
        column[i][j] = a.b[j][n + i];
    Ops::storeTile(tile, kLanes, n, 0, column[0], column[1]);
    if constexpr (Ops::kStep == 2) {
      Ops::storeRow(b + n * kPage, column[0]);
      Ops::storeRow(b + (n + 1) * kPage, column[1]);
    }
  }
  for (int64_t t = a.begin; t < a.end; ++t)
    for (int64_t n = 0; n < padded; n += kLanes)
      Ops::storeRow(c + (t - a.begin) * padded + n,
                    n < a.state ? loadPart(a.c + (t - a.begin) * a.cStride + n, a.state - n) : zero());
  float *products = a.packed + ssdPackedProducts(a.state);
  for (int64_t t = 0; t < a.end - a.begin;)
    t += withRows(a.end - a.begin - t, [&]<int R>() __attribute__((always_inline)) {
      productBlock<Ops, R>(c + t * padded, padded, tile, Ops::kStep == 2 ? even : a.state, products + t * kPage);
    });
}

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
