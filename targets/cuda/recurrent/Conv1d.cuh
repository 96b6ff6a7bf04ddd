//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// conv1d_causal: a thread for a channel of a row, grid (channels, rows). What lies before the step's tokens comes from
// the log of the segment's first page, then from that page's base; zeros before position 0. The thread also writes the
// row's log entry, and that of a page's last row the base behind the page.
//
#pragma once

#include "targets/cuda/elementwise/Elementwise.cuh"
#include "targets/cuda/recurrent/States.cuh"

namespace mlc::cuda {

/// One channel of a segment.
struct ConvHistory {
  const ConvArgs &args;
  const StepSegment &segment;
  const StateSegment &blocks;
  int64_t channel;

  MLC_DEVICE float *column(uint32_t base, int64_t index) const {
    return reinterpret_cast<float *>(baseAt(args.state, base)) + index * args.channels + channel;
  }
  MLC_DEVICE float at(int64_t position) const {
    int64_t index = position - segment.firstPosition, page = segment.firstPosition / kStatePage * kStatePage;
    if (index >= 0)
      return args.x.data[(segment.firstRow + index) * args.x.stride + channel];
    if (position < 0)
      return 0;
    return position >= page ? logAt(args.state, blocks.log, position - page)[channel]
                            : *column(blocks.base, position - page + args.kernel - 1);
  }
};

} // namespace mlc::cuda

MLC_KERNEL(mlc_conv1d, ConvArgs) {
  begin();
  int64_t row = blockIdx.y, channel = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (channel >= args.channels)
    return;
  int segment = args.step.segment[row];
  const StateSegment &blocks = args.state.segments[segment];
  ConvHistory history{args, args.step.segments[segment], blocks, channel};
  int64_t position = args.step.position[row], page = position / kStatePage, entry = position % kStatePage;
  const float *weight = args.weight + channel * args.kernel;
  float sum = args.bias ? args.bias[channel] : 0.0f;
  for (int j = 0; j < args.kernel; ++j)
    sum = fmaf(weight[j], history.at(position - args.kernel + 1 + j), sum);
  args.out.data[row * args.out.stride + channel] = activate(args.act, sum);

  const StatePage &kept = args.state.pages[blocks.firstPage + page - history.segment.firstPosition / kStatePage];
  if (kept.log != kNoStateBlock)
    logAt(args.state, kept.log, entry)[channel] = history.at(position);
  if (kept.base != kNoStateBlock && entry == kStatePage - 1)
    for (int j = 0; j < args.kernel - 1; ++j)
      *history.column(kept.base, j) = history.at(position - args.kernel + 2 + j);
}
