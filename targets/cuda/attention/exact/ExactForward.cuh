//===----------------------------------------------------------------------===//
// Part of mlc, under the Apache License v2.0 with LLVM Exceptions. See LICENSE.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//===----------------------------------------------------------------------===//
//
// Attention in f32: every product is an f32 FMA (no TF32). The compensated form keeps scores as two floats, for scores
// so large that their own rounding would show in the probabilities.
//
// The values of 64 keys are summed on their own and then joined with one FMA that also rescales, so errors grow with
// the root of 64 and of the number of blocks, not with that of all keys.
//
#pragma once

#include "targets/cuda/attention/exact/Arithmetic.h"
#include "targets/cuda/attention/exact/ExactStream.cuh"

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

/// Vectors of four columns that the products' loops take at a time: more of them leave the instruction cache.
constexpr int kExactUnroll = 4;

MLC_DEVICE Float4 vectorAt(const float *tile, int place) { return reinterpret_cast<const Float4 *>(tile)[place]; }

/// sums[i][j] += a(i) b(j), row by row, there and back: one operand of a product is that of the one before, as
/// registers have too few ports for three new ones.
template <int kOwn, int kColumns, typename A, typename B>
MLC_DEVICE void addOuter(float (&sums)[kOwn][kColumns], A &&a, B &&b) {
  MLC_UNROLL_ALL
  for (int i = 0; i < kOwn; ++i) {
    MLC_UNROLL_ALL
    for (int n = 0; n < kColumns; ++n) {
      const int j = i % 2 ? kColumns - 1 - n : n;
      sums[i][j] = fmaf(a(i), b(j), sums[i][j]);
    }
  }
}

/// scores += Q K^T over `vectors` Float4s of columns, of Q as arrangeQ() left it. Sums of 32 columns are made on their
/// own: fewer terms are rounded at a sum's full size.
template <int kOwn>
MLC_DEVICE void addScores(float (&scores)[kOwn][4], const float *q, const float *k, int vectors, ExactThread me) {
  MLC_UNROLL(1)
  for (int begin = 0; begin < vectors; begin += 8) {
    float sums[kOwn][4] = {};
    MLC_UNROLL(1)
    for (int first = begin; first < least(begin + 8, vectors); first += kExactUnroll) {
      MLC_UNROLL_ALL
      for (int x = first; x < first + kExactUnroll; ++x) {
        Float4 keys[4], rows[kOwn];
        MLC_UNROLL_ALL
        for (int j = 0; j < 4; ++j)
          keys[j] = vectorAt(k, placeInK(me.key(j), x));
        MLC_UNROLL_ALL
        for (int i = 0; i < kOwn; ++i)
          rows[i] = vectorAt(q, placeInQ(me.row(i), x));
        addOuter(sums, [&](int i) { return rows[i].y; }, [&](int j) { return keys[j].x; });
        addOuter(sums, [&](int i) { return rows[i].x; }, [&](int j) { return keys[j].y; });
        addOuter(sums, [&](int i) { return rows[i].w; }, [&](int j) { return keys[j].z; });
        addOuter(sums, [&](int i) { return rows[i].z; }, [&](int j) { return keys[j].w; });
      }
    }
    MLC_UNROLL_ALL
    for (int i = 0; i < kOwn; ++i) {
      MLC_UNROLL_ALL
      for (int j = 0; j < 4; ++j)
        scores[i][j] += sums[i][j];
    }
  }
}

