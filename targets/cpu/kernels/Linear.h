//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the sources of `linear` share: plain argument structs, so that the ISA forms include no schema.
//
#pragma once

#include "targets/cpu/kernels/PairTiles.h"
#include "targets/cpu/pack/SuperBlock.h"

#include <stddef.h>
#include <stdint.h>

namespace mlc::cpu {

/// What becomes of the sums: bias, then residual are added. With a gate, the columns of panel p meet those of its pair:
/// activation(p's) * the other's, in f32 or quantized as quantize_rows does.
struct LinearOutput {
  float *out;                   // Null with `quantized`.
  uint8_t *quantized;           // Null without.
  const float *bias, *residual; // Null when absent.
  int64_t columns;              // Of the output.
  int64_t stride;               // Between its rows: elements of `out`, bytes of `quantized`.
  int64_t residualStride;
  int64_t gatePanels;                                // Of a gate, or of one expert's quantized output; 0: neither.
  uint8_t activation;                                // As fb::Activation.
  int64_t group, sumGroup, scalesOffset, sumsOffset; // Of `quantized`.
  /// Of experts (Moe.cpp), in the place of bias and residual.
  enum Expert : uint8_t {
    none,
    alone,    // activation(sum), in f32 or, of integer products, quantized.
    multiply, // activation(what out holds) * sum.
    scatter,  // To row targets[r] of out is added factors[r] * sum, in one rounding.
  } expert;
  const int32_t *targets;
  const float *factors;
};

/// Rows of x against a weight with float products: stored floats, or blocks dequantized tile by tile.
struct LinearFloat {
  const float *x;
  int64_t xStride;
  const uint8_t *weight;
  int64_t n, k, panelBytes;
  enum Source : uint8_t { panelF32, panelF16, panelBf16, rows } source;
  /// rows: columns [begin, begin + count) of weight row `row` as f32.
  void (*unpack)(const LinearFloat &, int64_t row, int64_t begin, int64_t count, float *out);
  const void *desc; // Of `unpack`.
  int64_t rowTile;  // Rows that one call may cover.
  LinearOutput output;
};

/// A format of integer panels: bits, kind of scale, kind of offset (IntPanel.h).
enum class IntFormat : uint8_t {
  int8,
  int4,
  int4Asymmetric,
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  q8_0,
  q2_k,
  q3_k,
  q4_k,
  q5_k,
  q6_k
};
enum class IntScale : uint8_t { bf16, f16, super, superSigned }; // super: f16 of 256 columns times 8 bits of the group.
enum class IntOffset : uint8_t { none, zeroPoint, f16, super };

/// How groups of weights meet the scales of x.
enum class Scaling : uint8_t {
  alone,    // Each has one.
  shared,   // Several share one.
  integers, // The same, and their own factors are integers whose sums may pass 2^24: not to be summed in floats.
};

/// Groups of some rows against two panels, all of those that share a scale of x.
struct DotBlock {
  const uint8_t *x;      // First row's bytes at the first group.
  const uint8_t *next;   // The same of the rows that come next, or of these.
  const uint8_t *scales; // First row's, of the first group's x.
  const uint8_t *sums;   // First row's LinearInt::sums of the first group.
  int64_t xStride, sumStride;
  const uint8_t *w; // Quads of bytes of the first panel.
  int64_t wPanel;   // Bytes between two panels' quads.
  int64_t wGap;     // Of packed ones: bytes between those of kSuperColumns and the next.
  /// For each group and panel: 16 scales (i32 where Scaling is integers), then 16 offsets where the format has some.
  const float *factors;
  /// Of formats whose scales are super, else null: what their integer factors are multiplied by, for each scale of x
  /// and panel in the same way.
  const float *supers;
  bool offsets;          // There are some.
  int64_t units, groups; // Of 16 columns in a group; groups.
  int64_t together;      // Groups that share a scale of x; divides `groups` where it is not 1.
  float *acc;            // [rows][kStride]
  bool begins;           // Nothing is in `acc` yet.
  /// What is unpacked next: bytes of the first panel, then as many of the second, which lie so far beyond the first's
  /// end.
  const uint8_t *ahead;
  int64_t aheadBytes, aheadGap;
  int64_t aheadBegin, aheadStep; // Fetched before this block of rows, and beside 64 columns of it (dotRows).
  /// Rows of kStride floats that are wanted next, where they are known: of the output, of the residual.
  struct {
    const float *data;
    int64_t stride;
  } fetched[2];
};
/// How a format's weights meet tiles: as they are, less a zero that the integer sums begin with, signed, or multiplied
/// by their group's integer factor, as two planes of bytes (ScaledPlanes.h), with offsets or without.
enum class DotWeights : uint8_t { plain, withZero, ofSigned, scaled, scaledPlain };
/// Some rows of a step whose products are in the tiles, or stored, and not yet scaled.
struct TileStep {
  int64_t rows = 0;
  const uint8_t *xScales = nullptr, *xSums = nullptr;
  const float *factors = nullptr, *supers = nullptr; // Of the first group.
  float *acc = nullptr;                              // [rows][kStride]
  bool begins = false;                               // Nothing is in `acc` yet.
};
/// What products with tiles leave from one block to the next.
struct TileState {
  int64_t shape = 0; // What the tiles are configured for; 0: nothing.
  TileStep pending;
};
/// Adds the products of any number of rows to DotBlock::acc; `shared`: several groups share a scale of x. The last
/// group's may be pending, factors and all, until the next block or a call without rows; one without weights sets the
/// tiles free.
using DotTilesFn = void(const DotBlock &, int64_t rows, DotWeights, bool shared, TileState &);

struct FewRows;
struct LinearInt;
/// Multiplies them, or, without panels, makes the tiles ready for rows, or without those, sets the tiles free.
using FewRowsFn = void(const LinearInt &, const FewRows &);

/// Quantized rows against integer panels.
struct LinearInt {
  const uint8_t *x;
  int64_t xStride, xScales, xSums; // In bytes; scales and sums: offsets in a quantized row.
  const uint8_t *weight;
  int64_t panelBytes;
  int64_t scalesOffset, offsetsOffset; // Of a panel that is no sequence of super-blocks.
  int64_t group, groups;               // Columns of a group of weights; groups of a row.
  IntFormat format;
  /// For several rows: for each row and group the negated sum of x, as i32 times the zero or, where the format has
  /// offsets, as f32.
  const uint8_t *sums;
  uint8_t zeroShift;  // w = scale * (q - 2^zeroShift) where the format has no offset.
  uint8_t scaleShift; // 2^scaleShift groups of weights share one scale of x: all of a row, then.
  int64_t rowTile;
  int64_t gateBytes; // From a gate's panel to its pair.
  int64_t following; // From `weight` to the matrix whose panels of the same places are met next; 0: unknown.
  LinearOutput output;
  DotTilesFn *tiles; // Null: registers multiply.
  FewRowsFn *few;    // Null without `tiles`.
  bool streams;      // Memory gives more to several streams than to one: a row meets kRowPanels at once.
};

/// Rows of bf16 pairs against bf16 panels.
struct LinearBf16 {
  const uint8_t *x;
  int64_t xStride; // In bytes.
  const uint8_t *weight;
  int64_t pairs, panelBytes;
  int64_t rowTile;
  LinearOutput output;
  PairTilesFn *tiles; // Null: registers multiply.
};
/// Bytes of a row of k values as bf16 pairs, with what roundRow writes beyond.
constexpr int64_t pairRowBytes(int64_t k) { return (k + 63) / 64 * 128; }
using RoundRowFn = void(const float *x, int64_t k, uint8_t *out);

/// Rows [rowBegin, rowEnd) (at most rowTile) by panels [panelBegin, panelEnd).
using LinearFloatFn = void(const LinearFloat &, int64_t rowBegin, int64_t rowEnd, int64_t panelBegin, int64_t panelEnd,
                           uint8_t *scratch);
/// LinearInt::sums of a row: shifted left by `shift`, or as f32 where it is negative. Any alignment.
using PrepareSumsFn = void(const uint8_t *sums, int64_t count, int shift, uint8_t *out);
using LinearIntFn = void(const LinearInt &, int64_t rowBegin, int64_t rowEnd, int64_t panelBegin, int64_t panelEnd,
                         uint8_t *scratch);

using LinearBf16Fn = void(const LinearBf16 &, int64_t rowBegin, int64_t rowEnd, int64_t panelBegin, int64_t panelEnd,
                          uint8_t *scratch);

constexpr int64_t kPanelColumns = 16;
/// Columns of k that lie unpacked in a worker's scratch: a multiple of every block and group of fewer than 8 bits.
constexpr int64_t kFloatColumns = 256, kIntColumns = 512;
/// Panels a call walks together.
constexpr int64_t kPanelsTogether = 2;
/// Panels of small integers that one row meets together where it does (IntRow.h).
constexpr int64_t kPanelsOfRow = 8;
constexpr int64_t kStride = kPanelsTogether * kPanelColumns; // Between rows of their sums.

/// Rows that tiles hold at once, panels that meet them together, and columns of their groups (FewRows).
constexpr int64_t kFewRows = 32, kFewPanels = 4, kFewGroup = 128;
/// Bytes of FewRows::work: pages, for what waits for what depends on where it lies in one.
constexpr int64_t kPageBytes = 4096, kFewBytes = 4 * kPageBytes + kPageBytes / 2;
/// Up to kFewRows rows against kFewPanels panels of int8 or int4, where each group of kFewGroup has a scale of x.
struct FewRows {
  const uint8_t *x; // As LinearInt's, the first row's.
  int64_t rows;
  const uint8_t *panels[kFewPanels];
  int64_t next;         // Bytes from a panel to the one that is met after it.
  const float *scales;  // [groups][paddedRows()] of x; of the rows beyond, zeros.
  const uint8_t *sums;  // The same of LinearInt::sums.
  uint8_t *work;        // kFewBytes.
  float *fetched;       // A panel's part of the output, which is wanted next; null: unknown.
  int64_t fetchedApart; // From a panel's part to the next one's.
  int64_t fetchedStride;

