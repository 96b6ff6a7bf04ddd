//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// ssd on tensor cores: the warps whose work depends on no state.
//
#pragma once

#include "targets/cuda/recurrent/Ssd.cuh"
#include "targets/cuda/recurrent/SsdTilePage.cuh"

namespace mlc::cuda {

/// Two warps: b and c, rounded. Where both begin at multiples of 16 bytes what a thread rounds is under way from one
/// page before on.
template <int kStates> struct SsdTileFactors : SsdTileBlock<kStates> {
  using Block = SsdTileBlock<kStates>;
  using Block::args, Block::begin, Block::blocks, Block::end, Block::entryB;
  static constexpr int kThreads = 2 * kWarp, kQuads = kStates / 4, kEach = kStatePage * kQuads / kThreads;
  int thread = int(threadIdx.x) % kThreads, firstEntry = thread / kQuads, n = thread % kQuads * 4; // Four columns.
  int64_t column = int64_t(this->group) * args.size + n,
          xColumn = int64_t(this->head) * args.headDim + this->firstColumn;
  int left = args.size - n; // Columns from n on.
  bool logs = !this->firstColumn && this->head % this->sharers == 0 && left > 0;
  bool wide = beginAt(args.b.data, args.b.stride, 4) && beginAt(args.c.data, args.c.stride, 4) && args.size % 4 == 0;
  bool wideX = beginAt(args.x.data, args.x.stride, 4) && args.headDim % 4 == 0;
  int columns = args.headDim - this->firstColumn; // Of the head from the block's first on.
  float4 b[kEach] = {}, c[kEach] = {};            // Of entries entry(i).

  MLC_DEVICE SsdTileFactors(const SsdArgs &args, int head, int firstColumn) : Block{args, head, firstColumn} {}

  MLC_DEVICE int entry(int i) const { return firstEntry + kThreads / kQuads * i; }

  /// Of the step's rows; zeros where there are none.
  MLC_DEVICE void fetch(const Rows<const float> &rows, int page, float4 (&to)[kEach]) const {
    const int stride = forget(int(rows.stride)); // What it gives stays in no registers.
    const float *from = rows.data + (this->row(page) + firstEntry) * stride + column;
    constexpr int kStep = kThreads / kQuads;
    if (args.size == kStates && end(page) - begin(page) == kStatePage) {
#pragma unroll
      for (int i = 0; i < kEach; ++i)
        to[i] = *reinterpret_cast<const float4 *>(from + kStep * i * stride);
      return;
    }
    const int first = left > 0 ? begin(page) - firstEntry : kStatePage, last = end(page) - firstEntry;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      to[i] = {0, 0, 0, 0};
      if (kStep * i >= first && kStep * i < last)
        to[i] = *reinterpret_cast<const float4 *>(from + kStep * i * stride);
    }
  }
  MLC_DEVICE void fetch(int page) {
    fetch(args.b, page, b);
    fetch(args.c, page, c);
  }
  /// One by one: rows that begin anywhere, or entries of a log.
  MLC_DEVICE float4 slowQuad(const float *from) const {
    return {left > 0 ? from[0] : 0.0f, left > 1 ? from[1] : 0.0f, left > 2 ? from[2] : 0.0f, left > 3 ? from[3] : 0.0f};
  }
  MLC_DEVICE void place(uint8_t *rows, int j, const float4 &four) const {
    auto *words = reinterpret_cast<uint32_t *>(rows + j * Block::Page::kStride + n / 16 * 32 + n % 16);
    const uint32_t even = pairToBf16(four.x, four.y), odd = pairToBf16(four.z, four.w);
    // Half of the lanes begin with the second: then no two meet in a bank.
    const bool swaps = this->lane >= kWarp / 2;
    words[swaps ? 4 : 0] = swaps ? odd : even;
    words[swaps ? 0 : 4] = swaps ? even : odd;
  }
  MLC_DEVICE void placeSlowly(int page) const {
    auto &shared = this->at(page);
#pragma unroll 1
    for (int j = firstEntry; j < end(page); j += kThreads / kQuads) {
      if (j < begin(page)) {
        place(shared.b, j, slowQuad(logAt(args.state, blocks.log, j) + entryB + column));
      } else if (!wide) {
        place(shared.b, j, slowQuad(args.b.data + (this->row(page) + j) * args.b.stride + column));
        place(shared.c, j, slowQuad(args.c.data + (this->row(page) + j) * args.c.stride + column));
      }
    }
  }
  /// x of the step's rows, zeros where there are none; there two meetings later.
  MLC_DEVICE void copyX(int page) const {
    constexpr int kQuadsX = kSsdTileColumns / 4;
    const int stride = forget(int(args.x.stride)), first = thread / kQuadsX, p = thread % kQuadsX * 4;
    const float *from = args.x.data + (this->row(page) + first) * args.x.stride + xColumn + p;
    float *to = this->at(page).x + first * Block::Page::kColumns + p;
#pragma unroll
    for (int j = 0; j < kStatePage; j += kThreads / kQuadsX)
      if (first + j >= begin(page))
        copyQuad(to + j * Block::Page::kColumns, from + j * stride, first + j < end(page) && p < columns);
  }
  /// One by one: of rows that begin anywhere, or of a log.
  MLC_DEVICE void placeXSlowly(int page) const {
    float *rows = this->at(page).x + thread;
#pragma unroll 1
    for (int j = 0; j < (wideX ? begin(page) : kStatePage); ++j) {
      const float *from =
          j < begin(page) ? logAt(args.state, blocks.log, j) : args.x.data + (this->row(page) + j) * args.x.stride;
      rows[j * Block::Page::kColumns] = thread < columns && j < end(page) ? from[xColumn + thread] : 0.0f;
    }
  }
  MLC_DEVICE void logX(int page, uint32_t block) const {
    const float *from = args.x.data + this->row(page) * args.x.stride + xColumn + thread;
#pragma unroll 1
    for (int j = begin(page); j < end(page) && thread < columns; ++j)
      logAt(args.state, block, j)[xColumn + thread] = from[j * args.x.stride];
  }
  MLC_DEVICE void logB(int page, uint32_t block) const {
#pragma unroll 1
    for (int j = firstEntry; j < end(page); j += kThreads / kQuads) {
      if (j < begin(page))
        continue;
      const float *from = args.b.data + (this->row(page) + j) * args.b.stride + column;
      float *to = logAt(args.state, block, j) + entryB + column;
      for (int e = 0; e < 4 && e < left; ++e)
        to[e] = from[e];
    }
  }
  /// Rounds what fetch() brought.
  MLC_DEVICE void placeFetched(int page) const {
    auto &shared = this->at(page);
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      place(shared.b, entry(i), b[i]);
      place(shared.c, entry(i), c[i]);
    }
    if (!wide || begin(page))
      placeSlowly(page);
  }
  /// f(16 bytes of a row of b or c in shared memory, the same of what is packed), in all rows.
  template <typename F> MLC_DEVICE void forPacked(int page, const F &f) const {
    constexpr int kChunks = kStates / 8;
    uint8_t *rows = this->at(page).b + thread / kChunks * Block::Page::kStride + thread % kChunks * 16;
    uint8_t *packed = this->packed(page) + thread * 16;
#pragma unroll
    for (int i = 0; i < 2 * kStatePage * kChunks / kThreads; ++i)
      f(rows + i * (kThreads / kChunks) * Block::Page::kStride, packed + i * kThreads * 16);
  }
  /// x of a page on its way into the second-level cache: a thread has half a row.
  MLC_DEVICE void ahead(int page) const {
    const int j = thread % kStatePage, p = thread / kStatePage * 32;
    if (j < end(page) && p < columns && p < kSsdTileColumns)
      prefetchLine(args.x.data + (this->row(page) + j) * args.x.stride + xColumn + p);
  }
  MLC_DEVICE void run() {
    constexpr int kAhead = 4;
    const bool packed = args.packed;
    if (wide && !packed)
      fetch(0);
    for (int page = 0; page < this->pages; ++page) {
      const uint32_t block = this->kept(page).log;
      awaitCopies();
      if (wideX)
        copyX(page);
      if (!wideX || begin(page))
        placeXSlowly(page);
      if (packed)
        forPacked(page, [](uint8_t *row, const uint8_t *from) { copyQuad(row, from); });
      else
        placeFetched(page);
      if (page + kAhead < this->pages)
        ahead(page + kAhead);
      if (wide && !packed && page + 1 < this->pages)
        fetch(page + 1);
      if (block != kNoStateBlock) {
        logX(page, block);
        if (logs)
          logB(page, block);
      }
      meetProducts();
    }
    awaitCopies();
    meetProducts();
  }
};

