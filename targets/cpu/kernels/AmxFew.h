//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Few rows of x against four panels, with AMX tiles. A step is half a group of one panel: its product, from what was
// unpacked two steps ago, while the half after the next is unpacked. A load of a tile waits for a store before it whose
// address has the same lowest 12 bits, and a stored tile for its products: so what is stored from tiles, and what is
// loaded into them, lie in different quarters of a page. The floats are those of dotBlock, in its order.
//
#pragma once

#include "targets/cpu/kernels/AmxTiles.h"
#include "targets/cpu/kernels/IntPanel.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

constexpr int64_t kHalfGroup = kFewGroup / 2, kUnpackedBytes = kHalfGroup * kPanelColumns;
static_assert(kFewRows == kAmxRows && kHalfGroup == tileColumns(kFewGroup / 16));

/// A worker's memory (FewRows::work): three unpacked halves, and at the ends of pages the sums of two panels.
struct FewMemory {
  uint8_t *unpacked[3]; // What is multiplied now, next, and unpacked now.
  uint8_t *work;
  explicit FewMemory(uint8_t *work) : unpacked{work, work + kUnpackedBytes, work + 2 * kUnpackedBytes}, work(work) {}
  void turn() {
    uint8_t *first = unpacked[0];
    unpacked[0] = unpacked[1], unpacked[1] = unpacked[2], unpacked[2] = first;
  }
  /// [kTileRows][kPanelColumns]; of the first or the second rows, of a panel of even or odd place.
  int32_t *sums(bool second, int64_t odd) const {
    return reinterpret_cast<int32_t *>(work + (2 * second + odd) * kPageBytes + 3 * kUnpackedBytes);
  }
};

/// Half a group of a panel, from `column` on, as the bytes that tiles take.
template <int Bits> [[gnu::noinline]] void unpackHalf(const uint8_t *panel, int64_t column, uint8_t *to) {
  VB zero;
  __builtin_memset(&zero, 1 << (Bits - 1), sizeof zero);
  for (int64_t c = 0; c < kHalfGroup; c += kUnit) {
    VB unit[8];
    loadUnit<Bits>(panel + (column + c) * 2 * Bits, unit);
    for (VB &quad : unit)
      quad = quad - zero;
    __builtin_memcpy(to + c * kPanelColumns, unit, sizeof unit);
  }
}

/// Scales the first or second rows' sums of step `step`: of the panels of a group in turn, then of the next group.
template <int Bits>
[[gnu::noinline]] void scaleSums(const LinearInt &a, const FewRows &f, int64_t step, bool second, const int32_t *sums) {
  const int64_t p = step % kFewPanels, g = step / kFewPanels;
  constexpr int64_t kTogether = 4;
  const VF scales = groupScales<Bits, IntScale::bf16, IntOffset::none>(a, f.panels[p], g);
  const int64_t at = g * f.paddedRows() + second * kTileRows;
  const float *xScales = f.scales + at;
  const uint8_t *xSums = f.sums + at * 4;
  float *acc = f.accOf(p, second);
  for (int64_t left = second               ? f.rows - kTileRows
                      : f.rows < kTileRows ? f.rows
                                           : kTileRows;
       left > 0; left -= kTogether)
    for (int64_t i = 0; i < kTogether; ++i, ++xScales, xSums += 4, acc += kStride, sums += kPanelColumns) {
      VI isum;
      __builtin_memcpy(&isum, sums, sizeof isum);
      if constexpr (Bits == 8)
        isum = isum + set1(loadInt(xSums));
      store(acc, fma(toFloat(isum), scales * set1(*xScales), load(acc)));
    }
}

/// Fetches what is unpacked or multiplied two groups after column `column` of panel p.
template <int Bits> MLC_SIMD void fetchHalf(const LinearInt &a, const FewRows &f, int64_t p, int64_t column) {
  constexpr int64_t kBytes = 2 * Bits, kAhead = 2 * kFewGroup;
  const uint8_t *panel = f.panels[p], *end = panel + a.panelBytes;
  const uint8_t *ahead = beyondPanel(panel + (column + kAhead) * kBytes, end, f.next - a.panelBytes);
  for (int64_t i = 0; i < kHalfGroup * kBytes; i += 64)
    fetchLine(ahead + i);
}
/// Unpacks half `half` of the panel that is multiplied after panel p of group g.
template <int Bits>
MLC_SIMD void unpackNext(const LinearInt &a, const FewRows &f, int64_t p, int64_t g, int64_t half, uint8_t *to) {
  const int64_t next = (p + 1) % kFewPanels, group = g + (p + 1) / kFewPanels;
  if (Bits < 8 && group < a.groups)
    unpackHalf<Bits>(f.panels[next], group * kFewGroup + half * kHalfGroup, to);
}