/// As addScores(), in two terms. `scores` are high terms with the anchor, which grows with `bound`, the largest that
/// any of them can be by Cauchy and Schwarz.
template <int kOwn>
MLC_DEVICE void addScores(AnchoredSum (&scores)[kOwn][4], float &anchor, float &bound, const float *q, const float *k,
                          int vectors, ExactThread me) {
  auto squares = [](Float4 v, float sum) {
    return fmaf(v.x, v.x, fmaf(v.y, v.y, fmaf(v.z, v.z, fmaf(v.w, v.w, sum))));
  };
  float ofRows = 0, ofKeys = 0;
  MLC_UNROLL(1)
  for (int i = 0; i < kOwn; ++i) {
    float sum = 0;
    MLC_UNROLL(1)
    for (int x = 0; x < vectors; ++x)
      sum = squares(vectorAt(q, placeInQ(me.row(i), x)), sum);
    ofRows = maxOrNaN(ofRows, sum);
  }
  MLC_UNROLL(1)
  for (int j = 0; j < 4; ++j) {
    float sum = 0;
    MLC_UNROLL(1)
    for (int x = 0; x < vectors; ++x)
      sum = squares(vectorAt(k, placeInK(me.key(j), x)), sum);
    ofKeys = maxOrNaN(ofKeys, sum);
  }
  // A little more than the roots, which absorbs their rounding.
  bound += 1.001f * rootFast(ofRows) * rootFast(ofKeys);
  const float next = anchorOf(bound);
  MLC_UNROLL_ALL
  for (int i = 0; i < kOwn; ++i) {
    MLC_UNROLL_ALL
    for (int j = 0; j < 4; ++j)
      scores[i][j].move(anchor, next);
  }
  anchor = next;
  MLC_UNROLL(1)
  for (int x = 0; x < vectors; ++x) {
    Float4 keys[4];
    MLC_UNROLL_ALL
    for (int j = 0; j < 4; ++j)
      keys[j] = vectorAt(k, placeInK(me.key(j), x));
    MLC_UNROLL_ALL
    for (int i = 0; i < kOwn; ++i) {
      const Float4 row = vectorAt(q, placeInQ(me.row(i), x));
      MLC_UNROLL_ALL
      for (int j = 0; j < 4; ++j) {
        scores[i][j].add(row.y, keys[j].x);
        scores[i][j].add(row.x, keys[j].y);
        scores[i][j].add(row.w, keys[j].z);
        scores[i][j].add(row.z, keys[j].w);
      }
    }
  }
}

/// out = out * rescale + P V over 64 keys and the columns of one chunk.
template <int kWidth, int kOwn>
MLC_DEVICE void addValues(float (&out)[kOwn][4], const float (&rescale)[kOwn], const float *p, const float *v,
                          ExactThread me) {
  constexpr int columns = kWidth / 16; // of a thread
  float sums[kOwn][columns] = {};
  MLC_UNROLL(kExactUnroll)
  for (int x = 0; x < kExactTile / 4; ++x) {
    float values[4][columns];
    MLC_UNROLL_ALL
    for (int k = 0; k < 4; ++k)
      if constexpr (columns == 4) {
        const Float4 four = vectorAt(v, placeInV(4 * x + k, me.keyLane));
        values[k][0] = four.x, values[k][1] = four.y, values[k][2] = four.z, values[k][3] = four.w;
      } else {
        MLC_UNROLL_ALL
        for (int c = 0; c < columns; ++c)
          values[k][c] = v[4 * placeInV(4 * x + k, 0) + me.keyLane * columns + c];
      }
    Float4 rows[kOwn];
    MLC_UNROLL_ALL
    for (int i = 0; i < kOwn; ++i)
      rows[i] = vectorAt(p, placeInQ(me.row(i), x));
    addOuter(sums, [&](int i) { return rows[i].x; }, [&](int c) { return values[0][c]; });
    addOuter(sums, [&](int i) { return rows[i].y; }, [&](int c) { return values[1][c]; });
    addOuter(sums, [&](int i) { return rows[i].z; }, [&](int c) { return values[2][c]; });
    addOuter(sums, [&](int i) { return rows[i].w; }, [&](int c) { return values[3][c]; });
  }
  MLC_UNROLL_ALL
  for (int i = 0; i < kOwn; ++i) {
    MLC_UNROLL_ALL
    for (int c = 0; c < columns; ++c)
      out[i][c] = fmaf(out[i][c], rescale[i], sums[i][c]);
  }
}

/// What a thread knows of its rows: the largest score so far, to base 2; its own share of the sum of exponentials.
template <int kOwn> struct ExactRows {
  float most[kOwn], sum[kOwn], rescale[kOwn];
};

/// Scores to capped ones. They pass through the thread's own places in `p`, so that one loop is enough: a copy of it
/// for each would push the rest out of the instruction cache. In two terms half of the rows goes at a time, beside its
/// low terms.
template <bool kCompensated, int kOwn>
MLC_DEVICE void capScores(const ExactArgs &args, float (&scores)[kOwn][4], float (&lows)[kOwn][4], float *p,
                          ExactThread me) {
  constexpr int together = kCompensated ? kOwn / 2 : kOwn;
  MLC_UNROLL_ALL
  for (int first = 0; first < kOwn; first += together) {
    MLC_UNROLL_ALL
    for (int i = 0; i < together; ++i)
      MLC_UNROLL_ALL
    for (int j = 0; j < 4; ++j) {
      p[me.probability(i, j)] = scores[first + i][j];
      if constexpr (kCompensated)
        p[me.probability(i + together, j)] = lows[first + i][j];
    }
    MLC_UNROLL(1)
    for (int n = 0; n < 4 * together; ++n) {
      float &score = p[me.probability(n / 4, n % 4)];
      if constexpr (kCompensated) {
        float &low = p[me.probability(n / 4 + together, n % 4)];
        const double x = (double(score) + low) * (double(args.capFactor) + args.capFactorLow);
        const double y = double(args.problem.softcap) * tanhExact(x);
        score = float(y);
        low = float(y - score);
      } else {
        score = args.problem.softcap * tanhf(fmaf(score, args.capFactor, score * args.capFactorLow));
      }
    }
    MLC_UNROLL_ALL
    for (int i = 0; i < together; ++i)
      MLC_UNROLL_ALL
    for (int j = 0; j < 4; ++j) {
      scores[first + i][j] = p[me.probability(i, j)];
      if constexpr (kCompensated)
        lows[first + i][j] = p[me.probability(i + together, j)];
    }
  }
}

