//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// linear of many rows on tensor cores, with the order of sums of LinearTensor.cuh. mlc_round_rows makes of x what a
// block reads: tiles of kRows rows by 64 columns of bf16, swizzled, with columns in the order of the fragments that
// they meet. A ring of stages in shared memory has a tile (of int4 two) and the same columns of eight panels; a warp
// has a panel and all of the rows. With kBulk one more warp copies and two warpgroups multiply, each by Hopper's
// product of weights in registers and rows in shared memory. Without, the eight warps copy one stage ahead.
//
#pragma once

#include "targets/cuda/device/Ring.cuh"
#include "targets/cuda/linear/LinearTensor.cuh"
#include "targets/cuda/norm/NormScale.cuh"

namespace mlc::cuda {

/// One stage of the ring. Of rows of bytes the row's part is a tile of 128 columns with the rows' scales behind it.
template <Panel panel, int kRows> struct TileStage {
  using Batch = PanelBatch<panel, panel == Panel::int4>;
  static constexpr int kColumns = Batch::kColumns, kTiles = kRows / 8;
  static constexpr int kTileColumns = takesBytes(panel) ? 128 : 64, kTileBytes = kRows * kTileRowBytes;
  static constexpr int kRowBytes = kRows * tileRowBytes(panel); // Most that rows take.
  static constexpr int kPanelBytes = kColumns * Batch::Steps::kColumnBytes;
  static constexpr int kBytes = int(tileStageBytes(panel, kRows));
  static_assert(kColumns == tileColumns(panel) && kBytes >= kRowBytes + kTilePanels * kPanelBytes &&
                kUnit % kColumns == 0);
};

/// What a block works on.
template <typename Stage> struct TileWork {
  const TileLinearArgs &args;
  int begin, end, stages; // Columns; stages of them.
  int rowBytes;           // What rows are of a stage.
  const uint8_t *rows;    // Of the first stage.

  MLC_DEVICE explicit TileWork(const TileLinearArgs &args) : args(args) {
    const int each = sliceColumns(args.columns) * args.slicesEach;
    begin = int(blockIdx.z) * each;
    end = begin + each < args.columns ? begin + each : args.columns;
    stages = (end - begin + Stage::kColumns - 1) / Stage::kColumns;
    const int rowStages = (args.columns + Stage::kColumns - 1) / Stage::kColumns;
    rowBytes = Stage::kRowBytes;
    if constexpr (Stage::kTileColumns == 128)
      rowBytes = Stage::kTileBytes + tileScales(args.bytes.shift) * Stage::kTiles * 8 * int(sizeof(float));
    rows = args.rounded + (int64_t(blockIdx.y) * rowStages + begin / Stage::kColumns) * rowBytes;
  }
  /// Panel `i` of the block's: of a linear with a gate four of W, then the four of V that they meet.
  MLC_DEVICE int64_t panel(int i) const {
    return args.gate ? int64_t(blockIdx.x) * (kTilePanels / 2) + i % (kTilePanels / 2)
                     : int64_t(blockIdx.x) * kTilePanels + i;
  }
  MLC_DEVICE bool has(int i) const { return panel(i) * 16 < args.n; }
  MLC_DEVICE const uint8_t *weights(int i) const {
    return static_cast<const uint8_t *>(args.weight) + panel(i) * args.panelBytes +
           (i >= kTilePanels / 2 ? args.gate : 0);
  }
  MLC_DEVICE int column(int stage) const { return begin + stage * Stage::kColumns; }
  /// Bytes that stage `stage` has of a panel.
  MLC_DEVICE int panelBytes(int stage) const {
    const int left = end - column(stage);
    return (left < Stage::kColumns ? left : Stage::kColumns) * Stage::Batch::Steps::kColumnBytes;
  }
  MLC_DEVICE const uint8_t *panelAt(int i, int stage) const {
    return weights(i) + int64_t(column(stage)) * Stage::Batch::Steps::kColumnBytes;
  }
};

/// A ring that a warp fills.
struct BulkRing {
  uint64_t full[kMostTileStages], empty[kMostTileStages];
};

/// The copying warp.
template <typename Stage> MLC_DEVICE void copyStages(const TileWork<Stage> &work, uint8_t *memory, BulkRing &ring) {
  const int lane = int(threadIdx.x) % kWarp, depth = work.args.stages;
  const bool copies = lane < kTilePanels && work.has(lane);
  int panels = 0;
  for (int i = 0; i < kTilePanels; ++i)
    panels += work.has(i);
  auto copyPanels = [&](int stage, int slot) {
    if (lane == 0)
      barrierExpect(&ring.full[slot], uint32_t(work.rowBytes + panels * work.panelBytes(stage)));
    meetWarp();
    if (copies)
      copyBulk(memory + slot * Stage::kBytes + Stage::kRowBytes + lane * Stage::kPanelBytes, work.panelAt(lane, stage),
               uint32_t(work.panelBytes(stage)), &ring.full[slot]);
  };
  auto copyRows = [&](int stage, int slot) {
    if (lane == 0)
      copyBulk(memory + slot * Stage::kBytes, work.rows + int64_t(stage) * work.rowBytes, uint32_t(work.rowBytes),
               &ring.full[slot]);
  };
  // Weights do not wait for the inputs.
  const int first = depth < work.stages ? depth : work.stages;
  for (int stage = 0; stage < first; ++stage)
    copyPanels(stage, stage);
  awaitInputs();
  for (int stage = 0; stage < first; ++stage)
    copyRows(stage, stage);
  for (int stage = first, slot = 0, parity = 0; stage < work.stages; ++stage) {
    barrierWait(&ring.empty[slot], uint32_t(parity));
    copyPanels(stage, slot);
    copyRows(stage, slot);
    if (++slot == depth)
      slot = 0, parity ^= 1;
  }
}

/// Every thread's share of the copies of one stage.
template <typename Stage> MLC_DEVICE void copyStage(const TileWork<Stage> &work, uint8_t *to, int stage) {
  const uint8_t *rows = work.rows + int64_t(stage) * work.rowBytes;
  for (int at = int(threadIdx.x) * 16; at < work.rowBytes; at += tileThreads(false) * 16)
    copyQuad(to + at, rows + at);
  const int bytes = work.panelBytes(stage);
  for (int at = int(threadIdx.x) * 16; at < kTilePanels * Stage::kPanelBytes; at += tileThreads(false) * 16) {
    const int i = at / Stage::kPanelBytes, within = at % Stage::kPanelBytes;
    if (work.has(i) && within < bytes)
      copyQuad(to + Stage::kRowBytes + at, work.panelAt(i, stage) + within);
  }
}

/// f(i, e) for each sum of a lane: unrolled, for they are registers.
template <int kTiles, typename F> MLC_DEVICE void forSums(const F &f) {
#pragma unroll
  for (int i = 0; i < kTiles; ++i)
#pragma unroll
    for (int e = 0; e < 4; ++e)
      f(i, e);
}

/// What a warp has of the products: panel `warp` by all of the block's rows.
template <Panel panel, int kRows, bool kBulk> struct TileProduct {
  using Stage = TileStage<panel, kRows>;
  using Batch = typename Stage::Batch;
  using Steps = typename Batch::Steps;
  static constexpr int kTiles = Stage::kTiles;
  const TileWork<Stage> &work;
  const TileLinearArgs &args;
  int warp, lane, g, t, firstRow;
  bool has; // The panel is there.
  int64_t outputs;
  float total[kTiles][4];

  MLC_DEVICE TileProduct(const TileWork<Stage> &work, int warp)
      : work(work), args(work.args), warp(warp), lane(int(threadIdx.x) % kWarp), g(lane / 4), t(lane % 4),
        firstRow(int(blockIdx.y) * kRows), has(work.has(warp)), outputs(work.panel(warp) * 16) {}

  /// f(sum, row, output, place) of all that are outputs; place: of a matrix with so much from row to row.
  template <typename F> MLC_DEVICE void forOutputs(const float (&sums)[kTiles][4], int64_t stride, const F &f) const {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int64_t output = outputs + 2 * g + e / 2;
      const int row = firstRow + 2 * t + e % 2;
      if (!has || output >= args.n)
        continue;
      int64_t place = row * stride + output;
#pragma unroll
      for (int i = 0; i < kTiles; ++i, place += 8 * stride)
        if (row + 8 * i < args.rows)
          f(sums[i][e], row + 8 * i, output, place);
    }
  }

