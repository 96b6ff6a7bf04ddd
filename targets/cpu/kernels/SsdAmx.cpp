//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// ssd with products of bf16 pairs by AMX tiles: pages of 16 positions are tiles' rows. What is summed over positions or
// over the state goes in blocks of 32, in tdpbf16ps' order.
//
#include "targets/cpu/kernels/AmxTiles.h"
#include "targets/cpu/kernels/SsdRounded.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

struct InTiles : Rounded {
  static constexpr int64_t kTileRows = 32;
};

/// Tiles 0 to 3 are sums: of as many panels, or blocks of rows.
constexpr int kSums = 4;
constexpr int kC = 4, kState = 5, kHalfRows = 6, kHalfColumns = 7;

/// Factors of a tile's row: so many products are added before they meet a sum.
constexpr int64_t kTileSum = 2 * kTileRows;

/// What those tiles leave.
struct TileSums {
  alignas(64) float of[kSums][kTileRows][kLanes];
};

/// Calls body.operator()<i>() for i < count.
template <int I = 0, typename Body> MLC_SIMD void forTiles(int64_t count, const Body &body) {
  if (I >= count)
    return;
  body.template operator()<I>();
  if constexpr (I + 1 < kSums)
    forTiles<I + 1>(count, body);
}

struct TileHead : SsdHead<InTiles> {
  int64_t shape = 0; // Rows that the tiles are configured for.
  bool poisoned = false;

  using SsdHead::SsdHead;

  void run() {
    asItLies = a.base && a.tokens == 1 && a.firstEntry + 1 < kPage;
    // Rows of the state that there are not.
    for (int64_t p = 0; p < panels; ++p)
      for (int64_t n = a.state & ~int64_t(1); n < tileRows; n += 2)
        store(reinterpret_cast<float *>(tileScratch + (p * tileRows + n) * kLanes), zero());
    forPages([&](int64_t begin, int64_t end, int64_t done, int64_t page) {
      inputs(begin, end, done, asItLies ? end : kPage);
      if (asItLies)
        return advanceOne();
      poisoned = hasPoison();
      const bool fills = end == kPage;
      const auto [target, stored] = behind(page);
      for (int64_t p = 0; p < panels; p += kSums)
        advance(begin, end, done, page, p, panels - p < kSums ? panels - p : kSums, fills ? target : nullptr, stored);
      if (!fills)
        return;
      state = target;
      tile = tileScratch;
    });
    releaseTiles();
  }

private:
  /// One token that fills no page: registers add in the tiles' order, and the state is read as it lies in memory.
  [[gnu::noinline]] void advanceOne() {
    const T *c = reinterpret_cast<const T *>(a.packed);
    const int64_t size = a.state, pairBytes = 2 * kLanes * (round ? 2 : 4);
    // Tiles take and give subnormal numbers as 0. What is added goes through memory, so that no compiler moves it out.
    uint32_t before, flushing;
    asm volatile("stmxcsr %0" : "=m"(before));
    flushing = before | 0x8040;
    asm volatile("ldmxcsr %0" ::"m"(flushing) : "memory");
    for (int64_t p = 0; p < panels; ++p) {
      const uint8_t *rows = a.base + p * rows32 * pairBytes / 2;
      VF even = zero(), odd = zero(), byState = zero();
      auto add = [&](const T *factors, VI pairs) __attribute__((always_inline)) {
        int32_t both;
        __builtin_memcpy(&both, factors, sizeof both);
        even = fma(firstOfPairs(set1(both)), firstOfPairs(pairs), even);
        odd = fma(secondOfPairs(set1(both)), secondOfPairs(pairs), odd);
      };
      auto total = [&](VF sum) __attribute__((always_inline)) {
        sum = sum + (even + odd);
        even = odd = zero();
        return sum;
      };
      for (int64_t n = 0; n < size; byState = total(byState))
        for (const int64_t end = n + kTileSum < size ? n + kTileSum : size; n < end; n += 2, rows += pairBytes) {
          VI pairs;
          fetchLine(rows + kFetchAhead);
          if (round) {
            pairs = (VI)load(rows);
          } else {
            fetchLine(rows + kFetchAhead + pairBytes / 2);
            const float *row = reinterpret_cast<const float *>(rows);
            InTiles::storeTile(reinterpret_cast<T *>(&pairs), kLanes, 0, 0, load(row),
                               n + 1 < size ? load(row + kLanes) : zero());
          }
          add(c + n, pairs);
        }
      for (int64_t j = 0; j <= a.firstEntry; j += 2)
        add(g + j, (VI)load(x + j * columns + p * 2 * kLanes));
      store(work + 2 * p * kLanes, byState);
      store(work + (2 * p + 1) * kLanes, total(zero()));
    }
    asm volatile("ldmxcsr %0" ::"m"(before) : "memory");
    for (int64_t p = 0; p < panels; ++p)
      output(0, p, load(work + 2 * p * kLanes) * set1(decay[a.firstEntry]), load(work + (2 * p + 1) * kLanes));
  }

