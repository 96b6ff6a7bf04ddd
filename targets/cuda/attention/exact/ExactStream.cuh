//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// How the exact kernel's inputs come to shared memory.
//
#pragma once

#include "targets/cuda/attention/Sequence.h"
#include "targets/cuda/attention/exact/ExactTiles.h"
#include "targets/cuda/attention/simt/Simt.h"

namespace mlc::attention {

/// What a block works on.
struct ExactPlace {
  int batch, head, row;

  MLC_DEVICE ExactPlace(const ExactArgs &args, int rows) {
    const auto tile = args.order.tile(blockIndex());
    batch = tile.head / args.problem.heads_q;
    head = tile.head % args.problem.heads_q;
    row = tile.rowBlock * rows;
  }
};

/// Copies K and V chunk by chunk: of each block of keys K's chunks, then V's. A thread copies one Float4 of 8 rows that
/// are 8 apart: they are swizzled alike.
template <int kHeadDim> class ExactStream {
  using Tiles = ExactTiles<kHeadDim>;
  static constexpr int kStep = kExactThreads / kExactVectors;

public:
  MLC_DEVICE ExactStream(const mlc_attention_problem &problem, const Sequence &sequence, ExactPlace place,
                         cuda::BlockRange blocks, float *ring)
      : problem(problem), sequence(sequence), end(blocks.end), ring(ring), block(blocks.begin) {
    const int headKv = place.head / (problem.heads_q / problem.heads_kv);
    keys = firstOf(problem.k, sequence, place.batch, headKv);
    values = firstOf(problem.v, sequence, place.batch, headKv);
  }

  /// Fills all stages but one.
  MLC_DEVICE void start() {
    MLC_UNROLL(1)
    for (int i = 0; i < Tiles::kStages - 1; ++i)
      issue();
  }
  /// The next chunk, once all threads are here; what was read before may be overwritten from now on.
  MLC_DEVICE const float *next() {
    waitCopies<Tiles::kStages - 2>();
    syncThreads();
    issue();
    const float *stage = ring + readStage * kTileFloats;
    readStage = readStage + 1 == Tiles::kStages ? 0 : readStage + 1;
    return stage;
  }

private:
  static MLC_DEVICE int row() { return threadIndex() / kExactVectors; }
  static MLC_DEVICE int vector() { return threadIndex() % kExactVectors; }

  /// The thread's Float4 of its first row at the sequence's beginning, or at that of the first page.
  MLC_DEVICE const float *firstOf(const mlc_attention_tensor &tensor, const Sequence &sequence, int batch, int head) {
    return static_cast<const float *>(tensor.data) + head * tensor.head +
           sequenceOffset(problem, tensor.batch, tensor.token, sequence, batch) + row() * tensor.token + 4 * vector();
  }

  MLC_DEVICE void issue() {
    const bool isValue = part >= Tiles::kChunks;
    const int chunk = isValue ? part - Tiles::kChunks : part, key = block * kExactTile;
    if (block < end && 4 * vector() < Tiles::width(chunk)) {
      const int64_t stride = isValue ? problem.v.token : problem.k.token;
      const int64_t offset = tokenOffset(problem, isValue ? problem.v.batch : problem.k.batch, stride, sequence, key);
      const float *from = (isValue ? values : keys) + offset + chunk * kExactTile;
      const int64_t step = kStep * stride;
      float *to =
          ring + writeStage * kTileFloats + 4 * (isValue ? placeInV(row(), vector()) : placeInK(row(), vector()));
      const int left = sequence.columns - key;
      if (left >= kExactTile) {
        MLC_UNROLL_ALL
        for (int i = 0; i < kExactTile / kStep; ++i, from += step)
          copyAsync(to + i * kStep * kExactTile, from);
      } else {
        MLC_UNROLL(1)
        for (int i = 0; i < kExactTile / kStep; ++i, from += step)
          copyAsync(to + i * kStep * kExactTile, from, row() + i * kStep < left);
      }
    }
    commitCopies();
    if (++part == 2 * Tiles::kChunks) {
      part = 0;
      ++block;
    }
    writeStage = writeStage + 1 == Tiles::kStages ? 0 : writeStage + 1;
  }

  const mlc_attention_problem &problem;
  const Sequence &sequence;
  const int end;
  float *ring;
  const float *keys, *values;
  int block, part = 0, writeStage = 0, readStage = 0;
};

/// The block's rows of Q from `row` on, chunk by chunk; rows beyond the last are zero. Ended by arrangeQ().
template <int kHeadDim>
MLC_DEVICE void loadExactQ(const mlc_attention_problem &problem, const Sequence &sequence, int head, int row,
                           float *to) {
  using Tiles = ExactTiles<kHeadDim>;
  constexpr int vectors = kHeadDim / 4;
  const float *data = static_cast<const float *>(problem.q.data) + sequence.queries + head * problem.q.head;
  MLC_UNROLL(1)
  for (int i = threadIndex(); i < Tiles::kRows * vectors; i += kExactThreads) {
    const int r = i / vectors, vector = i % vectors;
    const bool valid = row + r < sequence.rows;
    const float *from = data + (valid ? (row + r) * problem.q.token : 0) + 4 * vector;
    copyAsync(to + vector / kExactVectors * Tiles::kQFloats + 4 * placeInQ(r, vector % kExactVectors), from, valid);
  }
}
/// Waits for what this thread has loaded, and exchanges neighbours: x and y, z and w. The operands of a product are
/// then in an even and an odd register, so that they are never read from one bank together with the sum.
template <int kHeadDim> MLC_DEVICE void arrangeQ(float *q) {
  using Tiles = ExactTiles<kHeadDim>;
  constexpr int vectors = kHeadDim / 4;
  waitCopies<0>();
  MLC_UNROLL(1)
  for (int i = threadIndex(); i < Tiles::kRows * vectors; i += kExactThreads) {
    const int r = i / vectors, vector = i % vectors;
    Float4 &four =
        reinterpret_cast<Float4 *>(q + vector / kExactVectors * Tiles::kQFloats)[placeInQ(r, vector % kExactVectors)];
    four = {four.y, four.x, four.w, four.z};
  }
}

} // namespace mlc::attention
