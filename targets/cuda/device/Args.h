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

#include <cstdint>

namespace mlc::cuda {

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

struct NormArgs {
  Rows<const float> x, residual; // residual null: none.
  const float *weight;
  Rows<float> sum, out; // sum receives x + residual.
  int64_t width;
  float eps, offset;
};

/// fb::Activation.
enum class Act : uint8_t { none = 0, silu = 1, geluTanh = 2, geluErf = 3, relu = 4, relu2 = 5, tanh = 6, sigmoid = 7 };
/// fb::Binary, then what is none of its.
enum class Pair : uint8_t { add = 0, sub = 1, mul = 2, div = 3, max = 4, min = 5, gate = 6, copy = 7, unary = 8 };

/// out = a op b by rows of `columns`; gate: act(a) * b; unary: act(a * scaleIn) * scaleOut.
struct PairArgs {
  Rows<const float> a, b;
  Rows<float> out;
  int64_t columns;
  float scaleIn, scaleOut;
  Pair op;
  Act act;
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

/// The packed layouts that tensor cores read, a panel being 16 outputs.
enum class Panel : uint8_t { bf16 = 0, int8 = 1, int4 = 2 };

/// Where things lie in a panel (targets/cpu/pack/Layout.h).
struct PanelArgs {
  int64_t panelBytes, columns;  // Columns with padding.
  int64_t group, scales, zeros; // Columns of a scale; offsets in a panel; zeros 0: 8 of int4, 128 of int8.
  bool halfScales;              // Scales are f16, not bf16.
};

/// As LinearArgs.
struct PanelLinearArgs : PanelArgs {
  Rows<const float> x;
  const void *weight;
  const float *bias;
  Rows<const float> residual;
  Rows<float> out;
  int64_t n, k;
  int32_t rows;
  bool aligned; // Rows of x begin at multiples of 16 bytes.
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
  int32_t group, window; // Query heads of a KV head; window 0: none.
  float scale, softcap;
  bool bf16; // Operands of products are rounded to bf16.
};

} // namespace mlc::cuda
