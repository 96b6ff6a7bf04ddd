//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Attention in f32: every product is an f32 FMA (no TF32). The compensated form keeps scores as two floats, for scores so
// large that their own rounding would show in the probabilities.
//
// The values of 64 keys are summed on their own and then joined with one FMA that also rescales, so errors grow with the
// root of 64 and of the number of blocks, not with that of all keys.
//
#pragma once

#include "targets/cuda/attention/Sequence.h"
#include "targets/cuda/attention/exact/Arithmetic.h"
#include "targets/cuda/attention/exact/ExactTiles.h"

namespace mlc::attention {

template <int kValue> struct Index {
  MLC_BOTH constexpr operator int() const { return kValue; }
};
/// call(0), ..., call(kCount - 1), each index a constant.
template <int kCount, int kFirst = 0, typename Call> MLC_DEVICE void forEach(Call &&call) {
  if constexpr (kFirst < kCount) {
    call(Index<kFirst>());
    forEach<kCount, kFirst + 1>(call);
  }
}

/// Copies K and V chunk by chunk: of each block of keys K's chunks, then V's.
template <int kHeadDim> class ExactStream {
  using Tiles = ExactTiles<kHeadDim>;

public:
  MLC_DEVICE ExactStream(const mlc_attention_problem &problem, const Sequence &sequence, int batch, int head,
                         cuda::BlockRange blocks, float *ring)
      : problem(problem), sequence(sequence), batch(batch), head(head), blocks(blocks), ring(ring) {}

  /// Fills all stages but one.
  MLC_DEVICE void start() {
    block = blocks.begin;
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
  template <int kWidth, bool kValues> MLC_DEVICE void copy(const mlc_attention_tensor &tensor, int column) {
    constexpr int vectors = kWidth / 4, together = kExactThreads / vectors;
    float *stage = ring + writeStage * kTileFloats;
    const int vector = threadIndex() % vectors, first = threadIndex() / vectors;
    const float *data = static_cast<const float *>(tensor.data) + head * tensor.head + column + 4 * vector;
    MLC_UNROLL_ALL
    for (int i = 0; i < kExactTile / together; ++i) {
      const int row = first + i * together, key = block * kExactTile + row;
      const bool valid = key < sequence.columns;
      const int64_t offset = valid ? keyOffset(problem, tensor, sequence, batch, key) : 0;
      const int place = kValues ? placeInV(row, vector) : placeInK(row, vector);
      copyAsync(stage + 4 * place, data + offset, valid);
    }
  }
  template <bool kValues> MLC_DEVICE void copyPart(const mlc_attention_tensor &tensor, int chunk) {
    constexpr int last = Tiles::width(Tiles::kChunks - 1);
    if (last == kExactTile || chunk + 1 < Tiles::kChunks)
      copy<kExactTile, kValues>(tensor, chunk * kExactTile);
    else
      copy<last, kValues>(tensor, chunk * kExactTile);
  }
  MLC_DEVICE void issue() {
    if (block < blocks.end) {
      if (part < Tiles::kChunks)
        copyPart<false>(problem.k, part);
      else
        copyPart<true>(problem.v, part - Tiles::kChunks);
      if (++part == 2 * Tiles::kChunks) {
        part = 0;
        ++block;
      }
      writeStage = writeStage + 1 == Tiles::kStages ? 0 : writeStage + 1;
    }
    commitCopies();
  }

  const mlc_attention_problem &problem;
  const Sequence &sequence;
  const int batch, head;
  const cuda::BlockRange blocks;
  float *ring;
  int block = 0, part = 0, writeStage = 0, readStage = 0;
};

/// The 64 rows of Q from `row` on, chunk by chunk; rows beyond the last are zero.
template <int kHeadDim>
MLC_DEVICE void loadExactQ(const mlc_attention_problem &problem, const Sequence &sequence, int head, int row, float *to) {
  constexpr int vectors = kHeadDim / 4;
  const float *data = static_cast<const float *>(problem.q.data) + sequence.queries + head * problem.q.head;
  for (int i = threadIndex(); i < kExactTile * vectors; i += kExactThreads) {
    const int r = i / vectors, vector = i % vectors;
    const bool valid = row + r < sequence.rows;
    const float *from = data + (valid ? (row + r) * problem.q.token : 0) + 4 * vector;
    copyAsync(to + vector / kExactVectors * kTileFloats + 4 * placeInQ(r, vector % kExactVectors), from, valid);
  }
}

MLC_DEVICE Float4 vectorAt(const float *tile, int place) { return reinterpret_cast<const Float4 *>(tile)[place]; }

/// scores += Q K^T over the columns of one chunk.
template <int kWidth> MLC_DEVICE void addScores(float (&scores)[8][4], const float *q, const float *k, ExactThread me) {
  MLC_UNROLL(4)
  for (int x = 0; x < kWidth / 4; ++x) {
    Float4 rows[8];
    MLC_UNROLL_ALL
    for (int i = 0; i < 8; ++i)
      rows[i] = vectorAt(q, placeInQ(me.row(i), x));
    MLC_UNROLL_ALL
    for (int j = 0; j < 4; ++j) {
      const Float4 key = vectorAt(k, placeInK(me.key(j), x));
      MLC_UNROLL_ALL
      for (int i = 0; i < 8; ++i) {
        float sum = fmaf(rows[i].x, key.x, scores[i][j]);
        sum = fmaf(rows[i].y, key.y, sum);
        sum = fmaf(rows[i].z, key.z, sum);
        scores[i][j] = fmaf(rows[i].w, key.w, sum);
      }
    }
  }
}

/// As addScores(), with a second term.
template <int kWidth>
MLC_DEVICE void addScores(float (&scores)[8][4], float (&lows)[8][4], const float *q, const float *k, ExactThread me) {
  auto squares = [](Float4 v, float sum) { return fmaf(v.x, v.x, fmaf(v.y, v.y, fmaf(v.z, v.z, fmaf(v.w, v.w, sum)))); };
  float ofRows = 0, ofKeys = 0;
  for (int i = 0; i < 8; ++i) {
    float sum = 0;
    for (int x = 0; x < kWidth / 4; ++x)
      sum = squares(vectorAt(q, placeInQ(me.row(i), x)), sum);
    ofRows = maxOrNaN(ofRows, sum);
  }
  for (int j = 0; j < 4; ++j) {
    float sum = 0;
    for (int x = 0; x < kWidth / 4; ++x)
      sum = squares(vectorAt(k, placeInK(me.key(j), x)), sum);
    ofKeys = maxOrNaN(ofKeys, sum);
  }
  const float anchor = anchorOf(ofRows, ofKeys);
  AnchoredSum sums[8][4];
  MLC_UNROLL_ALL
  for (int i = 0; i < 8; ++i)
    MLC_UNROLL_ALL
    for (int j = 0; j < 4; ++j)
      sums[i][j] = {anchor, lows[i][j]};
  MLC_UNROLL(1)
  for (int x = 0; x < kWidth / 4; ++x) {
    Float4 keys[4];
    MLC_UNROLL_ALL
    for (int j = 0; j < 4; ++j)
      keys[j] = vectorAt(k, placeInK(me.key(j), x));
    MLC_UNROLL_ALL
    for (int i = 0; i < 8; ++i) {
      const Float4 row = vectorAt(q, placeInQ(me.row(i), x));
      MLC_UNROLL_ALL
      for (int j = 0; j < 4; ++j) {
        sums[i][j].add(row.x, keys[j].x);
        sums[i][j].add(row.y, keys[j].y);
        sums[i][j].add(row.z, keys[j].z);
        sums[i][j].add(row.w, keys[j].w);
      }
    }
  }
  MLC_UNROLL_ALL
  for (int i = 0; i < 8; ++i)
    MLC_UNROLL_ALL
    for (int j = 0; j < 4; ++j) {
      const Pair chunk = sums[i][j].value(anchor), sum = twoSum(scores[i][j], chunk.high);
      scores[i][j] = sum.high;
      lows[i][j] = sum.low + chunk.low;
    }
}

/// out = out * rescale + P V over 64 keys and the columns of one chunk.
template <int kWidth>
MLC_DEVICE void addValues(float (&out)[8][4], const float (&rescale)[8], const float *p, const float *v, ExactThread me) {
  constexpr int columns = kWidth / 16; // of a thread
  float sums[8][columns] = {};
  MLC_UNROLL(4)
  for (int x = 0; x < kExactTile / 4; ++x) {
    Float4 rows[8];
    MLC_UNROLL_ALL
    for (int i = 0; i < 8; ++i)
      rows[i] = vectorAt(p, placeInQ(me.row(i), x));
    MLC_UNROLL_ALL
    for (int k = 0; k < 4; ++k) {
      float values[columns];
      if constexpr (columns == 4) {
        const Float4 four = vectorAt(v, placeInV(4 * x + k, me.keyLane));
        values[0] = four.x, values[1] = four.y, values[2] = four.z, values[3] = four.w;
      } else {
        MLC_UNROLL_ALL
        for (int c = 0; c < columns; ++c)
          values[c] = v[4 * placeInV(4 * x + k, 0) + me.keyLane * columns + c];
      }
      MLC_UNROLL_ALL
      for (int i = 0; i < 8; ++i) {
        const float weight = k == 0 ? rows[i].x : k == 1 ? rows[i].y : k == 2 ? rows[i].z : rows[i].w;
        MLC_UNROLL_ALL
        for (int c = 0; c < columns; ++c)
          sums[i][c] = fmaf(weight, values[c], sums[i][c]);
      }
    }
  }
  MLC_UNROLL_ALL
  for (int i = 0; i < 8; ++i)
    MLC_UNROLL_ALL
    for (int c = 0; c < columns; ++c)
      out[i][c] = fmaf(out[i][c], rescale[i], sums[i][c]);
}

/// What a thread knows of its 8 rows: the largest score so far, to base 2; its own share of the sum of exponentials.
struct ExactRows {
  float most[8], sum[8], rescale[8];
};

/// The score after the soft-cap, in one or two terms.
template <bool kCompensated> MLC_DEVICE Pair capped(const ExactArgs &args, float score, float low) {
  if constexpr (kCompensated) {
    const double x = (double(score) + low) * (double(args.capFactor) + args.capFactorLow);
    const double y = double(args.problem.softcap) * tanh(x);
    return {float(y), float(y - float(y))};
  } else {
    return {args.problem.softcap * tanhf(fmaf(score, args.capFactor, score * args.capFactorLow)), 0};
  }
}

/// Scores to probabilities, which go to `p`. `cut`: the mask leaves some of the 64 x 64 out.
template <bool kCompensated>
MLC_DEVICE void softmaxTile(const ExactArgs &args, cuda::Mask mask, int row, int key, bool cut, float (&scores)[8][4],
                            float (&lows)[8][4], ExactRows &rows, float *p, ExactThread me) {
  uint32_t seen = 0xffffffff;
  if (cut) {
    seen = 0;
    MLC_UNROLL_ALL
    for (int i = 0; i < 8; ++i) {
      const int first = mask.first(row + me.row(i)), end = mask.end(row + me.row(i));
      MLC_UNROLL_ALL
      for (int j = 0; j < 4; ++j)
        seen |= uint32_t(key + me.key(j) >= first && key + me.key(j) < end) << (4 * i + j);
    }
  }
  MLC_UNROLL_ALL
  for (int i = 0; i < 8; ++i) {
    float largest = -INFINITY;
    MLC_UNROLL_ALL
    for (int j = 0; j < 4; ++j) {
      if (args.problem.softcap > 0) {
        const Pair score = capped<kCompensated>(args, scores[i][j], kCompensated ? lows[i][j] : 0);
        scores[i][j] = score.high;
        if constexpr (kCompensated)
          lows[i][j] = score.low;
      }
      const float score = scores[i][j] * args.factor;
      largest = seen >> (4 * i + j) & 1 ? fmaxf(largest, score) : largest;
    }
    MLC_UNROLL_ALL
    for (int lanes = 2; lanes < 32; lanes *= 2)
      largest = fmaxf(largest, shuffleXor(largest, lanes));
    largest = fmaxf(largest, rows.most[i]);
    // A row that has seen no key yet: any reference will do.
    const float reference = largest == -INFINITY ? 0 : largest;
    rows.rescale[i] = exp2Exact(rows.most[i] - reference);
    rows.most[i] = largest;
    float sum = 0;
    MLC_UNROLL_ALL
    for (int j = 0; j < 4; ++j) {
      float power;
      if constexpr (kCompensated) {
        const float high = scores[i][j] * args.factor;
        const float low = fmaf(scores[i][j], args.factor, -high) +
                          fmaf(scores[i][j], args.factorLow, lows[i][j] * args.factor);
        const Pair difference = twoSum(high, -reference);
        power = exp2Exact(difference.high, difference.low + low);
      } else {
        power = exp2Exact(fmaf(scores[i][j], args.factor, fmaf(scores[i][j], args.factorLow, -reference)));
      }
      power = seen >> (4 * i + j) & 1 ? power : 0;
      sum += power;
      const int column = me.key(j);
      p[4 * placeInQ(me.row(i), column / 4) + column % 4] = power;
    }
    rows.sum[i] = fmaf(rows.sum[i], rows.rescale[i], sum);
  }
  syncWarp();
}

template <int kHeadDim>
MLC_DEVICE void storeExact(const ExactArgs &args, const Sequence &sequence, int batch, int head, int row,
                           const float (&out)[ExactTiles<kHeadDim>::kChunks][8][4], ExactRows &rows, ExactThread me) {
  using Tiles = ExactTiles<kHeadDim>;
  const mlc_attention_problem &problem = args.problem;
  float *data = static_cast<float *>(problem.out.data) + sequence.outputs + head * problem.out.head;
  MLC_UNROLL_ALL
  for (int i = 0; i < 8; ++i) {
    float sum = rows.sum[i];
    MLC_UNROLL_ALL
    for (int lanes = 2; lanes < 32; lanes *= 2)
      sum += shuffleXor(sum, lanes);
    const int at = row + me.row(i);
    if (at >= sequence.rows)
      continue;
    const bool empty = rows.most[i] == -INFINITY;
    const float divisor = empty ? 1 : sum;
    float *to = data + at * problem.out.token;
    forEach<Tiles::kChunks>([&](auto chunk) {
      constexpr int columns = Tiles::width(chunk) / 16;
      float *first = to + chunk * kExactTile + me.keyLane * columns;
      if constexpr (columns == 4) {
        const float(&four)[4] = out[chunk][i];
        *reinterpret_cast<Float4 *>(first) = {four[0] / divisor, four[1] / divisor, four[2] / divisor,
                                              four[3] / divisor};
      } else {
        MLC_UNROLL_ALL
        for (int c = 0; c < columns; ++c)
          first[c] = out[chunk][i][c] / divisor;
      }
    });
    if (problem.lse && me.keyLane == 0)
      problem.lse[rowIndex(problem, sequence, batch, head, at)] =
          empty ? -INFINITY : float((double(rows.most[i]) + log2(double(sum))) * 0.69314718055994530942);
  }
}

template <int kHeadDim, bool kCompensated> MLC_DEVICE void exactForward(const ExactArgs &args) {
  using Tiles = ExactTiles<kHeadDim>;
  const mlc_attention_problem &problem = args.problem;
  float *shared = sharedMemory<float>();
  float *q = shared + Tiles::kQ, *p = shared + Tiles::kP;
  const auto tile = args.order.tile(blockIndex());
  const int batch = tile.head / problem.heads_q, head = tile.head % problem.heads_q;
  const int row = tile.rowBlock * kExactTile;
  const Sequence sequence = sequenceOf(problem, batch);
  if (row >= sequence.rows)
    return;
  const ExactThread me = ExactThread::of(threadIndex());
  const cuda::Mask mask = sequence.mask(problem);
  const cuda::BlockRange blocks = cuda::blocksOf(mask, row, kExactTile, kExactTile);

  loadExactQ<kHeadDim>(problem, sequence, head, row, q);
  ExactStream<kHeadDim> stream(problem, sequence, batch, head / (problem.heads_q / problem.heads_kv), blocks,
                               shared + Tiles::kRing);
  stream.start();

  float out[Tiles::kChunks][8][4] = {};
  ExactRows rows;
  MLC_UNROLL_ALL
  for (int i = 0; i < 8; ++i)
    rows.most[i] = -INFINITY, rows.sum[i] = 0;
  for (int block = blocks.begin; block < blocks.end; ++block) {
    float scores[8][4] = {}, lows[8][4] = {};
    forEach<Tiles::kChunks>([&](auto chunk) {
      const float *k = stream.next();
      if constexpr (kCompensated)
        addScores<Tiles::width(chunk)>(scores, lows, q + chunk * kTileFloats, k, me);
      else
        addScores<Tiles::width(chunk)>(scores, q + chunk * kTileFloats, k, me);
    });
    const int key = block * kExactTile;
    softmaxTile<kCompensated>(args, mask, row, key, mask.cuts(row, kExactTile, key, kExactTile), scores, lows, rows, p,
                              me);
    forEach<Tiles::kChunks>([&](auto chunk) {
      const float *v = stream.next();
      addValues<Tiles::width(chunk)>(out[chunk], rows.rescale, p, v, me);
    });
    syncWarp();
  }
  waitCopies<0>();
  storeExact<kHeadDim>(args, sequence, batch, head, row, out, rows, me);
}

} // namespace mlc::attention