/// Scores to probabilities, which go to `p`: the stream's next barrier makes them visible, and those for K's chunks
/// have let all readers of the former ones pass. kCut: the mask leaves some pairs out.
template <bool kCompensated, bool kCut, int kOwn>
MLC_DEVICE void softmaxTile(const ExactArgs &args, cuda::Mask mask, int row, int key, const float (&scores)[kOwn][4],
                            const float (&lows)[kOwn][4], ExactRows<kOwn> &rows, float *p, ExactThread me) {
  // Two units in the last place are enough where scores have one term: probabilities' errors average out.
  const Band band = Band::of(mask);
  const int difference = key + me.key(0) - row - me.row(0);
  auto power2 = [](float x) { return kCompensated ? exp2Exact(x) : exp2Fast(x); };
  MLC_UNROLL_ALL
  for (int i = 0; i < kOwn; ++i) {
    bool seen[4];
    if constexpr (kCut) {
      MLC_UNROLL_ALL
      for (int j = 0; j < 4; ++j)
        seen[j] = band.passes(difference + 16 * j - 2 * i) && key + me.key(j) < mask.columns;
    }
    float largest = rows.most[i];
    MLC_UNROLL_ALL
    for (int j = 0; j < 4; ++j)
      if (!kCut || seen[j])
        largest = fmaxf(largest, scores[i][j] * args.factor);
    MLC_UNROLL_ALL
    for (int lanes = 2; lanes < 32; lanes *= 2)
      largest = fmaxf(largest, shuffleXor(largest, lanes));
    // A row that has seen no key yet: any reference will do.
    const float reference = kCut && largest == -INFINITY ? 0 : largest;
    rows.rescale[i] = power2(rows.most[i] - reference);
    rows.most[i] = largest;
    float sum = 0;
    MLC_UNROLL_ALL
    for (int j = 0; j < 4; ++j) {
      float power;
      if constexpr (kCompensated) {
        const float high = scores[i][j] * args.factor;
        const float low =
            fmaf(scores[i][j], args.factor, -high) + fmaf(scores[i][j], args.factorLow, lows[i][j] * args.factor);
        const Pair exponent = twoSum(high, -reference);
        power = exp2Exact(exponent.high, exponent.low + low);
      } else {
        power = exp2Fast(fmaf(scores[i][j], args.factor, fmaf(scores[i][j], args.factorLow, -reference)));
      }
      if (kCut && !seen[j])
        power = 0;
      sum += power;
      p[me.probability(i, j)] = power;
    }
    rows.sum[i] = fmaf(rows.sum[i], rows.rescale[i], sum);
  }
}