/// A warp: dt, cum, decays and weights.
template <int kStates> struct SsdTileSteps : SsdTileBlock<kStates> {
  using Block = SsdTileBlock<kStates>;
  using Block::args, Block::begin, Block::end, Block::lane, Block::head;
  float d = args.d[head];

  MLC_DEVICE SsdTileSteps(const SsdArgs &args, int head, int firstColumn) : Block{args, head, firstColumn} {}

  /// Before softplus, but in a log entry; 0 where there is none.
  MLC_DEVICE float raw(int page) const {
    if (lane >= end(page))
      return 0;
    return lane < begin(page) ? logAt(args.state, this->blocks.log, lane)[this->entryDt + head]
                              : args.dt.data[(this->row(page) + lane) * args.dt.stride + head];
  }
  MLC_DEVICE void steps(int page, float rate, float bias, float dt) const {
    auto &shared = this->at(page);
    const StatePage kept = this->kept(page);
    if (lane == 0) {
      shared.kept = kept;
      shared.d = d;
      shared.fresh = page == 0 && this->blocks.base == kNoStateBlock;
    }
    if (lane >= begin(page) && lane < end(page)) {
      dt = softplus(dt + bias);
      // NaN stays NaN.
      dt = dt < args.dtMin ? args.dtMin : dt;
      dt = dt > args.dtMax ? args.dtMax : dt;
      if (!this->firstColumn && kept.log != kNoStateBlock)
        logAt(args.state, kept.log, lane)[this->entryDt + head] = dt;
    }
    if (lane < kStatePage)
      shared.dt[lane] = dt;
    meetWarp();
    float sum = 0;
#pragma unroll
    for (int j = 0; j < kStatePage; ++j)
      if (const float more = shared.dt[j] * rate; j <= lane)
        sum += more;
    if (lane < kStatePage) {
      shared.cum[lane] = sum;
      shared.decay[lane] = expf(sum);
    }
    meetWarp();
    if (lane < kStatePage)
      shared.weight[lane] = expf(shared.cum[kStatePage - 1] - sum) * dt;
  }
  MLC_DEVICE void run() {
    const float rate = args.logA ? -expf(args.a[head]) : args.a[head], bias = args.dtBias[head];
    float next[2] = {raw(0), raw(1)}; // Of two pages, under way.
    for (int page = 0; page < this->pages; ++page) {
      const float dt = next[0];
      next[0] = next[1];
      next[1] = raw(page + 2);
      steps(page, rate, bias, dt);
      meetProducts();
    }
    meetProducts();
  }
};

