//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What a launch hands to a kernel: one struct by value, the same on both sides. Pointers are the device's. A step's own
// figures (positions, pages) are not here but in the step's block on the device, so that a captured graph can be
// launched again.
//
#pragma once

#include "runtime/exec/Draw.h"

#include <cstdint>

#ifdef __CUDACC__
#define MLC_BOTH_SIDES __host__ __device__
#else
#define MLC_BOTH_SIDES
#endif

namespace mlc::cuda {

using mlc::RowDraw;
using mlc::TokenAdjustment;

/// Positions of a KV page.
constexpr int kPage = 64;

/// A matrix of rows, `stride` elements apart.
template <typename T> struct Rows {
  T *data;
  int64_t stride;
};

/// How numbers are stored: of weights, of KV pages.
enum class Storage : uint8_t { f32 = 0, f16 = 1, bf16 = 2, i8 = 3 };

/// One sequence's share of a step.
struct StepSegment {
  int32_t firstRow, length;
  int64_t firstPosition, formLength;
};

/// The step's block: written by the host, read by kernels.
struct StepView {
  const int32_t *position;     // [tokens] of each row
  const int32_t *segment;      // [tokens] of each row
  const StepSegment *segments; // [segments]
};

struct EmbeddingArgs {
  const int32_t *ids;
  const void *weight;
  Rows<float> out;
  int64_t vocabulary, columns;
  float scale;
  Storage storage;
};

struct GatherArgs {
  Rows<const float> x;
  const int32_t *rows;
  Rows<float> out;
  int64_t available, columns; // Rows of x.
};

/// A block for each draw; those of negative rows do nothing. Changes the logits of the others.
constexpr int kDrawThreads = 512;
struct DrawArgs {
  Rows<float> logits;
  const RowDraw *draws;
  const TokenAdjustment *adjustments;
  int32_t *tokens; // Of each draw; -1: no logit was a number above -infinity.
  int64_t vocabulary;
};

struct NormArgs {
  Rows<const float> x, residual; // residual null: none.
  const float *weight;
  Rows<float> sum, out; // sum receives x + residual.
  int64_t width;
  float eps, offset;
};

/// rms_norm of whole rows on their way into a product; weight null: none.
struct InputNorm {
  const float *weight;
  float eps, offset;
};

/// fb::Activation.
enum class Act : uint8_t { none = 0, silu = 1, geluTanh = 2, geluErf = 3, relu = 4, relu2 = 5, tanh = 6, sigmoid = 7 };
/// fb::Binary, then what is none of its.
enum class Pair : uint8_t {
  add = 0,
  sub = 1,
  mul = 2,
  div = 3,
  max = 4,
  min = 5,
  gate = 6,
  copy = 7,
  unary = 8,
  scale = 9
};

/// out = a op b by rows of `columns`; gate: act(a) * b; unary: act(a * scaleIn) * scaleOut; scale: a * act(b), of one
/// column.
struct PairArgs {
  Rows<const float> a, b;
  Rows<float> out;
  int64_t columns;
  float scaleIn, scaleOut;
  Pair op;
  Act act;
};

/// out = residual + the parts of all ranks, in their order: [rank][row][column].
struct JoinRanksArgs {
  const float *parts;
  int64_t partStride, columns;
  Rows<const float> residual; // Null: none.
  Rows<float> out;
  int32_t ranks;
};

/// fb::RopeScaling.
enum class Scaling : uint8_t { none = 0, linear = 1, dynamic = 2, yarn = 3, longrope = 4, llama3 = 5 };

struct AnglesArgs {
  StepView step;
  const float *tables; // [1 or 2][rotary / 2]
  Rows<float> out;     // cos | sin
  int64_t originalContext;
  int32_t rotary;
  float theta, factor, attentionFactor;
  Scaling scaling;
};

struct RopeArgs {
  Rows<const float> x, angles;
  Rows<float> out;
  int32_t heads, headDim, rotary;
  bool interleaved;
};

/// out = x * weight^T + bias + residual; bias, residual null: none.
struct LinearArgs {
  Rows<const float> x;
  const void *weight; // [n][k]
  const float *bias;
  Rows<const float> residual;
  Rows<float> out;
  int64_t n, k;
  int32_t rows;
};

/// The packed layouts that tensor cores read, a panel being 16 outputs; w8a8, w4a8: those of int8 and int4 where they
/// meet rows of bytes.
enum class Panel : uint8_t { bf16 = 0, int8 = 1, int4 = 2, w8a8 = 3, w4a8 = 4 };
MLC_BOTH_SIDES constexpr bool takesBytes(Panel panel) { return panel >= Panel::w8a8; }

constexpr int kWholeRow = 31;
/// Where things lie in a panel (targets/cpu/pack/Layout.h).
struct PanelArgs {
  int64_t panelBytes;
  int64_t scales, zeros; // Offsets in a panel; zeros 0: 8 of int4, 128 of int8.
  int32_t columns;       // With padding.
  int32_t groupShift;    // 2^groupShift columns share a scale; kWholeRow: all.
  bool halfScales;       // Scales are f16, not bf16.
};

/// What a product with panels reads of rows: k columns, which begin at multiples of 16 bytes if `aligned`.
struct PanelProductArgs : PanelArgs {
  int64_t k;
  bool aligned;
};

/// Blocks of a linear whose rows stay that a processor has at once: with its room, what 200 KiB of shared memory and
/// 64 registers a thread allow.
constexpr int kStreamBlocks = 4;
/// Room for the rows of a linear that stay in shared memory, in pairs of columns.
constexpr int64_t kStreamWords = 10240;
/// What a row takes of it: rows lie so that lanes which load 8 (products 1) or 16 bytes (2) at once meet other banks.
constexpr int64_t streamRowWords(int64_t columns, int products) { return (columns + 63) / 64 * 32 + 8 * products; }
/// The same of a row of bytes with its scales.
constexpr int64_t streamByteWords(int64_t columns, int64_t scales) { return (columns / 4 + scales + 31) / 32 * 32 + 8; }

/// Rows of quantize_rows (cpu::QuantizedRow): bytes, and the scale of every 2^shift columns as f32 behind them.
struct ByteRows {
  Rows<const uint8_t> rows; // At multiples of 16 bytes if PanelProductArgs::aligned.
  int32_t scales, shift;    // Their offset in a row; kWholeRow: one.
};

/// As LinearArgs. Of w8a8 and w4a8 `bytes` are the rows, and x is not read.
struct PanelLinearArgs : PanelProductArgs {
  Rows<const float> x;
  InputNorm norm; // Where rows stay, or are rounded for tiles.
  ByteRows bytes;
  const void *weight;
  const float *bias;
  Rows<const float> residual;
  Rows<float> out;
  int64_t n;
  int32_t rows;
  int32_t rowWords; // streamRowWords, of rows that stay.
  Act act;          // With a gate.
  int64_t gate;     // Bytes from a panel of W to that of V; 0: none.
};

/// The order of a product's sums: k is cut into units of so many columns, and units into so many slices at most.
constexpr int kUnit = 128, kSlices = 8;
/// Columns of a slice.
MLC_BOTH_SIDES constexpr int sliceColumns(int columns) {
  const int units = (columns + kUnit - 1) / kUnit;
  return (units + kSlices - 1) / kSlices * kUnit;
}
MLC_BOTH_SIDES constexpr int sliceCount(int columns) {
  return (columns + sliceColumns(columns) - 1) / sliceColumns(columns);
}

/// Panels of a block of mlc_tile_*, each a warp's, and stages of its ring.
constexpr int kTilePanels = 8, kMostTileStages = 8;
/// Hopper has a warpgroup that copies.
MLC_BOTH_SIDES constexpr int tileThreads(bool hopper) { return hopper ? 384 : 256; }
/// What its shared memory may lack to begin where a tile does, in bytes.
constexpr int kTileAlignment = 1024;
/// Columns that it has in shared memory as one stage: whole tiles of 64, or of 128 bytes.
MLC_BOTH_SIDES constexpr int tileColumns(Panel panel) { return panel >= Panel::int4 ? 128 : 64; }
/// What a stage has of a row; of bytes with room for the scales of four groups.
MLC_BOTH_SIDES constexpr int tileRowBytes(Panel panel) {
  return panel >= Panel::w8a8 ? 128 + 16 : 2 * tileColumns(panel);
}
MLC_BOTH_SIDES constexpr int64_t tileStageBytes(Panel panel, int64_t rows) {
  const bool int8 = panel == Panel::int8 || panel == Panel::w8a8;
  const int bytes = panel == Panel::bf16 ? 32 : int8 ? 16 : 8; // A column of a panel.
  return (tileColumns(panel) * kTilePanels * bytes + tileRowBytes(panel) * rows + kTileAlignment - 1) / kTileAlignment *
         kTileAlignment;
}
/// Scales that a stage has of a row of bytes.
MLC_BOTH_SIDES constexpr int tileScales(int shift) { return shift < 7 ? 128 >> shift : 1; }

/// Rows as mlc_tile_* reads them.
struct RoundRowsArgs {
  Rows<const float> x;
  uint8_t *out; // [ceil(rows / tileRows)][columnStages][tileColumns(panel) / 64][tileRows] of 64 bf16 each, swizzled.
  int64_t k;
  int32_t rows, tileRows, columnStages;
  Panel panel;
  InputNorm norm; // Of mlc_norm_rows.
};

/// The same of rows of bytes.
struct PlaceRowsArgs {
  ByteRows bytes;
  uint8_t *out; // [ceil(rows / tileRows)][columnStages] of [tileRows][128], swizzled, and of f32[tileScales][tileRows].
  int32_t columns, rows, tileRows, columnStages;
  bool aligned;
  Panel panel;
};

/// Columns that mlc_quantize_rows gives a warp: a group, or 128 of them.
MLC_BOTH_SIDES constexpr int quantizedSpan(int group) { return group < 128 && 128 % group == 0 ? 128 : group; }

/// Rows of f32 to rows as ByteRows has them, with the negated sums of every sumColumns bytes behind the scales.
struct QuantizeRowsArgs {
  Rows<const float> x;
  Rows<uint8_t> out;
  int64_t k;
  // With padding; of a group, of a sum (a divisor of 128, or the group); offsets in a row.
  int32_t columns, group, sumColumns, scales, sums;
  bool aligned; // Rows begin at multiples of 16 bytes.
};

/// x is not read. parts null: a block has all slices; else [slices][rows][n], which mlc_join_slices adds.
struct TileLinearArgs : PanelLinearArgs {
  const uint8_t *rounded;
  float *parts;
  int32_t stages, slicesEach; // Of the ring; of a block.
};

/// fb::RouterForm.
enum class Router : uint8_t { softmaxTopk = 0, topkSoftmax = 1, sigmoid = 2 };

/// From a router's logits to each token's experts and their weights.
struct MoeRouteArgs {
  Rows<const float> logits;
  const float *bias; // [experts]; null: none.
  Rows<int32_t> ids; // [tokens][chosen]
  Rows<float> weights;
  int32_t experts, chosen, groups, topGroups;
  float scale;
  Router form;
  bool normalize;
};

/// Some of the rows of one expert: slots[first], ..., slots[first + count - 1]. Slot t * chosen + j is token t's j-th.
struct MoeTile {
  int32_t expert, first, count;
};

/// Orders the slots by expert, and cuts each expert's into tiles; tiles behind the last have no rows.
struct MoeGroupArgs {
  Rows<const int32_t> ids;
  int32_t *slots;
  MoeTile *tiles;
  int64_t tokens, mostTiles;
  int32_t experts, chosen;
};

/// out of each slot = act(W x), with a gate act(W x) * (V x), by the matrices of the slot's expert.
struct MoeArgs : PanelProductArgs {
  Rows<const int32_t> ids; // data null: one expert has all slots, `rows` of them.
  const MoeTile *tiles;    // Null: each slot is a tile of its own, or of one expert as many as a block takes.
  const int32_t *slots;
  Rows<const float> x;
  Rows<float> out;
  const uint8_t *weight;
  int64_t matrixBytes, stride, gate; // Matrices from expert to expert, and from W to V; gate 0: none.
  int64_t n;
  int32_t experts, chosen, share; // Slots that share a row of x.
  int32_t rows;
  Act act;
  Storage floats; // Of panels of floats.
};

/// out = residual + the parts of a token's slots times their weights, by rising expert; residual null: none.
struct MoeJoinArgs {
  Rows<const int32_t> ids;
  Rows<const float> weights, parts, residual; // parts: by slot.
  Rows<float> out;
  int64_t n;
  int32_t experts, chosen;
};

struct PanelEmbeddingArgs {
  PanelArgs panels;
  const int32_t *ids;
  const void *weight;
  Rows<float> out;
  int64_t vocabulary, columns;
  float scale;
  Panel panel;
};

/// Pages of one KV state: [kv_head][64][head_dim] of K, then of V (KvPage.h). tables[segment * tableStride + page].
struct KvView {
  uint8_t *pool;
  const uint32_t *tables;
  int64_t pageBytes, tableStride;
  int32_t heads, headDim;
  Storage storage;
};

/// Positions of a page of recurrent states: kRecurrentPage.
constexpr int kStatePage = 16;
/// No block of a recurrent state.
constexpr uint32_t kNoStateBlock = ~0u;

/// Blocks of the recurrent states of one segment: the base of its first page (none: zeros) and that page's log; where
/// its pages begin in StateView::pages.
struct StateSegment {
  uint32_t base, log, firstPage;
};
/// Blocks that a step writes: the log of a page, and the base behind it; none: they are not kept.
struct StatePage {
  uint32_t log, base;
};

/// A recurrent state as RecurrentStateView says. A base: conv [kernel - 1][channels] f32; ssm [heads][head_dim][state].
struct StateView {
  uint8_t *bases, *logs;              // Of this state, in block 0.
  int64_t baseStride, logBlockStride; // Bytes from block to block.
  int64_t logStride;                  // Values from entry to entry.
  const StateSegment *segments;
  const StatePage *pages;
};

/// y = act(bias + sum over j < kernel of weight[c][j] x[t - kernel + 1 + j][c]); bias null: none.
struct ConvArgs {
  StepView step;
  StateView state;
  Rows<const float> x;
  const float *weight; // [channels][kernel]
  const float *bias;
  Rows<float> out;
  int64_t channels;
  int32_t kernel;
  Act act;
};

struct SsdArgs {
  StepView step;
  StateView state;
  Rows<const float> x, dt, b, c;
  const float *a, *d, *dtBias; // [heads]
  Rows<float> out;
  int32_t heads, headDim, groups, size; // size: of the state, for each column of head_dim.
  float dtMin, dtMax;
  bool logA, bf16State; // Bases are bf16.
  // mlc_ssd_pack_*, mlc_ssd_tile_*: [page of the step][group] of ssdPackedBytes; null: blocks round for themselves.
  uint8_t *packed;
};

/// mlc_ssd_tile_*: columns of a head that a block has, and pages in its shared memory.
constexpr int kSsdTileColumns = 64, kSsdTilePages = 3;
constexpr int kSsdTileThreads = 2 * kSsdTileColumns + 128;
MLC_BOTH_SIDES constexpr int ssdTileBytes(int states) {
  return kSsdTilePages * (2 * kStatePage * (2 * states + 16) + 512 + 16 + 4 * kStatePage * (kSsdTileColumns + 4 + 4));
}

/// What mlc_ssd_pack_* makes of a page and a group: rows of b, then of c, as blocks have them, and their products.
constexpr int kSsdPackThreads = 64;
MLC_BOTH_SIDES constexpr int ssdPackedBytes(int states) {
  return 2 * kStatePage * 2 * states + kStatePage * kStatePage * 4;
}

/// norm(x) * weight * act(gate), or norm(x * act(gate)) * weight, over groups of `width` columns.
struct GatedNormArgs {
  Rows<const float> x, gate;
  const float *weight;
  Rows<float> out;
  int64_t width;
  float eps;
  bool normFirst;
  Act act;
};

struct AppendArgs {
  StepView step;
  KvView kv;
  Rows<const float> k, v;
};

struct AttentionArgs {
  StepView step;
  KvView kv;
  Rows<const float> q;
  Rows<float> out;
  float *parts; // [rows][heads][chunks][2 + head_dim]: largest score, sum, weighted values; null: one pass.
  int64_t chunks;
  int32_t rows;
  int32_t group, window; // Query heads of a KV head; window 0: none.
  float scale, softcap;
  bool bf16; // Operands of products are rounded to bf16.
};
/// mlc_attention_rows_* have so many warps for the same rows.
MLC_BOTH_SIDES constexpr int attentionHalves(int dim) { return dim > 128 ? 2 : 1; }
/// Shared memory of mlc_attention_row_* and mlc_attention_rows_*: 64 rows each of queries and of K or V.
MLC_BOTH_SIDES constexpr int attentionTileBytes(int dim) { return 2 * 64 * (2 * dim + 16); }

struct PeakArgs {
  float *out; // [blocks][256]
  int32_t rounds;
};
/// Multiplies and adds of a block in a round.
constexpr int64_t kPeakRound = int64_t(2) * 8 * 4 * 16 * 192 * 16;

} // namespace mlc::cuda