template <int kHeadDim>
MLC_DEVICE void storeExact(const ExactArgs &args,
                           const float (&out)[ExactTiles<kHeadDim>::kChunks][ExactTiles<kHeadDim>::kOwn][4],
                           const ExactRows<ExactTiles<kHeadDim>::kOwn> &rows, ExactThread me) {
  using Tiles = ExactTiles<kHeadDim>;
  constexpr int kOwn = Tiles::kOwn;
  const mlc_attention_problem &problem = args.problem;
  // Found again rather than kept in registers.
  const ExactPlace place(args, Tiles::kRows);
  const Sequence sequence = sequenceOf(problem, place.batch);
  float *data = static_cast<float *>(problem.out.data) + sequence.outputs + place.head * problem.out.head;
  MLC_UNROLL_ALL
  for (int i = 0; i < kOwn; ++i) {
    float sum = rows.sum[i];
    MLC_UNROLL_ALL
    for (int lanes = 2; lanes < 32; lanes *= 2)
      sum += shuffleXor(sum, lanes);
    const int at = place.row + me.row(i);
    if (at >= sequence.rows)
      continue;
    const bool empty = rows.most[i] == -INFINITY;
    sum = empty ? 1 : sum;
    float inverse = reciprocalFast(sum);
    inverse = fmaf(inverse, fmaf(-sum, inverse, 1.0f), inverse);
    float *to = data + at * problem.out.token;
    forEach<Tiles::kChunks>([&](auto chunk) {
      constexpr int columns = Tiles::width(chunk) / 16;
      float *first = to + chunk * kExactTile + me.keyLane * columns;
      if constexpr (columns == 4) {
        const float(&four)[4] = out[chunk][i];
        *reinterpret_cast<Float4 *>(first) = {divide(four[0], sum, inverse), divide(four[1], sum, inverse),
                                              divide(four[2], sum, inverse), divide(four[3], sum, inverse)};
      } else {
        MLC_UNROLL_ALL
        for (int c = 0; c < columns; ++c)
          first[c] = divide(out[chunk][i][c], sum, inverse);
      }
    });
    if (problem.lse && me.keyLane == 0)
      problem.lse[rowIndex(problem, sequence, place.batch, place.head, at)] =
          empty ? -INFINITY : float((double(rows.most[i]) + log2(double(sum))) * 0.69314718055994530942);
  }
}

template <int kHeadDim, bool kCompensated> MLC_DEVICE void exactForward(const ExactArgs &args) {
  using Tiles = ExactTiles<kHeadDim>;
  constexpr int kOwn = Tiles::kOwn;
  const mlc_attention_problem &problem = args.problem;
  float *shared = sharedMemory<float>();
  float *q = shared + Tiles::kQ, *p = shared + Tiles::kP;
  const ExactPlace place(args, Tiles::kRows);
  const Sequence sequence = sequenceOf(problem, place.batch);
  const int row = place.row;
  if (row >= sequence.rows)
    return;
  const ExactThread me = ExactThread::of(threadIndex(), kOwn);
  const cuda::Mask mask = sequence.mask(problem);
  const cuda::BlockRange blocks = cuda::blocksOf(mask, row, Tiles::kRows, kExactTile);

  loadExactQ<kHeadDim>(problem, sequence, place.head, row, q);
  ExactStream<kHeadDim> stream(problem, sequence, place, blocks, shared + Tiles::kRing);
  stream.start();
  arrangeQ<kHeadDim>(q);

  float out[Tiles::kChunks][kOwn][4] = {};
  ExactRows<kOwn> rows;
  MLC_UNROLL_ALL
  for (int i = 0; i < kOwn; ++i)
    rows.most[i] = -INFINITY, rows.sum[i] = 0;
  for (int block = blocks.begin; block < blocks.end; ++block) {
    float scores[kOwn][4] = {}, lows[kOwn][4] = {};
    if constexpr (kCompensated) {
      AnchoredSum sums[kOwn][4] = {};
      float anchor = 0, bound = 0;
      MLC_UNROLL(1)
      for (int chunk = 0; chunk < Tiles::kChunks; ++chunk) {
        const float *k = stream.next();
        addScores(sums, anchor, bound, q + chunk * Tiles::kQFloats, k, Tiles::width(chunk) / 4, me);
      }
      MLC_UNROLL_ALL
      for (int i = 0; i < kOwn; ++i)
        MLC_UNROLL_ALL
      for (int j = 0; j < 4; ++j) {
        const Pair score = sums[i][j].value(anchor);
        scores[i][j] = score.high;
        lows[i][j] = score.low;
      }
    } else {
      MLC_UNROLL(1)
      for (int chunk = 0; chunk < Tiles::kChunks; ++chunk) {
        const float *k = stream.next();
        addScores(scores, q + chunk * Tiles::kQFloats, k, Tiles::width(chunk) / 4, me);
      }
    }
    if (args.problem.softcap > 0)
      capScores<kCompensated>(args, scores, lows, p, me);
    const int key = block * kExactTile;
    if (mask.cuts(row, Tiles::kRows, key, kExactTile))
      softmaxTile<kCompensated, true>(args, mask, row, key, scores, lows, rows, p, me);
    else
      softmaxTile<kCompensated, false>(args, mask, row, key, scores, lows, rows, p, me);
    forEach<Tiles::kChunks>([&](auto chunk) {
      const float *v = stream.next();
      addValues<Tiles::width(chunk)>(out[chunk], rows.rescale, p, v, me);
    });
  }
  waitCopies<0>();
  storeExact<kHeadDim>(args, out, rows, me);
}

} // namespace mlc::attention
