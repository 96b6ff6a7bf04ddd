//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// linear on quantized rows: for each group in order, acc = fma(float(isum), scale_w * scale_x, acc), where isum is the
// exact integer sum of (w - zero) * x over the group; then bias, then residual are added. The same bits in every form.
//
#include "targets/cpu/kernels/Linear.h"
#include "targets/cpu/kernels/LinearOutput.h"
#include "targets/cpu/simd/Simd.h"

namespace mlc::cpu {
namespace MLC_ISA_NS {
namespace {

// Rows and panels that the form's registers hold.
#if defined(__AVX512F__)
constexpr int kDotRows = 6, kDotPanels = 2;
#elif defined(__AVX2__)
constexpr int kDotRows = 2, kDotPanels = 1;
#else
constexpr int kDotRows = 2, kDotPanels = 1;
#endif

/// Groups [begin, end) of some rows and adjacent panels into acc [rows][kStride].
struct DotBlock {
  const LinearInt *a;
  const uint8_t *x;     // First row, at group `begin`.
  const uint8_t *xMeta; // First row.
  const uint8_t *w;     // First panel's values, at group `begin`.
  int64_t wPanel;       // Bytes between two panels' values.
  const uint8_t *panel; // First panel, for scales and zeros.
  int64_t begin, end;
  float *acc;
};
// Bytes by which a stream of weights is fetched ahead.
constexpr int64_t kAhead = 4096;
constexpr int64_t kStride = kPanelsTogether * kPanelColumns;

enum class Values { bytes, nibbles, nibbleBytes }; // u8 quads; packed pairs of quads; unpacked nibbles.

template <int R, int C, Values V, bool Asymmetric> void dotBlock(const DotBlock &b) {
  constexpr bool nibble = V != Values::bytes, kStream = R == 1 && C == 1;
  const LinearInt &a = *b.a;
  VF acc[R][C];
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c)
      acc[r][c] = b.begin ? load(b.acc + r * kStride + c * kLanes) : zero();
  const uint8_t *w = b.w, *x = b.x;
  for (int64_t g = b.begin; g < b.end; ++g) {
    // A single chain of sums would wait for each product's latency.
    DotSum<nibble> sums[R][C], odd;
    for (int r = 0; r < R; ++r)
      for (int c = 0; c < C; ++c)
        sums[r][c] = dotZero<nibble>();
    odd = dotZero<nibble>();
    for (int64_t column = 0; column < a.group; column += 32) {
      if constexpr (V == Values::nibbles) {
        for (int i = 0; i < 32; i += 8, w += 64, x += 8) {
          VB low[C], high[C];
          for (int c = 0; c < C; ++c) {
            VB packed = loadBytes(w + c * b.wPanel);
            if constexpr (kStream)
              __builtin_prefetch(w + kAhead);
            low[c] = packed & 15;
            high[c] = packed >> 4;
          }
          for (int r = 0; r < R; ++r) {
            int32_t first = loadInt(x + r * a.xStride), second = loadInt(x + r * a.xStride + 4);
            for (int c = 0; c < C; ++c) {
              dotQuad(sums[r][c], low[c], first);
              dotQuad(kStream ? odd : sums[r][c], high[c], second);
            }
          }
        }
      } else if constexpr (kStream) {
        for (int i = 0; i < 32; i += 8, w += 128, x += 8) {
          __builtin_prefetch(w + kAhead);
          __builtin_prefetch(w + kAhead + 64);
          dotQuad(sums[0][0], loadBytes(w), loadInt(x));
          dotQuad(odd, loadBytes(w + 64), loadInt(x + 4));
        }
      } else {
        for (int i = 0; i < 32; i += 4, w += 64, x += 4) {
          VB values[C];
          for (int c = 0; c < C; ++c)
            values[c] = loadBytes(w + c * b.wPanel);
          for (int r = 0; r < R; ++r) {
            int32_t quad = loadInt(x + r * a.xStride);
            for (int c = 0; c < C; ++c)
              dotQuad(sums[r][c], values[c], quad);
          }
        }
      }
      for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c)
          dotFlush(sums[r][c]);
      if constexpr (kStream)
        dotFlush(odd);
    }
    for (int c = 0; c < C; ++c) {
      const uint8_t *panel = b.panel + c * a.panelBytes;
      VF scale = loadBf16(panel + a.scalesOffset + g * 32);
      VI zeros = set1(nibble ? 8 : 128);
      if constexpr (Asymmetric)
        zeros = loadI8(panel + a.zerosOffset + g * 16);
      for (int r = 0; r < R; ++r) {
        const uint8_t *meta = b.xMeta + r * a.xStride;
        VI sum = dotTotal(sums[r][c]);
        if constexpr (kStream)
          sum = sum + dotTotal(odd);
        sum = sum - zeros * set1(loadInt(meta + a.xSums + 4 * g));
        acc[r][c] = fmaExact(toFloat(sum), scale * set1(loadFloat(meta + a.xScales + 4 * g)), acc[r][c]);
      }
    }
  }
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c)
      store(b.acc + r * kStride + c * kLanes, acc[r][c]);
}