  /// Row t of the step, in panel p.
  void output(int64_t t, int64_t p, VF byState, VF byPage) const {
    const int64_t left = a.headDim - p * kLanes;
    const VF input = loadPart(a.x + t * a.xStride + p * kLanes, left);
    storePart(a.y + t * a.yStride + p * kLanes, multiplyAdd(set1(a.d), input, byState + byPage), left);
  }

  /// Sums, c, the state's rows; then pairs of one page: rows of g or of b, and of x.
  [[gnu::noinline]] void configure(int64_t rows) {
    if (shape == rows)
      return;
    shape = rows;
    TileShapes shapes;
    for (int q = 0; q < kSums; ++q)
      shapes.set(q, rows, 64);
    shapes.set(kC, rows, 64);
    shapes.set(kState, kTileRows, 64);
    shapes.set(kHalfRows, rows, 2 * kPage);
    shapes.set(kHalfColumns, kPage / 2, 64);
    shapes.configure();
  }

  /// Whether a factor of x is NaN or infinite: times a 0 of g it would reach rows before its own.
  bool hasPoison() const {
    const __m512i exponent = _mm512_set1_epi16(0x7f80);
    __mmask32 found = 0;
    for (int64_t i = 0; i < kPage * columns; i += 2 * kLanes)
      found |= _mm512_cmpeq_epi16_mask(_mm512_and_si512(_mm512_loadu_si512(x + i), exponent), exponent);
    return found;
  }

  /// Rows of g by x of `count` panels from p on.
  [[gnu::noinline]] void multiplyPage(const T *rows, int64_t p, int64_t count, float *out) const {
    loadTile<kHalfRows>(reinterpret_cast<const uint8_t *>(rows), 2 * kPage);
    forTiles(count, [&]<int Q>() __attribute__((always_inline)) {
      loadTile<kHalfColumns>(reinterpret_cast<const uint8_t *>(x + (p + Q) * 2 * kLanes), columns * 4);
      zeroTile<Q>();
      multiplyPairTile<Q, kHalfRows, kHalfColumns>();
      storeTile<Q>(out + Q * kTileRows * kLanes, kLanes * 4);
    });
  }

  /// `count` panels from p on of a page: outputs, and behind a page that fills the state (`target`, and `stored` as
  /// bf16).
  void advance(int64_t begin, int64_t end, int64_t done, int64_t page, int64_t p, int64_t count, float *target,
               uint8_t *stored) {
    TileSums byState, byPage;
    const T *c = reinterpret_cast<const T *>(a.packed + page * a.packedStride);
    const int64_t padded = ssdPaddedState(a.state), rows = end - begin;
    configure(rows);
    if (tile) {
      forTiles(count, [&]<int Q>() __attribute__((always_inline)) { zeroTile<Q>(); });
      for (int64_t n = 0; n < tileRows; n += kTileSum) {
        loadTile<kC>(reinterpret_cast<const uint8_t *>(c + n), padded * 2);
        forTiles(count, [&]<int Q>() __attribute__((always_inline)) {
          loadTile<kState>(reinterpret_cast<const uint8_t *>(tile + ((p + Q) * tileRows + n) * kLanes), 64);
          multiplyPairTile<Q, kC, kState>();
        });
      }
      forTiles(count, [&]<int Q>() __attribute__((always_inline)) { storeTile<Q>(byState.of[Q], kLanes * 4); });
    }
    if (poisoned)
      multiplyRows(begin, end, p, count, byPage);
    else
      multiplyPage(g, p, count, byPage.of[0][0]);
    if (target)
      fold(target, stored, page, p, count, done + rows);
    for (int64_t t = 0; t < rows; ++t)
      for (int64_t q = 0; q < count; ++q)
        output(done + t, p + q, tile ? load(byState.of[q][t]) * set1(decay[begin + t]) : zero(), load(byPage.of[q][t]));
  }