/// A warp: g, a page behind b and c.
template <int kStates> struct SsdTileProducts : SsdTileBlock<kStates> {
  using Block = SsdTileBlock<kStates>;
  using Block::args;

  MLC_DEVICE SsdTileProducts(const SsdArgs &args, int head, int firstColumn) : Block{args, head, firstColumn} {}

  /// c_t . b_j: of eight entries j each, as products leave them.
  MLC_DEVICE void multiplyPage(int page, float (&sums)[2][4]) const {
    const auto &shared = this->at(page);
    float odd[2][4] = {}; // Of every other step.
#pragma unroll
    for (int i = 0; i < 8; ++i)
      sums[i / 4][i % 4] = 0;
#pragma unroll
    for (int q = 0; q < kStates / 16; ++q) {
      uint32_t c[4], b[4];
      loadSquare<Block::Page::kStride, Square::left>(shared.c + 32 * q, c);
      loadSquare<Block::Page::kStride, Square::across>(shared.b + 32 * q, b);
      const uint32_t low[2] = {b[0], b[1]}, high[2] = {b[2], b[3]};
      multiply((q % 2 ? odd : sums)[0], c, low);
      multiply((q % 2 ? odd : sums)[1], c, high);
    }
#pragma unroll
    for (int i = 0; i < 8; ++i)
      sums[i / 4][i % 4] += odd[i / 4][i % 4];
  }
  /// Where a lane's sums are packed.
  MLC_DEVICE float4 *packedSums(int page) const {
    return reinterpret_cast<float4 *>(this->packed(page) + 2 * kStatePage * 2 * kStates) + 2 * this->lane;
  }
  MLC_DEVICE void place(int page, const float (&sums)[2][4]) const {
    auto &shared = this->at(page);
    const int g = this->lane / 4, t = this->lane % 4;
    uint32_t words[2][2]; // Of rows g and g + 8.
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float pair[2];
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const int row = g + 8 * r, j = 8 * half + 2 * t + e;
          const float value = sums[half][2 * r + e] * expf(shared.cum[row] - shared.cum[j]) * shared.dt[j];
          pair[e] = j <= row ? value : 0.0f;
        }
        words[r][half] = pairToBf16(pair[0], pair[1]);
      }
    shared.g[this->lane] = {words[0][0], words[0][1], words[1][0], words[1][1]};
  }
  MLC_DEVICE void run() {
    float4 next[2] = {};
    auto fetch = [&](int page) {
      if (args.packed && page < this->pages)
        next[0] = packedSums(page)[0], next[1] = packedSums(page)[1];
    };
    fetch(0);
    meetProducts();
    for (int page = 0; page < this->pages; ++page) {
      float sums[2][4] = {{next[0].x, next[0].y, next[0].z, next[0].w}, {next[1].x, next[1].y, next[1].z, next[1].w}};
      fetch(page + 1);
      if (!args.packed)
        multiplyPage(page, sums);
      place(page, sums);
      meetProducts();
    }
  }
};

} // namespace mlc::cuda