  static int64_t padded(int64_t rows) { return rows > kFewRows / 2 ? kFewRows : kFewRows / 2; }
  int64_t paddedRows() const { return padded(rows); }
  /// What the first or second kFewRows / 2 rows come to, kStride apart, side by side for two panels.
  float *accOf(int64_t panel, bool second) const {
    return reinterpret_cast<float *>(work + kPageBytes * (1 + panel / 2 + 2 * second)) + panel % 2 * kPanelColumns;
  }
};

/// Of a worker's scratch: unpacked weights (f32, and a row of them), and scales and offsets of groups of 16 columns.
constexpr int64_t kLinearTileBytes = (kPanelsTogether * kPanelColumns + 1) * kFloatColumns * 4;
constexpr int64_t kLinearFactors = kPanelsTogether * 2 * kPanelColumns * (kIntColumns / 16);
/// And those of 128 columns.
constexpr int64_t kLinearSupers = kPanelsTogether * 2 * kPanelColumns * (kIntColumns / 128);
static_assert(kPanelsTogether * kPanelColumns * kIntColumns <= kLinearTileBytes);

/// Bytes of a worker's scratch for calls of up to `rowTile` rows whose output is quantized in groups of `group` (0:
/// not).
constexpr int64_t linearScratchBytes(int64_t rowTile, int64_t group) {
  return rowTile * (kPanelsTogether * kPanelColumns + group) * 4 + kLinearTileBytes +
         (kLinearFactors + kLinearSupers) * 4;
}

} // namespace mlc::cpu
