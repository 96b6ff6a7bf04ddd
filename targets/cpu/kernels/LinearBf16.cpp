//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// linear with bf16 products: x and the weights rounded to bf16, pairs of products along k added to f32 sums in order,
// whatever the blocking; then bias and residual are added.
//
#include "targets/cpu/kernels/LinearOutput.h"
#include "targets/cpu/simd/Pairs.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

// Rows that the form's registers hold beside two panels; whether one row, which waits for memory, reads panel by panel:
// of one stream the hardware fetches much by itself (Zen 4: 1.12 times the speed of two).
#if defined(__AVX512F__)
constexpr int kPairRows = 8;
constexpr bool kOneStream = true;
constexpr int64_t kRowAhead = kFetchAhead / 4;
#else
constexpr int kPairRows = 2;
constexpr bool kOneStream = false;
constexpr int64_t kRowAhead = kFetchAhead;
#endif
/// Pairs of k that a block walks: two panels of them stay in the first cache while the rows pass.
constexpr int64_t kPairs = 256;

struct PairBlock {
  const uint8_t *x; // bf16 pairs of the first row.
  int64_t xStride;
  const uint8_t *w;
  int64_t wPanel, pairs;
  float *acc;
  bool fresh;
};

template <int R, int C> void pairBlock(const PairBlock &b) {
  VF acc[R][C];
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c)
      acc[r][c] = b.fresh ? zero() : load(b.acc + r * kStride + c * kLanes);
  const uint8_t *w = b.w, *x = b.x;
  // Behind these panels' ends the next ones' beginnings.
  const uint8_t *end = w + b.pairs * 64;
  for (int64_t i = 0; i < b.pairs; ++i, w += 64, x += 4) {
    const uint8_t *ahead = beyondPanel(w + kRowAhead, end, (C - 1) * b.wPanel);
    VU values[C];
    for (int c = 0; c < C; ++c) {
      if constexpr (R == 1)
        fetchLine(ahead + c * b.wPanel);
      values[c] = (VU)loadBytes(w + c * b.wPanel);
    }
    for (int r = 0; r < R; ++r) {
      auto pair = uint32_t(loadInt(x + r * b.xStride));
      for (int c = 0; c < C; ++c)
        acc[r][c] = dotPairs(acc[r][c], values[c], pair);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c)
      store(b.acc + r * kStride + c * kLanes, acc[r][c]);
}

using PairFn = void (*)(const PairBlock &);
template <int C, int... Rows> struct PairTable {
  static constexpr PairFn fn[] = {pairBlock<Rows, C>...};
};
#if defined(__AVX512F__)
template <int C> using PairRows = PairTable<C, 1, 2, 3, 4, 5, 6, 7, 8>;
#else
template <int C> using PairRows = PairTable<C, 1, 2>;
#endif

} // namespace

RoundRowFn roundRow;
void roundRow(const float *x, int64_t k, uint8_t *out) {
  int64_t pairs = (k + 1) / 2;
  for (int64_t i = 0; i < pairs; i += 8, out += 32) {
    VU bits = roundBf16(loadPart(x + 2 * i, k - 2 * i));
    typedef uint16_t V16 __attribute__((vector_size(32)));
    V16 halves = __builtin_convertvector(bits >> 16, V16);
    __builtin_memcpy(out, &halves, sizeof halves);
  }
}

LinearBf16Fn linearBf16;
void linearBf16(const LinearBf16 &a, int64_t rowBegin, int64_t rowEnd, int64_t panelBegin, int64_t panelEnd,
                uint8_t *scratch) {
  LinearScratch s(scratch, a.rowTile);
  int64_t shape = 0;
  for (int64_t panel = panelBegin; panel < panelEnd; panel += kPanelsTogether) {
    int64_t panels = panelEnd - panel < kPanelsTogether ? panelEnd - panel : kPanelsTogether;
    // One row reads memory alone: the whole of k is one stream.
    int64_t step = rowEnd - rowBegin <= (a.tiles ? 16 : 1) ? a.pairs : kPairs;
    for (int64_t begin = 0; begin < a.pairs; begin += step) {
      PairBlock b{};
      b.xStride = a.xStride;
      b.w = a.weight + panel * a.panelBytes + begin * 64;
      b.wPanel = a.panelBytes;
      b.pairs = a.pairs - begin < step ? a.pairs - begin : step;
      b.fresh = !begin;
      if (a.tiles) {
        a.tiles({a.x + rowBegin * a.xStride + begin * 4, a.xStride, b.w, 64, b.wPanel, b.pairs, s.acc, kStride, b.fresh,
                 step == kPairs ? 0 : kFetchAhead},
                rowEnd - rowBegin, panels, shape);
        continue;
      }
      for (int64_t r = rowBegin; r < rowEnd; r += kPairRows) {
        b.x = a.x + r * a.xStride + begin * 4;
        b.acc = s.acc + (r - rowBegin) * kStride;
        int64_t rows = rowEnd - r < kPairRows ? rowEnd - r : kPairRows;
        if (kOneStream && rowEnd - rowBegin == 1) {
          for (int64_t c = 0; c < panels; ++c, b.w += b.wPanel, b.acc += kLanes)
            pairBlock<1, 1>(b);
          break;
        }
        (panels == 1 ? PairRows<1>::fn : PairRows<2>::fn)[rows - 1](b);
      }
    }
    writeOutput(a.output, rowBegin, rowEnd, panel, panels, s);
  }
  if (a.tiles)
    a.tiles({}, 0, 0, shape);
}

} // namespace MLC_ISA_NS
} // namespace mlc::cpu
