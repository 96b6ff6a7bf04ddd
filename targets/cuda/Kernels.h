//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What the launchers share. A call's operands are those of the CPU's kernel of the same name and version, so its check
// is asked first; what this target lacks is then refused by name.
//
#pragma once

#include "targets/cuda/Stream.h"

namespace mlc::cuda {

extern const KernelDef embeddingKernels[1], gatherRowsKernels[1], pairKernels[5], normKernels[3], ropeKernels[2],
    linearKernels[2], normLinearKernels[1], attentionKernels[2], recurrentKernels[2], moeKernels[3],
    allReduceKernels[1];

/// Rows of a grid's second and third axis.
constexpr int64_t kMostGridRows = 65535;
/// Columns of a weight.
constexpr uint64_t kMostColumns = uint64_t(1) << 24;

/// The CPU's check of kernel `name` version 1, and that a step's rows fit a grid.
Status checkAsHost(const KernelCallInfo &call, const char *name);
/// How a weight that a kernel of this target reads is stored: floats row by row, or panels for tensor cores.
struct Stored {
  bool panels;
  Storage storage; // Of rows.
  Panel panel;     // Of panels.
};
/// Unsupported when no kernel reads its format.
Result<Stored> storedAs(const fb::WeightDesc &weight);
/// Where things lie in the panels of `weight`.
PanelArgs panelArgs(const fb::WeightDesc &weight);

/// Of linear, and what norm_linear asks it: the check of a call, bytes of scratch, and the launches with the rows
/// normed.
Status checkLinear(const KernelCallInfo &call);
uint64_t linearScratch(const fb::LinearAttrs &attrs, int64_t rows);
void runLinear(const KernelContext &context, const InputNorm &norm);

/// What of these is refused beyond the CPU's checks.
Status checkLinearAttrs(const fb::LinearAttrs &attrs);
Status checkAttentionAttrs(const fb::AttentionAttrs &attrs);
Status checkSsdAttrs(const fb::SsdAttrs &attrs);
Status checkExperts(uint32_t experts, uint32_t chosen);
/// Launches a linear of panels whose rows stay in shared memory; false: they are too many or too long.
bool runStaying(Stream &stream, PanelLinearArgs &args, Panel panel);
/// Launches one of more rows than kSplitRows, with `scratch` of tileScratch() bytes.
void runTiles(Stream &stream, const PanelLinearArgs &args, Panel panel, uint8_t *scratch);
/// Of up to `rows` rows.
uint64_t tileScratch(const PanelLinearArgs &args, Panel panel, int64_t rows);
/// Up to so many rows a block has a panel, and a warp of it a slice.
constexpr int64_t kSplitRows = 16;
/// Launches the norm of `rows` rows of k values into `out`, row behind row (norm/Norm.cpp).
void runInputNorm(Stream &stream, const InputNorm &norm, Rows<const float> x, int64_t k, int64_t rows, float *out);
/// Launches a linear with a gate as a mixture of one expert (moe/Moe.cpp).
void runGated(Stream &stream, const PanelLinearArgs &linear, Panel panel);
Status checkExpertWeight(const fb::WeightDesc &weight, bool bf16, bool quantized);

inline Stream &streamOf(const KernelContext &context) { return static_cast<Stream &>(*context.stream); }
inline Rows<float> rowsOf(const TensorView &view) { return {view.as<float>(), view.strides[0]}; }
inline Rows<const float> inputRows(const TensorView &view) { return {view.as<float>(), view.strides[0]}; }
/// Whether rows can be loaded 16 bytes at a time.
inline bool aligned(const void *data, int64_t strideBytes) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 && strideBytes % 16 == 0;
}
/// Blocks of `threads` for `items`.
constexpr uint64_t blocksFor(int64_t items, int64_t threads) { return uint64_t(ceilDiv(items, threads)); }
/// Of a kernel with a thread for each column of each row.
constexpr unsigned kRowThreads = 256;
constexpr Stream::Grid rowGrid(int64_t columns, int64_t rows) {
  return {blocksFor(columns, kRowThreads), uint64_t(rows > 0 ? rows : 0)};
}

} // namespace mlc::cuda