/// Panel p, whose place is Odd, of group g, where one tile has all rows; meanwhile the sums of the panel before leave
/// their tile, and those before them are scaled. Tiles: 0 and 1 sums, 4 and 5 halves of x, 6 and 7 of the panel.
template <int Bits, int Odd>
MLC_SIMD void oneStep(const LinearInt &a, const FewRows &f, FewMemory &m, int64_t p, int64_t g) {
  const int64_t column = g * kFewGroup, step = g * kFewPanels + p;
  const uint8_t *direct = f.panels[p] + column * 2 * Bits;
  fetchHalf<Bits>(a, f, p, column);
  zeroTile<Odd>();
  loadTile<6>(Bits == 8 ? direct : m.unpacked[0], 64);
  multiplyTile<Bits == 4, Odd, 4, 6>();
  unpackNext<Bits>(a, f, p, g, 0, m.unpacked[2]);
  m.turn();
  fetchHalf<Bits>(a, f, p, column + kHalfGroup);
  loadTile<7>(Bits == 8 ? direct + kHalfGroup * 2 * Bits : m.unpacked[0], 64);
  multiplyTile<Bits == 4, Odd, 5, 7>();
  unpackNext<Bits>(a, f, p, g, 1, m.unpacked[2]);
  m.turn();
  if (step > 1)
    scaleSums<Bits>(a, f, step - 2, false, m.sums(false, Odd));
  if (step > 0)
    storeTile<!Odd>(m.sums(false, !Odd), kPanelColumns * 4);
}

/// The same where two tiles share the rows: their sums leave before the next panel's begin. Tiles: 0 and 2 sums, 1 and
/// 4 the halves of the first rows of x, 3 and 5 of the second.
template <int Bits> MLC_SIMD void twoStep(const LinearInt &a, const FewRows &f, FewMemory &m, int64_t p, int64_t g) {
  const int64_t column = g * kFewGroup, step = g * kFewPanels + p;
  const uint8_t *direct = f.panels[p] + column * 2 * Bits;
  fetchHalf<Bits>(a, f, p, column);
  fetchHalf<Bits>(a, f, p, column + kHalfGroup);
  loadTile<6>(Bits == 8 ? direct : m.unpacked[0], 64);
  loadTile<7>(Bits == 8 ? direct + kHalfGroup * 2 * Bits : m.unpacked[1], 64);
  if (step > 0)
    storeTile<0>(m.sums(false, 0), kPanelColumns * 4);
  zeroTile<0>();
  multiplyTile<Bits == 4, 0, 1, 6>();
  multiplyTile<Bits == 4, 0, 4, 7>();
  unpackNext<Bits>(a, f, p, g, 0, m.unpacked[2]);
  m.turn();
  if (step > 1)
    scaleSums<Bits>(a, f, step - 2, true, m.sums(true, 0));
  if (step > 0)
    storeTile<2>(m.sums(true, 0), kPanelColumns * 4);
  zeroTile<2>();
  multiplyTile<Bits == 4, 2, 3, 6>();
  multiplyTile<Bits == 4, 2, 5, 7>();
  unpackNext<Bits>(a, f, p, g, 1, m.unpacked[2]);
  m.turn();
  if (step > 0)
    scaleSums<Bits>(a, f, step - 1, false, m.sums(false, 0));
}

template <int Bits> void multiplyFew(const LinearInt &a, const FewRows &f) {
  FewMemory m(f.work);
  const bool two = f.rows > kTileRows;
  for (int64_t half = 0; half < 2 && Bits < 8; ++half)
    unpackHalf<Bits>(f.panels[0], half * kHalfGroup, m.unpacked[half]);
  for (int64_t p = 0; p < kFewPanels; ++p)
    for (int64_t r = 0; r < f.paddedRows(); ++r)
      store(f.accOf(p, r >= kTileRows) + r % kTileRows * kStride, zero());
  for (int64_t g = 0; g < a.groups; ++g) {
    const uint8_t *x = f.x + g * kFewGroup, *second = x + kTileRows * a.xStride;
    // Of the output, wanted next.
    if (const int64_t panel = kFewPanels - (a.groups - g); f.fetched && panel >= 0)
      for (int64_t r = 0; r < f.rows; ++r)
        __builtin_prefetch(f.fetched + panel * f.fetchedApart + r * f.fetchedStride, 1);
    if (two) {
      loadTile<1>(x, a.xStride);
      loadTile<4>(x + kHalfGroup, a.xStride);
      loadTile<3>(second, a.xStride);
      loadTile<5>(second + kHalfGroup, a.xStride);
      for (int64_t p = 0; p < kFewPanels; ++p)
        twoStep<Bits>(a, f, m, p, g);
      continue;
    }
    loadTile<4>(x, a.xStride);
    loadTile<5>(x + kHalfGroup, a.xStride);
    for (int64_t p = 0; p < kFewPanels; p += 2) {
      oneStep<Bits, 0>(a, f, m, p, g);
      oneStep<Bits, 1>(a, f, m, p + 1, g);
    }
  }
  const int64_t steps = a.groups * kFewPanels;
  if (two) {
    scaleSums<Bits>(a, f, steps - 2, true, m.sums(true, 0));
    storeTile<0>(m.sums(false, 0), kPanelColumns * 4);
    storeTile<2>(m.sums(true, 0), kPanelColumns * 4);
    scaleSums<Bits>(a, f, steps - 1, false, m.sums(false, 0));
    scaleSums<Bits>(a, f, steps - 1, true, m.sums(true, 0));
  } else {
    scaleSums<Bits>(a, f, steps - 2, false, m.sums(false, 0));
    storeTile<1>(m.sums(false, 1), kPanelColumns * 4);
    scaleSums<Bits>(a, f, steps - 1, false, m.sums(false, 1));
  }
}

} // namespace
} // namespace MLC_ISA_NS
} // namespace mlc::cpu