  /// As multiplyPage, a row at a time, the last one first: what comes later is no more.
  [[gnu::noinline]] void multiplyRows(int64_t begin, int64_t end, int64_t p, int64_t count, TileSums &sums) {
    configure(1);
    for (int64_t t = end - 1; t >= begin; --t) {
      multiplyPage(g + (t - begin) * kPage, p, count, sums.of[0][t - begin]);
      T *pairs = x + (t & ~int64_t(1)) * columns + p * 2 * kLanes;
      for (int64_t q = 0; q < count; ++q, pairs += 2 * kLanes) {
        // The second one of an even t is gone already.
        const VI kept = t % 2 ? (VI)load(pairs) & set1(0xffff) : VI{};
        store(reinterpret_cast<float *>(pairs), (VF)kept);
      }
    }
  }

  /// The state of `count` panels behind the page, in items of 64 rows of a panel. Products that follow each other have
  /// the same x, which the tiles' unit keeps. While an item is multiplied the one before it is stored, and the one
  /// before that is added to the state: what tiles store is soon read badly.
  void fold(float *target, uint8_t *stored, int64_t page, int64_t p, int64_t count, int64_t next) {
    configure(kTileRows);
    SsdFold<InTiles> f = foldOf(target, stored, page, p);
    if (!f.source) {
      __builtin_memset(f.target, 0, size_t(count * f.panelStride) * sizeof(float));
      f.source = f.target;
    }
    constexpr int64_t kItem = kSums * kTileRows;
    const int64_t parts = (a.state + kItem - 1) / kItem, items = count * parts, atOnce = (kPage + items - 1) / items;
    TileSums sums[2];
    for (int64_t item = 0; item < items + 2; ++item) {
      if (item < items && item % parts == 0)
        loadTile<kHalfColumns>(reinterpret_cast<const uint8_t *>(f.xw + item / parts * 2 * kLanes), columns * 4);
      forTiles(kSums, [&]<int I>() __attribute__((always_inline)) {
        if (item && item <= items)
          storeTile<I>(sums[(item - 1) % 2].of[I], kLanes * 4);
        const int64_t n = item % parts * kItem + I * kTileRows;
        if (item >= items || n >= a.state)
          return;
        loadTile<kHalfRows>(reinterpret_cast<const uint8_t *>(f.b + n * kPage), 2 * kPage);
        zeroTile<I>();
        multiplyPairTile<I, kHalfRows, kHalfColumns>();
      });
      if (item < 2)
        continue;
      const int64_t done = item - 2, q = done / parts, n = done % parts * kItem;
      prefetch(next + done * atOnce, next + (done + 1) * atOnce, p * kLanes, (p + count) * kLanes);
      (round ? addToState<true> : addToState<false>)(f, q, n, a.state - n < kItem ? a.state - n : kItem,
                                                     sums[done % 2].of[0][0]);
    }
  }

  /// Rows [n, n + count) of panel q.
  template <bool Round>
  static void addToState(const SsdFold<InTiles> &f, int64_t q, int64_t n, int64_t count, const float *sums) {
    const float *source = f.source + q * f.panelStride + n * kLanes;
    const VF decay = set1(f.decay);
    auto row = [&](int64_t i) __attribute__((always_inline)) {
      return load(source + i * kLanes) * decay + load(sums + i * kLanes);
    };
    int64_t i = 0;
    for (; i + 1 < count; i += 2)
      storeFolded<InTiles, Round>(f, n + i, q, row(i), row(i + 1));
    if (i < count)
      storeFolded<InTiles, Round>(f, n + i, q, row(i), zero(), false);
  }
};

} // namespace

SsdHeadFn ssdHeadBf16;
void ssdHeadBf16(const SsdHeadArgs &args) { TileHead(args).run(); }

} // namespace MLC_ISA_NS
} // namespace mlc::cpu