  MLC_DEVICE void multiply(uint8_t *memory, BulkRing &ring) {
    const uint8_t *weights = work.weights(has ? warp : 0); // Scales of a panel that is not there are those of another.
    const int each = sliceColumns(args.columns), depth = args.stages;
    SliceSums<panel, kTiles, panel == Panel::int4> slice;
    int stage = 0, slot = 0, parity = 0;
    float *part = args.parts ? args.parts + int64_t(blockIdx.z) * args.slicesEach * args.rows * args.n : nullptr;
    for (int begin = work.begin; begin < work.end; begin += each) {
      const int end = begin + each < args.columns ? begin + each : args.columns;
      slice.begin();
      for (int k = begin; k < end; k += Stage::kColumns, ++stage) {
        typename Batch::Place place(args, weights, k, end, g, t);
        Batch batch;
#pragma unroll
        for (int i = 0; i < Batch::kSteps; ++i)
          batch.loadScales(i, args, place);
        uint8_t *const at = memory + slot * Stage::kBytes;
        if constexpr (kBulk) {
          barrierWait(&ring.full[slot], uint32_t(parity));
        } else {
          awaitCopies();
          __syncthreads();
          if (stage + 1 < work.stages)
            copyStage(work, memory + (slot ^ 1) * Stage::kBytes, stage + 1);
        }
        place.values = at + Stage::kRowBytes + warp * Stage::kPanelBytes + t * Steps::kLaneBytes + 8 * g;
#pragma unroll
        for (int i = 0; i < Batch::kSteps; ++i)
          batch.template loadValues<true>(i, place, t);
        auto meet = [&](int column, const uint32_t(&a)[Steps::kMultiplies][4], typename Steps::Sum(&sums)[kTiles][4]) {
          constexpr int kTile = Stage::kTileColumns, kProduct = Steps::kColumns / Steps::kMultiplies;
          beginProducts<kBulk>();
#pragma unroll
          for (int half = 0; half < Steps::kMultiplies; ++half)
            multiplyTile<kBulk>(sums, a[half], at + column / kTile * Stage::kTileBytes,
                                column % kTile / kProduct + half);
        };
        auto scalesOf = [&](int b, int i) {
          if constexpr (!takesBytes(panel))
            return uint2{};
          else
            return *reinterpret_cast<const uint2 *>(
                at + Stage::kTileBytes + ((b * Steps::kColumns >> args.bytes.shift) * kRows + 8 * i + 2 * t) * 4);
        };
        slice.add(args, batch, place, meet, [] { awaitProducts<kBulk>(); }, [](int) {}, scalesOf);
        awaitProducts<kBulk>();
        if constexpr (kBulk) {
          meetWarp();
          if (lane == 0)
            barrierArrive(&ring.empty[slot]);
          if (++slot == depth)
            slot = 0, parity ^= 1;
        } else {
          slot ^= 1;
        }
      }
      if (part)
        forOutputs(slice.sums, args.n, [&](float sum, int, int64_t, int64_t place) { part[place] = sum; });
      else if (begin)
        forSums<kTiles>([&](int i, int e) { total[i][e] += slice.sums[i][e]; });
      else
        forSums<kTiles>([&](int i, int e) { total[i][e] = slice.sums[i][e]; });
      if (part)
        part += args.rows * args.n;
    }
  }