using DotFn = void (*)(const DotBlock &);
template <Values V, bool Asymmetric, int C> DotFn dotOf(int64_t rows) {
#if defined(__AVX512F__)
  static constexpr DotFn fn[] = {dotBlock<1, C, V, Asymmetric>, dotBlock<2, C, V, Asymmetric>,
                                 dotBlock<3, C, V, Asymmetric>, dotBlock<4, C, V, Asymmetric>,
                                 dotBlock<5, C, V, Asymmetric>, dotBlock<6, C, V, Asymmetric>};
#else
  static constexpr DotFn fn[] = {dotBlock<1, C, V, Asymmetric>, dotBlock<2, C, V, Asymmetric>};
#endif
  return fn[rows - 1];
}

template <int C> DotFn dotFor(const LinearInt &a, bool unpacked, int64_t rows) {
  if (!a.int4)
    return dotOf<Values::bytes, false, C>(rows);
  if (unpacked)
    return a.asymmetric ? dotOf<Values::nibbleBytes, true, C>(rows) : dotOf<Values::nibbleBytes, false, C>(rows);
  return a.asymmetric ? dotOf<Values::nibbles, true, C>(rows) : dotOf<Values::nibbles, false, C>(rows);
}

/// Unpacks `bytes` of w, and fetches as many from `next`, which comes after.
void unpackNibbles(const uint8_t *w, const uint8_t *next, int64_t bytes, uint8_t *out) {
  for (int64_t i = 0; i < bytes; i += 64, out += 128) {
    __builtin_prefetch(next + i);
    VB packed = loadBytes(w + i), low = packed & 15, high = packed >> 4;
    __builtin_memcpy(out, &low, 64);
    __builtin_memcpy(out + 64, &high, 64);
  }
}

} // namespace

LinearIntFn linearInt;
void linearInt(const LinearInt &a, int64_t rowBegin, int64_t rowEnd, int64_t panelBegin, int64_t panelEnd,
               uint8_t *scratch) {
  float *acc = reinterpret_cast<float *>(scratch);
  uint8_t *tile = scratch + a.rowTile * kStride * 4;
  bool unpack = a.int4 && rowEnd - rowBegin > kDotRows;
  int64_t block = unpack ? kIntColumns / a.group : a.groups;
  for (int64_t panel = panelBegin; panel < panelEnd;) {
    // One row reads memory, not registers: one panel after the other is one stream.
    int64_t panels = panelEnd - panel >= kDotPanels && rowEnd - rowBegin > 1 ? kDotPanels : 1;
    const uint8_t *first = a.weight + panel * a.panelBytes;
    for (int64_t begin = 0; begin < a.groups; begin += block) {
      DotBlock b{};
      b.a = &a;
      b.panel = first;
      b.begin = begin;
      b.end = begin + block < a.groups ? begin + block : a.groups;
      int64_t column = begin * a.group;
      if (unpack) {
        int64_t bytes = (b.end - begin) * a.group * 8;
        for (int64_t p = 0; p < panels; ++p) {
          const uint8_t *w = first + p * a.panelBytes + column * 8;
          const uint8_t *next = b.end < a.groups ? w + bytes : first + (p + panels) * a.panelBytes;
          unpackNibbles(w, next, bytes, tile + p * kIntColumns * 16);
        }
        b.w = tile;
        b.wPanel = kIntColumns * 16;
      } else {
        b.w = first + column * (a.int4 ? 8 : 16);
        b.wPanel = a.panelBytes;
      }
      for (int64_t r = rowBegin; r < rowEnd; r += kDotRows) {
        int64_t rows = rowEnd - r < kDotRows ? rowEnd - r : kDotRows;
        b.xMeta = a.x + r * a.xStride;
        b.x = b.xMeta + column;
        b.acc = acc + (r - rowBegin) * kStride;
        (panels == 1 ? dotFor<1>(a, unpack, rows) : dotFor<kDotPanels>(a, unpack, rows))(b);
      }
    }
    for (int64_t r = rowBegin; r < rowEnd; ++r)
      writeOutput(a, r, panel * kPanelColumns, panels * kPanelColumns, acc + (r - rowBegin) * kStride);
    panel += panels;
  }
}

} // namespace MLC_ISA_NS
} // namespace mlc::cpu
