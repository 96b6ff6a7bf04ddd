//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// ssd: state-space duality over pages of 16 positions, the arithmetic of targets/cpu/kernels/SsdRows.h with f32
// products. A block has 32 columns of one head of one segment, grid (heads x tiles of columns, segments), and goes
// through the pages in order with the state in registers: thread 8 p + s holds of column p the values 4 (s + 8 i), ...,
// 4 (s + 8 i) + 3. What a row gives depends on its page's base and the page's entries up to it alone, each sum in an
// order of its own, so any split of a sequence into steps gives the same bits.
//
#pragma once

#include "targets/cuda/recurrent/States.cuh"

namespace mlc::cuda {

constexpr int kSsdColumns = 32, kSsdSlices = 8, kSsdThreads = kSsdColumns * kSsdSlices;

/// log(1 + e^x).
MLC_DEVICE float softplus(float x) { return x > 20.0f ? x : log1pf(expf(x)); }

/// A page as the block's threads share it: entries [0, end) of b, x and the steps, [begin, end) of c and g.
template <int kStates> struct SsdPage {
  // Rows begin 4 banks apart, so that 8 lanes read 16 bytes of 8 rows at a time.
  static constexpr int kStride = kStates + 4;
  alignas(16) float b[kStatePage][kStride];
  alignas(16) float c[kStatePage][kStride];
  float x[kStatePage][kSsdColumns];
  float g[kStatePage][kStatePage];                                              // (c_t . b_j) exp(cum_t - cum_j) dt_j
  float dt[kStatePage], cum[kStatePage], decay[kStatePage], weight[kStatePage]; // decay: exp(cum).
};

/// One block's work.
template <int kStates> struct SsdBlock {
  static constexpr int kQuads = kStates / (4 * kSsdSlices);
  const SsdArgs &args;
  SsdPage<kStates> &page;
  int thread = int(threadIdx.x), slice = thread % kSsdSlices, column = thread / kSsdSlices;
  int tiles = (args.headDim + kSsdColumns - 1) / kSsdColumns, head = int(blockIdx.x) / tiles;
  int firstColumn = int(blockIdx.x) % tiles * kSsdColumns, group = head / (args.heads / args.groups);
  const StepSegment &segment = args.step.segments[blockIdx.y];
  const StateSegment &blocks = args.state.segments[blockIdx.y];
  // Where b and dt begin in a log entry.
  int64_t logB = int64_t(args.heads) * args.headDim, logDt = logB + int64_t(args.groups) * args.size;
  float state[kQuads][4] = {};

  MLC_DEVICE int index(int quad) const { return 4 * (slice + kSsdSlices * quad); }
  MLC_DEVICE bool mine() const { return firstColumn + column < args.headDim; }
  /// Of this thread's column in a base.
  MLC_DEVICE int64_t stateOffset() const { return (int64_t(head) * args.headDim + firstColumn + column) * args.size; }

  MLC_DEVICE void loadBase() {
    for (int q = 0; q < kQuads; ++q)
      for (int e = 0; e < 4; ++e)
        state[q][e] = blocks.base != kNoStateBlock && mine() && index(q) + e < args.size
                          ? stored(baseAt(args.state, blocks.base), args.bf16State ? Storage::bf16 : Storage::f32,
                                   stateOffset() + index(q) + e)
                          : 0.0f;
  }

  MLC_DEVICE void storeBase(uint32_t block) const {
    uint8_t *base = baseAt(args.state, block);
    for (int q = 0; q < kQuads; ++q)
      for (int e = 0; e < 4; ++e) {
        if (!mine() || index(q) + e >= args.size)
          continue;
        int64_t at = stateOffset() + index(q) + e;
        if (args.bf16State)
          reinterpret_cast<uint16_t *>(base)[at] = floatToBf16(state[q][e]);
        else
          reinterpret_cast<float *>(base)[at] = state[q][e];
      }
  }

  /// Entries [0, end) of a page, of which those from `begin` on are the step's rows from `row` on.
  MLC_DEVICE void loadPage(int begin, int end, int64_t row) {
    for (int i = thread; i < end * kStates; i += kSsdThreads) {
      int j = i / kStates, n = i % kStates;
      int64_t at = int64_t(group) * args.size + n, from = row + j - begin;
      bool inside = n < args.size;
      page.b[j][n] = !inside     ? 0.0f
                     : j < begin ? logAt(args.state, blocks.log, j)[logB + at]
                                 : args.b.data[from * args.b.stride + at];
      if (j >= begin)
        page.c[j][n] = inside ? args.c.data[from * args.c.stride + at] : 0.0f;
    }
    for (int i = thread; i < end * kSsdColumns; i += kSsdThreads) {
      int j = i / kSsdColumns, p = i % kSsdColumns;
      int64_t at = int64_t(head) * args.headDim + firstColumn + p;
      page.x[j][p] = firstColumn + p >= args.headDim ? 0.0f
                     : j < begin                     ? logAt(args.state, blocks.log, j)[at]
                                                     : args.x.data[(row + j - begin) * args.x.stride + at];
    }
    if (int j = thread; j < end)
      page.dt[j] =
          j < begin ? logAt(args.state, blocks.log, j)[logDt + head]
                    : fminf(fmaxf(softplus(args.dt.data[(row + j - begin) * args.dt.stride + head] + args.dtBias[head]),
                                  args.dtMin),
                            args.dtMax);
  }

  /// cum, decay, then g and, of a whole page, the weights.
  MLC_DEVICE void coefficients(float rate, int begin, int end) {
    if (int t = thread; t < end) {
      float sum = 0;
      for (int j = 0; j <= t; ++j)
        sum += page.dt[j] * rate;
      page.cum[t] = sum;
      page.decay[t] = expf(sum);
    }
    __syncthreads();
    static_assert(kSsdThreads == kStatePage * kStatePage);
    int t = thread / kStatePage, j = thread % kStatePage;
    if (t >= begin && t < end && j <= t) {
      float sums[4] = {};
      for (int n = 0; n < kStates; n += 4) {
        float4 c = *reinterpret_cast<const float4 *>(&page.c[t][n]),
               b = *reinterpret_cast<const float4 *>(&page.b[j][n]);
        sums[0] = fmaf(c.x, b.x, sums[0]);
        sums[1] = fmaf(c.y, b.y, sums[1]);
        sums[2] = fmaf(c.z, b.z, sums[2]);
        sums[3] = fmaf(c.w, b.w, sums[3]);
      }
      page.g[t][j] = ((sums[0] + sums[2]) + (sums[1] + sums[3])) * expf(page.cum[t] - page.cum[j]) * page.dt[j];
    }
    if (end == kStatePage && thread < kStatePage)
      page.weight[thread] = expf(page.cum[kStatePage - 1] - page.cum[thread]) * page.dt[thread];
  }

  /// y of entries [begin, end): what the base gives is summed over the slices, and slice s adds what the page's entries
  /// give rows s and s + 8.
  MLC_DEVICE void outputs(int begin, int end, int64_t row) const {
    float own[2] = {};
#pragma unroll
    for (int t = 0; t < kStatePage; ++t) {
      if (t < begin || t >= end)
        continue;
      float sum = 0;
      for (int q = 0; q < kQuads; ++q) {
        float4 c = *reinterpret_cast<const float4 *>(&page.c[t][index(q)]);
        sum = fmaf(c.x, state[q][0], sum);
        sum = fmaf(c.y, state[q][1], sum);
        sum = fmaf(c.z, state[q][2], sum);
        sum = fmaf(c.w, state[q][3], sum);
      }
      for (int lanes = 1; lanes < kSsdSlices; lanes *= 2)
        sum += shuffleXor(sum, lanes);
      if (t % kSsdSlices == slice)
        own[t / kSsdSlices] = sum;
    }
    for (int half = 0; half < 2; ++half) {
      int t = slice + kSsdSlices * half;
      if (t < begin || t >= end || !mine())
        continue;
      float y = page.decay[t] * (half ? own[1] : own[0]);
      for (int j = 0; j <= t; ++j)
        y = fmaf(page.g[t][j], page.x[j][column], y);
      args.out.data[(row + t - begin) * args.out.stride + int64_t(head) * args.headDim + firstColumn + column] =
          fmaf(args.d[head], page.x[t][column], y);
    }
  }

  /// The state behind a whole page.
  MLC_DEVICE void fold() {
    for (int q = 0; q < kQuads; ++q)
      for (int e = 0; e < 4; ++e)
        state[q][e] *= page.decay[kStatePage - 1];
    for (int j = 0; j < kStatePage; ++j) {
      float x = page.weight[j] * page.x[j][column];
      for (int q = 0; q < kQuads; ++q) {
        float4 b = *reinterpret_cast<const float4 *>(&page.b[j][index(q)]);
        state[q][0] = fmaf(b.x, x, state[q][0]);
        state[q][1] = fmaf(b.y, x, state[q][1]);
        state[q][2] = fmaf(b.z, x, state[q][2]);
        state[q][3] = fmaf(b.w, x, state[q][3]);
      }
    }
    if (args.bf16State)
      for (int q = 0; q < kQuads; ++q)
        for (int e = 0; e < 4; ++e)
          state[q][e] = roundBf16(state[q][e]);
  }

  /// Entries [begin, end): x of this block's columns; dt, and b once for its group.
  MLC_DEVICE void log(uint32_t block, int begin, int end) const {
    for (int i = begin * kSsdColumns + thread; i < end * kSsdColumns; i += kSsdThreads)
      if (int p = i % kSsdColumns; firstColumn + p < args.headDim)
        logAt(args.state, block, i / kSsdColumns)[int64_t(head) * args.headDim + firstColumn + p] =
            page.x[i / kSsdColumns][p];
    if (firstColumn)
      return;
    if (thread >= begin && thread < end)
      logAt(args.state, block, thread)[logDt + head] = page.dt[thread];
    if (head % (args.heads / args.groups))
      return;
    for (int i = begin * kStates + thread; i < end * kStates; i += kSsdThreads)
      if (int n = i % kStates; n < args.size)
        logAt(args.state, block, i / kStates)[logB + int64_t(group) * args.size + n] = page.b[i / kStates][n];
  }

  MLC_DEVICE void run() {
    float rate = args.logA ? -expf(args.a[head]) : args.a[head];
    loadBase();
    int begin = int(segment.firstPosition % kStatePage);
    uint32_t number = blocks.firstPage;
    for (int done = 0; done < segment.length; ++number) {
      int end = segment.length - done < kStatePage - begin ? begin + segment.length - done : kStatePage;
      int64_t row = int64_t(segment.firstRow) + done;
      const StatePage &kept = args.state.pages[number];
      loadPage(begin, end, row);
      __syncthreads();
      coefficients(rate, begin, end);
      __syncthreads();
      outputs(begin, end, row);
      if (end == kStatePage) {
        fold();
        if (kept.base != kNoStateBlock)
          storeBase(kept.base);
      }
      if (kept.log != kNoStateBlock)
        log(kept.log, begin, end);
      done += end - begin;
      begin = 0;
      // The next page takes the place of this one.
      __syncthreads();
    }
  }
};

template <int kStates> MLC_DEVICE void ssd(const SsdArgs &args) {
  MLC_SHARED SsdPage<kStates> page;
  SsdBlock<kStates>{args, page}.run();
}

} // namespace mlc::cuda

MLC_KERNEL_OF(mlc_ssd_128, SsdArgs, kSsdThreads) {
  begin();
  ssd<128>(args);
}
MLC_KERNEL_OF(mlc_ssd_256, SsdArgs, kSsdThreads) {
  begin();
  ssd<256>(args);
}