  /// What W gives goes to the warp that has V's sums of the same outputs, by `shared`, which nobody reads any more.
  MLC_DEVICE void gate(float *shared) {
    constexpr int kLanes = kTilePanels / 2 * kWarp;
    shared += warp % (kTilePanels / 2) * kWarp + lane;
    const bool isGate = warp < kTilePanels / 2;
    meetProducts();
    if (isGate) {
      forSums<kTiles>([&](int i, int e) { shared[(i * 4 + e) * kLanes] = total[i][e]; });
#pragma unroll 1
      for (int i = 0; i < 4 * kTiles; ++i)
        shared[i * kLanes] = activate(args.act, shared[i * kLanes]);
    }
    meetProducts();
    if (!isGate)
      forSums<kTiles>([&](int i, int e) { total[i][e] *= shared[(i * 4 + e) * kLanes]; });
    has = has && !isGate;
  }

  MLC_DEVICE void store() const {
    forOutputs(total, args.out.stride, [&](float sum, int row, int64_t output, int64_t place) {
      if (args.bias)
        sum += args.bias[output];
      if (args.residual.data)
        sum += args.residual.data[row * args.residual.stride + output];
      args.out.data[place] = sum;
    });
  }
};

/// Grid (panels, rows, shares of slices).
template <Panel panel, int kRows, bool kBulk> MLC_DEVICE void linearTile(const TileLinearArgs &args) {
  using Stage = TileStage<panel, kRows>;
  MLC_SHARED BulkRing ring;
  // A tile begins where 1024 bytes do.
  uint8_t *memory = dynamicShared();
  memory += -reinterpret_cast<uintptr_t>(memory) & (kTileAlignment - 1);
  letNextStart();
  const int warp = agreed(int(threadIdx.x) / kWarp);
  const TileWork<Stage> work(args);
  if constexpr (kBulk) {
    if (threadIdx.x == 0) {
      for (int i = 0; i < args.stages; ++i) {
        barrierInit(&ring.full[i], 1);
        barrierInit(&ring.empty[i], kTilePanels);
      }
      barrierInitFence();
    }
    __syncthreads();
    if (warp >= kTilePanels) {
      giveRegisters<24>();
      if (warp == kTilePanels)
        copyStages(work, memory, ring);
      return;
    }
    takeRegisters<240>();
  } else {
    awaitInputs();
    copyStage(work, memory, 0);
  }
  TileProduct<panel, kRows, kBulk> product(work, warp);
  product.multiply(memory, ring);
  if constexpr (kBulk)
    awaitInputs(); // Nothing is written before the kernels that came before have ended.
  if (args.parts)
    return;
  if (args.gate)
    product.gate(reinterpret_cast<float *>(memory));
  product.store();
}

