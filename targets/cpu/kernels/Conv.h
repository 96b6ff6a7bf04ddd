//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// What conv's forms compute: blocks of 16 output positions by panels of 16 output channels, the input read where it
// lies; and planes of a depthwise convolution.
//
#pragma once

#include "targets/cpu/Forms.h"

#include <cstdint>

namespace mlc::cpu {

/// Output positions of a block, output channels of a panel.
constexpr int64_t kConvBlock = 16, kConvPanel = 16;
/// Panels that a block of few positions meets at once.
constexpr int64_t kConvMostPanels = 4;

/// What follows the sum of an output.
struct ConvPost {
  const float *bias;     // Of the first channel; null: none.
  const float *residual; // Of the first channel and position; null: none.
  int64_t residualStride;
  float slope;
  uint8_t activation;
};

/// A block of positions by some panels.
struct ConvTile {
  const float *at[kConvBlock]; // Where the window of each position begins.
  int64_t positions;           // 1 to 16, which lie behind one another in the output.
  const int64_t *offsets;      // [k]: of each product, from there.
  int64_t k;
  const float *weight; // [panels][k][16]
  int64_t panels;      // 1 to kConvMostPanels.
  int64_t channels;    // Of these panels; the last one may have fewer than 16.
  float *out;          // Of the first channel and position.
  int64_t outStride;   // From channel to channel.
  ConvPost post;
};
using ConvTileFn = void(const ConvTile &args);

/// A row of a depthwise convolution: one output channel, consecutive positions.
struct ConvRow {
  const float *x;                             // Where the window of the first position begins.
  int64_t step;                               // From position to position.
  int64_t kernelH, kernelW, strideH, strideW; // Taps, and from tap to tap in x.
  const float *weight;                        // [kernelH * kernelW]
  float *out;
  int64_t positions;
  ConvPost post;
};
using ConvRowFn = void(const ConvRow &args);

} // namespace mlc::cpu
