//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// attention over tiles, for products of f32 and of bf16. A page of the KV head becomes two tiles, K [head_dim][64] and
// V [64][head_dim], once for a block of rows; a few rows at a time then take their scores, their softmax and their
// share of V, so that scores stay in L1. The softmax is in powers of two, relative to the running maximum rounded up to
// an integer: rescaling is exact, and what a probability rounds to does not depend on the pages before. What a row does
// not see meets it as 0.
//
#pragma once

#include "targets/cpu/kernels/AttentionBytes.h"
#include "targets/cpu/kernels/AttentionRows.h"
#include "targets/cpu/simd/Softmax.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

constexpr int64_t kPage = kAttentionPage, kPageVectors = kPage / kLanes;
constexpr float kLog2e = 1.44269504f;
constexpr float kUnseen = -3e38f; // The maximum of no score.

/// 16 elements of a page in f32, from element `at`; Type as fb::DType.
template <int Type> MLC_SIMD VF loadStored(const uint8_t *base, int64_t at) {
  if constexpr (Type == 0)
    return load(base + at * 4);
  if constexpr (Type == 1)
    return loadF16(base + at * 2);
  if constexpr (Type == 2)
    return loadBf16(base + at * 2);
  return toFloat(loadI8(base + at));
}

/// `Products` says how the factors of the products are kept:
///   Value                   the type of one
///   kRows                   rows of its register block, at most kGroupRows
///   kTogether               factors along a sum that go together: sums begin and end at multiples of it
///   kTiles                  AttentionArgs::tiles may multiply, kTilesTogether factors at a time
///   kDirect                 a page of f32 is its own tiles
///   kCodes                  int8 pages give codes, q becomes codes too, and scales meet scores and probabilities
///   storeRow(p, low, high)  32 factors of a row
///   storeTile<Type>(...)    two rows of a tile, from values of the type
///   product(...)            acc += rows x tile
///   power(x)                2^x
template <typename Products> struct TiledRows {
  using Value = typename Products::Value;
  static_assert(Products::kRows <= kGroupRows && (!kByteProducts || !Products::kCodes || Products::kRows <= kByteRows));
  MLC_SIMD VF power(VF x) { return Products::power(x); }

  TiledRows(const AttentionArgs &a, int64_t rowBegin, int64_t rowEnd, uint8_t *scratch)
      : a(a), rowBegin(rowBegin), rowEnd(rowEnd), record(16 + a.paddedDim) {
    int64_t rows = attentionBlockRows(a.paddedDim);
    // Tiles first: each part begins at a multiple of 64 bytes.
    keySpace = reinterpret_cast<Value *>(scratch);
    valueSpace = keySpace + kPage * queryStride();
    p = valueSpace + kPage * a.paddedDim;
    q = p + 2 * kGroupRows * kPage;
    scores = reinterpret_cast<float *>(q + rows * queryStride());
    parts = scores + 2 * kGroupRows * kPage;
    totals = parts + rows * record;
    positions = reinterpret_cast<int64_t *>(totals + rows * record);
    tops = reinterpret_cast<float *>(positions + rows);
    queryScales = tops + rows;
    querySums = reinterpret_cast<int32_t *>(queryScales + rows);
    // The softmax is in powers of two.
    VF scale = set1(a.scale * kLog2e);
    for (int64_t row = rowBegin; row < rowEnd; ++row) {
      positions[row - rowBegin] = a.firstPosition + row / a.group;
      const float *source = a.q + row / a.group * a.qStride + row % a.group * a.headDim;
      if (coded()) {
        storeCodes(source, row - rowBegin);
        continue;
      }
      auto part = [&](int64_t i) __attribute__((always_inline)) {
        return i < a.headDim ? loadPart(source + i, a.headDim - i) * scale : zero();
      };
      for (int64_t i = 0; i < a.paddedDim; i += 2 * kLanes)
        Products::storeRow(q + (row - rowBegin) * queryStride() + i, part(i), part(i + kLanes));
    }
  }

  /// Fills the records of `parts`.
  void chunk(int64_t chunk) {
    int64_t count = rowEnd - rowBegin;
    for (int64_t r = 0; r < count; ++r) {
      tops[r] = kUnseen;
      for (int64_t i = 0; i < record; i += kLanes)
        store(parts + r * record + i, zero());
    }
    forEachPage(a, rowBegin, rowEnd, chunk,
                [&](int64_t start, const uint8_t *base, int64_t begin, int64_t end) { page(start, base, begin, end); });
    if (tiled())
      a.tiles({}, 0, 0, tileShape);
    // Until here the first 16 floats were the sum's lanes.
    for (int64_t r = 0; r < count; ++r) {
      float *sum = parts + r * record;
      sum[1] = sumLanes(load(sum));
      sum[0] = tops[r];
    }
  }

private:
  static constexpr int64_t kTilesTogether = 32;
  int64_t queryStride() const { return (a.paddedDim + 2 * kLanes - 1) & ~int64_t(2 * kLanes - 1); }
  bool tiled() const { return Products::kTiles && a.tiles; }
  bool coded() const { return Products::kCodes && a.dtype == 4; }
  /// Scores are products of bytes: the others are exact as well, but not as fast.
  bool inBytes() const { return kByteProducts && coded() && !tiled(); }
  uint8_t *queryBytes(int64_t r) const { return reinterpret_cast<uint8_t *>(q) + r * queryStride(); }

  /// A row of q as int8 codes with their scale.
  void storeCodes(const float *source, int64_t r) {
    // Scores do not exist yet.
    uint8_t *codes = inBytes() ? queryBytes(r) : reinterpret_cast<uint8_t *>(scores);
    quantizeGroup(source, a.headDim, queryStride(), queryStride(), codes, reinterpret_cast<uint8_t *>(queryScales + r),
                  reinterpret_cast<uint8_t *>(querySums + r));
    queryScales[r] *= a.scale * kLog2e;
    for (int64_t i = 0; !inBytes() && i < queryStride(); i += 2 * kLanes)
      Products::storeRow(q + r * queryStride() + i, toFloat(loadI8(codes + i)), toFloat(loadI8(codes + i + kLanes)));
  }

  /// K of a page, [headDim][64], into its tile of as many rows as go together.
  template <int Type> void loadKeys(const uint8_t *base) {
    auto part = [&](int64_t d, int64_t c) __attribute__((always_inline)) {
      VF v = loadStored<Type>(base, d * kPage + c);
      if constexpr (Type == 4 && !Products::kCodes)
        v = v * load(base + a.keyScales + c * 4);
      return v;
    };
    for (int64_t d = 0; d < together(a.headDim); d += 2)
      for (int64_t c = 0; c < kPage; c += kLanes)
        Products::template storeTile<Type>(keySpace, kPage, d, c, d < a.headDim ? part(d, c) : zero(),
                                           d + 1 < a.headDim ? part(d + 1, c) : zero());
    keys = keySpace;
  }

  /// V of a page, [64][paddedDim], into its tile; positions outside `seen` are 0. Returns whether all others are
  /// finite.
  template <int Type> bool loadValues(const uint8_t *base, Span seen) {
    const uint8_t *stored = base + a.valueOffset;
    int64_t columns = a.paddedDim;
    VI special = {};
    auto part = [&](int64_t i, int64_t c) __attribute__((always_inline)) {
      if (i < seen.begin || i >= seen.end)
        return zero();
      VF v = loadStored<Type>(stored, i * columns + c);
      if constexpr (Type == 4 && !Products::kCodes)
        v = v * set1(loadFloat(base + a.valueScales + i * 4));
      if constexpr (Type != 4 || !Products::kCodes) // What rounds to infinity counts.
        special |= (VI)magnitude(v) > set1(0x7f7f7fff);
      return v;
    };
    // Tiles are made of pairs of rows.
    const int64_t step = unit() > 2 ? unit() : 2;
    for (int64_t i = seen.begin / step * step; i < (seen.end + step - 1) / step * step; i += 2)
      for (int64_t c = 0; c < columns; c += kLanes) {
        VF even = part(i, c), odd = part(i + 1, c);
        Products::template storeTile<Type>(valueSpace, columns, i, c, even, odd);
      }
    values = valueSpace;
    return !maxLanes(special & 1);
  }

  /// The same where the page is its own tiles. `check`: whether the result matters.
  bool loadDirect(const uint8_t *base, Span seen, bool check) {
    keys = reinterpret_cast<const Value *>(base);
    values = reinterpret_cast<const Value *>(base + a.valueOffset);
    VI special = {};
    for (int64_t i = seen.begin * a.paddedDim; check && i < seen.end * a.paddedDim; i += kLanes)
      special |= (VI)magnitude(load(values + i)) > set1(0x7f7f7fff);
    return !maxLanes(special & 1);
  }

  template <int Type> bool loadTiles(const uint8_t *base, Span seen, bool withKeys) {
    if (withKeys && inBytes())
      storeKeyQuads(base, a.headDim, reinterpret_cast<uint8_t *>(keySpace));
    else if (withKeys)
      loadKeys<Type>(base);
    return loadValues<Type>(base, seen);
  }
  bool tiles(const uint8_t *base, Span seen, bool withKeys, bool check) {
    switch (a.dtype) {
    case 0:
      if constexpr (Products::kDirect)
        return loadDirect(base, seen, check);
      else
        return loadTiles<0>(base, seen, withKeys);
    case 1:
      return loadTiles<1>(base, seen, withKeys);
    case 2:
      return loadTiles<2>(base, seen, withKeys);
    default:
      return loadTiles<4>(base, seen, withKeys);
    }
  }

  Span seenBy(int64_t row, int64_t start) const {
    int64_t position = positions[row - rowBegin], begin = a.window ? position - a.window + 1 - start : 0;
    return {begin < 0 ? 0 : begin, position + 1 - start < kPage ? position + 1 - start : kPage};
  }

  /// Rows whose scores exist at once, and what they see of the page together.
  struct Group {
    int64_t row, count;
    Span seen;
    bool full; // Each of them sees all of the page.
    float *scores;
    Value *p;
  };
  struct Page {
    int64_t start;
    const uint8_t *base;
    const float *keyScales, *valueScales; // Of codes.
  };

  void page(int64_t start, const uint8_t *base, int64_t begin, int64_t end) {
    // Spans move forward with the row.
    Span first = seenBy(begin, start), last = seenBy(end - 1, start);
    bool mixed = first.begin != last.begin || first.end != last.end;
    bool finite = tiles(base, {first.begin, last.end}, true, mixed);
    Page page{start, base, reinterpret_cast<const float *>(base + a.keyScales),
              reinterpret_cast<const float *>(base + a.valueScales)};
    int64_t rows = end - begin, most = tiled() ? kGroupRows : Products::kRows, groups = (rows + most - 1) / most;
    // Tiles are shaped anew for other counts: only the last group is smaller.
    if (!tiled())
      most = (rows + groups - 1) / groups;
    // Three stages, a group apart: what one stage waits for, the others fill.
    Group group[3];
    for (int64_t g = 0; g < groups + 2; ++g) {
      if (g < groups) {
        int64_t row = begin + g * most, count = end - row < most ? end - row : most;
        Span low = seenBy(row, start), high = seenBy(row + count - 1, start);
        Group &next = group[g % 3];
        next = {row,
                count,
                {low.begin, high.end},
                low.end == kPage && high.begin == 0,
                scores + g % 2 * kGroupRows * kPage,
                p + g % 2 * kGroupRows * kPage};
        score(next, page);
      }
      if (g >= 1 && g <= groups)
        softmaxOf(group[(g - 1) % 3], page);
      if (g >= 2)
        weigh(group[(g - 2) % 3], page, finite || !mixed);
    }
  }

  void score(const Group &g, const Page &page) {
    // From L2, for the stages that follow.
    const int64_t r = g.row - rowBegin;
    const float *sums = parts + r * record;
    for (int64_t i = 0; i < g.count * record; i += kLanes)
      __builtin_prefetch(sums + i, 1);
    if constexpr (Products::kCodes && kByteProducts)
      if (inBytes())
        return scoreBytes({queryBytes(r), queryStride(), queryScales + r, querySums + r,
                           reinterpret_cast<const uint8_t *>(keySpace), page.keyScales, keyQuads(a.headDim), g.scores},
                          g.count);
    int64_t vectors = (g.seen.end + kLanes - 1) / kLanes;
    multiply({q + r * queryStride(), queryStride(), keys, kPage, together(a.headDim), g.scores, kPage, true}, g.count,
             vectors);
    if (coded())
      scaleScores(g, page.keyScales, vectors);
  }

  /// Sums of products of codes into scores.
  void scaleScores(const Group &g, const float *keyScales, int64_t vectors) {
    for (int64_t i = 0; i < g.count; ++i)
      for (int64_t c = 0; c < vectors * kLanes; c += kLanes)
        store(g.scores + i * kPage + c,
              load(g.scores + i * kPage + c) * set1(queryScales[g.row - rowBegin + i]) * load(keyScales + c));
  }

  /// Factors that sums begin and end at multiples of.
  int64_t unit() const { return tiled() ? kTilesTogether : Products::kTogether; }
  int64_t together(int64_t i) const { return (i + unit() - 1) / unit() * unit(); }

  void multiply(const typename Products::Operands &o, int64_t rows, int64_t vectors) {
    if constexpr (Products::kTiles)
      if (a.tiles)
        return a.tiles({reinterpret_cast<const uint8_t *>(o.x), o.xStride * 2,
                        reinterpret_cast<const uint8_t *>(o.tile), o.columns * 4, 64, o.k / 2, o.acc, o.accStride,
                        o.fresh, 0},
                       rows, vectors, tileShape);
    Products::product(o, rows, vectors);
  }

  /// values += probabilities x V; `alike`: each row may take what the group sees.
  void weigh(const Group &g, const Page &page, bool alike) {
    auto product = [&](int64_t r, int64_t count, Span span) {
      int64_t begin = span.begin / unit() * unit(), k = together(span.end) - begin;
      multiply({g.p + r * kPage + begin, kPage, values + begin * a.paddedDim, a.paddedDim, k,
                parts + (g.row + r - rowBegin) * record + 16, record, false},
               count, a.paddedDim / kLanes);
    };
    if (alike)
      return product(0, g.count, g.seen);
    // 0 times infinity or NaN is NaN: every row gets a tile of its own positions.
    for (int64_t r = 0; r < g.count; ++r) {
      Span own = seenBy(g.row + r, page.start);
      tiles(page.base, own, false, false);
      product(r, 1, own);
    }
  }

  void softmaxOf(const Group &g, const Page &page) {
    if (a.softcap != 0)
      capScores(g);
    // The portable form and capped scores do without the form for full pages.
    bool full = kFused && g.full && a.softcap == 0;
    if constexpr (Products::kCodes)
      if (coded())
        return full ? softmax<true, kFused>(g, page) : softmax<true, false>(g, page);
    full ? softmax<false, kFused>(g, page) : softmax<false, false>(g, page);
  }

  /// scores = tanh(scores / cap) * cap.
  void capScores(const Group &g) {
    VF cap = set1(a.softcap * kLog2e);
    for (int64_t i = 0; i < g.count * kPage; i += kLanes)
      store(g.scores + i, tanh(load(g.scores + i) / cap) * cap);
  }

  /// The scores of a group of rows into probabilities relative to the new maxima; what a row whose maximum grew has
  /// summed is rescaled.
  template <bool ValuesScaled, bool Full> void softmax(const Group &g, const Page &page) {
    // Locals: a store of a vector could otherwise change the members.
    const int64_t row = g.row, count = g.count, stride = record;
    float *const score = g.scores, *const top = tops + (row - rowBegin);
    float *const sums = parts + (row - rowBegin) * record;
    const float *const valueScales = page.valueScales;
    Value *const out = g.p;
    for (int64_t first = 0; first < count; first += 8) {
      VF most[8];
      for (int64_t i = 0; i < 8; ++i) {
        most[i] = set1(-__builtin_inff());
        int64_t r = first + i;
        if (r >= count)
          continue;
        [[maybe_unused]] Span span = Full ? Span{0, kPage} : seenBy(row + r, page.start);
        for (int c = 0; c < kPageVectors; ++c) {
          VF s = load(score + r * kPage + c * kLanes);
          if constexpr (!Full)
            s = select(laneMask(span.begin - c * kLanes, span.end - c * kLanes), s, set1(-__builtin_inff()));
          most[i] = maximum(s, most[i]);
        }
      }
      float now[8];
      maxRows(most, now);
      for (int64_t r = first; r < count && r < first + 8; ++r)
        if (now[r - first] > top[r])
          rescale(top[r], now[r - first], sums + r * stride, stride);
    }
    for (int64_t r = 0; r < count; ++r) {
      [[maybe_unused]] Span span = Full ? Span{0, kPage} : seenBy(row + r, page.start);
      VF m = set1(top[r]), e[kPageVectors], sum = load(sums + r * stride);
      for (int c = 0; c < kPageVectors; ++c) {
        e[c] = power(load(score + r * kPage + c * kLanes) - m);
        [[maybe_unused]] VI mask = laneMask(span.begin - c * kLanes, span.end - c * kLanes);
        if constexpr (!Full)
          e[c] = select(mask, e[c], zero());
        sum = sum + e[c];
        if constexpr (ValuesScaled) {
          e[c] = e[c] * load(valueScales + c * kLanes);
          if constexpr (!Full) // Positions not seen may have any scale.
            e[c] = select(mask, e[c], zero());
        }
      }
      for (int c = 0; c < kPageVectors; c += 2)
        Products::storeRow(out + r * kPage + c * kLanes, e[c], e[c + 1]);
      store(sums + r * stride, sum);
    }
  }

  /// A row's new maximum, rounded up to an integer; its `count` sums follow.
  static void rescale(float &top, float most, float *sums, int64_t count) {
    // From 2^22 on the rounding is to some integer nearby.
    VF up = roundEven(set1(most));
    up = select(up < set1(most), up + set1(1.0f), up);
    VF factor = power(set1(top) - up);
    top = up[0];
    for (int64_t i = 0; i < count; i += kLanes)
      store(sums + i, load(sums + i) * factor);
  }

  const AttentionArgs &a;
  int64_t rowBegin, rowEnd, record;
  Value *q, *p, *keySpace, *valueSpace;
  const Value *keys = nullptr, *values = nullptr; // The tiles of the page at hand.
  float *scores, *tops;                           // tops: the rows' maxima so far.
  float *queryScales;                             // Of rows of codes.
  int32_t *querySums;                             // Negated sums of rows of codes.
  int64_t *positions;                             // Of the rows.
  int64_t tileShape = 0;                          // Of PairTilesFn.

public:
  float *parts, *totals;
};

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