/// Chunk `chunk` of 16 bytes of a row's `stage`: row r of block `rowBlock`, of which value(column) is there.
template <typename Value>
MLC_DEVICE void roundChunk(const RoundRowsArgs &args, int rowBlock, int stage, int r, int chunk, const Value &value) {
  const int columns = tileColumns(args.panel);
  // Fragments take the columns of a step as PanelSteps' round() gives them.
  const bool nibbles = args.panel == Panel::int4;
  uint32_t pairs[4];
  for (int t = 0; t < 4; ++t) {
    // Chunks 2 s and 2 s + 1 are the halves of product s.
    const int first = stage * columns + (nibbles ? chunk / 4 * 32 + 8 * t + chunk / 2 % 2 * 4 + chunk % 2
                                                 : chunk / 2 * 16 + 4 * t + chunk % 2 * 2);
    const int second = first + (nibbles ? 2 : 1);
    pairs[t] = pairToBf16(first < args.k ? value(first) : 0.0f, second < args.k ? value(second) : 0.0f);
  }
  uint8_t *tile = args.out + (int64_t(rowBlock) * args.columnStages + stage) * args.tileRows * 2 * columns +
                  chunk / 8 * args.tileRows * kTileRowBytes;
  *reinterpret_cast<uint4 *>(tile + tileChunk(r, chunk % 8)) = {pairs[0], pairs[1], pairs[2], pairs[3]};
}

} // namespace mlc::cuda

/// Grid (chunks of a block of rows, blocks of rows): a thread for 16 bytes of a tile.
MLC_KERNEL_OF(mlc_round_rows, RoundRowsArgs, 256) {
  begin();
  const int perRow = tileColumns(args.panel) / 8; // Chunks of a row of a stage.
  const int item = int(blockIdx.x) * int(blockDim.x) + int(threadIdx.x);
  const int stage = item / (args.tileRows * perRow), within = item % (args.tileRows * perRow);
  if (stage >= args.columnStages)
    return;
  const int r = within / perRow;
  const int64_t row = int64_t(blockIdx.y) * args.tileRows + r;
  const float *x = args.x.data + row * args.x.stride;
  roundChunk(args, int(blockIdx.y), stage, r, within % perRow,
             [&](int column) { return row < args.rows ? x[column] : 0.0f; });
}

