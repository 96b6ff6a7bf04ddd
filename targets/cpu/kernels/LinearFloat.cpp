//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// linear with float products. Each output is summed over k one by one with fused multiply-adds (portable x86: multiply,
// then add), whatever the blocking; then bias, then residual are added.
//
#include "targets/cpu/kernels/Linear.h"
#include "targets/cpu/kernels/LinearOutput.h"
#include "targets/cpu/simd/Gemm.h"
#include "targets/cpu/simd/Pairs.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

/// Columns [begin, begin + count) of panel `panel` as f32 [count][16]: in place, or in `tile`.
const float *panelTile(const LinearFloat &a, int64_t panel, int64_t begin, int64_t count, float *tile, float *row) {
  const uint8_t *w = a.weight + panel * a.panelBytes;
  switch (a.source) {
  case LinearFloat::panelF32:
    return reinterpret_cast<const float *>(w) + begin * kLanes;
  case LinearFloat::panelF16:
    for (int64_t i = 0; i < count; ++i)
      store(tile + i * kLanes, loadF16(w + (begin + i) * 32));
    return tile;
  case LinearFloat::panelBf16:
    // An odd k's last pair ends with a zero, for which the tile has room.
    for (int64_t i = 0; i < count; i += 2) {
      VU pair = (VU)loadBytes(w + (begin + i) * 32);
      store(tile + i * kLanes, (VF)(pair << 16));
      store(tile + (i + 1) * kLanes, (VF)(pair & 0xffff0000));
    }
    return tile;
  case LinearFloat::rows:
    break;
  }
  for (int64_t r = 0; r < kPanelColumns; ++r) {
    int64_t n = panel * kPanelColumns + r;
    if (n < a.n)
      a.unpack(a, n, begin, count, row);
    for (int64_t i = 0; i < count; ++i)
      tile[i * kLanes + r] = n < a.n ? row[i] : 0.0f;
  }
  return tile;
}

/// Up to 4 rows against `C` panels of f16 or bf16, converted on the way: decode reads each weight once.
template <int R, int C, bool Half> void halfBlock(const LinearFloat &a, int64_t row, int64_t panel, float *acc) {
  VF sums[R][C];
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c)
      sums[r][c] = zero();
  const uint8_t *w = a.weight + panel * a.panelBytes;
  const float *x = a.x + row * a.xStride;
  // Behind these panels' ends the next ones' beginnings.
  const uint8_t *end = w + a.panelBytes;
  for (int64_t i = 0; i < a.k; i += 2, w += 64) {
    const uint8_t *ahead = beyondPanel(w + kFetchAhead, end, (C - 1) * a.panelBytes);
    // Two columns at a time, as bf16 pairs lie.
    VF values[2][C];
    for (int c = 0; c < C; ++c) {
      fetchLine(ahead + c * a.panelBytes);
      const uint8_t *at = w + c * a.panelBytes;
      VU pair = (VU)loadBytes(at);
      values[0][c] = Half ? loadF16(at) : (VF)(pair << 16);
      values[1][c] = Half ? loadF16(at + 32) : (VF)(pair & 0xffff0000);
    }
    for (int j = 0; j < 2 && i + j < a.k; ++j)
      for (int r = 0; r < R; ++r) {
        VF xv = set1(x[r * a.xStride + i + j]);
        for (int c = 0; c < C; ++c)
          sums[r][c] = multiplyAdd(xv, values[j][c], sums[r][c]);
      }
  }
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c)
      store(acc + r * kPanelsTogether * kPanelColumns + c * kLanes, sums[r][c]);
}

constexpr int64_t kHalfRows = 4;
using HalfFn = void (*)(const LinearFloat &, int64_t, int64_t, float *);
template <int C, bool Half> HalfFn halfOf(int64_t rows) {
  static constexpr HalfFn fn[] = {halfBlock<1, C, Half>, halfBlock<2, C, Half>, halfBlock<3, C, Half>,
                                  halfBlock<4, C, Half>};
  return fn[rows - 1];
}
template <bool Half> HalfFn halfFor(int64_t rows, int64_t panels) {
  return panels == 1 ? halfOf<1, Half>(rows) : halfOf<kPanelsTogether, Half>(rows);
}

} // namespace

LinearFloatFn linearFloat;
void linearFloat(const LinearFloat &a, int64_t rowBegin, int64_t rowEnd, int64_t panelBegin, int64_t panelEnd,
                 uint8_t *scratch) {
  constexpr int64_t kTile = kPanelColumns * kFloatColumns;
  LinearScratch s(scratch, a.rowTile);
  float *acc = s.acc, *tile = reinterpret_cast<float *>(s.tile), *row = tile + kPanelsTogether * kTile;
  for (int64_t panel = panelBegin; panel < panelEnd; panel += kPanelsTogether) {
    int64_t panels = panelEnd - panel < kPanelsTogether ? panelEnd - panel : kPanelsTogether;
    bool direct =
        rowEnd - rowBegin <= kHalfRows && (a.source == LinearFloat::panelF16 || a.source == LinearFloat::panelBf16);
    if (direct)
      (a.source == LinearFloat::panelF16 ? halfFor<true> : halfFor<false>)(rowEnd - rowBegin, panels)(a, rowBegin,
                                                                                                      panel, acc);
    for (int64_t begin = direct ? a.k : 0; begin < a.k; begin += kFloatColumns) {
      int64_t count = a.k - begin < kFloatColumns ? a.k - begin : kFloatColumns;
      const float *w = nullptr;
      for (int64_t p = 0; p < panels; ++p) {
        const float *at = panelTile(a, panel + p, begin, count, tile + p * kTile, row);
        w = p ? w : at;
      }
      int64_t between = a.source == LinearFloat::panelF32 ? a.panelBytes / 4 : kTile;
      gemm<multiplyAdd>(
          {a.x + rowBegin * a.xStride + begin, a.xStride, w, kLanes, between, count, acc, kStride, begin == 0},
          rowEnd - rowBegin, panels);
    }
    writeOutput(a.output, rowBegin, rowEnd, panel, panels, s);
  }
}

} // namespace MLC_ISA_NS
} // namespace mlc::cpu