/// The same of normed rows. Grid (rows of a block of rows, blocks of rows): a block for a row.
MLC_KERNEL_OF(mlc_norm_rows, RoundRowsArgs, kNormThreads) {
  begin();
  const int perRow = tileColumns(args.panel) / 8, r = int(blockIdx.x);
  const int64_t row = int64_t(blockIdx.y) * args.tileRows + r;
  const bool there = row < args.rows;
  const float *x = args.x.data + row * args.x.stride;
  MLC_SHARED NormSums partial;
  const float scale = there ? rowScale(x, int(args.k), args.norm.eps, partial) : 0.0f;
  for (int item = int(threadIdx.x); item < args.columnStages * perRow; item += kNormThreads)
    roundChunk(args, int(blockIdx.y), item / perRow, r, item % perRow,
               [&](int column) { return there ? normed(x[column], scale, args.norm, column) : 0.0f; });
}

/// Grid (chunks of a block of rows, blocks of rows): a thread for 16 bytes of a tile, or of the scales behind it.
MLC_KERNEL_OF(mlc_place_rows, PlaceRowsArgs, 256) {
  begin();
  const int scales = tileScales(args.bytes.shift), bytes = args.tileRows * (kTileRowBytes + 4 * scales);
  const int item = int(blockIdx.x) * int(blockDim.x) + int(threadIdx.x), stage = item / (bytes / 16);
  if (stage >= args.columnStages)
    return;
  const int within = item % (bytes / 16);
  uint8_t *tile = args.out + (int64_t(blockIdx.y) * args.columnStages + stage) * bytes;
  uint32_t words[4] = {};
  if (within < args.tileRows * 8) {
    const int r = within / 8, chunk = within % 8;
    const int64_t row = int64_t(blockIdx.y) * args.tileRows + r;
    const uint8_t *x = args.bytes.rows.data + row * args.bytes.rows.stride;
    for (int t = 0; t < 4; ++t) {
      // A product's halves are chunks, which have the quads of lanes t.
      const int product = chunk / 2, half = chunk % 2;
      const int quad = args.panel == Panel::w4a8 ? 2 * t + half : 4 * half + t;
      const int column = stage * 128 + product * 32 + quad * 4;
      if (row < args.rows && column < args.columns)
        words[t] = loadWord(x + column, args.aligned);
    }
    tile += tileChunk(r, chunk);
  } else {
    const int at = (within - args.tileRows * 8) * 4, column = stage * 128 + (at / args.tileRows << args.bytes.shift);
    for (int i = 0; i < 4; ++i) {
      const int64_t row = int64_t(blockIdx.y) * args.tileRows + at % args.tileRows + i;
      if (row < args.rows && column < args.columns)
        words[i] = loadWord(args.bytes.rows.data + row * args.bytes.rows.stride + args.bytes.scales +
                                4 * (column >> args.bytes.shift),
                            args.aligned);
    }
    tile += args.tileRows * kTileRowBytes + 4 * at;
  }
  *reinterpret_cast<uint4 *>(tile) = {words[0], words[1], words[2], words[3]};
}

/// Adds the parts of slices in order. Grid (columns, rows).
MLC_KERNEL(mlc_join_slices, TileLinearArgs) {
  begin();
  const int64_t row = blockIdx.y, column = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (column >= args.n)
    return;
  const float *part = args.parts + row * args.n + column;
  float sum = *part;
  for (int slice = 1; slice < sliceCount(args.columns); ++slice)
    sum += part[int64_t(slice) * args.rows * args.n];
  storeOutput(args, column, int(row), sum);
}

/// X(panels, rows of a block)
#define MLC_TILE_FORMS(X)                                                                                              \
  X(bf16, 64)                                                                                                          \
  X(bf16, 192) X(int8, 64) X(int8, 96) X(int4, 64) X(int4, 96) X(w8a8, 32) X(w8a8, 96) X(w4a8, 32) X(w4a8, 96)
#define MLC_TILE_LINEAR(PANEL, ROWS)                                                                                   \
  MLC_KERNEL_OF(mlc_tile_##PANEL##_##ROWS, TileLinearArgs, tileThreads(kHopper)) {                                     \
    linearTile<Panel::PANEL, ROWS, kHopper>(args);                                                                     \
  }

MLC_TILE_FORMS(MLC_TILE_LINEAR)
